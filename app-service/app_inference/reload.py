"""Pipelines follow the configuration while frames flow: models are loaded beside the serving ones, then the plan is
replaced. A configuration that is wrong changes nothing."""

import asyncio
import logging

from edgex_kit.errors import Invalid
from edgex_kit.handover import Latest
from edgex_kit.service import Service

from app_inference.analysis import Analyst
from app_inference.models import Models
from app_inference.pipelines import plan_from
from app_inference.settings import AppSettings, PipelineSection

log = logging.getLogger(__name__)


def wanted_models(settings: AppSettings) -> dict[str, PipelineSection]:
    """The models that enabled pipelines name, by their key."""
    pipelines = settings.writable.pipelines.values()
    return {section.model_key: section for section in pipelines if section.enabled and section.model}


async def follow_pipelines(service: Service[AppSettings], models: Models, analyst: Analyst) -> None:
    """Take over every new `Writable.Pipelines`, for ever; the newest wins when they come faster than models load."""
    newest: Latest[AppSettings] = Latest()
    service.live.on_change(newest.put)
    serving = service.settings.writable.pipelines
    while True:
        settings = await newest.get()
        pipelines = settings.writable.pipelines
        if pipelines == serving:
            continue
        try:
            settings.check()
        except Invalid as error:
            log.warning("pipelines refused, the old ones stay: %s", error)
            continue
        await asyncio.to_thread(models.load, wanted_models(settings))
        analyst.plan = plan_from(pipelines, models.slots)
        serving = pipelines
        log.info("pipelines now: %s", ", ".join(sorted(pipelines)) or "none")
