"""EdgeX's configuration sections for services that own devices (device-sdk-go v4, internal/config)."""

from typing import Any

from msgspec import field

from edgex_kit.config.settings import Section, Settings, WritableSection


class ReadingSection(Section, kw_only=True, frozen=True):
    reading_units: bool = True


class DeviceWritable(WritableSection, kw_only=True, frozen=True):
    reading: ReadingSection = field(default_factory=ReadingSection)


class DeviceSection(Section, kw_only=True, frozen=True):
    """The settings that every service with devices has; services add their own."""

    data_transform: bool = True
    max_cmd_ops: int = 128
    labels: Any = ()  # a list in a file, numbered keys in core-keeper, comma-separated in the environment
    allowed_fails: int = 0  # failed commands until the device is set DOWN; 0: it never is
    device_down_timeout: float = 0  # seconds until a device that was set DOWN so is tried again; 0: it is not

    @property
    def label_list(self) -> tuple[str, ...]:
        """The labels of our service record, in any of the three forms."""
        labels = self.labels
        if isinstance(labels, str):
            labels = labels.split(",")
        elif isinstance(labels, dict):
            labels = [labels[key] for key in sorted(labels)]
        return tuple(str(label).strip() for label in labels or () if str(label).strip())


class DeviceSettings(Settings, kw_only=True, frozen=True):
    """The configuration of a service that owns devices."""

    writable: DeviceWritable = field(default_factory=DeviceWritable)
    device: DeviceSection = field(default_factory=DeviceSection)
