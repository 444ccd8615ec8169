"""A whole service as a process: how it starts, what it says when it cannot, and how it ends."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import requests
from edgex_kit.clients.keeper import ROOT
from edgex_standin.address import Address, free_port

pytestmark = pytest.mark.system


PROGRAM = """
import asyncio, sys
from pathlib import Path
from edgex_kit.service.rest import build_app, common_routes
from edgex_kit.service.server import serve_on
from edgex_kit.service.service import run
from edgex_kit.config.settings import Settings

async def main(service):
    own = service.settings.service
    app = build_app(common_routes(service.name, lambda: service.live.tree, service.secrets), own)
    async with (
        serve_on(app, service.socket),
        service.registered(service.port),
        asyncio.TaskGroup() as tasks,
    ):
        print(f"ready {service.port}", flush=True)
        if own.startup_msg == "end":
            return
        while own.startup_msg == "hang":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
        tasks.create_task(service.follow())
        tasks.create_task(service.report())
        if own.startup_msg == "fail":
            raise RuntimeError("a bug")
        await asyncio.Event().wait()

sys.exit(run(main, "device-cam", "device-services", Settings, Path(sys.argv.pop(1))))
"""


class Running:
    """A service in a process of its own, what it said, and how it ended."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        own = {key: value for key, value in os.environ.items() if not key.startswith("EDGEX_")}
        self.process = subprocess.Popen(
            command,
            env={**own, "EDGEX_SECURITY_SECRET_STORE": "false", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors: list[str] = []
        self._out: queue.Queue[str] = queue.Queue()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=lambda: [self._out.put(line.strip()) for line in self.process.stdout or ()]),
            threading.Thread(target=lambda: self.errors.extend(line.strip() for line in self.process.stderr or ())),
        ]
        for reader in self._readers:
            reader.start()

    def port(self) -> int:
        """Where it serves, once it does."""
        said = self._out.get(timeout=15)
        assert said.startswith("ready "), said
        return int(said.split()[1])

    def get(self, port: int, path: str) -> Any:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).json()

    def ended(self, wait: float = 15) -> int:
        """Its exit status."""
        code = self.process.wait(wait)
        for reader in self._readers:
            reader.join()
        return code

    def end(self) -> None:
        self.process.kill()
        self.ended()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


