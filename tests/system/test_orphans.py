"""Nothing that a test has started outlives pytest, however that ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT = 30.0  # seconds

pytestmark = pytest.mark.integration

TEST = """
    import os, pathlib, subprocess, sys, time
    import pytest

    SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]

    @pytest.mark.integration
    def test_that_is_interrupted():
        parent = "import os, subprocess as s, sys; print(os.getpid(), s.Popen(sys.argv[1:]).pid, flush=True); input()"
        group = subprocess.Popen(
            [sys.executable, "-c", parent, *SLEEP], stdin=-1, stdout=-1, text=True, start_new_session=True
        )
        pathlib.Path(os.environ["PIDS"]).write_text(group.stdout.readline() + "end")
        time.sleep(600)
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_processes_of_tests_end_with_pytest(ending: signal.Signals, workers: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(textwrap.dedent(TEST))
    told = tmp_path / "pids"
    command = [sys.executable, "-m", "pytest", "-p", "tests.processes", "-p", "no:cacheprovider", "-n", workers]
    run = subprocess.Popen(
        [*command, f"--rootdir={tmp_path}", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PIDS": str(told)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: told.is_file() and "end" in told.read_text(), "the test has started its processes")
        started = [int(word) for word in told.read_text().split()[:2]]
        assert all(map(is_running, started))
    finally:
        run.send_signal(ending)
        run.wait(WAIT)
    until(lambda: not any(map(is_running, started)), "they have ended")


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not check():
        assert time.monotonic() < deadline, f"not within {WAIT:g} s: {what}"
        time.sleep(0.05)
