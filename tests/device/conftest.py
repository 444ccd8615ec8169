"""What the camera's tests share: a clock that obeys, numbered videos, an HTTP camera."""

import contextlib
import http.server
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import pytest
import yaml
from device_camera.__main__ import PACKAGED
from device_camera.backoff import Backoff
from device_camera.camera_settings import CameraSettings
from device_camera.cameras import Cameras, open_cameras
from device_camera.capture import Camera
from device_camera.clock import Clock
from device_camera.config import CameraService
from device_camera.driver import CameraDriver, CameraStates
from device_camera.folders import read_folder
from device_camera.frames import Pixels
from device_camera.meters import Meters
from device_camera.protocols import asked_of
from device_camera.provisioning import profiles_from
from device_camera.publishing import FrameStream
from device_camera.reports import Reports
from device_camera.sources import parse_source
from device_camera.sources_pattern import PatternSource, parse_pattern
from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.operating import Operating
from edgex_kit.device.outbox import Outbox
from edgex_kit.devices import Device, DeviceProfile
from edgex_kit.flags import Flags
from edgex_kit.service import Service, open_service
from edgex_kit.standin.address import Address

SECOND = 1_000_000_000  # ns
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that Debian's gi belongs to
OpenCamera = Callable[..., Camera]
SOON = Backoff(first=0.05, most=0.2)


class FakeClock(Clock):
    """Time that passes only when somebody waits, or when the test says so."""

    def __init__(self) -> None:
        self.now = 5 * SECOND  # ns
        self.waits: list[float | None] = []
        self.wakes = 0  # of the next waits, how many are cut short

    def unix_ns(self) -> int:
        return 1_700_000_000 * SECOND + self.now

    def monotonic_ns(self) -> int:
        return self.now

    def wait(self, seconds: float | None) -> bool:
        self.waits.append(seconds)
        if self.wakes:
            self.wakes -= 1
            return True
        self.pass_by(seconds or 0)
        return False

    def pass_by(self, seconds: float) -> None:
        """Let time go by without anybody waiting: work that took long."""
        self.now += round(seconds * SECOND)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def numbered_pictures(count: int, size: str = "320x240") -> list[Pixels]:
    """Pictures that carry the numbers 1 to `count`, for `sources_pattern.number_in` to read."""
    source, pictures = PatternSource(parse_pattern(f"?size={size}"), FakeClock()), []
    for _ in range(count):
        source.grab()
        pictures.append(source.retrieve())
    return pictures


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Writes a video of numbered pictures: make_video(30, fps=10)."""

    def make(count: int, fps: float = 20.0, name: str = "numbers.avi") -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 240))
        for picture in numbered_pictures(count):
            writer.write(picture)
        writer.release()
        return path

    return make


@pytest.fixture
def pictures() -> list[Pixels]:
    """Five pictures that carry the numbers 1 to 5."""
    return numbered_pictures(5)


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class HttpCamera:
    """A real HTTP server whose answer to GET is the test's own function."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    answer(self)
                except OSError:
                    return  # the client left
                finally:
                    camera.requests += 1

            def log_message(self, *_: object) -> None:
                return

        self.requests = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def url(self, path: str = "/video") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def http_camera() -> Iterator[Callable[..., HttpCamera]]:
    """Starts HTTP cameras: `http_camera(answer)`."""
    running: list[HttpCamera] = []

    def start(answer: Answer, port: int = 0) -> HttpCamera:
        running.append(HttpCamera(answer, port))
        return running[-1]

    yield start
    for camera in running:
        camera.close()


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Polls until a condition holds: eventually(lambda: camera.counters.captured > 3)."""

    def poll(holds: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.005)

    return poll


@pytest.fixture(autouse=True)
def _every_camera_is_closed() -> Iterator[None]:
    """Camera threads are daemons, which the guard against leaks leaves out."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 10
    while left := [
        one for one in threading.enumerate() if one.name.startswith("camera-") and one not in before and one.is_alive()
    ]:
        assert time.monotonic() < deadline, f"camera threads left running: {left}"
        time.sleep(0.01)


