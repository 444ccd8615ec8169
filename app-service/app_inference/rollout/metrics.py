"""Updates as numbers, for EdgeX telemetry and Prometheus: how many, how they ended, what the gate sees, how far the
world has moved since a version was committed.

ModelSwaps, ModelRollbacks, ModelRefusals, ModelDrainTimeouts and ModelQuarantined carry the model; what is about one
version carries that and its digest, too, and goes when the version goes.
"""

import asyncio
from collections.abc import Callable, Mapping, Set

from edgex_kit.service.metrics import Gauge, Metrics

from app_inference.inference.model import Model
from app_inference.pipeline.serving import ServedModel
from app_inference.rollout.drift import Baseline, baseline_from, drift
from app_inference.rollout.rollout import Rollout
from app_inference.rollout.steps import Step

EVERY = 1.0  # seconds
_GATED = (Step.SHADOW, Step.CANARY, Step.OBSERVE)


class UpdateMeters:
    """Looks at every managed model once a second."""

    def __init__(
        self,
        metrics: Metrics,
        rollouts: Mapping[str, Rollout],
        slots: Mapping[str, ServedModel],
        keep_versions: Callable[[Set[str]], None],
    ) -> None:
        self._metrics = metrics
        self._rollouts = rollouts
        self._slots = slots
        self._keep_versions = keep_versions  # given the digests in use, drops the metrics of all others
        self._active: dict[str, Model] = {}
        self._baselines: dict[str, tuple[str, Baseline]] = {}  # model -> digest and what was first seen of it

    async def run(self) -> None:
        """Look for ever."""
        while True:
            for rollout in list(self._rollouts.values()):
                self.look(rollout)
            in_use = {model.digest[:12] for slot in list(self._slots.values()) for model in slot.active.models()}
            self._keep_versions(in_use)
            await asyncio.sleep(EVERY)

    def look(self, rollout: Rollout) -> None:
        """Take over the numbers of one model."""
        name, metrics = rollout.name, self._metrics
        for metric, count in _counts(rollout):
            counter = metrics.counter(f"Model{metric}", model=name)
            counter.add(count - counter.value)
        metrics.gauge("ModelQuarantined", model=name).set(len(rollout.record.quarantine))
        if rollout.prepared is not None:
            tags = _tags(name, rollout.prepared.model)
            metrics.gauge("ModelLoadMs", **tags).set(float(rollout.prepared.load_ms))
            metrics.gauge("ModelCompileMs", **tags).set(float(rollout.prepared.compile_ms))
            if rollout.record.step in _GATED:
                for key, value in rollout.judgement.values.items():
                    metrics.gauge("ModelGate", **tags, value=key).set(float(value))
        slot = self._slots.get(name)
        if slot is not None:
            self._serving(name, slot.model)
            self._drift(rollout, slot)

    def _serving(self, name: str, model: Model) -> None:
        before = self._active.get(name)
        if before is not model:
            if before is not None:
                self._active_gauge(name, before).set(0)
            self._active[name] = model
            self._metrics.gauge("ModelFallback", **_tags(name, model)).set(len(model.missed_devices))
        self._active_gauge(name, model).set(1)

    def _active_gauge(self, name: str, model: Model) -> Gauge:
        return self._metrics.gauge("ModelActive", **_tags(name, model), device=",".join(model.execution_devices))

    def _drift(self, rollout: Rollout, slot: ServedModel) -> None:
        if rollout.record.step is not Step.IDLE:
            return
        model = slot.model
        now = baseline_from(slot.evidence(model).samples)
        found = drift(self._baseline(rollout, model, now), now)
        if found is not None:
            tags = _tags(rollout.name, model)
            self._metrics.gauge("ModelDrift", **tags, of="classes").set(round(found.classes, 4))
            self._metrics.gauge("ModelDrift", **tags, of="scores").set(round(found.scores, 4))

    def _baseline(self, rollout: Rollout, model: Model, now: Baseline) -> Baseline:
        """What was seen at the commit; for a version that was committed over a quiet scene, what was seen first."""
        kept = rollout.record.baseline
        if kept is not None and kept.is_enough and rollout.record.active == model.version:
            return kept
        digest, first = self._baselines.get(rollout.name, ("", Baseline()))
        if digest != model.digest or not first.is_enough:
            first = now
            self._baselines[rollout.name] = model.digest, now
        return first


def _counts(rollout: Rollout) -> tuple[tuple[str, int], ...]:
    done = rollout.counts
    return (
        ("Swaps", done.swaps),
        ("Rollbacks", done.rollbacks),
        ("Refusals", done.refusals),
        ("DrainTimeouts", rollout.counts.drain_timeouts),
    )


def _tags(name: str, model: Model) -> dict[str, str]:
    return {"model": name, "version": model.version, "digest": model.digest[:12]}
