"""The one clock of events and readings: unique within the process, from any thread."""

import threading
import time

_lock = threading.Lock()
_last = 0


def new_origin() -> int:
    """UNIX nanoseconds, strictly increasing even when the system clock stops or is set back."""
    global _last  # noqa: PLW0603 - one clock a process is the point
    with _lock:
        _last = max(_last + 1, time.time_ns())
        return _last
