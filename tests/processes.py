"""What ends the processes of tests: none of them outlives the pytest process.

Every process that a test starts inherits the variable MARK. A reaper, a process beside each pytest process, waits for
that one's death, of whatever cause, and kills all processes with its mark; they may be grandchildren or sit in process
groups of their own.

    python tests/processes.py PID MARK    # the reaper
"""

import contextlib
import os
import select
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

MARK = "EDGEX_VISION_TEST_RUN"
KINDS = ("integration", "system")
PEERS = {"broker", "core", "edgex", "open_standin", "private_broker"}  # fixtures that start a process
GRACE = 3.0  # seconds between SIGTERM and SIGKILL


def pytest_configure() -> None:
    os.environ[MARK] = uuid.uuid4().hex
    os.posix_spawn(  # not subprocess: nobody waits for it, it outlives us
        sys.executable,
        [sys.executable, __file__, str(os.getpid()), os.environ[MARK]],
        {key: value for key, value in os.environ.items() if key != MARK},
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)],
        setsid=True,
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test whose fixtures start a process is an integration test."""
    for item in items:
        if not _kinds(item) and PEERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


def _kinds(item: pytest.Item) -> list[str]:
    return [kind for kind in KINDS if item.get_closest_marker(kind)]


def marked(mark: str) -> set[int]:
    """The processes that have inherited `mark`."""
    wanted = f"{MARK}={mark}".encode()
    found = set()
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in place.read_bytes().split(b"\0"):
                found.add(int(place.parent.name))
    return found - {os.getpid()}


def reap(pid: int, mark: str) -> None:
    """Wait until `pid` is no more, then end all marked processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])
    deadline = time.monotonic() + GRACE
    while left := marked(mark):
        for one in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.2)


if __name__ == "__main__":
    reap(int(sys.argv[1]), sys.argv[2])
