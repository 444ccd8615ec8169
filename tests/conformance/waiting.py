"""Waiting for something that happens elsewhere, with a deadline."""

import asyncio
from collections.abc import Callable
from typing import Any


async def until_soon(check: Callable[[], Any], what: str, wait: float = 20) -> Any:
    """What `check` says, once it says something. What is waited for may happen in another thread or process."""
    deadline = asyncio.get_running_loop().time() + wait
    while not (found := check()):
        assert asyncio.get_running_loop().time() < deadline, f"not within {wait:g} s: {what}"
        await asyncio.sleep(0.01)
    return found
