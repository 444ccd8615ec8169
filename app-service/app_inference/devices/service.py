"""Puts the device side of this service together: it is a device service for its models, and an application service for
frames, under one name and one address."""

import asyncio
from functools import partial

from edgex_kit.device.autoevents import AutoEvents
from edgex_kit.device.bus_api import open_bus_api
from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.events import Outbox
from edgex_kit.device.operating_state import Operating
from edgex_kit.device.registration import Registration
from edgex_kit.device.rest_api import command_routes
from edgex_kit.service.service import Service
from edgex_kit.supervision import keep
from starlette.routing import Route

from app_inference.devices.driver import ModelDriver
from app_inference.devices.model_devices import ModelDevices
from app_inference.devices.model_state import ModelStates
from app_inference.devices.startup import publish_model_profile
from app_inference.models.repository import Repository
from app_inference.rollout.engine import Engine
from app_inference.settings import AppSettings


class ModelDeviceService:
    """Commands, validation and system events for models, over REST and the bus."""

    def __init__(
        self, service: Service[AppSettings], states: ModelStates, engine: Engine, repository: Repository
    ) -> None:
        self._service = service
        self._engine = engine
        self._cache = Devices(service.name)
        self._outbox = Outbox(service)
        self._operating = Operating(service, self._cache)
        self._driver = ModelDriver(service.name, states, engine, repository)
        # A model that is DOWN is brought back by the very commands it is sent.
        self._commands = Commands(service, self._cache, self._driver, self._operating, serves_down=True)
        self._registration = Registration(service, self._cache, partial(publish_model_profile, service, self._cache))
        self._devices = ModelDevices(service, self._cache, self._operating, states, self._driver, engine)

    def routes(self) -> list[Route]:
        return command_routes(self._service, self._commands, self._outbox)

    def models_changed(self) -> None:
        """Other models may be in use now."""
        self._engine.recheck()
        self._devices.hint()

    async def run(self, port: int) -> None:
        """Be a device service, for ever; frames are looked at whether core-metadata is there or not.

        Without a message bus models are no devices: core-metadata asks on the bus before it takes a device.
        """
        service, registration = self._service, self._registration
        if service.settings.message_bus.disabled:
            return
        async with (
            asyncio.TaskGroup() as tasks,
            open_bus_api(
                service, registration, self._driver, self._commands, self._outbox, tasks
            ) as follow_system_events,
        ):
            await registration.register(port)
            lasting = {
                "system events": follow_system_events,
                "operating state": self._operating.run,
                "model devices": self._devices.run,
                "refresh": registration.refresh,
            }
            keep(tasks, lasting)
            schedules = AutoEvents(self._cache, self._commands, self._outbox.send, tasks)
            try:
                await asyncio.Event().wait()
            finally:  # it begins again when a task of it fails
                schedules.close()
