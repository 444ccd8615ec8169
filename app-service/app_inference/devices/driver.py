"""The model half of the device side: what reading, writing and checking mean for a model.

`getFunction` and `setFunction` of a resource name a row of the tables. Everything that changes a model goes through the
engine's requests, as the desired state and the command line do; each is logged with who asked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from edgex_kit.device.commands import correlation
from edgex_kit.wire.devices import Device, DeviceResource
from edgex_kit.wire.errors import DriverFailed, EdgexError, Invalid, NotFound, Unavailable

from app_inference.background import in_background
from app_inference.devices.model_device import MODEL_PROFILE, ModelState, ModelStates, audit
from app_inference.errors import ModelRejected
from app_inference.inference.model import Model
from app_inference.models.repository import Repository, StoredModel
from app_inference.rollout.desired import ModelRequest
from app_inference.rollout.engine import Engine
from app_inference.rollout.golden import self_test

_MENDING = ("Deploy", "Rollback")  # bring back a model that could not be loaded
Setter = Callable[[str, Any, str], Awaitable[None]]  # model, value, who asks


class ModelDriver:
    """Serves `edgex_kit.device` with models."""

    def __init__(self, states: ModelStates, engine: Engine, repository: Repository) -> None:
        self._states = states
        self._engine = engine
        self._repository = repository
        self._setters: dict[str, Setter] = {
            "Deploy": self._deploy,
            "Rollback": self._roll_back,
            "Promote": self._promote,
            "Pause": self._pause,
            "SelfTest": self._self_test,
            "Threshold": self._threshold,
        }

    def model_name(self, device: str) -> str:
        """The model of a device; raises NotFound for one that is no managed model's."""
        model = self._states.model_of(device)
        if device == model or model not in self._states.names():
            raise NotFound(f"device '{device}' belongs to no model that a pipeline names")
        return model

    async def read(self, device: Device, resource: DeviceResource) -> Any:
        """The value of a resource. Raises DriverFailed naming it and the cause."""
        name = self.model_name(device.name)
        function = _function(resource, "getFunction")
        if function == "AvailableVersions":
            return await self._versions(name)
        getter = GETTERS.get(function)
        if getter is None:
            raise DriverFailed(f"resource '{resource.name}': getFunction '{function}' is not known")
        return getter(self._states.of(name))

    async def write(self, device: Device, resource: DeviceResource, value: Any) -> None:
        """Raises what the engine refuses a request with: NotFound for no such version, Invalid, Conflict, Locked."""
        name = self.model_name(device.name)
        function = _function(resource, "setFunction")
        setter = self._setters.get(function)
        if setter is None:
            raise DriverFailed(f"resource '{resource.name}': setFunction '{function}' is not known")
        who = f"command {correlation.get() or 'without a correlation id'}"
        try:
            if function not in _MENDING:
                self._serving(name)
            await setter(name, value, who)
        except EdgexError as error:
            audit.warning("model '%s': %s %s refused, asked by %s: %s", name, function, _short(value), who, error)
            raise
        audit.info("model '%s': %s %s, asked by %s", name, function, _short(value), who)

    def check(self, device: Device) -> None:
        """Raise Invalid for a device that is none of our models."""
        try:
            self.model_name(device.name)
        except NotFound as error:
            raise Invalid(f"{error}; this service makes the devices of its models itself") from error
        if device.profile_name != MODEL_PROFILE:
            raise Invalid(f"profile '{MODEL_PROFILE}' expected for device '{device.name}', got '{device.profile_name}'")

    async def _versions(self, name: str) -> dict[str, Any]:
        versions = await asyncio.to_thread(self._repository.versions, name)
        aliases = await asyncio.to_thread(self._repository.aliases, name)
        quarantined = list(self._states.of(name).report.quarantined)
        return {"versions": versions, "quarantined": quarantined, "aliases": aliases}

    async def _deploy(self, name: str, value: str, who: str) -> None:
        await self._engine.deploy(name, request_from_text(value, who))

    async def _roll_back(self, name: str, _value: bool, who: str) -> None:
        await self._engine.roll_back(name, who)

    async def _promote(self, name: str, _value: bool, _who: str) -> None:
        self._engine.rollout(name).promote()

    async def _pause(self, name: str, value: bool, who: str) -> None:
        await self._engine.adjust(name, paused=value, asked_by=who)

    async def _threshold(self, name: str, value: float, who: str) -> None:
        await self._engine.adjust(name, threshold=value, asked_by=who)

    def _serving(self, name: str) -> Model:
        """Raises Unavailable for a model that could not be loaded: there is nothing to hold, test or tune."""
        state = self._states.of(name)
        if state.model is None:
            raise Unavailable(f"model '{name}' is not loaded: {state.failure}; deploy a version that can be")
        return state.model

    async def _self_test(self, name: str, _value: bool, _who: str) -> None:
        model = self._serving(name)
        stored = self._repository.version(name, model.version)
        try:
            await in_background(_check, model, stored)
        except ModelRejected as error:
            raise DriverFailed(f"self-test failed: {error}") from error


def request_from_text(text: str, asked_by: str) -> ModelRequest:
    """A version, or a request as JSON. Raises Invalid."""
    if not text.lstrip().startswith("{"):
        return ModelRequest(version=text.strip(), asked_by=asked_by)
    try:
        request = msgspec.json.decode(text, type=ModelRequest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Invalid(f"Deploy: {error}") from error
    return msgspec.structs.replace(request, asked_by=asked_by)


def _check(model: Model, stored: StoredModel) -> None:
    digest = stored.verified_digest()
    if digest != model.digest:
        raise ModelRejected(f"its files are {digest[:12]}… on disk, {model.digest[:12]}… serves")
    self_test(model, stored)


def _function(resource: DeviceResource, key: str) -> str:
    return str((resource.attributes or {}).get(key, ""))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return " ".join(text.split())[:200]  # one line in the log, whatever was sent


def _text(read: Callable[[Any], object]) -> Callable[[ModelState], str]:
    """A getter of something about the serving version; empty while none serves."""
    return lambda it: str(read(it.model)) if it.model else ""


GETTERS: dict[str, Callable[[ModelState], Any]] = {
    "State": lambda it: str(it.report.state),
    "ActiveVersion": _text(lambda model: model.version),
    "PreviousVersion": lambda it: it.report.previous.version if it.report.previous else "",
    "CandidateVersion": lambda it: it.report.candidate.version if it.report.candidate else "",
    "Reason": lambda it: it.reason,
    "Gate": lambda it: dict(it.report.gate),
    "Digest": _text(lambda model: model.digest),
    "Task": _text(lambda model: model.task),
    "Labels": lambda it: {"labels": list(it.model.labels) if it.model else []},
    "Precision": _text(lambda model: model.precision),
    "ExecutionDevices": _text(lambda model: ",".join(model.execution_devices)),
    "Licence": lambda it: it.licence,
    "Metadata": lambda it: it.metadata(),
    "InferenceTimeMs": lambda it: it.inference_ms,
    "ErrorRate": lambda it: it.summary().error_rate,
    "Threshold": lambda it: it.threshold,
    "Pause": lambda it: bool(it.request and it.request.paused),
}
