"""Which camera is looked at by which model, and how often. A new plan replaces the old one between two frames."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from app_inference.decoders import DecodeOptions
from app_inference.model import Model
from app_inference.settings import PipelineSection
from app_inference.slot import ModelSlot
from app_inference.zones import Zone


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One entry of `Writable.Pipelines`, ready to run."""

    id: str
    section: PipelineSection
    slot: ModelSlot
    labels: frozenset[str]
    zones: tuple[Zone, ...]

    def options(self, model: Model) -> DecodeOptions:
        """The model's own, with this pipeline's threshold."""
        own = model.resolved.options
        return own if self.section.threshold is None else replace(own, confidence=self.section.threshold)


@dataclass(frozen=True, slots=True)
class Plan:
    """All pipelines in force."""

    pipelines: tuple[Pipeline, ...] = ()
    _last: dict[tuple[str, str], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def for_camera(self, camera: str) -> list[Pipeline]:
        """The pipelines that want a frame of `camera` now: those whose rate allows it."""
        now = time.monotonic()
        with self._lock:
            return [it for it in self.pipelines if it.section.wants(camera) and self._is_due(it, camera, now)]

    def wants(self, camera: str) -> bool:
        """Whether any pipeline looks at `camera` at all."""
        return any(it.section.wants(camera) for it in self.pipelines)

    def _is_due(self, pipeline: Pipeline, camera: str, now: float) -> bool:
        if not pipeline.section.rate:
            return True
        key, period = (pipeline.id, camera), 1 / pipeline.section.rate
        due = self._last.get(key, now - period) + period
        if now < due - period * 0.05:  # a camera at just this rate jitters
            return False
        self._last[key] = due if now < due + period else now
        return True


def plan_from(sections: Mapping[str, PipelineSection], slots: Mapping[str, ModelSlot]) -> Plan:
    """The plan of the enabled pipelines whose model is there."""
    chosen: Sequence[tuple[str, PipelineSection]] = [
        (key, section) for key, section in sorted(sections.items()) if section.enabled and section.model_key in slots
    ]
    return Plan(
        tuple(
            Pipeline(key, section, slots[section.model_key], section.label_set, section.zone_list)
            for key, section in chosen
        )
    )
