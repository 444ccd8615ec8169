"""A managed model as it stands now: what its device's resources and properties are read from.

Managed are the models that pipelines name without a version, a path or a type of their own: those can be updated.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import msgspec

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

SICK = 0.5  # share of the last pictures without an answer from which a model counts as down
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
            return f"{seen.error_rate:.0%} of the last {seen.frames} pictures failed"
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
        """Every settled key and all provenance, each with who says so."""
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
        """What core-metadata keeps of it: text, numbers and maps that JSON can carry."""
        model, report = self.model, msgspec.to_builtins(self.report)
        said = {"model": self.name, "trouble": self.trouble(), "reported": report, "metadata": self.metadata()}
        if model is None:
            return said
        facts = {"version": model.version, "digest": model.digest, "task": model.task, "precision": model.precision}
        more = {"executionDevices": list(model.execution_devices), "license": self.licence, "warnings": model.warnings}
        return {**said, **facts, **_plain(more)}


class ModelStates:
    """Asks the parts of the service how each managed model stands."""

    def __init__(self, models: Models, engine: Engine, view: LiveView, wanted: Callable[[], Collection[str]]) -> None:
        self._models = models
        self._engine = engine
        self._view = view
        self._wanted = wanted  # the models that pipelines name

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
