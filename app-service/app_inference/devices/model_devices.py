"""The devices of the managed models in core-metadata: made, kept up to date, and retired with their models.

operatingState is UP only while a model serves and answers; adminState LOCKED forbids updates. A device that somebody
deletes stays away until its model is left and named again, or the service restarts.
"""

import asyncio
import logging
from typing import Any

import msgspec
from edgex_kit.bus.queues import Latest
from edgex_kit.device.cache import Devices
from edgex_kit.device.driver import Host
from edgex_kit.device.operating_state import Operating
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import EdgexError, NotFound

from app_inference.devices.driver import ModelDriver, audit
from app_inference.devices.model_state import ModelState, ModelStates
from app_inference.devices.startup import MODEL_PROFILE
from app_inference.rollout.engine import Engine

log = logging.getLogger(__name__)

LOOK_AGAIN = 2.0  # seconds: health has no event of its own, and core-metadata may have been away
PAUSE = 0.25  # seconds between two looks at the least


class ModelDevices:
    """Compares what is with what core-metadata knows, and tells it the difference."""

    def __init__(
        self,
        service: Host,
        devices: Devices,
        operating: Operating,
        states: ModelStates,
        driver: ModelDriver,
        engine: Engine,
    ) -> None:
        self._service = service
        self._devices = devices
        self._operating = operating
        self._states = states
        self._driver = driver
        self._engine = engine
        self._told: dict[str, dict[str, Any]] = {}  # device -> the properties core-metadata has of us
        self._dismissed: set[str] = set()  # devices that somebody deleted
        self._news: Latest[bool] = Latest()
        devices.on_change(self._changed)
        engine.on_report(self.hint)

    def hint(self, *_: object) -> None:
        """Something may have changed."""
        self._news.put(True)

    async def run(self) -> None:
        """Follow the models for ever; core-metadata has been joined before."""
        while True:
            try:
                await self._compare()
            except EdgexError as error:
                log.warning("the devices of models are not up to date in core-metadata: %s", error)
            await asyncio.sleep(PAUSE)
            try:
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._news.get()
            except TimeoutError:
                continue

    async def _compare(self) -> None:
        wanted = {self._driver.device_name(name): name for name in self._states.names()}
        self._dismissed &= wanted.keys()
        for device in self._devices.all():
            if device.name not in wanted and device.profile_name == MODEL_PROFILE:
                await self._retire(device.name)
        for name, model in wanted.items():
            if name not in self._dismissed:
                await self._keep(name, self._states.of(model))

    async def _keep(self, name: str, state: ModelState) -> None:
        properties = state.properties()
        device = self._devices.find(name)
        if device is None:
            device = await self._add(name, state, properties)
        elif self._told.get(name) != properties:
            await self._service.metadata.patch_device(name, properties=properties, labels=_labels(state))
        self._told[name] = properties
        trouble = state.trouble()
        self._operating.want(name, "DOWN" if trouble else "UP", trouble)
        self._lock(self._devices.find(name) or device, state.name)  # it may have been locked meanwhile

    async def _add(self, name: str, state: ModelState, properties: dict[str, Any]) -> Device:
        trouble = state.trouble()
        device = Device(
            name=name,
            description=f"Model {state.name} of {self._service.name}",
            admin_state="UNLOCKED",
            operating_state="DOWN" if trouble else "UP",
            labels=_labels(state),
            service_name=self._service.name,
            profile_name=MODEL_PROFILE,
            protocols={"Model": {"Name": state.name}},
            properties=msgspec.to_builtins(properties),
        )
        await self._service.metadata.add_devices([device], bypass_validation=True)
        known = await self._service.metadata.device(name)
        self._devices.put(known)
        audit.info("model '%s' is device '%s'", state.name, name)
        return known

    async def _retire(self, name: str) -> None:
        try:
            await self._service.metadata.delete_device(name)
        except NotFound:
            log.debug("device '%s' had gone already", name)
        self._told.pop(name, None)
        self._devices.remove(name)
        self._dismissed.discard(name)
        self._service.metrics.forget(device=name)
        audit.info("device '%s' is retired: no pipeline names its model any more", name)

    def _lock(self, device: Device, model: str) -> None:
        rollout = self._engine.rollouts.get(model)
        if rollout is not None:
            rollout.lock(device.is_locked or self._devices.is_locked)

    def _changed(self, name: str) -> None:
        if not self._devices.has(name) and self._told.pop(name, None) is not None:
            self._dismissed.add(name)
            audit.info("device '%s' was deleted; its model serves on", name)
        device = self._devices.find(name)
        if device is not None:
            self._lock(device, self._driver.name_in(name))  # at once: a wish may be on its way already
        self.hint()


def _labels(state: ModelState) -> tuple[str, ...]:
    model = state.model
    return ("model", model.task, model.precision) if model else ("model",)
