"""`device-camera` as a person starts it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from edgex_standin.address import free_port

pytestmark = pytest.mark.integration


def start(*flags: str, **environ: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "device_camera", *flags]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ})


def last_words(process: "subprocess.Popen[str]") -> str:
    _, text = process.communicate(timeout=20)
    return text


def test_help_names_edgexs_flags() -> None:
    done = subprocess.run([sys.executable, "-m", "device_camera", "--help"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0
    assert "-cp" in done.stdout


@pytest.mark.parametrize(
    ("flags", "environ", "text"),
    [
        (("-cp=consul.http://x:1",), {}, "is not of the form keeper.http"),
        (("-cd=/nowhere",), {}, "'/nowhere/configuration.yaml' cannot be read"),
        ((), {"SERVICE_PORT": "99999"}, "a port from 0 to 65535 expected, got 99999"),
    ],
)
def test_a_start_that_cannot_be_is_one_clear_line(flags: tuple[str, ...], environ: dict[str, str], text: str) -> None:
    process = start(*flags, **environ)
    said = last_words(process)
    assert process.returncode == 1
    assert text in said
    assert "Traceback" not in said


def test_a_busy_port_is_named_before_anything_else_has_started(free_tcp_port: int) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", free_tcp_port))
        sock.listen()
        process = start(SERVICE_HOST="127.0.0.1", SERVICE_PORT=str(free_tcp_port))
        said = last_words(process)
    assert process.returncode == 1
    assert f"127.0.0.1:{free_tcp_port}" in said
    assert "Traceback" not in said


@pytest.fixture
def free_tcp_port() -> int:
    return free_port("127.0.0.1")


def test_what_is_wrong_in_a_folder_of_devices_is_said_at_the_start(edgex: Any, tmp_path: Path) -> None:
    (tmp_path / "cams.yaml").write_text("deviceList: [{name: x, protocols: {Camera: {Source: 'gopher://x'}}}]")
    flags = (f"-cp=keeper.{edgex.keeper}", "-sk=device-wrong-folder")
    process = start(*flags, SERVICE_PORT="0", DEVICE_DEVICESDIR=str(tmp_path))
    said = last_words(process)
    assert process.returncode == 1
    assert "gopher://x" in said
    assert "Traceback" not in said


def test_a_signal_ends_a_service_that_waits_for_its_broker(tmp_path: Path) -> None:
    (tmp_path / "configuration.yaml").write_text("""
Service: {Host: 127.0.0.1, Port: 0}
MessageBus: {Host: 127.0.0.1, Port: 9}
""")
    process = start(f"-cd={tmp_path}")
    assert process.stderr is not None
    deadline = time.monotonic() + 10
    while "no message broker" not in process.stderr.readline():
        assert time.monotonic() < deadline
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    last_words(process)
    assert (process.returncode, time.monotonic() - begin < 5) == (0, True)


@pytest.mark.fault(28)
def test_metrics_can_be_scraped_from_the_start(free_tcp_port: int) -> None:
    process = start(SERVICE_HOST="127.0.0.1", SERVICE_PORT=str(free_tcp_port))
    try:
        deadline, answer = time.monotonic() + 20, None
        while answer is None:
            assert time.monotonic() < deadline
            with contextlib.suppress(requests.ConnectionError):
                answer = requests.get(f"http://127.0.0.1:{free_tcp_port}/metrics", timeout=5)
            time.sleep(0.05)
        assert answer.status_code == 200
        assert "# HELP" in answer.text
    finally:
        process.kill()
        last_words(process)
