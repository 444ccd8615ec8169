"""Blocking work on a thread of its own that nobody waits for when the service ends.

A compilation takes minutes and cannot be stopped; asyncio's own threads are joined at the end, and would hold it up.
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_TURN = 0.0003  # seconds
_NAME = "aside:"  # what the names of these threads begin with


async def in_background(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives back, or raises; when the wait is cancelled it goes on alone, and its answer is dropped."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            tell = partial(answer.set_result, work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it belongs to who waits
            tell = partial(answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_tell, answer, tell)

    threading.Thread(target=run, name=f"{_NAME}{getattr(work, '__name__', 'work')}", daemon=True).start()
    return await answer


@contextlib.contextmanager
def short_switch_interval() -> Iterator[None]:
    """Within the block threads hand Python over at once: one that needs it for moments only, between two pieces of
    foreign work, would else wait for 5 ms each time while another imports."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def leave(status: int) -> NoReturn:
    """End the process, at once if such work still goes on: Python would end its thread in the midst of foreign code,
    which aborts the process."""
    if any(thread.name.startswith(_NAME) for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def _tell(answer: "asyncio.Future[T]", tell: Callable[[], None]) -> None:
    if not answer.done():
        tell()
