"""Faults injected into a running gateway of real processes: broker, core, cameras, bus, disk, the services themselves.

After each one, and without restarting anything that was not killed, every good camera's frames and results flow again,
and every frame is accounted for: published by device-camera = received + counted as lost by app-inference, received =
analysed + dropped for a counted reason. Each cause is logged a few times at most, and never as a traceback.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pytest
import requests
from edgex_standin.address import free_port
from edgex_standin.broker.mosquitto import find_mosquitto

from tests.conformance.app_process import App, frame_event, frame_message, frame_topic, picture
from tests.conformance.keys import key_url
from tests.conformance.openers import app_opener, device_opener
from tests.conformance.peers import Core, Device, Metadata, open_bus, until
from tests.conftest import LOOPBACK, Edgex, PrivateBroker, run_standin
from tests.system.wire import Mode, Wire, open_wire

FPS = 10
CAMERAS = ("gate", "yard")
RECOVERY = 60.0  # seconds
IN_FLIGHT = 3  # frames between the two readings of the counters
MOST_LINES = 15  # warnings and errors of one service for one fault

pytestmark = [
    pytest.mark.system,
    pytest.mark.long,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed"),
]


@dataclass
class Gateway:
    """Everything that runs, and the wires between."""

    folder: Path
    broker: PrivateBroker
    core: Core  # by its wires
    real: Core
    wires: dict[str, Wire]
    standin: contextlib.ExitStack
    ports: dict[str, int]
    device: Device
    app: App
    base: dict[str, int] = field(default_factory=dict)  # published before app-inference came

    @property
    def metadata(self) -> Metadata:
        return Metadata(self.real.metadata)

    def add(self, name: str, source: str, **options: Any) -> None:
        protocol = {"Source": source, "Fps": FPS, **options}
        item = {"name": name, "serviceName": self.device.service, "profileName": "vision-camera",
                "adminState": "UNLOCKED", "operatingState": "UP", "protocols": {"Camera": protocol}}  # fmt: skip
        self.metadata.add("device", item)

    def start_core(self) -> Edgex:
        """The stand-in on its ports, with its state."""
        ports = [f"--{name}-port={port}" for name, port in self.ports.items()]
        host, port = self.core.broker
        return self.standin.enter_context(
            run_standin(f"--state={self.folder / 'core'}", f"--broker={host}:{port}", "--request-timeout=2s", *ports)
        )

    def row(self, camera: str) -> dict[str, Any]:
        return self.app.camera(camera)

    def published(self, camera: str) -> int:
        return int(self.device.value(camera, "FramesPublished"))

    def uncounted(self, camera: str) -> int:
        """Frames that were published and are in no counter of app-inference."""
        row = self.row(camera)
        return self.published(camera) - self.base[camera] - row["framesReceived"] - row["framesLost"]

    def results(self, camera: str) -> int:
        """How many core-data has stored."""
        answer = requests.get(f"{self.real.data}/api/v3/event/count/device/name/{camera}", timeout=10)
        return int(answer.json()["count"])

    def warnings(self, log: Path) -> list[str]:
        lines = log.read_text("utf-8", "replace").splitlines()
        return [line for line in lines if "level=WARN" in line or "level=ERROR" in line or "Traceback" in line]


class Running:
    """The gateway of all tests; started anew after a test that has failed."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._stack = contextlib.ExitStack()
        self._gateway: Gateway | None = None

    def get(self) -> Gateway:
        if self._gateway is None:
            self._gateway = self._stack.enter_context(_open_gateway(self._folders))
        return self._gateway

    def close(self) -> None:
        self._gateway = None
        self._stack.close()


