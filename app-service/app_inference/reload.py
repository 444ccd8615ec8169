"""Pipelines follow the configuration while frames flow: models are loaded beside the serving ones, then the plan is
replaced, then models that nobody uses any more are let go. A configuration that is wrong changes nothing."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from edgex_kit.errors import Invalid
from edgex_kit.handover import Latest
from edgex_kit.service import Service

from app_inference.analysis import Analyst
from app_inference.models import Models
from app_inference.pipelines import Plan, plan_from
from app_inference.settings import AppSettings, PipelineSection
from app_inference.view import View

log = logging.getLogger(__name__)


def wanted_models(pipelines: Mapping[str, PipelineSection]) -> dict[str, PipelineSection]:
    """The models that enabled pipelines name, by their key."""
    return {section.model_key: section for section in pipelines.values() if section.enabled}


async def follow_pipelines(
    service: Service[AppSettings], models: Models, analyst: Analyst, view: View, changed: Callable[[], None]
) -> None:
    """Take over every new `Writable.Pipelines`, for ever; the newest wins when they come faster than models load."""
    newest: Latest[AppSettings] = Latest()
    service.live.on_change(newest.put)
    now = analyst.plan.wanted
    while True:
        writable = (await newest.get()).writable
        if writable.pipelines == now:
            continue
        try:
            writable.check()
        except Invalid as error:
            log.warning("pipelines refused, the old ones stay: %s", error)
            continue
        now = writable.pipelines
        await asyncio.to_thread(models.load, wanted_models(now))
        analyst.plan = plan_from(now, models.slots, analyst.plan)
        models.release(analyst.plan.models)
        view.keep(analyst.plan.sections)
        changed()
        _say(analyst.plan)


def _say(plan: Plan) -> None:
    log.info("pipelines now: %s", ", ".join(it.id for it in plan.pipelines) or "none")
    for it in plan.pipelines:
        wanted = plan.wanted[it.id]
        if wanted != it.section:
            text = "pipeline '%s' stays as it was, with model '%s': model '%s' cannot serve"
            log.warning(text, it.id, it.slot.name, wanted.model_key)
