"""The one clock of events and readings: unique within the process, from any thread."""

import threading
import time

STEP = 1_000_000_000  # ns
_lock = threading.Lock()
_last = 0


def new_origin() -> int:
    """UNIX nanoseconds, strictly increasing also while the system clock stops or is slewed back.

    A clock that is set back by more than STEP is followed: the time before was wrong.
    """
    global _last  # noqa: PLW0603 - one clock a process is the point
    with _lock:
        now = time.time_ns()
        _last = _last + 1 if now <= _last < now + STEP else now
        return _last
