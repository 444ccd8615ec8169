"""Tasks that last, and calls that are tried until they succeed: one back-off, and each cause logged once.

Cancellation always wins: a task that fails while it is being cancelled ends, and is not started again.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from edgex_kit.wire.errors import EdgexError, Invalid, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Lasting = Mapping[str, Callable[[], Awaitable[None]]]
"""Tasks by name."""

STEADY = 60.0  # seconds; a task that ran so long before it failed is started again after the first, short delay


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays first, first*factor, ... up to `most` seconds, each changed by up to `jitter` of itself either way.

    The jitter keeps twenty cameras behind one switch from coming back in the same instant.
    """

    first: float = 1.0  # seconds
    factor: float = 2.0
    most: float = 30.0  # seconds
    jitter: float = 0.2  # 0..1

    def __post_init__(self) -> None:
        if not (0 < self.first <= self.most and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise Invalid(f"back-off with 0 < first <= most, factor >= 1 and jitter from 0 to 1 expected, got {self}")

    def delay(self, failures: int, chance: random.Random) -> float:
        """Seconds to wait after the `failures`-th failure in a row (1, 2, ...)."""
        exponent = min(failures - 1, 64)  # far beyond `most` for any factor that grows; keeps the float finite
        plain = min(self.most, self.first * self.factor**exponent)
        return plain * (1 + self.jitter * (2 * chance.random() - 1))


BACKOFF = Backoff()
_chance = random.Random()  # noqa: S311 - spreads attempts, keeps no secret


def every(seconds: float) -> Backoff:
    """The same delay after each failure."""
    return Backoff(seconds, 1.0, seconds, 0.0)


class Causes:
    """Which cause of a failure is in force: a repeated one is not news."""

    def __init__(self) -> None:
        self._last = ""

    def is_new(self, cause: object) -> bool:
        """Whether `cause` differs from the last one."""
        text = str(cause)
        new, self._last = text != self._last, text
        return new

    def clear(self) -> bool:
        """It works again; whether it had failed."""
        failed, self._last = bool(self._last), ""
        return failed


async def retry(
    call: Callable[[], Awaitable[T]],
    what: str,
    *,
    backoff: Backoff | None = None,
    within: float | None = None,
    is_final: Callable[[EdgexError], bool] = lambda _: False,
    level: int = logging.WARNING,
) -> T:
    """What `call` returns, tried until it succeeds; each cause is logged once as "`what`: cause".

    Raises an error that `is_final` at once, and Unavailable with the last cause when `within` seconds have passed.
    """
    deadline = None if within is None else time.monotonic() + within
    causes, failures = Causes(), 0
    while True:
        try:
            return await call()
        except EdgexError as error:
            if is_final(error):
                raise
            if deadline is not None and time.monotonic() >= deadline:
                raise Unavailable(f"gave up after {within:g} s: {error}") from error
            if causes.is_new(error):
                log.log(level, "%s: %s", what, error)
        _end_if_cancelled()
        failures += 1
        await asyncio.sleep((backoff or BACKOFF).delay(failures, _chance))


def keep(tasks: asyncio.TaskGroup, lasting: Lasting) -> None:
    """Run each of `lasting` until the group ends, or until it returns by itself."""
    for name, run in lasting.items():
        tasks.create_task(forever(name, run), name=name)


async def forever(name: str, run: Callable[[], Awaitable[None]], backoff: Backoff | None = None) -> None:
    """Run it, and again with back-off when it has failed, until it returns by itself or is cancelled."""
    causes, failures = Causes(), 0
    while True:
        started = time.monotonic()
        try:
            return await run()
        except Exception as error:  # the task is started again, the rest of the service goes on
            if time.monotonic() - started > STEADY:
                failures = 0
                causes.clear()
            failures += 1
            cause = f"{type(error).__name__}: {error}"
            is_new = causes.is_new(cause)
            _end_if_cancelled(error)
            delay = (backoff or BACKOFF).delay(failures, _chance)
            log.exception("%s failed (%s), started again in %.0f s", name, cause, delay, exc_info=is_new)
        await asyncio.sleep(delay)


def _end_if_cancelled(error: Exception | None = None) -> None:
    """Raise the cancellation that `error`, raised while the task was being cancelled, has replaced."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        if error is not None:
            log.warning("%s failed while it was being stopped: %s: %s", task.get_name(), type(error).__name__, error)
        raise asyncio.CancelledError from error
