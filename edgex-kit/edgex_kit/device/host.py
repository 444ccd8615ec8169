"""What the rooms of this package need of the service they are part of."""

from typing import Protocol

from edgex_kit.bus.bus import Bus
from edgex_kit.clients.metadata import Metadata
from edgex_kit.config.flags import Flags
from edgex_kit.device.settings import DeviceSettings
from edgex_kit.service.metrics import Metrics
from edgex_kit.wire.codec import Encoding
from edgex_kit.wire.topics import Topics


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
