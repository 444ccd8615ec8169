"""How each configured pipeline stands: it runs, is being prepared, or why it does not run as configured."""

from typing import Any

import msgspec

from app_inference.pipeline.plan import Plan
from app_inference.pipeline.serving import Models
from app_inference.settings import PipelineSection

RUNNING, PREPARING, FAILED, REFUSED, DISABLED = "running", "preparing", "failed", "refused", "disabled"


class PipelineState(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One pipeline, for a person. With a note a pipeline that `is_at_work` runs as it was before it was changed."""

    state: str
    is_at_work: bool
    note: str = ""  # what it waits for, or why it does not run as configured
    cameras: str = ""
    model: str = ""  # the key of the one it is to have


def pipeline_states(plan: Plan, models: Models) -> dict[str, Any]:
    """The state of every pipeline by its id, as JSON has it; those on their way and those refused are among them."""
    wanted = {**plan.wanted, **plan.coming}
    ids = sorted({*wanted, *plan.refused, *(it.id for it in plan.pipelines)})
    return {key: msgspec.to_builtins(_state(key, wanted.get(key), plan, models)) for key in ids}


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
    """As far as its model has come."""
    if not wanted.enabled:
        return DISABLED, ""
    on_its_way, failure = models.preparing.get(wanted.model_key), models.failures.get(wanted.model_key)
    if on_its_way is not None:
        return PREPARING, f"model '{wanted.model_key}': {on_its_way.doing}"
    if failure is not None:
        return FAILED, f"model '{wanted.model_key}' cannot serve: {failure.reason}"
    return RUNNING, ""
