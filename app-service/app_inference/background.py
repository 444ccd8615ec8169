"""Blocking work on a thread of its own, which is not joined when the service ends.

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
_SWITCH_INTERVAL = 0.0003  # seconds
_NAME = "background:"  # what the names of these threads begin with


async def in_background(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return or raise what `work` does. When this is cancelled, `work` goes on and its result is lost."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            tell = partial(answer.set_result, work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            tell = partial(answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the result is not needed any more
            loop.call_soon_threadsafe(_tell, answer, tell)

    threading.Thread(target=run, name=f"{_NAME}{getattr(work, '__name__', 'work')}", daemon=True).start()
    return await answer


@contextlib.contextmanager
def short_switch_interval() -> Iterator[None]:
    """Within the block threads release the interpreter lock after 0.3 ms, not 5: a thread that needs it for moments,
    between calls of C++ code, waits less while another imports."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def exit_process(status: int) -> NoReturn:
    """End the process, at once if background work still goes on: Python would end its thread within C++ code, which
    aborts the process."""
    if any(thread.name.startswith(_NAME) for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def _tell(answer: "asyncio.Future[T]", tell: Callable[[], None]) -> None:
    if not answer.done():
        tell()