@contextlib.contextmanager
def _open_gateway(folders: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = folders.mktemp("gateway")
    with contextlib.ExitStack() as stack:
        broker = PrivateBroker()
        stack.callback(broker.stop)
        ports = {name: free_port(LOOPBACK) for name in ("keeper", "metadata", "data", "command")}
        wires = {
            name: stack.enter_context(open_wire((LOOPBACK, port)))
            for name, port in {**ports, "broker": broker.address.port}.items()
        }
        urls = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
        real = Core(**urls, broker=(LOOPBACK, broker.address.port))
        core = Core(**{name: wires[name].url for name in ports}, broker=wires["broker"].address)
        standin = stack.enter_context(contextlib.ExitStack())
        gateway = Gateway(folder, broker, core, real, wires, standin, ports, None, None)  # type: ignore[arg-type]
        gateway.start_core()
        metadata = {"CLIENTS_CORE_METADATA_PORT": str(wires["metadata"].address[1])}
        open_device = stack.enter_context(device_opener(core, folders))
        gateway.device = stack.enter_context(open_device("cams", **metadata))
        pictures = folder / "pictures"
        pictures.mkdir()
        for number in range(4):
            (pictures / f"{number}.jpg").write_bytes(picture(60 * number))
        for name, source in zip(CAMERAS, ("pattern:?fps=10", str(pictures)), strict=True):
            gateway.add(name, source)
        open_app = app_opener(core, folders)
        gateway.app = stack.enter_context(open_app("app-inference", "-r", **metadata))
        for name in CAMERAS:
            until(lambda name=name: gateway.row(name).get("framesAnalysed"), f"frames of {name} are analysed", RECOVERY)
        gateway.base = dict.fromkeys(CAMERAS, 0)
        gateway.base = {name: gateway.uncounted(name) for name in CAMERAS}
        yield gateway


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> None:
    """The gateway outlives each test."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory)
    yield running
    running.close()


Inject: TypeAlias = Callable[[Gateway], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Inject
    seconds: float = 6.0
    are_others_hurt: bool = True  # frames may stop while it lasts


def wire(peer: str, mode: Mode) -> Inject:
    @contextlib.contextmanager
    def run(gateway: Gateway) -> Iterator[None]:
        gateway.wires[peer].set(mode)
        try:
            yield
        finally:
            gateway.wires[peer].set("pass")

    return run


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def broker_killed(gateway: Gateway) -> Iterator[None]:
    gateway.broker.stop()
    try:
        yield
    finally:
        gateway.broker.start()


def core_killed(*, empties: bool) -> Inject:
    @contextlib.contextmanager
    def run(gateway: Gateway) -> Iterator[None]:
        gateway.standin.close()
        if empties:
            shutil.rmtree(gateway.folder / "core")
        try:
            yield
        finally:
            gateway.start_core()

    return run


def camera(source: str | Callable[[Path], str], **options: Any) -> Inject:
    """A bad camera beside the good ones."""

    @contextlib.contextmanager
    def run(gateway: Gateway) -> Iterator[None]:
        text = source if isinstance(source, str) else source(gateway.folder)
        gateway.add("bad", text, **options)
        try:
            yield
        finally:
            gateway.metadata.delete("device/name/bad")

    return run


def peer(serve: Callable[[socket.socket], None], form: str) -> Inject:
    """A camera on the network whose connections `serve` handles."""

    @contextlib.contextmanager
    def run(gateway: Gateway) -> Iterator[None]:
        with socket.create_server((LOOPBACK, 0)) as server:
            accepted: list[socket.socket] = []

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = server.accept()
                        accepted.append(connection)
                        threading.Thread(target=_quietly, args=(serve, connection), daemon=True).start()

            thread = threading.Thread(target=accept, daemon=True)
            thread.start()
            try:
                with camera(form.format(server.getsockname()[1]))(gateway):
                    yield
            finally:
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                for connection in accepted:
                    connection.close()
                thread.join(5)

    return run


def _quietly(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        serve(connection)


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def drip(connection: socket.socket) -> None:
    """Headers that never end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        connection.sendall(b"a")
        time.sleep(0.2)


def rubbish(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")
    while True:
        connection.sendall(b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + os.urandom(5000) + b"\r\n")
        time.sleep(0.05)


def once(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n")
    silent(connection)


def fifo(folder: Path) -> str:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(folder / "fifo.mp4")
    return str(folder / "fifo.mp4")


def bomb(folder: Path) -> str:
    """A small JPEG that says it is 30,000 x 30,000 pixels."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\x75\x30\x75\x30"
    (folder / "bomb").mkdir(exist_ok=True)
    (folder / "bomb" / "a.jpg").write_bytes(data)
    return str(folder / "bomb")


def messages(topic: str, *bodies: bytes) -> Inject:
    """Messages on the bus, again and again while it lasts."""

    @contextlib.contextmanager
    def run(gateway: Gateway) -> Iterator[None]:
        over = threading.Event()

        def send() -> None:
            with open_bus(gateway.real) as bus:
                while not over.wait(0.05):
                    for body in bodies:
                        bus.shout(topic, body)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    return run


def key(path: str, value: str, after: str) -> Inject:
    """A wrong value in core-keeper."""

    @contextlib.contextmanager
    def run(gateway: Gateway) -> Iterator[None]:
        requests.put(key_url(gateway.real, path), json={"value": value}, timeout=10).raise_for_status()
        try:
            yield
        finally:
            requests.put(key_url(gateway.real, path), json={"value": after}, timeout=10).raise_for_status()

    return run


def lines(target: str, *data: bytes) -> Inject:
    """Bytes on a service's port, on many connections, while it lasts."""

    @contextlib.contextmanager
    def run(gateway: Gateway) -> Iterator[None]:
        url = gateway.app.url if target == "app" else gateway.device.url
        port = int(url.rpartition(":")[2])
        with contextlib.ExitStack() as stack:
            for number in range(200):
                with contextlib.suppress(OSError):
                    connection = stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=2))
                    connection.sendall(data[number % len(data)])
            yield

    return run


@contextlib.contextmanager
def deleted_and_added(gateway: Gateway) -> Iterator[None]:
    gateway.add("brief", "pattern:?fps=10")
    until(lambda: gateway.row("brief"), "the camera is known", 30)
    gateway.metadata.delete("device/name/brief")
    yield


def process(of: str) -> Inject:
    def run(gateway: Gateway) -> contextlib.AbstractContextManager[None]:
        return stopped((gateway.app if of == "app" else gateway.device).process.pid)

    return run


@contextlib.contextmanager
def broker_stopped(gateway: Gateway) -> Iterator[None]:
    found = subprocess.run(["pgrep", "-P", str(os.getpid()), "mosquitto"], capture_output=True, text=True).stdout
    with contextlib.ExitStack() as stack:
        for pid in found.split():
            stack.enter_context(stopped(int(pid)))
        yield


TOPIC = "edgex/frames/device-camera/vision-camera/gate2/Frame"
WIRES: tuple[Mode, ...] = ("refuse", "reset", "silent", "garbage", "error", "slow")
FAULTS = [
    *(Fault(f"broker {mode}", wire("broker", mode)) for mode in WIRES if mode != "error"),
    *(Fault(f"keeper {mode}", wire("keeper", mode), are_others_hurt=False) for mode in WIRES),
    *(Fault(f"metadata {mode}", wire("metadata", mode), are_others_hurt=False) for mode in WIRES),
    Fault("broker killed", broker_killed),
    Fault("broker stopped", broker_stopped, 8),
    Fault("broker cut briefly", wire("broker", "refuse"), 0.1),
    Fault("core killed", core_killed(empties=False), are_others_hurt=False),
    Fault("core restarted empty", core_killed(empties=True), are_others_hurt=False),
    Fault("app stopped", process("app"), 8),
    Fault("device stopped", process("device"), 8),
    Fault("rtsp silent after accept", peer(silent, "rtsp://127.0.0.1:{}/a"), are_others_hurt=False),
    Fault("rtsp silent after OPTIONS", peer(once, "rtsp://127.0.0.1:{}/a"), are_others_hurt=False),
    Fault("http silent", peer(silent, "http://127.0.0.1:{}/a"), are_others_hurt=False),
    Fault("http drips headers", peer(drip, "http://127.0.0.1:{}/a"), are_others_hurt=False),
    Fault("http sends rubbish", peer(rubbish, "http://127.0.0.1:{}/a"), are_others_hurt=False),
    Fault("rtsp refused", camera("rtsp://127.0.0.1:9/a"), are_others_hurt=False),
    Fault("http refused", camera("http://127.0.0.1:9/a"), are_others_hurt=False),
    Fault("no such host", camera("rtsp://nowhere.invalid/a"), are_others_hurt=False),
    Fault("no such file", camera("/nowhere/a.mp4"), are_others_hurt=False),
    Fault("no such node", camera("/dev/video99"), are_others_hurt=False),
    Fault("fifo", camera(fifo), are_others_hurt=False),
    Fault("picture bomb", camera(bomb), are_others_hurt=False),
    Fault("empty folder", camera(lambda folder: str((folder / "none").mkdir(exist_ok=True) or folder / "none"))),
    Fault("device file", camera("/dev/zero"), are_others_hurt=False),
    Fault("camera of nothing", camera(""), are_others_hurt=False),
    Fault("impossible rate", camera("pattern:", Quality="banana"), are_others_hurt=False),
    Fault("camera deleted", deleted_and_added, 1, are_others_hurt=False),
    Fault("random bytes as frames", messages(TOPIC, os.urandom(2000), b"", b"{", b"\xa0")),
    Fault("deep json as frames", messages(TOPIC, b"[" * 100_000, b'{"payload":' * 10_000)),
    Fault("frames of another device", messages(TOPIC, frame_message(frame_event("someone", picture())))),
    Fault("broken pictures", messages(frame_topic("gate2"), frame_message(frame_event("gate2", os.urandom(3000))))),
    Fault(
        "huge source name",
        messages(TOPIC, frame_message({**frame_event("gate2", picture()), "sourceName": "a" * 20_000})),
    ),
    Fault("wrong types in events", messages(TOPIC, json.dumps({"payload": {"event": 7}, "contentType": 3}).encode())),
    Fault(
        "rubbish as system events", messages("edgex/system-events/core-metadata/device/add/device-cams/x", b"{}", b"no")
    ),
    Fault("rubbish as commands", messages("edgex/device/command/request/device-cams/gate/Frame/get", b"{}", b"\0")),
    Fault("a threshold of the wrong type", key("app-inference/Writable/Pipelines/lamps/Threshold", "high", "0.5")),
    Fault("a log level that is none", key("app-inference/Writable/LogLevel", "LOUD", "INFO"), are_others_hurt=False),
    Fault("a quality of the wrong type", key("device-cams/Writable/Camera/Quality", "banana", "80")),
    Fault("desired versions that are no JSON", key("app-inference/Models/Desired", "{{{", "")),
    *(
        Fault(f"{target}: {name}", lines(target, data), are_others_hurt=False)
        for target in ("app", "device")
        for name, data in {
            "half requests": b"GET /api/v3/ping HTTP/1.1\r\nHost: localhost\r\n",
            "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00" * 20,
            "endless body": b"PUT /api/v3/secret HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
            + b"a" * 999,
            "long names": b"GET /api/v3/device/name/" + b"a" * 60_000 + b"/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        }.items()
    ),
]


@pytest.mark.fault(2, 3, 4, 6, 7, 8, 10, 12, 24)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_the_gateway_recovers_and_every_frame_is_counted(fault: Fault, running: Running) -> None:
    gateway = running.get()
    try:
        _check(gateway, fault)
    except BaseException:
        running.close()
        raise


def _check(gateway: Gateway, fault: Fault) -> None:
    logs = {"device-camera": gateway.device.log, "app-inference": gateway.app.log}
    before = {name: len(gateway.warnings(log)) for name, log in logs.items()}
    analysed = {name: gateway.row(name)["framesAnalysed"] for name in CAMERAS}
    for name in CAMERAS:  # counters begin anew for a camera that core-metadata has lost and got back
        gateway.base[name] += gateway.uncounted(name)
    begin = time.monotonic()
    with fault.inject(gateway):
        time.sleep(fault.seconds)
        if not fault.are_others_hurt:
            took = time.monotonic() - begin
            for name in CAMERAS:
                assert gateway.row(name)["framesAnalysed"] - analysed[name] >= 0.5 * FPS * took, f"{name} is disturbed"
    healed, stored = time.monotonic(), {name: gateway.results(name) for name in CAMERAS}
    for name in CAMERAS:
        until(lambda name=name: gateway.results(name) > stored[name] + FPS, f"results of {name} are stored", RECOVERY)
    print(f"recovered {time.monotonic() - healed:.1f} s after the fault")  # noqa: T201
    for name in CAMERAS:
        with contextlib.suppress(AssertionError):
            until(lambda name=name: abs(gateway.uncounted(name)) <= IN_FLIGHT, f"frames of {name} are counted", 10)
        row = gateway.row(name)
        assert abs(gateway.uncounted(name)) <= IN_FLIGHT, (gateway.published(name), gateway.base[name], row)
        left = row["framesReceived"] - row["framesAnalysed"] - sum(row["dropped"].values())
        assert abs(left) <= IN_FLIGHT, row
    for name, log in logs.items():
        said = gateway.warnings(log)[before[name] :]
        assert not [line for line in said if "Traceback" in line], said
        assert len(said) <= MOST_LINES, said
    assert gateway.device.process.poll() is None
    assert gateway.app.process.poll() is None