class Edgex(Protocol):
    keeper: str
    provider: str
    broker: Address


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the service with a configuration file, flags and environment."""
    (tmp_path / "program.py").write_text(PROGRAM)
    running: list[Running] = []

    def start(*argv: str, port: int = 0, configuration: str = "", **environ: str) -> Running:
        lines = [configuration or f"Writable: {{LogLevel: INFO}}\nService: {{Host: 127.0.0.1, Port: {port}}}"]
        if not any("-cp" in flag for flag in argv) and "MessageBus" not in configuration:
            lines.append(f"MessageBus: {{Host: 127.0.0.1, Port: {free_port('127.0.0.1')}}}")  # nobody is there
        (tmp_path / "configuration.yaml").write_text("\n".join(lines))
        running.append(Running([sys.executable, str(tmp_path / "program.py"), str(tmp_path), *argv], environ))
        return running[-1]

    yield start
    for one in running:
        one.end()


def keys(edgex: Edgex, service: str) -> dict[str, str]:
    answer = requests.get(f"{edgex.keeper}/api/v3/kvs/key/{ROOT}/{service}?plaintext=true", timeout=5)
    return {it["key"].removeprefix(f"{ROOT}/{service}/"): it["value"] for it in answer.json().get("response", ())}


def put(edgex: Edgex, key: str, value: str) -> None:
    requests.put(f"{edgex.keeper}/api/v3/kvs/key/{ROOT}/{key}", json={"value": value}, timeout=5).raise_for_status()


def holds_soon(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- ends


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_cleanly(start: Start, signum: signal.Signals) -> None:
    service = start()
    assert service.get(service.port(), "/api/v3/ping")["serviceName"] == "device-cam"
    began = time.monotonic()
    service.process.send_signal(signum)
    assert service.ended() == 0
    assert time.monotonic() - began < 4
    assert "device-cam stopped" in service.errors[-1]
    assert not any("Traceback" in line for line in service.errors)


@pytest.mark.fault(13)
def test_a_part_that_ignores_its_cancellation_does_not_hold_up_the_end(start: Start) -> None:
    service = start(configuration="Service: {Host: 127.0.0.1, Port: 0, StartupMsg: hang}")
    service.port()
    began = time.monotonic()
    service.process.terminate()
    assert service.ended(20) == 1
    assert time.monotonic() - began < 10
    assert "did not stop" in service.errors[-1]


@pytest.mark.fault(11)
def test_a_second_service_that_cannot_start_leaves_the_first_on_the_broker(
    edgex: Edgex, start: Start, unique: str
) -> None:
    first = start(f"-cp={edgex.provider}", f"-sk={unique}", "-o")
    port = first.port()
    holds_soon(lambda: any("connected to the message broker" in line for line in first.errors))
    second = start(f"-cp={edgex.provider}", f"-sk={unique}", "-o", SERVICE_PORT=str(port), EDGEX_STARTUP_DURATION="5")
    assert second.ended(20) == 1
    assert "cannot listen" in second.errors[-1]
    time.sleep(0.5)
    assert not any("no message broker" in line for line in first.errors)


def test_a_bug_ends_a_service_with_1_and_says_where_it_is(start: Start) -> None:
    service = start(configuration="Service: {Host: 127.0.0.1, StartupMsg: fail}")
    assert service.ended() == 1
    assert any("RuntimeError: a bug" in line for line in service.errors)


# -- starts that fail


def only_line(service: Running) -> str:
    """What the service said before it gave up: one line, and no traceback."""
    said = [line for line in service.errors if "no message broker" not in line]
    assert len(said) == 1, said
    assert said[0].startswith("level=ERROR")
    return said[0]


def test_a_busy_port_is_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start(port=port)
        assert service.ended() == 1
    line = only_line(service)
    assert f"device-cam cannot go on: cannot listen on 127.0.0.1:{port}: Address already in use; stop" in line


@pytest.mark.parametrize(
    ("configuration", "argv", "cause"),
    [
        (
            "Service: {Port: http}",
            (),
            "configuration key Service.Port (from private configuration, file): 'http' is refused",
        ),
        ("MessageBus: {Type: nats}", (), "MessageBus.Type 'nats' is not known here; use mqtt"),
        ("[", (), "is no YAML"),
        ("Service: {Port: 0}", ("-cf=nope.yaml",), "nope.yaml' cannot be read: No such file or directory"),
        ("Service: {Port: 0}", ("-cp=consul.http://localhost:8500",), "configuration provider 'consul"),
        ("Service: {Port: 0}", ("-rsh=a,b",), "-rsh takes three"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line(
    start: Start, configuration: str, argv: tuple[str, ...], cause: str
) -> None:
    service = start(*argv, configuration=configuration)
    assert service.ended() == 1
    assert cause in only_line(service)


def test_without_core_keeper_the_start_is_given_up_after_its_time(start: Start) -> None:
    provider = f"keeper.http://127.0.0.1:{free_port('127.0.0.1')}"
    began = time.monotonic()
    service = start(f"-cp={provider}", EDGEX_STARTUP_DURATION="1", EDGEX_STARTUP_INTERVAL="100ms")
    assert service.ended() == 1
    assert 1 < time.monotonic() - began < 10
    waiting, given_up = service.errors
    assert "waiting for core-keeper: core-keeper at" in waiting
    assert "device-cam cannot go on: gave up after 1 s: core-keeper at" in given_up


def test_a_service_that_waits_for_core_keeper_can_be_stopped(start: Start) -> None:
    service = start(f"-cp=keeper.http://127.0.0.1:{free_port('127.0.0.1')}")
    holds_soon(lambda: service.errors)
    service.process.terminate()
    assert service.ended() == 0


# -- with core-keeper


def test_a_service_registers_with_r_and_says_goodbye(edgex: Edgex, start: Start, unique: str) -> None:
    service = start(f"-cp={edgex.provider}", "-r", f"-sk={unique}")
    port = service.port()
    entry = requests.get(f"{edgex.keeper}/api/v3/registry/serviceId/{unique}", timeout=5).json()["registration"]
    assert (entry["host"], entry["port"]) == ("127.0.0.1", port)
    assert entry["HealthCheck"] == {"interval": "10s", "path": "/api/v3/ping", "type": "http"}
    service.process.terminate()
    assert service.ended() == 0
    entry = requests.get(f"{edgex.keeper}/api/v3/registry/serviceId/{unique}", timeout=5).json()["registration"]
    assert entry["status"] == "HALT"


def test_an_instance_and_a_key_make_the_services_name(edgex: Edgex, start: Start, unique: str) -> None:
    service = start(f"-cp={edgex.provider}", f"-sk={unique}-<profile>", "-i=2", EDGEX_PROFILE=".")
    name = f"{unique}-._2"
    assert service.get(service.port(), "/api/v3/ping")["serviceName"] == name
    assert keys(edgex, name)["Writable/LogLevel"] == "INFO"


def test_a_running_service_follows_its_log_level(edgex: Edgex, start: Start, unique: str) -> None:
    service = start(f"-cp={edgex.provider}", f"-sk={unique}")
    port = service.port()

    def level() -> str:
        return str(service.get(port, "/api/v3/config")["config"]["Writable"]["LogLevel"])

    assert level() == "INFO"
    holds_soon(lambda: any("connected to the message broker" in line for line in service.errors))
    put(edgex, f"{unique}/Writable/LogLevel", "DEBUG")
    holds_soon(lambda: level() == "DEBUG")
    put(edgex, f"{unique}/Writable/Telemetry/Interval", "often")
    holds_soon(lambda: any("Writable.Telemetry.Interval" in line for line in service.errors))
    assert level() == "DEBUG"


def test_a_posted_secret_is_known_at_once_to_a_service_that_no_broker_lets_in(
    edgex: Edgex, start: Start, unique: str
) -> None:
    nobody = f"MessageBus: {{Host: 127.0.0.1, Port: {free_port('127.0.0.1')}}}"
    own = f"Service: {{Host: 127.0.0.1, Port: 0}}\n{nobody}"
    service = start(f"-cp={edgex.provider}", f"-sk={unique}", configuration=own)
    port = service.port()
    body = {"secretName": "door", "secretData": [{"key": "password", "value": "hunter22"}]}
    assert requests.post(f"http://127.0.0.1:{port}/api/v3/secret", json=body, timeout=5).status_code == 201
    holds_soon(lambda: '"SecretName": "door"' in json.dumps(service.get(port, "/api/v3/config")))
    assert any("(Connection refused)" in line for line in service.errors)


def test_a_posted_secret_shows_up_in_no_line_and_no_answer(edgex: Edgex, start: Start, unique: str) -> None:
    service = start(f"-cp={edgex.provider}", f"-sk={unique}")
    port = service.port()
    holds_soon(lambda: any("connected to the message broker" in line for line in service.errors))
    body = {"secretName": "cam", "secretData": [{"key": "password", "value": "hunter22"}]}
    assert requests.post(f"http://127.0.0.1:{port}/api/v3/secret", json=body, timeout=5).status_code == 201

    def shown() -> str:
        return str(service.get(port, "/api/v3/config"))

    holds_soon(lambda: "'password': '***'" in shown())
    service.process.terminate()
    assert service.ended() == 0
    assert not any("hunter22" in line for line in service.errors)
    again = start(f"-cp={edgex.provider}", f"-sk={unique}")
    assert "hunter22" not in str(again.get(again.port(), "/api/v3/config"))
