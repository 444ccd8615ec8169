"""The version before is seen out of its last frames; one that does not come out is waited for no longer."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

from app_inference.inference.model import Model
from app_inference.pipeline.serving import ServedModel

log = logging.getLogger(__name__)

LIMIT = 10.0  # seconds; the longest frame that is no fault takes far less
_LOOK = 0.02


class Drain:
    """How one model's versions left. `tell` is called when one did not."""

    def __init__(self, name: str, tell: Callable[[], None]) -> None:
        self.left = 0  # frames that the last version still held when its time was over
        self.timeouts = 0
        self._name = name
        self._tell = tell

    @contextlib.asynccontextmanager
    async def seen_out(self, slot: ServedModel, old: Model) -> AsyncIterator[None]:
        """See `old` out of the frames it holds now, while the block runs, and to the end of it."""
        since = time.perf_counter()
        draining = asyncio.create_task(self._drain(slot, old, since), name=f"drain:{self._name}")
        try:
            yield
            await draining
        finally:
            draining.cancel()

    async def _drain(self, slot: ServedModel, old: Model, since: float) -> None:
        self.left = 0
        while (left := slot.busy(old, since)) and time.perf_counter() - since < LIMIT:
            await asyncio.sleep(_LOOK)
        if left:
            self.left, self.timeouts = left, self.timeouts + 1
            text = "model '%s': version %s still holds %d frames %g s after the switch; it is waited for no longer"
            log.warning(text, self._name, old.version, left, LIMIT)
            self._tell()
