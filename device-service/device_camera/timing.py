"""A clock whose waits can be interrupted, the pace of sources and the rate of frames.

Pace and RateGate count from fixed grids, so that errors never add up.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

SECOND = 1_000_000_000  # ns


class Clock(Protocol):
    """What a capture thread reads and waits by; a test can pass its own."""

    def unix_ns(self) -> int:
        """UNIX time, nanoseconds."""

    def monotonic_ns(self) -> int:
        """Time that only goes forward, nanoseconds."""

    def wait(self, seconds: float | None) -> bool:
        """Wait, for ever with None; True when woken before the time."""

    def interruptible(self, _action: Callable[[], None]) -> AbstractContextManager[None]:
        """For the length of the block `action` ends what blocks the thread when another one interrupts it."""
        return nullcontext()


class ThreadClock(Clock):
    """The machine's time, for one thread that waits and any other that wakes it."""

    def __init__(self) -> None:
        self.is_resting = False  # within wait(): a long silence is intended
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._actions: list[Callable[[], None]] = []
        self._is_interrupted = False

    def unix_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wait(self, seconds: float | None) -> bool:
        self.is_resting = True
        try:
            return self._woken.wait(seconds)
        finally:
            self.is_resting = False

    def wake(self) -> None:
        """Any thread: end the wait, or the next one if there is none now."""
        self._woken.set()

    def interrupt(self) -> None:
        """Any thread: wake it, and end what it waits for beside the clock, such as a read from a socket."""
        with self._lock:
            self._is_interrupted = True
            actions = tuple(self._actions)
        self.wake()
        for action in actions:
            action()

    @contextmanager
    def interruptible(self, action: Callable[[], None]) -> Iterator[None]:
        with self._lock:
            self._actions.append(action)
            is_late = self._is_interrupted
        if is_late:
            action()
        try:
            yield
        finally:
            with self._lock:
                self._actions.remove(action)

    def settle(self) -> None:
        """The waiting thread: acknowledge the wake. Read what was requested after this, so that nothing is missed."""
        with self._lock:
            self._is_interrupted = False
        self._woken.clear()


class Pace:
    """Gives a source without a rate of its own one: never faster, never drifting.

    Each picture is planned one step after the plan of the one before, however long the wait really took. After a
    stall of more than a step the missed steps are skipped: nothing comes in a burst.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: int | None = None  # ns, monotonic
        self._is_planned = False

    def wait(self, advance: Callable[[], float]) -> bool:
        """Wait for the next picture; False when woken before its time, then call again.

        `advance` is called once a picture: it prepares it and returns how many seconds it comes after the one before.
        The first picture comes at once.
        """
        if not self._is_planned:
            self._plan(max(1, round(advance() * SECOND)))
            self._is_planned = True
        while self._due is not None and (left := self._due - self._clock.monotonic_ns()) > 0:
            if self._clock.wait(left / SECOND):
                return False
        self._is_planned = False
        return True

    def _plan(self, step: int) -> None:
        now = self._clock.monotonic_ns()
        if self._due is None:
            self._due = now
            return
        self._due += step
        late = now - self._due
        if late > step:
            self._due += late // step * step


class RateGate:
    """Lets `fps` frames a second through out of however many come; 0 lets every one through.

    A frame is due from half its own distance before a grid point on, so that a camera's jitter costs no frame, and
    10 out of 12.5 a second are 10. After a pause the grid starts anew: no burst makes up for it.
    """

    def __init__(self, fps: float) -> None:
        self._step = round(SECOND / fps) if fps > 0 else 0
        self._due: int | None = None  # ns, monotonic
        self._last = 0  # ns, of the frame before

    def is_due(self, mono_ns: int) -> bool:
        """True when the frame taken at `mono_ns` is to go through; called once a frame, in order."""
        slack = min(self._step, mono_ns - self._last) // 2
        self._last = mono_ns
        if self._due is not None and mono_ns < self._due - slack:
            return False
        if self._due is None or mono_ns > self._due + self._step:
            self._due = mono_ns
        self._due += self._step
        return True