class RtspCamera:
    """A real RTSP server in a process of its own, to be killed and started again on the same port."""

    def __init__(self, *login: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._login = login
        self.start()

    def url(self, path: str = "/live") -> str:
        return f"rtsp://127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        command = [SYSTEM_PYTHON, str(script), str(self.port), *self._login]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def rtsp_camera() -> Iterator[Callable[..., RtspCamera]]:
    """Starts RTSP cameras, with digest authentication when given a login: `rtsp_camera("user", "password")`."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('GstRtsp', '1.0')"
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", probe], stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("no RTSP server: gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-{base,good,bad,ugly}")
    running: list[RtspCamera] = []

    def start(*login: str) -> RtspCamera:
        running.append(RtspCamera(*login))
        return running[-1]

    yield start
    for camera in running:
        camera.kill()  # one that is dead already still has its output to close


OpenService = Callable[..., AbstractAsyncContextManager[Service[CameraService]]]


@pytest.fixture
def open_camera_service(unique: str, tmp_path: Path) -> OpenService:
    """A service of the test's own, by file: `open_camera_service(broker, metadata_url, Section=...)`."""

    @contextlib.asynccontextmanager
    async def open_one(broker: Address, metadata: str = "", **sections: Any) -> AsyncIterator[Service[CameraService]]:
        place = urlsplit(metadata or "http://127.0.0.1:9")
        tree = {
            "Service": {"Host": "127.0.0.1", "Port": 0},
            "MessageBus": {"Host": broker.host, "Port": broker.port},
            "Clients": {"core-metadata": {"Protocol": "http", "Host": place.hostname, "Port": place.port}},
            **sections,
        }
        (tmp_path / "configuration.yaml").write_text(yaml.safe_dump(tree))
        flags = Flags(config_dir=str(tmp_path), service_key=f"device-{unique}")
        async with open_service("device-camera", "device-services", CameraService, flags, tmp_path) as service:
            yield service

    return open_one


@dataclass(frozen=True, slots=True)
class Room:
    """What serves commands, as `serve` puts it together, with nothing around it."""

    service: Service[CameraService]
    devices: Devices
    cameras: Cameras
    meters: Meters
    commands: Commands
    operating: Operating
    states: CameraStates
    reports: Reports
    outbox: Outbox


OpenRoom = Callable[..., AbstractAsyncContextManager[Room]]


@pytest.fixture
def open_room(open_camera_service: OpenService, broker: Address) -> OpenRoom:
    """A room of the test's own: `open_room(metadata_url, Section=...)`."""

    @contextlib.asynccontextmanager
    async def open_one(metadata: str = "", **sections: Any) -> AsyncIterator[Room]:
        async with open_camera_service(broker, metadata, **sections) as service:
            devices, outbox = Devices(service.name), Outbox(service)
            operating, reports = Operating(service, devices), Reports(service, outbox)
            states = CameraStates(devices, operating)
            async with open_cameras(
                devices,
                ask=lambda device: asked_of(device, service.settings.writable.camera, service.secrets.get),
                publish=FrameStream(service, outbox, devices).run,
                tell=[states.follow, reports.follow],
            ) as cameras:
                meters = Meters(devices, cameras, service.metrics)
                commands = Commands(service, devices, CameraDriver(service, devices, cameras, meters), operating)
                assert await service.bus.settle(5)
                yield Room(service, devices, cameras, meters, commands, operating, states, reports, outbox)

    return open_one


@pytest.fixture
def pattern_device(unique: str) -> Device:
    """A device as core-metadata would tell of it, with the profile that ships."""
    return Device(
        name=unique,
        admin_state="UNLOCKED",
        operating_state="UP",
        service_name=f"device-{unique}",
        profile_name="vision-camera",
        protocols={"Camera": {"Source": "pattern:?fps=50", "Fps": 0}},
    )


@pytest.fixture(scope="session")
def camera_profile() -> DeviceProfile:
    """The profile that ships."""
    (profile,) = profiles_from(read_folder("./res/profiles", PACKAGED, 1.0))
    return profile


@pytest.fixture
def open_camera() -> Iterator[OpenCamera]:
    """Cameras that are closed in the end: open_camera("pattern:", fps=10)."""
    with ExitStack() as opened:

        def start(source: str, *, is_streaming: bool = True, **settings: Any) -> Camera:
            wanted = CameraSettings(source=parse_source(source), **{"backoff": SOON, **settings})
            camera = opened.enter_context(Camera("test", wanted))
            if is_streaming:
                camera.start_streaming()
            return camera

        yield start
