"""Pipelines follow the configuration while frames flow: models are loaded beside the serving ones, then the plan is
replaced, then models that nobody uses any more are let go. A pipeline whose configuration is wrong stays as it was."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edgex_kit.bus.queues import Latest
from edgex_kit.service.service import Service
from edgex_kit.wire.errors import Invalid

from app_inference.background import in_background
from app_inference.inference.model import Model
from app_inference.pipeline.analysis import FrameAnalyser
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Plan, plan_from
from app_inference.pipeline.serving import Models, wanted_models
from app_inference.pipeline.slot import ServedModel
from app_inference.settings import AppSettings, PipelineSection

log = logging.getLogger(__name__)


def models_in_use(plan: Plan) -> set[str]:
    """The models that are wanted, and those that still serve where the wanted one cannot, by their key."""
    return wanted_models(plan.wanted).keys() | plan.models


@dataclass(frozen=True, slots=True)
class LivePipelines:
    """The loaded models and the pipelines over them: what updates and configuration both change."""

    models: Models
    analyst: FrameAnalyser
    view: LiveView

    def find(self, name: str) -> ServedModel | None:
        return self.models.served.get(name)

    def is_missing(self, name: str) -> bool:
        return name in self.models.failures and name not in self.models.served

    def fill(self, name: str, model: Model) -> None:
        self.models.fill(name, model)
        plan = self.analyst.plan
        self.take_over(
            replace(plan_from(plan.wanted, self.models.served, plan), coming=plan.coming, refused=plan.refused)
        )

    def in_use(self, name: str) -> set[str]:
        return self.models.in_use(name)

    def take_over(self, plan: Plan) -> None:
        """Let the pipelines be as `plan` has them, and let go of what nobody uses or is about to."""
        self.analyst.plan = plan
        self.models.release(plan.models | wanted_models(plan.coming).keys())
        self.view.keep(plan.sections)


async def follow_pipelines(service: Service[AppSettings], serving: LivePipelines, changed: Callable[[], None]) -> None:
    """Take over every new `Writable.Pipelines`, for ever; the newest wins when they come faster than models load."""
    newest: Latest[AppSettings] = Latest()
    leave = service.live.on_change(newest.put)
    newest.put(service.live.now)  # what it failed over, when it begins again
    models, analyst = serving.models, serving.analyst
    configured = analyst.plan.wanted
    try:
        while True:
            before, configured = configured, (await newest.get()).writable.pipelines
            if configured == before:
                continue
            wanted, refused = sound(configured, analyst.plan.wanted)
            analyst.plan = replace(analyst.plan, coming=wanted, refused=refused)
            await in_background(models.load, wanted_models(wanted))
            serving.take_over(replace(plan_from(wanted, models.served, analyst.plan), refused=refused))
            changed()
            _say(analyst.plan)
    finally:
        leave()


def sound(
    configured: Mapping[str, PipelineSection], before: Mapping[str, PipelineSection]
) -> tuple[dict[str, PipelineSection], dict[str, str]]:
    """The pipelines that can be, and those that cannot as they were, or not at all when they are new; and why not."""
    wanted, refused = {}, {}
    for key, section in configured.items():
        try:
            section.check(f"Writable.Pipelines.{key}")
            wanted[key] = section
        except Invalid as error:
            refused[key] = str(error)
            log.warning("pipeline '%s' refused, it %s: %s", key, "stays as it was" if key in before else "waits", error)
            if key in before:
                wanted[key] = before[key]
    return wanted, refused


def _say(plan: Plan) -> None:
    log.info("pipelines now: %s", ", ".join(it.id for it in plan.pipelines) or "none")
    for it in plan.pipelines:
        wanted = plan.wanted[it.id]
        if wanted != it.section:
            text = "pipeline '%s' stays as it was, with model '%s': model '%s' cannot serve"
            log.warning(text, it.id, it.slot.name, wanted.model_key)
