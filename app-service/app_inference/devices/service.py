"""Puts the device side of this service together: it is a device service for its models, and an application service for
frames, under one name and one address."""

import asyncio
import logging
from functools import partial
from importlib.resources import files
from pathlib import Path

import yaml
from edgex_kit import SDK_VERSION
from edgex_kit.device.autoevents import AutoEvents
from edgex_kit.device.bus_api import open_bus_api
from edgex_kit.device.cache import Devices
from edgex_kit.device.commands import Commands
from edgex_kit.device.events import Outbox
from edgex_kit.device.operating_state import Operating
from edgex_kit.device.registration import Registration, fetch_profile
from edgex_kit.device.rest_api import command_routes
from edgex_kit.service.service import Service
from edgex_kit.supervision import every, keep, retry
from edgex_kit.wire.codec import convert
from edgex_kit.wire.devices import DeviceProfile
from edgex_kit.wire.errors import Unavailable
from starlette.routing import Route

from app_inference.devices.driver import ModelDriver
from app_inference.devices.model_device import MODEL_PROFILE, ModelDevices, ModelStates
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
        self._driver = ModelDriver(states, engine, repository)
        # A model that is DOWN is brought back by the very commands it is sent.
        self._commands = Commands(service, self._cache, self._driver, self._operating, serves_down=True)
        self._registration = Registration(service, self._cache, partial(publish_model_profile, service, self._cache))
        self._devices = ModelDevices(
            service, self._cache, self._operating, states, engine, lambda: self._registration.losses
        )

    def routes(self) -> list[Route]:
        return command_routes(self._service, self._commands, self._outbox)

    def models_changed(self) -> None:
        """Other models may be in use now."""
        self._engine.recheck()
        self._devices.hint()

    async def run(self, port: int) -> None:
        """Be a device service, for ever; frames are analysed whether core-metadata is there or not.

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


async def await_metadata(service: Service[AppSettings]) -> None:
    """Wait for core-metadata and compare major versions, as Go's SDK does; `-s` skips it.

    Raises Unavailable after the startup duration, or for another major version.
    """
    if service.flags.skip_version_check:
        return
    flags = service.flags
    version = await retry(
        service.metadata.version,
        "waiting for core-metadata",
        backoff=every(flags.interval_s),
        within=flags.startup_s,
        level=logging.INFO,
    )
    theirs, ours = version.split(".")[0], SDK_VERSION.split(".")[0]
    if theirs not in (ours, "0"):
        raise Unavailable(f"core-metadata is version {version}, this service is made for {ours}.x; -s skips this check")


async def publish_profiles(service: Service[AppSettings], retry_s: float = 30.0) -> None:
    """Put the profiles of our results into core-metadata, so that UI and rules know their resources.

    Tried until it succeeds: core-metadata may start later than we do. Results are published all the same.
    """
    what = "the result profiles could not be stored, results are published all the same"
    await retry(lambda: service.metadata.add_profiles(result_profiles()), what, backoff=every(retry_s))


async def publish_model_profile(service: Service[AppSettings], devices: Devices) -> None:
    """See that core-metadata has the profile of models, and read it back: an operator may have changed it."""
    await service.metadata.add_profiles([it for it in result_profiles() if it.name == MODEL_PROFILE])
    await fetch_profile(service.metadata, devices, MODEL_PROFILE)


def result_profiles() -> list[DeviceProfile]:
    """The profiles this package ships."""
    folder = Path(str(files("app_inference").joinpath("res/profiles")))
    return [
        convert(yaml.safe_load(path.read_text(encoding="utf-8")), DeviceProfile)
        for path in sorted(folder.glob("*.yaml"))
    ]
