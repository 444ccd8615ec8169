"""The models that pipelines use, loaded, each in its slot; and why one is missing."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgex_kit.errors import EdgexError

from app_inference.model import Model, load_model
from app_inference.repository import Repository
from app_inference.runtime import Runtime
from app_inference.settings import InferenceSection, PipelineSection
from app_inference.slot import ModelSlot
from app_inference.workers import streams_for

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that is wanted and cannot be had."""

    name: str
    reason: str


class Models:
    """Slots by the model key of a pipeline."""

    def __init__(self, section: InferenceSection) -> None:
        self.slots: dict[str, ModelSlot] = {}
        self.failures: dict[str, Failure] = {}
        self._repository = Repository(Path(section.models_dir))
        self._runtime = runtime_from(section)

    def load(self, wanted: Mapping[str, PipelineSection]) -> None:
        """Bring the slots in line with `wanted`: load what is missing, let go of what nobody uses. Blocking.

        The first call belongs on the main thread, before any worker starts (see `model`). A model that cannot be had
        is a `Failure`, not an exception: the others serve on.
        """
        for key in sorted(wanted.keys() - self.slots.keys()):
            self._load_one(key, wanted[key])
        for key in self.slots.keys() - wanted.keys():
            self.slots.pop(key).model.close()
        self.failures = {key: failure for key, failure in self.failures.items() if key in wanted}

    def status(self) -> list[dict[str, Any]]:
        """One row a model, by name."""
        rows = [_row(slot) for slot in list(self.slots.values())]
        rows += [{"name": it.name, "state": "failed", "reason": it.reason} for it in list(self.failures.values())]
        return sorted(rows, key=lambda row: str(row["name"]))

    def _load_one(self, name: str, section: PipelineSection) -> None:
        overrides = {"type": section.model_type} if section.model_type else None
        try:
            model = load_model(self._repository.find(section.model), overrides, self._runtime)
            spent = model.warm_up()
        except EdgexError as error:
            self.failures[name] = Failure(name, str(error))
            log.warning("model '%s' cannot serve: %s", name, error)
            return
        self.failures.pop(name, None)
        self.slots[name] = ModelSlot(name, model)
        log.info("model %s serves: %s", name, _describe(model, spent.infer))


def runtime_from(section: InferenceSection) -> Runtime:
    """The configured way to run, with the choices made that were left to us."""
    streams = streams_for(section)
    return Runtime(
        device=section.device,
        threads=section.threads or streams,
        streams=streams,
        cache_dir=Path(section.cache_dir) if section.cache_dir else None,
    )


def _describe(model: Model, infer_ms: float) -> str:
    devices = ",".join(model.execution_devices)
    width, height = model.input_size
    return (
        f"{model.name} {model.version} ({model.digest[:12]}), {model.task} at {width}x{height}, "
        f"{model.precision} on {devices}, {infer_ms:.0f} ms a picture"
    )


def _row(slot: ModelSlot) -> dict[str, Any]:
    model = slot.model
    return {
        "name": slot.name,
        "state": "serving",
        "model": model.name,
        "version": model.version,
        "digest": model.digest[:12],
        "task": model.task,
        "inputSize": list(model.input_size),
        "precision": model.precision,
        "devices": list(model.execution_devices),
        "labels": len(model.labels),
    }
