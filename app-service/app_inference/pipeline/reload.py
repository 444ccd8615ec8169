"""Pipelines follow the configuration while frames flow: models are loaded beside the serving ones, then the plan is
replaced, then models that are no longer used are released. A pipeline whose configuration is wrong stays as it was."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from edgex_kit.bus.queues import Latest
from edgex_kit.service.service import Service
from edgex_kit.wire.errors import Invalid
from msgspec.structs import replace as replaced

from app_inference.background import in_background
from app_inference.inference.model import Model
from app_inference.pipeline.analysis import FrameAnalyser
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Plan, plan_from, replanned
from app_inference.pipeline.serving import Models, ServedModel, wanted_models
from app_inference.settings import AppSettings, PipelineSection, SceneSection
from app_inference.stages.scene import SceneRules

ARRIVALS_EVERY = 2.0  # seconds between two checks of the files of models that could not serve
log = logging.getLogger(__name__)

RUNNING, PREPARING, FAILED, REFUSED, DISABLED = "running", "preparing", "failed", "refused", "disabled"


def models_in_use(plan: Plan) -> set[str]:
    """The keys of the models that are wanted, and of those that still serve where the wanted one cannot."""
    return wanted_models(plan.wanted).keys() | plan.models


@dataclass(frozen=True, slots=True)
class LivePipelines:
    """The loaded models and the pipelines over them: what updates and configuration both change."""

    models: Models
    analyser: FrameAnalyser
    view: LiveView

    def find(self, name: str) -> ServedModel | None:
        return self.models.served.get(name)

    def is_missing(self, name: str) -> bool:
        return name in self.models.failures and name not in self.models.served

    def fill(self, name: str, model: Model) -> None:
        self.models.fill(name, model)
        plan = self.analyser.plan
        self.take_over(replanned(plan, self.models.served))

    def in_use(self, name: str) -> set[str]:
        return self.models.in_use(name)

    def take_over(self, plan: Plan) -> None:
        """Put `plan` in force, and release the models that neither it nor the coming one uses."""
        kept = {id(stage) for it in plan.pipelines for stage in it.stages}
        ended = [stage for it in self.analyser.plan.pipelines for stage in it.stages if id(stage) not in kept]
        self.analyser.plan = plan
        self.analyser.end_stages(ended)
        self.models.release(plan.models | wanted_models(plan.coming).keys())
        self.view.keep(plan.sections)


async def follow_pipelines(service: Service[AppSettings], serving: LivePipelines, changed: Callable[[], None]) -> None:
    """Follow every change of `Writable.Pipelines` and `Scenes`, for ever; the newest wins when models load slowly."""
    newest: Latest[AppSettings] = Latest()
    leave = service.live.on_change(newest.put)
    newest.put(service.live.now)  # also when it is started again after a failure
    models, analyser = serving.models, serving.analyser
    try:
        while True:
            try:
                async with asyncio.timeout(ARRIVALS_EVERY if models.failures else None):
                    writable = (await newest.get()).writable
            except TimeoutError:
                await _load_arrived(serving, changed)
                continue
            plan = analyser.plan
            if writable.sources == plan.configured:
                continue
            wanted, refused = writable.accepted(plan.wanted)
            log_refused(refused, plan.wanted)
            analyser.plan = replace(plan, coming=wanted, refused=refused)
            await in_background(models.load, wanted_models(wanted))
            rules = scene_rules(writable.scenes, plan.scenes)
            made = plan_from(wanted, models.served, analyser.plan, rules)
            serving.take_over(replace(made, configured=writable.sources, refused=refused))
            changed()
            _log_plan(analyser.plan)
    finally:
        leave()


async def _load_arrived(serving: LivePipelines, changed: Callable[[], None]) -> None:
    """Try again the models that could not serve and whose files have changed since."""
    models, plan = serving.models, serving.analyser.plan
    wanted = wanted_models(plan.wanted)
    arrived = await in_background(models.arrived, wanted)
    if arrived:
        await in_background(models.load, wanted, arrived)
        made = plan_from(plan.wanted, models.served, plan)
        serving.take_over(replace(made, configured=plan.configured, refused=plan.refused))
        changed()
        _log_plan(serving.analyser.plan)


def log_refused(refused: Mapping[str, str], before: Mapping[str, PipelineSection]) -> None:
    """Log what is wrong with pipelines that stay as they were `before`, or do not run."""
    for key, error in refused.items():
        kept = "stays as it was" if key in before else "does not run"
        log.warning("pipeline '%s' refused, it %s: %s", key, kept, error)


def scene_rules(scenes: Mapping[str, SceneSection], before: Mapping[str, SceneRules]) -> dict[str, SceneRules]:
    """The zones and lines of each camera; where they are wrong they stay as they were `before`, if they were."""
    rules = {}
    for camera, section in scenes.items():
        try:
            rules[camera] = section.rules(f"Writable.Scenes.{camera}")
        except Invalid as error:
            log.warning("zones and lines of camera '%s' refused: %s", camera, error)
            if camera in before:
                rules[camera] = before[camera]
    return rules


def _log_plan(plan: Plan) -> None:
    log.info("pipelines now: %s", ", ".join(it.id for it in plan.pipelines) or "none")
    for it in plan.pipelines:
        wanted = plan.wanted[it.id]
        if wanted != it.section:
            text = "pipeline '%s' stays as it was, with model '%s': model '%s' cannot serve"
            log.warning(text, it.id, it.served.name, wanted.model_key)


class PipelineState(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One pipeline. One that `is_at_work` and has a note runs as it was before it was changed."""

    state: str
    is_at_work: bool
    note: str = ""  # what it waits for, or why it does not run as configured
    cameras: str = ""
    model: str = ""  # the key of the one it is to have
    warning: str = ""  # names that nothing has, keys that are refused


def pipeline_states(plan: Plan, models: Models, warning: Callable[[str], str] = lambda _: "") -> dict[str, Any]:
    """The state of every pipeline by its id, as JSON has it, also of those that are being prepared or refused; with the
    `warning` of each."""
    wanted = {**plan.wanted, **plan.coming}
    ids = sorted({*wanted, *plan.refused, *(it.id for it in plan.pipelines)})
    states = {key: _state(key, wanted.get(key), plan, models) for key in ids}
    return {key: msgspec.to_builtins(replaced(it, warning=warning(key))) for key, it in states.items()}


def _state(key: str, wanted: PipelineSection | None, plan: Plan, models: Models) -> PipelineState:
    running = next((it for it in plan.pipelines if it.id == key), None)
    if wanted is None:
        return PipelineState(REFUSED, running is not None, plan.refused.get(key, ""))
    state, note = _progress(wanted, models)
    if not note and key in plan.refused:
        state, note = REFUSED, plan.refused[key]
    elif not note and state == RUNNING and (running is None or running.section != wanted):
        state, note = PREPARING, "waiting until all new models are ready"
    return PipelineState(state, running is not None, note, wanted.cameras, wanted.model_key)


def _progress(wanted: PipelineSection, models: Models) -> tuple[str, str]:
    """State and note by the progress of its model."""
    if not wanted.enabled:
        return DISABLED, ""
    preparing, failure = models.preparing.get(wanted.model_key), models.failures.get(wanted.model_key)
    if preparing is not None:
        return PREPARING, f"model '{wanted.model_key}': {preparing.doing}"
    if failure is not None:
        return FAILED, f"model '{wanted.model_key}' cannot serve: {failure.reason}"
    return RUNNING, ""
