"""The product's own processes, started and pinned as a run needs them: broker, core, cameras, app-inference."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml
from edgex_standin.address import Address, free_port
from edgex_standin.broker.broker import open_broker as open_any_broker

from benchmarks.bench import NotMeasured
from benchmarks.cpu import pinned
from benchmarks.programs import ROOT, with_bytecode

HOST = "127.0.0.1"
START_WAIT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Running:
    """A service and its REST."""

    process: "subprocess.Popen[bytes]"
    url: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def get(self, path: str) -> Any:
        """What it answers."""
        return requests.get(f"{self.url}/api/v3/{path}", timeout=5).json()

    def put(self, path: str, body: Any) -> None:
        """Raises NotMeasured with what it answers where it does not do so."""
        answer = requests.put(f"{self.url}/api/v3/{path}", json=body, timeout=15)
        if answer.status_code != 200:
            raise NotMeasured(f"{path}: {answer.text}")


@contextlib.contextmanager
def open_broker(cores: Set[int]) -> Iterator[Address]:
    """mosquitto on `cores`, where it is installed."""
    with contextlib.ExitStack() as stack:
        with pinned(cores):
            broker = stack.enter_context(open_any_broker("auto", HOST, 0))
        yield broker.address


@contextlib.contextmanager
def open_app(
    broker: Address, model: Path, cores: Set[int], folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """app-inference with one pipeline for all cameras, on `cores`, once it is ready."""
    with launch_app(broker, model, cores, folder, settings) as app:
        _await_app(app)
        yield app


@contextlib.contextmanager
def launch_app(
    broker: Address, model: Path, cores: Set[int], folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """The same, without waiting for it; no core is there, and nothing waits for one."""
    arguments = ["--skipVersionCheck", f"--commonConfig={_common_file(folder, broker, metadata=1)}"]
    environment = _app_environment(str(model), folder) | (settings or {})
    with _open("app_inference", arguments, environment, cores, folder) as app:
        yield app


@contextlib.contextmanager
def open_updatable_app(core: Mapping[str, str], model: str, cores: Set[int], folder: Path) -> Iterator[Running]:
    """app-inference with its configuration, and the requested versions of its models, in the core."""
    environment = _app_environment(model, folder)
    with _open("app_inference", [f"-cp=keeper.{core['keeper']}"], environment, cores, folder) as app:
        _await_app(app)
        yield app


def _app_environment(model: str, folder: Path) -> dict[str, str]:
    """How app-inference is told what to do; nothing in it is special to benchmarks."""
    return {
        **_own(),
        "INFERENCE_MODELSDIR": str(folder / "models"),
        "INFERENCE_CACHEDIR": str(folder / "compiled"),
        "WRITABLE_PIPELINES_DEFAULT_MODEL": model,
    }


def _await_app(app: Running) -> None:
    _await(app, lambda: _is_ready(app.get("vision/status")))
    time.sleep(0.2)  # the broker grants the subscription


def _is_ready(status: Mapping[str, Any]) -> bool:
    """Whether every pipeline runs, or never will; REST answers while models are still being loaded."""
    states = {it["state"] for it in status["pipelineStates"].values()}
    return bool(status["isBrokerConnected"]) and "preparing" not in states


@contextlib.contextmanager
def open_core(broker: Address, cores: Set[int]) -> Iterator[Mapping[str, str]]:
    """The URLs of an embedded EdgeX core by name."""
    ports = [f"--{name}-port=0" for name in ("keeper", "metadata", "data", "command")]
    with pinned(cores):
        process = subprocess.Popen(
            [sys.executable, "-m", "edgex_standin", "--announce", f"--broker={broker}", "--state=:memory:", *ports],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
    with _ending(process):
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


@contextlib.contextmanager
def open_device_camera(
    core: Mapping[str, str], broker: Address, sources: Sequence[Mapping[str, Any]], cores: Set[int], folder: Path
) -> Iterator[Running]:
    """device-camera with one camera for each of `sources`, which are `Camera` protocol properties, on `cores`."""
    devices = [
        {"name": f"bench-{number}", "profileName": "vision-camera", "protocols": {"Camera": dict(source)}}
        for number, source in enumerate(sources)
    ]
    (folder / "devices").mkdir(parents=True, exist_ok=True)
    (folder / "devices" / "cameras.yaml").write_text(yaml.safe_dump({"deviceList": devices}))
    allowed = {"DRIVER_ALLOWEDPATHS": "*", "DRIVER_ALLOWEDHOSTS": "*, 127.0.0.0/8"}
    environment = {**_own(), **allowed, "DEVICE_DEVICESDIR": str(folder / "devices")}
    metadata = int(core["metadata"].rpartition(":")[2])
    arguments = [f"--commonConfig={_common_file(folder, broker, metadata)}"]
    with _open("device_camera", arguments, environment, cores, folder) as camera:
        _await(camera, lambda: bool(camera.get("ping")))
        yield camera


def _own() -> dict[str, str]:
    return {"EDGEX_SECURITY_SECRET_STORE": "false", "SERVICE_HOST": HOST, "SERVICE_PORT": str(free_port(HOST))}


def _common_file(folder: Path, broker: Address, metadata: int) -> Path:
    """The configuration that all services of a gateway share."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "common.yaml"
    bus = {"Type": "mqtt", "Protocol": "tcp", "Host": broker.host, "Port": broker.port, "AuthMode": "none"}
    clients = {"core-metadata": {"Protocol": "http", "Host": HOST, "Port": metadata}}
    place.write_text(yaml.safe_dump({"all-services": {"MessageBus": bus, "Clients": clients}}))
    return place


@contextlib.contextmanager
def _open(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], cores: Set[int], folder: Path
) -> Iterator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{module}.log").open("wb") as log, pinned(cores):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=with_bytecode({**os.environ, **environment}),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
        )  # fmt: skip
    with _ending(process):
        yield Running(process, f"http://{HOST}:{environment['SERVICE_PORT']}")


@contextlib.contextmanager
def _ending(process: "subprocess.Popen[Any]") -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await(service: Running, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_WAIT
    while time.monotonic() < deadline and service.process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if is_ready():
                return
        time.sleep(0.05)
    raise NotMeasured(
        f"{' '.join(map(str, service.process.args))} did not become ready; its log is in the run's folder"
    )
