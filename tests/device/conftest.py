"""What the camera's tests share: a clock that obeys, numbered pictures and videos, cameras, a service of their own."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import pytest
from device_camera.__main__ import PACKAGED
from device_camera.capture.camera import Camera
from device_camera.frame import Pixels
from device_camera.provisioning import profiles_from, read_folder
from device_camera.settings import CameraSettings
from device_camera.sources.factory import parse_source
from device_camera.sources.pattern import PatternSource, parse_pattern
from device_camera.timing import Clock
from edgex_kit.supervision import Backoff
from edgex_kit.wire.devices import Device, DeviceProfile
from edgex_standin.address import Address

from tests.device.network_cameras import Answer, HttpCamera, RtspCamera, has_rtsp_server
from tests.device.parts import OpenParts, OpenService, parts_opener, service_opener

SECOND = 1_000_000_000  # ns
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


@pytest.fixture
def rtsp_camera() -> Iterator[Callable[..., RtspCamera]]:
    """Starts RTSP cameras, with digest authentication when given a login: `rtsp_camera("user", "password")`."""
    if not has_rtsp_server():
        pytest.skip("no RTSP server: gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-{base,good,bad,ugly}")
    running: list[RtspCamera] = []

    def start(*login: str) -> RtspCamera:
        running.append(RtspCamera(*login))
        return running[-1]

    yield start
    for camera in running:
        camera.kill()  # one that is dead already still has its output to close


@pytest.fixture
def open_camera_service(unique: str, tmp_path: Path) -> OpenService:
    return service_opener(unique, tmp_path)


@pytest.fixture
def open_parts(
    open_camera_service: OpenService, broker: Address, pattern_device: Device, camera_profile: DeviceProfile
) -> OpenParts:
    return parts_opener(open_camera_service, broker, pattern_device, camera_profile)


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
