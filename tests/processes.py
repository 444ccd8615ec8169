"""What tests may start, and what ends it: no process outlives pytest, and unit tests start none.

Every process that a test starts inherits the variable MARK. A reaper, a process beside each pytest process, waits for
that one's death, of whatever cause, and kills all processes with its mark; they may be grandchildren or sit in process
groups of their own.

    python tests/processes.py PID MARK    # the reaper

A run that selects unit tests alone (`make test-unit`) fails those that start a process or a server.
"""

import contextlib
import functools
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MARK = "EDGEX_VISION_TEST_RUN"
KINDS = ("integration", "system")
PEERS = {"broker", "core", "edgex", "open_standin", "private_broker"}  # fixtures that start a process
GRACE = 3.0  # seconds between SIGTERM and SIGKILL

_unit_test = ""  # the one that is running, in a run of unit tests alone


def pytest_configure(config: pytest.Config) -> None:
    os.environ[MARK] = uuid.uuid4().hex
    os.posix_spawn(  # not subprocess: nobody waits for it, it outlives us
        sys.executable,
        [sys.executable, __file__, str(os.getpid()), os.environ[MARK]],
        {key: value for key, value in os.environ.items() if key != MARK},
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)],
        setsid=True,
    )
    if f"not {KINDS[0]}" in config.option.markexpr:
        subprocess.Popen.__init__ = _not_in_unit_tests(subprocess.Popen.__init__)  # type: ignore[method-assign]
        socket.socket.listen = _not_in_unit_tests(socket.socket.listen)  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test whose fixtures start a process is an integration test."""
    for item in items:
        if not _kinds(item) and PEERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _unit_test  # noqa: PLW0603 - a process runs one test at a time
    _unit_test = "" if _kinds(item) else item.nodeid
    try:
        return (yield)
    finally:
        _unit_test = ""


def _not_in_unit_tests(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if _unit_test:
            pytest.fail(f"{_unit_test} starts a process or a server: mark it `integration` or `system`")
        return function(*args, **options)

    return call


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
