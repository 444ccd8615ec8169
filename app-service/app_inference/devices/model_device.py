"""Models as EdgeX devices: the state of each managed model, and its device in core-metadata.

Managed are the models that pipelines name without a version, a path or a type of their own: those can be updated. Their
devices are added, kept up to date, and deleted with their models. operatingState is UP only while a model serves and
answers; adminState LOCKED forbids updates. A device that somebody deletes stays away until no pipeline names its model
any more, or the service restarts.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import msgspec
from edgex_kit.bus.queues import Latest
from edgex_kit.device.cache import Devices
from edgex_kit.device.driver import Host
from edgex_kit.device.operating_state import Operating
from edgex_kit.supervision import Causes
from edgex_kit.wire.devices import Device
from edgex_kit.wire.errors import EdgexError, NotFound

from app_inference.inference.model import Model
from app_inference.models.repository import SUFFIXES
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.samples import Summary, summarise
from app_inference.pipeline.serving import Models, ServedModel
from app_inference.rollout.desired import ModelRequest
from app_inference.rollout.engine import Engine
from app_inference.rollout.gate import FEW
from app_inference.rollout.reported import ModelReport
from app_inference.rollout.steps import Step

log = logging.getLogger(__name__)
audit = logging.getLogger("app_inference.audit")

MODEL_PROFILE = "openvino-model"
SICK = 0.5  # share of the last pictures without an answer from which a model counts as down
CHECK_EVERY = 2.0  # seconds: health has no event of its own, and core-metadata may have been unreachable
PAUSE = 0.25  # seconds between two comparisons at the least
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model and what is going on with it."""

    name: str
    slot: ServedModel | None  # None: it could not be loaded
    failure: str  # why, then
    report: ModelReport
    request: ModelRequest | None
    inference_ms: float

    @property
    def model(self) -> Model | None:
        """The version that serves."""
        return self.slot.model if self.slot else None

    def summary(self) -> Summary:
        """The last pictures of the serving version, in numbers."""
        return summarise(self.slot.evidence(self.slot.model).samples if self.slot else ())

    def trouble(self) -> str:
        """Why it does not serve as it should; empty while it does."""
        if self.slot is None:
            return self.failure or "it is not loaded"
        seen = self.summary()
        if seen.frames >= FEW and seen.error_rate > SICK:
            return "most of the last pictures failed"
        return ""

    @property
    def reason(self) -> str:
        return self.trouble() or self.report.reason

    @property
    def threshold(self) -> float:
        """The confidence in force where a pipeline has none of its own."""
        if self.slot is None:
            return 0.0
        own = self.slot.model.resolved.options.confidence
        return own if self.slot.threshold is None else self.slot.threshold

    @property
    def licence(self) -> str:
        told = self.model.provenance.get("license") if self.model else None
        return told.text if told else ""

    def metadata(self) -> dict[str, Any]:
        """Every settled key and all provenance, each with its origin."""
        model = self.model
        if model is None:
            return {}
        origins = model.resolved.origins
        settled = {
            key: {"value": _plain(value), "origin": origins.get(key, "model")}
            for key, value in model.resolved.values().items()
        }
        told = {key: {"value": told.text, "origin": told.origin} for key, told in model.provenance.items()}
        return {**settled, **told}

    def properties(self) -> dict[str, Any]:
        """What core-metadata keeps of it: text, numbers and maps that JSON can carry.

        Only what changes with the model's state: core-metadata stores and announces each change. The gate's numbers and
        what a rollout waits for are resources.
        """
        is_gated = self.report.state in (Step.SHADOW, Step.CANARY, Step.OBSERVE)
        stable = msgspec.structs.replace(self.report, gate={}, reason="" if is_gated else self.report.reason)
        model, report = self.model, msgspec.to_builtins(stable)
        said = {"model": self.name, "trouble": self.trouble(), "reported": report, "metadata": self.metadata()}
        if model is None:
            return said
        facts = {"version": model.version, "digest": model.digest, "task": model.task, "precision": model.precision}
        more = {"executionDevices": list(model.execution_devices), "license": self.licence, "warnings": model.warnings}
        return {**said, **facts, **_plain(more)}


