"""What a service brings of its own: how one resource of one of its devices is read and written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgex_kit.wire.devices import Device, DeviceResource


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value whose event is to carry tags of its own."""

    value: Any
    tags: Mapping[str, Any]


class Driver(Protocol):
    """The half of a device service that knows its devices."""

    async def read(self, device: Device, resource: DeviceResource) -> Any:
        """The value, or a Tagged one. Raises DriverFailed naming the resource and the cause."""

    async def write(self, device: Device, resource: DeviceResource, value: Any) -> None:
        """Write a value. Raises Invalid for one the device cannot take, what it is refused for, or DriverFailed."""

    def check(self, device: Device) -> None:
        """Raise Invalid, saying why, for a device this service cannot run. Must not wait for anybody."""
