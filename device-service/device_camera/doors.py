"""Everything the service listens to on the bus, subscribed before core-metadata hears of us (contract 3.5, 1.7)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

from edgex_kit.bus import Message
from edgex_kit.devices import Device
from edgex_kit.service import Service

from device_camera.callbacks import SystemEventDoor
from device_camera.commands import Commands
from device_camera.config import CameraService
from device_camera.devices import Devices
from device_camera.joining import base_name
from device_camera.protocols import check_device
from device_camera.publishing import Outbox
from device_camera.requests import CommandDoor, ValidationDoor
from device_camera.supervision import keep


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
    service: Service[CameraService], devices: Devices, commands: Commands, outbox: Outbox, tasks: asyncio.TaskGroup
) -> AsyncIterator[Doors]:
    """Answer commands and validation from now on."""
    topics, bus, name = service.topics, service.bus, service.name

    def check(device: Device) -> None:
        check_device(device, service.settings.writable.camera)

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
            "validation": partial(ValidationDoor(service, check).serve, to_validate),
        }
        keep(tasks, answering)
        yield Doors(SystemEventDoor(service.metadata, devices, service.metrics), told)
