"""Which cores a process runs on, and how much of them it has used, as the kernel counts it."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path


def app_cores() -> frozenset[int]:
    """The core that the measured service has for itself: the last one we may use."""
    return frozenset({max(os.sched_getaffinity(0))})


def other_cores() -> frozenset[int]:
    """Where everything else runs meanwhile; on a machine of one core, that one."""
    return frozenset(os.sched_getaffinity(0)) - app_cores() or app_cores()


def all_cores() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0))


@contextlib.contextmanager
def pinned(cores: Set[int]) -> Iterator[None]:
    """This thread, and every process it starts meanwhile, on `cores`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, threads that have ended included."""
    return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) numbers the scheduler's clock of a process


def memory_of(pid: int) -> float:
    """Megabytes of a process that lie in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def cpu_per_call(work: Callable[[], object], seconds: float) -> float:
    """Milliseconds of this thread's CPU for one call: the median over slices, each of several calls."""
    slices, deadline = [], time.perf_counter() + seconds
    work()
    while len(slices) < 5 or time.perf_counter() < deadline:
        before = time.thread_time_ns()
        for _ in range(8):
            work()
        slices.append((time.thread_time_ns() - before) / 8e6)
    return sorted(slices)[len(slices) // 2]
