"""Which camera is analysed by which model, and how often. A new plan replaces the old one between two frames."""

import threading
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from app_inference.decoders import DecodeOptions
from app_inference.inference.model import Model
from app_inference.pipeline.serving import ServedModel
from app_inference.settings import PipelineSection
from app_inference.stages.scene import SceneRules, SceneStage
from app_inference.stages.stage import Stage

JITTER = 0.05  # of a period; a camera at just the rate a pipeline allows loses no frame for being early


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One entry of `Writable.Pipelines`, ready to run."""

    id: str
    section: PipelineSection
    served: ServedModel
    cameras: frozenset[str] | None  # None: every camera
    labels: frozenset[str]  # empty: all
    stages: tuple[Stage, ...]

    def wants(self, camera: str) -> bool:
        return self.cameras is None or camera in self.cameras

    def options(self, model: Model) -> DecodeOptions:
        """The model's own, with this pipeline's threshold or, where it has none, the model device's."""
        own = model.resolved.options
        threshold = self.served.threshold if self.section.threshold is None else self.section.threshold
        return own if threshold is None else replace(own, confidence=threshold)


@dataclass(frozen=True, slots=True)
class Plan:
    """All pipelines in force."""

    pipelines: tuple[Pipeline, ...] = ()
    configured: tuple[object, ...] = ()  # what is configured, right or wrong: `AppWritable.sources`
    wanted: Mapping[str, PipelineSection] = field(default_factory=dict)  # what it was made from
    coming: Mapping[str, PipelineSection] = field(default_factory=dict)  # what the next is made from, while models load
    refused: Mapping[str, str] = field(default_factory=dict)  # pipeline -> why its configuration is not followed
    scenes: Mapping[str, SceneRules] = field(default_factory=dict)  # camera -> its zones and lines
    _next: dict[tuple[str, str], float] = field(default_factory=dict)  # pipeline, camera -> when it is due
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def models(self) -> set[str]:
        """The keys of the models in use."""
        return {it.served.name for it in self.pipelines}

    @property
    def sections(self) -> dict[str, PipelineSection]:
        """The configuration in force; as configured for pipelines that cannot run or are disabled."""
        return {**self.wanted, **{it.id: it.section for it in self.pipelines}}

    def for_camera(self, camera: str) -> list[Pipeline]:
        """The pipelines that want a frame of `camera` now: those whose rate allows it."""
        now = time.monotonic()
        with self._lock:
            return [it for it in self.pipelines if it.wants(camera) and self._is_due(it, camera, now)]

    def wants(self, camera: str) -> bool:
        """Whether any pipeline analyses `camera` at all."""
        return any(it.wants(camera) for it in self.pipelines)

    def forget(self, cameras: Set[str]) -> None:
        """Drop what is kept of cameras that are deleted."""
        with self._lock:
            for key in [key for key in self._next if key[1] in cameras]:
                del self._next[key]
        for it in self.pipelines:
            it.served.forget(cameras)
            for stage in it.stages:
                stage.forget(cameras)

    def _is_due(self, pipeline: Pipeline, camera: str, now: float) -> bool:
        if not pipeline.section.rate:
            return True
        key, period = (pipeline.id, camera), 1 / pipeline.section.rate
        due = self._next.get(key, now)
        if now < due - period * JITTER:
            return False
        # Counted from when it was due, so that the average is the rate; from now after a pause, so none is made up for.
        self._next[key] = period + (due if now < due + period else now)
        return True


def replanned(plan: Plan, served: Mapping[str, ServedModel]) -> Plan:
    """The same plan after a model was loaded."""
    made = plan_from(plan.wanted, served, plan)
    return replace(made, configured=plan.configured, coming=plan.coming, refused=plan.refused)


def plan_from(
    sections: Mapping[str, PipelineSection],
    served: Mapping[str, ServedModel],
    before: Plan,
    scenes: Mapping[str, SceneRules] | None = None,
) -> Plan:
    """The plan of the enabled pipelines. One whose model is not served stays as it was in the plan `before`, or is left
    out when it is new; stages that are unchanged keep their state. `scenes` are those of `before` unless given. Raises
    Invalid for a zone that is none."""
    old, planned = {it.id: it for it in before.pipelines}, []
    rules = before.scenes if scenes is None else scenes
    for key, section in sorted(sections.items()):
        model, known = served.get(section.model_key), old.get(key)
        if not section.enabled:
            continue
        if model is not None and (known is None or known.section != section or known.served is not model):
            stages = _stages(key, section, known, rules)
            known = Pipeline(key, section, model, section.camera_set, section.label_set, stages)
        if known is not None:
            planned.append(known)
    for it in planned:
        for stage in it.stages:
            if isinstance(stage, SceneStage):
                stage.rules = rules
    return Plan(tuple(planned), wanted=sections, scenes=rules)


def _stages(
    key: str, section: PipelineSection, known: Pipeline | None, rules: Mapping[str, SceneRules]
) -> tuple[Stage, ...]:
    """Those of the pipeline as it was where nothing changes for them, else new ones."""
    if known is not None and (known.section.stages, known.section.zones) == (section.stages, section.zones):
        return known.stages
    return section.open_stages(key, rules)
