"""What core-metadata keeps: devices, profiles, device services, provision watchers.

Structs hold what our services read and write; unknown keys are ignored, as Go ignores them
(go-mod-core-contracts, dtos/*.go).
"""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from edgex_kit.wire.messages import Sparse

AdminState = Literal["LOCKED", "UNLOCKED"]
OperatingState = Literal["UP", "DOWN", "UNKNOWN"]


class AutoEvent(Struct, rename="camel", kw_only=True, frozen=True):
    """Read `source_name` every `interval` and publish it."""

    interval: str
    on_change: bool = False
    on_change_threshold: float = 0.0
    source_name: str


class Device(Sparse, kw_only=True, frozen=True):
    """A camera, or a model, as core-metadata knows it."""

    id: str = ""
    name: str = field()
    parent: str = ""
    description: str = ""
    admin_state: AdminState = field()
    operating_state: OperatingState = field()
    labels: tuple[str, ...] | None = None
    location: Any = None
    service_name: str = field()
    profile_name: str = ""
    auto_events: tuple[AutoEvent, ...] | None = None
    protocols: dict[str, dict[str, Any]] = field()
    tags: dict[str, Any] | None = None
    properties: dict[str, Any] | UnsetType | None = UNSET

    @property
    def is_locked(self) -> bool:
        return self.admin_state == "LOCKED"


class ResourceProperties(Sparse, kw_only=True, frozen=True):
    """Type, access and range of a resource."""

    value_type: str = field()
    read_write: str = field()
    units: str = ""
    minimum: float | None = None
    maximum: float | None = None
    default_value: str = ""
    mask: int | None = None
    shift: int | None = None
    scale: float | None = None
    offset: float | None = None
    base: float | None = None
    assertion: str = ""
    media_type: str = ""
    optional: dict[str, Any] | None = None


class DeviceResource(Sparse, kw_only=True, frozen=True):
    """One thing of a device that can be read or written."""

    name: str = field()
    description: str = ""
    is_hidden: bool | UnsetType = UNSET
    properties: ResourceProperties = field()
    attributes: dict[str, Any] | None = None
    tags: dict[str, Any] | None = None

    @property
    def is_readable(self) -> bool:
        return "R" in self.properties.read_write

    @property
    def is_writable(self) -> bool:
        return "W" in self.properties.read_write


class ResourceOperation(Sparse, kw_only=True, frozen=True):
    """One resource of a device command."""

    device_resource: str = field()
    default_value: str = ""
    mappings: dict[str, str] | None = None


class DeviceCommand(Sparse, kw_only=True, frozen=True):
    """Several resources read or written at once."""

    name: str = field()
    is_hidden: bool | UnsetType = UNSET
    read_write: str = field()
    resource_operations: tuple[ResourceOperation, ...] = field()
    tags: dict[str, Any] | None = None


class DeviceProfile(Sparse, kw_only=True, frozen=True):
    """What a kind of device can do."""

    id: str = ""
    name: str = field()
    manufacturer: str = ""
    description: str = ""
    model: str = ""
    labels: tuple[str, ...] | None = None
    device_resources: tuple[DeviceResource, ...] | None = ()
    device_commands: tuple[DeviceCommand, ...] | None = ()

    def resource(self, name: str) -> DeviceResource | None:
        return next((it for it in self.device_resources or () if it.name == name), None)

    def command(self, name: str) -> DeviceCommand | None:
        return next((it for it in self.device_commands or () if it.name == name), None)


class DeviceService(Sparse, kw_only=True, frozen=True):
    """A device service's record."""

    name: str = field()
    description: str = ""
    labels: tuple[str, ...] | None = None
    base_address: str = field()
    admin_state: AdminState = field()
    properties: dict[str, Any] | UnsetType | None = UNSET


class DiscoveredDevice(Sparse, kw_only=True, frozen=True):
    """The device that a provision watcher adds for a discovered one that it matches."""

    profile_name: str = ""
    admin_state: AdminState = field()
    auto_events: tuple[AutoEvent, ...] | None = None
    properties: dict[str, Any] | UnsetType | None = UNSET


class ProvisionWatcher(Sparse, kw_only=True, frozen=True):
    """A rule for which discovered devices are added."""

    id: str = ""
    name: str = field()
    service_name: str = field()
    labels: tuple[str, ...] | None = None
    identifiers: dict[str, str] = field()
    blocking_identifiers: dict[str, tuple[str, ...]] | None = None
    admin_state: AdminState = field()
    discovered_device: DiscoveredDevice = field()
