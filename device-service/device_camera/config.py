"""Settings of device-camera: EdgeX's sections for device services (contract 6.10) and the defaults of a camera."""

from typing import Any

from edgex_kit.durations import parse_duration
from edgex_kit.settings import Section, ServiceSection, Settings, WritableSection
from msgspec import field

PORT = 59985


class ReadingSection(Section, kw_only=True, frozen=True):
    reading_units: bool = True


class CameraDefaults(Section, kw_only=True, frozen=True):
    """What a camera does whose device does not say otherwise; takes effect while cameras run."""

    fps: float = 5.0  # frames published a second; 0: every captured one
    quality: int = 80  # of a JPEG that we encode, 1..100
    chroma: str = "4:2:0"
    size: str = ""  # "640x480"; empty: as the camera gives it
    auto_streaming: bool = True
    max_frame_age: str = "2s"  # an older frame is dropped instead of published; 0: none is
    open_timeout: str = "10s"
    read_timeout: str = "10s"
    reconnect_first: str = "1s"
    reconnect_most: str = "30s"

    @property
    def max_age_s(self) -> float:
        return parse_duration(self.max_frame_age)


class DeviceWritable(WritableSection, kw_only=True, frozen=True):
    reading: ReadingSection = field(default_factory=ReadingSection)
    camera: CameraDefaults = field(default_factory=CameraDefaults)


class DiscoverySection(Section, kw_only=True, frozen=True):
    enabled: bool = False
    interval: str = "0s"

    @property
    def interval_s(self) -> float:
        return parse_duration(self.interval)


class DeviceSection(Section, kw_only=True, frozen=True):
    data_transform: bool = True
    max_cmd_ops: int = 128
    profiles_dir: str = "./res/profiles"
    devices_dir: str = "./res/devices"
    provision_watchers_dir: str = ""
    enable_async_readings: bool = True
    labels: Any = ()  # a list in a file, numbered keys in core-keeper, comma-separated in the environment
    discovery: DiscoverySection = field(default_factory=DiscoverySection)
    allowed_fails: int = 0  # failed commands until the device is set DOWN; 0: it never is
    device_down_timeout: float = 0  # seconds until a device that was set DOWN so is tried again; 0: it is not

    @property
    def label_list(self) -> tuple[str, ...]:
        """The labels of our service record, whichever way they were written."""
        labels = self.labels
        if isinstance(labels, str):
            labels = labels.split(",")
        elif isinstance(labels, dict):
            labels = [labels[key] for key in sorted(labels)]
        return tuple(str(label).strip() for label in labels or () if str(label).strip())


class DriverSection(Section, kw_only=True, frozen=True):
    """Where discovery looks for cameras."""

    sysfs: str = "/sys"
    dev: str = "/dev"


class CameraService(Settings, kw_only=True, frozen=True):
    """Everything device-camera is told by its configuration."""

    writable: DeviceWritable = field(default_factory=DeviceWritable)
    service: ServiceSection = field(default_factory=lambda: ServiceSection(port=PORT))
    device: DeviceSection = field(default_factory=DeviceSection)
    driver: DriverSection = field(default_factory=DriverSection)

    @property
    def patience_s(self) -> float:
        """Seconds a command may wait for the camera, so that its own error is told before the request times out."""
        return 0.9 * (self.service.timeout_s or 30.0)
