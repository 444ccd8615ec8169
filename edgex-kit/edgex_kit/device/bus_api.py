"""Everything the service listens to on the bus, subscribed before core-metadata hears of us (contract 3.5, 1.7)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

from edgex_kit.bus.bus import Message
from edgex_kit.device.bus_requests import CommandDoor, ValidationDoor
from edgex_kit.device.cache import Devices
from edgex_kit.device.callbacks import SystemEventDoor
from edgex_kit.device.commands import Commands
from edgex_kit.device.driver import Driver
from edgex_kit.device.events import Outbox
from edgex_kit.device.host import Host
from edgex_kit.device.registration import base_name
from edgex_kit.supervision import keep


class Doors:
    """The open doors; system events wait at theirs until what they change has been read."""

    def __init__(self, system_events: SystemEventDoor, told: AsyncIterator[Message]) -> None:
        self._system_events = system_events
        self._told = told

    async def follow_system_events(self) -> None:
        """Follow for ever, beginning with those that came meanwhile."""
        await self._system_events.serve(self._told)


@contextlib.asynccontextmanager
async def open_doors(
    service: Host, devices: Devices, driver: Driver, commands: Commands, outbox: Outbox, tasks: asyncio.TaskGroup
) -> AsyncIterator[Doors]:
    """Answer commands and validation from now on."""
    topics, bus, name = service.topics, service.bus, service.name

    async with (
        bus.messages(topics.command_requests(name)) as asked,
        bus.messages(topics.validate_device(name)) as to_validate,
        bus.messages(
            topics.system_events(name),
            topics.deleted_profiles(),
            topics.system_events(base_name(service), "provisionwatcher"),
        ) as told,
    ):
        answering = {
            "commands": partial(CommandDoor(service, commands, outbox).serve, asked),
            "validation": partial(ValidationDoor(service, driver.check).serve, to_validate),
        }
        keep(tasks, answering)
        yield Doors(SystemEventDoor(service.metadata, devices, service.metrics), told)
