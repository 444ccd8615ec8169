"""The time a camera's thread lives by: it can be woken out of every wait, and a test can pass its own."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks to read and one way to wait."""

    def unix_ns(self) -> int:
        """UNIX time, nanoseconds."""

    def monotonic_ns(self) -> int:
        """Time that only goes forward, nanoseconds."""

    def wait(self, seconds: float | None) -> bool:
        """Wait, for ever with None; True when woken before the time."""


class ThreadClock(Clock):
    """The machine's time, for one thread that waits and any other that wakes it."""

    def __init__(self) -> None:
        self.is_resting = False  # within wait(), so a long silence is meant
        self._woken = threading.Event()

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

    def settle(self) -> None:
        """The waiting thread: take note of the wake. What was wished is read after this, so none is missed."""
        self._woken.clear()
