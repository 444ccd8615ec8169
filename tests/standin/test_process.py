"""`edgex-standin` as a process: how it starts, what it says, and that nothing of it is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgex_standin.broker.broker import find_mosquitto

pytestmark = pytest.mark.integration

PORTS = ("keeper", "metadata", "data", "command", "broker")
needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


def start(*options: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, which is expected soon."""
    free = [f"--{name}-port=0" for name in PORTS if not any(one.startswith(f"--{name}-port") for one in options)]
    command = [sys.executable, "-m", "edgex_standin", *free, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def soon(holds: Callable[[], bool], wait: float = 20.0) -> bool:
    deadline = time.monotonic() + wait
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def children_of(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_leaves_nothing(open_standin: Any, ask: Any, signum: signal.Signals) -> None:
    with open_standin("--state=:memory:") as edgex:
        assert ask("GET", f"{edgex.keeper}/api/v3/ping").status == 200
        children = children_of(edgex.process.pid)
        edgex.process.send_signal(signum)
        assert edgex.process.wait(5) == 0
        assert not any(is_there(child) for child in children)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((edgex.broker.host, edgex.broker.port), 1)


@needs_mosquitto
def test_its_broker_goes_with_it_also_by_kill_9(open_standin: Any) -> None:
    with open_standin("--state=:memory:", "--broker=mosquitto") as edgex:
        children = children_of(edgex.process.pid)
        assert children
        os.kill(edgex.process.pid, signal.SIGKILL)
        edgex.process.wait(5)
        assert soon(lambda: not any(is_there(child) for child in children))


@needs_mosquitto
def test_a_broker_that_died_is_started_again(open_standin: Any) -> None:
    with open_standin("--state=:memory:", "--broker=mosquitto") as edgex:
        (first,) = children_of(edgex.process.pid)
        os.kill(first, signal.SIGKILL)
        assert soon(lambda: children_of(edgex.process.pid) not in ([], [first]))
        assert soon(lambda: _answers(edgex.broker.host, edgex.broker.port))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", PORTS)
def test_a_taken_port_is_one_line_and_nothing_has_started(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = start(f"--{name}-port={port}", f"--state={tmp_path / 'state'}")
    lines = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout, len(lines)) == (1, "", 1)
    assert f"127.0.0.1:{port}" in lines[0]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--broker=rabbit", "broker 'rabbit' is none of auto, mosquitto, embedded or <host>:<port>"),
        ("--request-timeout=soon", "'soon' is no duration"),
        ("--state=/proc/nowhere", "choose a folder with --state"),
        ("--host=203.0.113.1", "cannot listen on 203.0.113.1"),
    ],
)
def test_what_cannot_be_done_is_one_line(option: str, said: str) -> None:
    ended = start(option)
    assert ended.returncode == 1
    assert said in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_it_says_what_it_is_not() -> None:
    command = [sys.executable, "-m", "edgex_standin", "--state=:memory:", *(f"--{name}-port=0" for name in PORTS)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        said = ""
        while "broker (" not in said:
            said += process.stderr.readline()
        process.terminate()
        process.stderr.read()
        assert process.wait(5) == 0
    assert "no security, one process, one machine; not for production" in said


def test_the_embedded_broker_does_as_well(open_standin: Any, ask: Any) -> None:
    with open_standin("--state=:memory:", "--broker=embedded", "--request-timeout=1s") as edgex:
        record = {"name": "svc", "baseAddress": "http://127.0.0.1:1", "adminState": "UNLOCKED"}
        body = [{"apiVersion": "v3", "service": record}]
        assert ask("POST", f"{edgex.metadata}/api/v3/deviceservice", body).body[0]["statusCode"] == 201
        assert children_of(edgex.process.pid) == []


def test_without_its_broker_it_serves_what_needs_none(open_standin: Any, ask: Any) -> None:
    with open_standin("--state=:memory:", "--broker=127.0.0.1:9") as edgex:
        key = f"{edgex.keeper}/api/v3/kvs/key/a"
        assert ask("PUT", key, {"value": "1"}).status == 200
        assert ask("GET", f"{key}?plaintext=true").body["response"][0]["value"] == "1"
        device = {"name": "d", "serviceName": "svc", "protocols": {}, "adminState": "UNLOCKED", "operatingState": "UP"}
        record = {"name": "svc", "baseAddress": "http://127.0.0.1:1", "adminState": "UNLOCKED"}
        ask("POST", f"{edgex.metadata}/api/v3/deviceservice", [{"apiVersion": "v3", "service": record}])
        item = ask("POST", f"{edgex.metadata}/api/v3/device", [{"apiVersion": "v3", "device": device}]).body[0]
        assert item["message"] == "Error sending request to topic 'edgex/svc/validate/device'"


def test_other_prefixes_and_escaped_names_are_in_the_common_configuration(open_standin: Any, ask: Any) -> None:
    options = ("--state=:memory:", "--base-topic=plant", "--escape-names", "--request-timeout=3s")
    with open_standin(*options) as edgex:
        root = "edgex/v4/core-common-config-bootstrapper/all-services"
        said = ask("GET", f"{edgex.keeper}/api/v3/kvs/key/{root}?plaintext=true").body["response"]
        values = {pair["key"].removeprefix(root + "/"): pair["value"] for pair in said}
        assert values["MessageBus/BaseTopicPrefix"] == "plant"
        assert values["Service/EnableNameFieldEscape"] == "true"
        assert values["Service/RequestTimeout"] == "3s"
        assert values["MessageBus/Port"] == str(edgex.broker.port)
        assert values["Registry/Port"] == edgex.keeper.rpartition(":")[2]
