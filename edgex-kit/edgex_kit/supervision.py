"""Keeps the service's lasting tasks alive: one that fails is said and begun again, and the others never notice."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)

Lasting = Mapping[str, Callable[[], Awaitable[None]]]
"""Tasks by name."""

_PAUSE = 1.0  # seconds before a failed task begins again


def keep(tasks: asyncio.TaskGroup, lasting: Lasting) -> None:
    """Run each of `lasting` until the group ends, or until it returns by itself."""
    for name, run in lasting.items():
        tasks.create_task(forever(name, run), name=name)


async def forever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run it, and again when it has failed, until it returns by itself."""
    while True:
        try:
            return await run()
        except Exception:  # the task begins again, the rest of the service goes on
            log.exception("%s failed and begins again", name)
            await asyncio.sleep(_PAUSE)