class ModelStates:
    """The state of each managed model, from the parts of the service that know it."""

    def __init__(
        self, service: str, models: Models, engine: Engine, view: LiveView, wanted: Callable[[], Collection[str]]
    ) -> None:
        self._prefix = f"model-{service}-"
        self._models = models
        self._engine = engine
        self._view = view
        self._wanted = wanted  # the models that pipelines name

    def device_name(self, model: str) -> str:
        """The device of a model."""
        return f"{self._prefix}{model}"

    def model_of(self, device: str) -> str:
        """The model that a device's name names, whether there is one or not."""
        return device.removeprefix(self._prefix)

    def names(self) -> list[str]:
        """The managed models."""
        return sorted(key for key in self._wanted() if is_managed(key))

    def of(self, name: str) -> ModelState:
        """Raises NotFound for a model that is not managed."""
        slot, failure = self._models.served.get(name), self._models.failures.get(name)
        rollout = self._engine.rollout(name) if slot or failure else self._engine.rollouts.get(name)
        row = {"model": slot.model.name, "version": slot.model.version} if slot else {}
        return ModelState(
            name=name,
            slot=slot,
            failure=failure.reason if failure else "",
            report=self._engine.report().models.get(name, ModelReport(state=Step.IDLE)),
            request=rollout.deployment.request if rollout and rollout.deployment else None,
            inference_ms=self._view.inference_ms(row) or 0.0,
        )


def is_managed(key: str) -> bool:
    """Whether a pipeline's model names all versions of one model in the repository."""
    return _NAME.fullmatch(key) is not None and not key.lower().endswith(SUFFIXES)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


class ModelDevices:
    """Compares what is with what core-metadata knows, and tells it the difference."""

    def __init__(
        self,
        service: Host,
        devices: Devices,
        operating: Operating,
        states: ModelStates,
        engine: Engine,
        losses: Callable[[], int] = lambda: 0,
    ) -> None:
        self._losses = losses  # how often core-metadata has lost its data
        self._losses_seen = 0
        self._causes = Causes()
        self._service = service
        self._devices = devices
        self._operating = operating
        self._states = states
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
                self._causes.clear()
            except EdgexError as error:
                if self._causes.is_new(error):
                    log.warning("the devices of models are not up to date in core-metadata: %s", error)
            await asyncio.sleep(PAUSE)
            try:
                async with asyncio.timeout(CHECK_EVERY):
                    await self._news.get()
            except TimeoutError:
                continue

    async def _compare(self) -> None:
        wanted = {self._states.device_name(name): name for name in self._states.names()}
        self._dismissed &= wanted.keys()
        self._losses_seen = self._losses()
        for device in self._devices.all():
            if device.name not in wanted and device.profile_name == MODEL_PROFILE:
                await self._retire(device.name)
        for name, model in wanted.items():
            if name not in self._dismissed:
                await self._keep(name, self._states.of(model))

    async def _keep(self, name: str, state: ModelState) -> None:
        properties = msgspec.to_builtins(state.properties())
        device = self._devices.find(name)
        if device is None:
            device = await self._add(name, state, properties)
        elif self._told.get(name, device.properties) != properties:
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
            properties=properties,
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
        is_gone = not self._devices.has(name) and self._told.pop(name, None) is not None
        if is_gone and self._losses() == self._losses_seen:  # core-metadata did not lose it, somebody deleted it
            self._dismissed.add(name)
            audit.info("device '%s' was deleted; its model serves on", name)
        device = self._devices.find(name)
        if device is not None:
            self._lock(device, self._states.model_of(name))  # at once: a request may be on its way already
        self.hint()


def _labels(state: ModelState) -> tuple[str, ...]:
    model = state.model
    return ("model", model.task, model.precision) if model else ("model",)
