"""Whether a model is ready, and why not: every state it can be in."""

from pathlib import Path

import pytest
from app_inference.devices.model_state import ModelState, is_managed
from app_inference.inference.model import load_model
from app_inference.models.repository import Repository
from app_inference.pipeline.samples import Sample
from app_inference.pipeline.serving import ServedModel
from app_inference.rollout.reported import ModelReport, VersionReport
from app_inference.rollout.steps import Step

from tests.app.updating import MODEL, RUNTIME, write_version

TRYING = VersionReport("2.0.0", digest="abc")


@pytest.fixture
def slot(tmp_path: Path) -> ServedModel:
    write_version(tmp_path, "1.0.0", license="MIT", provenance={"trainer": "somebody"})
    return ServedModel(MODEL, load_model(Repository(tmp_path).version(MODEL, "1.0.0"), None, RUNTIME))


def state(slot: ServedModel | None, failure: str = "", **report: object) -> ModelState:
    told = ModelReport(**{"state": Step.IDLE, **report})  # type: ignore[arg-type]
    return ModelState(MODEL, slot, failure, told, None, 0.0)


@pytest.mark.goal(38)
@pytest.mark.parametrize("step", list(Step))
def test_a_model_that_serves_is_ready_whatever_is_being_tried(slot: ServedModel, step: Step) -> None:
    it = state(slot, state=step, candidate=TRYING, reason="5 of 200 frames")
    assert (it.trouble(), it.reason) == ("", "5 of 200 frames")


@pytest.mark.goal(38)
def test_a_quarantined_candidate_leaves_it_ready_and_is_told(slot: ServedModel) -> None:
    it = state(slot, quarantined=("2.0.0",), reason="finds other classes")
    assert it.trouble() == ""
    reported = it.properties()["reported"]
    assert (list(reported["quarantined"]), reported["reason"]) == (["2.0.0"], "finds other classes")


@pytest.mark.goal(38)
def test_a_model_that_could_not_be_loaded_is_not_ready_and_says_why() -> None:
    it = state(None, "its weights are cut off")
    assert (it.trouble(), it.reason, it.threshold) == ("its weights are cut off", "its weights are cut off", 0.0)
    assert it.properties()["trouble"] == "its weights are cut off"
    assert it.metadata() == {}


@pytest.mark.goal(38)
@pytest.mark.parametrize(
    ("failed", "frames", "is_ready"), [(0, 40, True), (10, 40, True), (30, 40, False), (3, 4, True)]
)
def test_a_model_that_fails_on_most_pictures_is_not_ready(
    slot: ServedModel, failed: int, frames: int, is_ready: bool
) -> None:
    for number in range(frames):
        slot.observe(slot.model, "gate", Sample(1.0, is_error=number < failed))
    assert (state(slot).trouble() == "") is is_ready


@pytest.mark.goal(31, 36)
def test_what_is_known_of_it_says_who_said_so(slot: ServedModel) -> None:
    known = state(slot).properties()
    assert known["license"] == "MIT"
    assert known["metadata"]["license"] == {"value": "MIT", "origin": "manifest"}
    assert known["metadata"]["trainer"] == {"value": "somebody", "origin": "manifest"}
    assert known["metadata"]["type"] == {"value": "ssd", "origin": "manifest"}
    assert known["metadata"]["confidence"]["origin"] == "default"


@pytest.mark.parametrize("key", ["pedestrian-ssdlite", "yolo11n", "a.b_c-2"])
def test_a_name_alone_can_be_updated(key: str) -> None:
    assert is_managed(key)


@pytest.mark.parametrize("key", ["det@1.0.0", "/models/det", "det as ssd", "models/det/1", "det.xml", "", "-x"])
def test_a_version_a_path_and_a_type_of_ones_own_are_left_alone(key: str) -> None:
    assert not is_managed(key)
