"""What a request would do."""

from itertools import pairwise
from typing import Any

import pytest
from app_inference.rollout.desired import CanaryOptions, ModelRequest
from app_inference.rollout.preview import affected_cameras, pinned_pipelines, steps_of
from app_inference.rollout.steps import Step, may_follow

STATUS: dict[str, Any] = {
    "cameras": [{"name": name} for name in ("door", "gate", "yard")],
    "pipelines": {
        "a": {"enabled": True, "cameras": "door, yard", "model": "net"},
        "b": {"enabled": True, "cameras": "*", "model": "other"},
        "c": {"enabled": False, "cameras": "*", "model": "net"},
    },
}


@pytest.mark.goal(50)
@pytest.mark.parametrize("strategy", ["swap", "canary", "shadow"])
def test_the_planned_steps_are_a_way_the_journal_allows(strategy: Any) -> None:
    steps = steps_of(ModelRequest(version="1.0.0", strategy=strategy))
    assert all(may_follow(after, before) for before, after in pairwise((Step.IDLE, *steps)))
    assert (Step.CANARY in steps, Step.SHADOW in steps) == (strategy == "canary", strategy == "shadow")


def test_the_cameras_are_those_of_the_pipelines_that_use_the_model() -> None:
    assert affected_cameras("net", ModelRequest(version="1"), STATUS).cameras == ("door", "yard")
    assert affected_cameras("other", ModelRequest(version="1"), STATUS).cameras == ("door", "gate", "yard")
    assert affected_cameras("nobody", ModelRequest(version="1"), STATUS).cameras == ()
    capitals = {"cameras": STATUS["cameras"], "pipelines": {"a": {"Model": "net", "Cameras": "gate", "Enabled": True}}}
    assert affected_cameras("net", ModelRequest(version="1"), capitals).cameras == ("gate",)


def test_a_canary_is_told_its_first_cameras() -> None:
    named = ModelRequest(version="1", strategy="canary", canary=CanaryOptions(cameras=("yard",)))
    assert affected_cameras("net", named, STATUS).first == ("yard",)
    whole = ModelRequest(version="1", strategy="canary", canary=CanaryOptions(percent=100))
    assert affected_cameras("net", whole, STATUS).first == ("door", "yard")
    assert affected_cameras("net", ModelRequest(version="1"), STATUS).first == ()


def test_a_model_that_every_pipeline_pins_follows_no_request() -> None:
    pipelines = {"a": {"Model": "det@1.0.0"}, "b": {"Model": "other"}}
    assert pinned_pipelines("det", {"pipelines": pipelines}) == ["pipeline a uses det@1.0.0"]
    assert pinned_pipelines("det", {"pipelines": {**pipelines, "c": {"Model": "det"}}}) == []
    assert pinned_pipelines("unused", {"pipelines": pipelines}) == []
