"""Settings of device-camera: EdgeX's sections for device services and the defaults of a camera."""

import re

from edgex_kit.config.settings import Section, ServiceSection
from edgex_kit.device.settings import DeviceSection, DeviceSettings, DeviceWritable
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Invalid
from msgspec import field

from device_camera.frame import CHROMA
from device_camera.sources.access import Access

PORT = 59985
_SIZE = re.compile(r"(auto|\d{0,5}x\d{0,5})?")
LEAST_LEASE = 30  # seconds; app-inference repeats its request every 20, up to 6 later if another camera is silent


class CameraDefaults(Section, kw_only=True, frozen=True):
    """Defaults of every camera whose device does not set them; changes take effect while cameras run."""

    fps: float = 5.0  # frames published a second; 0: every captured one
    quality: int = 80  # of a JPEG that we encode, 1..100
    chroma: str = "4:2:0"
    size: str = ""  # "640x480"; empty: as the camera gives it; auto: as small as all subscribers allow
    size_lease: str = "60s"  # how long a requested size is valid; 30s at the least
    auto_streaming: bool = True
    max_frame_age: str = "2s"  # an older frame is dropped instead of published; 0: none is
    open_timeout: str = "10s"
    read_timeout: str = "10s"
    reconnect_first: str = "1s"
    reconnect_most: str = "30s"

    def __post_init__(self) -> None:
        """Raise ValueError, which the reader of a configuration reports with the section's key."""
        for key, is_right, expected in (
            ("Fps", 0 <= self.fps <= 1000, "frames a second from 0 to 1000"),
            ("Quality", 1 <= self.quality <= 100, "a JPEG quality from 1 to 100"),
            ("Chroma", self.chroma in CHROMA, f"one of {', '.join(CHROMA)}"),
            ("Size", _SIZE.fullmatch(self.size.strip().lower()) is not None, "a size such as 640x480, auto or nothing"),
        ):
            if not is_right:
                raise ValueError(f"{key}: {expected} expected")
        for key in ("open_timeout", "read_timeout", "reconnect_first", "reconnect_most", "max_frame_age"):
            _check_duration(key, getattr(self, key))
        _check_lease(self.size_lease)

    @property
    def max_age_s(self) -> float:
        return parse_duration(self.max_frame_age)

    @property
    def lease_s(self) -> float:
        return parse_duration(self.size_lease)


def _check_duration(key: str, text: str) -> float:
    """Its seconds. Raises ValueError."""
    try:
        return parse_duration(text)
    except Invalid as error:
        raise ValueError(f"{''.join(word.title() for word in key.split('_'))}: {error}") from error


def _check_lease(text: str) -> None:
    seconds = _check_duration("size_lease", text)
    if seconds < LEAST_LEASE:
        why = "app-inference repeats its request every 20s, and sizes would go up and down"
        raise ValueError(f"SizeLease: {LEAST_LEASE}s at the least expected, got '{text}'; {why}")


class CameraWritable(DeviceWritable, kw_only=True, frozen=True):
    camera: CameraDefaults = field(default_factory=CameraDefaults)


class DiscoverySection(Section, kw_only=True, frozen=True):
    enabled: bool = False
    interval: str = "0s"

    @property
    def interval_s(self) -> float:
        return parse_duration(self.interval)


class CameraSection(DeviceSection, kw_only=True, frozen=True):
    """Where cameras come from, beside what EdgeX has for every device service."""

    profiles_dir: str = "./res/profiles"
    devices_dir: str = "./res/devices"
    provision_watchers_dir: str = ""
    enable_async_readings: bool = True
    discovery: DiscoverySection = field(default_factory=DiscoverySection)


class DriverSection(Section, kw_only=True, frozen=True):
    """Where discovery finds cameras, and where cameras may be opened from."""

    sysfs: str = "/sys"
    dev: str = "/dev"
    allowed_hosts: str = "*"  # names, addresses, networks; *: all but this machine's and link-local ones
    allowed_paths: str = "./cameras, /cameras"  # folders of files that are cameras; *: all

    def __post_init__(self) -> None:
        try:
            self.access  # noqa: B018  checked
        except Invalid as error:
            raise ValueError(str(error)) from error

    @property
    def access(self) -> Access:
        return Access.parse(self.allowed_hosts, self.allowed_paths)


class CameraService(DeviceSettings, kw_only=True, frozen=True):
    """The whole configuration of device-camera."""

    writable: CameraWritable = field(default_factory=CameraWritable)
    service: ServiceSection = field(default_factory=lambda: ServiceSection(port=PORT))
    device: CameraSection = field(default_factory=CameraSection)
    driver: DriverSection = field(default_factory=DriverSection)

    @property
    def patience_s(self) -> float:
        """Seconds a command may wait for the camera, so that its own error is returned before the request times out."""
        return 0.9 * (self.service.timeout_s or 30.0)

    def check(self) -> None:
        """Raise Invalid for what types cannot express, naming the key."""
        if self.message_bus.disabled:
            raise Invalid("MessageBus.Disabled is true, but frames, commands and validation need the bus")
