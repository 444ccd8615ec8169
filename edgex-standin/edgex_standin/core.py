"""What the four services of the core share: their addresses, the store, the bus, the rules for names."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgex_kit.bus.bus import Bus
from edgex_kit.config.settings import ServiceSection
from edgex_kit.wire.codec import Encoding
from edgex_kit.wire.topics import Topics

from edgex_standin.address import Address
from edgex_standin.store import Store

VERSION = "4.0.2"  # the release whose wire we speak; clients compare the major number
KEEPER, METADATA, DATA, COMMAND = "core-keeper", "core-metadata", "core-data", "core-command"


@dataclass(frozen=True, slots=True)
class Core:
    """An open core."""

    store: Store
    bus: Bus
    topics: Topics
    places: Mapping[str, Address]  # of the four services, as others reach them
    broker: Address
    service: ServiceSection = field(default_factory=ServiceSection)
    encoding: Encoding = field(default_factory=Encoding.from_environment)
    keep_events: int = 10_000
    keep_bytes: int = 256 * 1024 * 1024

    @property
    def max_results(self) -> int:
        return self.service.max_result_count
