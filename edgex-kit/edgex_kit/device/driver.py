"""The two halves this package connects: the service's own driver, and the service it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgex_kit.bus.bus import Bus
from edgex_kit.clients.metadata import Metadata
from edgex_kit.config.flags import Flags
from edgex_kit.device.settings import DeviceSettings
from edgex_kit.service.metrics import Metrics
from edgex_kit.wire.codec import Encoding
from edgex_kit.wire.devices import Device, DeviceResource
from edgex_kit.wire.topics import Topics


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value whose event is to carry tags of its own."""

    value: Any
    tags: Mapping[str, Any]


class Driver(Protocol):
    """Knows the service's devices."""

    async def read(self, device: Device, resource: DeviceResource) -> Any:
        """The value, or a Tagged one. Raises DriverFailed naming the resource and the cause."""

    async def write(self, device: Device, resource: DeviceResource, value: Any) -> None:
        """Write a value. Raises Invalid for one the device cannot take, another EdgexError for a refusal."""

    def check(self, device: Device) -> None:
        """Raise Invalid, with the reason, for a device this service cannot run. Must not block."""


class Host(Protocol):
    """A service that owns devices; every `Service` of `DeviceSettings` is one."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> DeviceSettings: ...
    @property
    def flags(self) -> Flags: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def topics(self) -> Topics: ...
    @property
    def metadata(self) -> Metadata: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def encoding(self) -> Encoding: ...
