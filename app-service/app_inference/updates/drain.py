"""The version before is seen out of its last frames; one that does not come out is waited for no longer."""

import asyncio
import time

from app_inference.model import Model
from app_inference.slot import ModelSlot

LIMIT = 10.0  # seconds; the longest frame that is no fault takes far less
_LOOK = 0.02


async def drained(slot: ModelSlot, model: Model, since: float) -> int:
    """How many frames that began before `since` (time.perf_counter()) `model` still holds when the time is over."""
    while (left := slot.busy(model, since)) and time.perf_counter() - since < LIMIT:
        await asyncio.sleep(_LOOK)
    return left
