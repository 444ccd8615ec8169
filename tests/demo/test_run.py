"""`make run` as a process: it leaves nothing behind, however it ends."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import requests

from demo.options import ROOT, Ports
from tests.conformance.app_process import save_meter
from tests.conformance.peers import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class Demo:
    """A run in a session of its own, on free ports, with a test picture and no model that has to be pulled."""

    process: "subprocess.Popen[bytes]"
    ports: Ports
    log: Path

    def is_up(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://localhost:{self.ports.inference}/api/v3/ping", timeout=2).ok
        assert self.process.poll() is None, self.log.read_text()
        return False

    def listening(self) -> list[str]:
        """The parts that listen on their port."""
        return [it.name for it in fields(Ports) if not _is_free(getattr(self.ports, it.name))]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_meter(folder)
    return folder


@pytest.fixture
def demo(tmp_path: Path, models: Path) -> Iterator[Demo]:
    shift = next(it for it in range(2011, 5400, 37) if _are_free(Ports().shifted(it)))
    log = tmp_path / "log"
    options = ["--source", "pattern:", "--model", "meter", "--port-shift", str(shift)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo", *options, "--folder", str(tmp_path / "run"), "--models", str(models)],
            cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    yield Demo(process, Ports().shifted(shift), log)
    process.kill()
    process.wait()


def _are_free(ports: Ports) -> bool:
    return all(_is_free(getattr(ports, it.name)) for it in fields(Ports))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


@pytest.mark.fault(30)
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGHUP])
def test_a_run_that_is_killed_or_hung_up_leaves_no_process_behind(demo: Demo, signum: int) -> None:
    until(demo.is_up, "the services run", 90)
    demo.process.send_signal(signum)
    demo.process.wait(30)
    until(lambda: not demo.listening(), "every port is free", 30)


@pytest.mark.fault(29)
def test_a_model_that_is_added_beside_a_run_serves_and_stays(demo: Demo, models: Path, tmp_path: Path) -> None:
    until(demo.is_up, "the services run", 90)
    source = save_meter(tmp_path / "source", "mine")
    command = [sys.executable, "-m", "app_inference.cli", "add", str(source), "--models-dir", str(models)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    key = "edgex/v4/app-inference/Writable/Pipelines/default/Model"
    url = f"http://localhost:{demo.ports.keeper}/api/v3/kvs/key/{key}"
    requests.put(url, json={"value": "mine"}, timeout=5).raise_for_status()
    status = f"http://localhost:{demo.ports.inference}/api/v3/vision/status"

    def serving() -> list[str]:
        rows = requests.get(status, timeout=5).json()["models"]
        return [row["name"] for row in rows if row["state"] == "serving"]

    until(lambda: serving() == ["mine"], "it serves", 60)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(30) == 0
    assert (models / "mine/1.0.0/manifest.yaml").exists()


@pytest.mark.fault(30, 35)
@pytest.mark.parametrize("after", [0.15, 0.4, 0.8, 1.6])
def test_ctrl_c_at_once_shows_no_traceback(tmp_path: Path, after: float) -> None:
    """In a terminal, where Ctrl-C reaches the whole foreground group."""
    shift = next(it for it in range(2030, 5400, 41) if _are_free(Ports().shifted(it)))
    options = ["--source", "pattern:", "--port-shift", str(shift), "--folder", str(tmp_path / "run")]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        command = [sys.executable, "-m", "demo", *options, "--models", str(tmp_path / "models")]
        os.execvp("env", ["env", "--block-signal=INT", *command])  # as the Makefile does
    time.sleep(after)
    os.write(terminal, b"\x03")
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the terminal's last process has ended
        while part := os.read(terminal, 4096):
            shown += part
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert b"Traceback" not in shown, shown.decode()
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGINT), shown.decode()
