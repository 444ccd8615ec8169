"""A person sees of every configured pipeline whether it runs, and if not, why or what it waits for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from app_inference.models.repository import Repository
from app_inference.pipeline.plan import Plan, plan_from
from app_inference.pipeline.reload import pipeline_states, sound
from app_inference.pipeline.serving import Models, Preparation, wanted_models
from app_inference.rollout.journal import Journal, Starts
from app_inference.settings import InferenceSection, PipelineSection

from tests.conformance.eyes import save_meter


@pytest.fixture
def models(tmp_path: Path) -> Models:
    save_meter(tmp_path)
    section = InferenceSection(models_dir=str(tmp_path), threads=1, streams=1)
    repository = Repository(tmp_path)
    models = Models(section, repository, Starts(Journal(tmp_path / ".state"), repository))
    models.load({"meter": PipelineSection(model="meter")})
    return models


def made(models: Models, before: Plan = Plan(), **sections: PipelineSection) -> Plan:  # noqa: B008 - it is frozen
    return plan_from(sections, models.served, before)


def state(plan: Plan, models: Models, key: str = "dock") -> dict[str, Any]:
    row: dict[str, Any] = pipeline_states(plan, models)[key]
    return row


def test_one_that_runs_as_configured_says_nothing_more(models: Models) -> None:
    plan = made(models, dock=PipelineSection(model="meter", cameras="gate"))
    assert state(plan, models) == {"state": "running", "isAtWork": True, "cameras": "gate", "model": "meter"}


def test_one_that_is_switched_off_is_disabled(models: Models) -> None:
    plan = made(models, dock=PipelineSection(model="meter", enabled=False))
    assert (state(plan, models)["state"], state(plan, models)["isAtWork"]) == ("disabled", False)


def test_a_new_one_is_seen_while_its_model_is_prepared_with_what_is_done_to_it(models: Models) -> None:
    plan = replace(made(models), coming={"dock": PipelineSection(model="big")})
    models.preparing["big"] = Preparation("big", "compiling it for CPU", 0.0)
    row = state(plan, models)
    assert (row["state"], row["isAtWork"], row["note"]) == (
        "preparing",
        False,
        "model 'big': compiling it for CPU",
    )
    (told,) = [it for it in models.status() if it["name"] == "big"]
    assert (told["state"], told["doing"]) == ("preparing", "compiling it for CPU")
    assert told["seconds"] > 0


def test_one_whose_model_is_ready_waits_for_the_others(models: Models) -> None:
    before = made(models, dock=PipelineSection(model="meter", threshold=0.2))
    plan = replace(before, coming={"dock": PipelineSection(model="meter", threshold=0.4)})
    row = state(plan, models)
    assert (row["state"], row["isAtWork"], row["note"]) == (
        "preparing",
        True,
        "waiting until all new models are ready",
    )


def test_one_whose_model_cannot_be_had_says_why_and_whether_the_old_one_serves_on(models: Models) -> None:
    wanted = {"dock": PipelineSection(model="nowhere"), "new": PipelineSection(model="nowhere")}
    before = made(models, dock=PipelineSection(model="meter"))
    models.load({**wanted_models(wanted), "meter": PipelineSection(model="meter")})
    plan = plan_from(wanted, models.served, before)
    dock, new = (state(plan, models, key) for key in ("dock", "new"))
    assert (dock["state"], dock["isAtWork"], new["isAtWork"]) == ("failed", True, False)
    assert dock["note"].startswith("model 'nowhere' cannot serve: ")


def test_one_whose_configuration_is_wrong_says_so_whether_it_is_new_or_not(models: Models) -> None:
    before = made(models, dock=PipelineSection(model="meter"))
    configured = {"dock": PipelineSection(model="meter", threshold=7), "new": PipelineSection(model="")}
    wanted, refused = sound(configured, before.wanted)
    plan = replace(plan_from(wanted, models.served, before), refused=refused)
    dock, new = (state(plan, models, key) for key in ("dock", "new"))
    assert (dock["state"], dock["isAtWork"]) == ("refused", True)
    assert dock["note"] == "Writable.Pipelines.dock.Threshold 7 is not within 0..1"
    assert (new["state"], new["isAtWork"]) == ("refused", False)
    assert "Model is empty" in new["note"]
