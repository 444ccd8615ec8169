"""Which pipelines look at a frame, how often, and what a new configuration makes of them."""

import pytest
from app_inference.inference.model import load_model
from app_inference.models.repository import stored_model
from app_inference.pipeline import plan as module
from app_inference.pipeline.plan import Plan, plan_from
from app_inference.pipeline.serving import ServedModel
from app_inference.settings import PipelineSection
from hypothesis import given
from hypothesis import strategies as st

from tests.conformance.app_process import save_meter


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ServedModel]:
    folder = save_meter(tmp_path_factory.mktemp("models"))
    return {name: ServedModel(name, load_model(stored_model(folder))) for name in ("meter", "other")}


def section(**keys: object) -> PipelineSection:
    return PipelineSection(**{"model": "meter", **keys})  # type: ignore[arg-type]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_frame_goes_to_every_pipeline_that_wants_its_camera(served: dict[str, ServedModel]) -> None:
    sections = {"all": section(), "gate": section(cameras="gate"), "off": section(enabled=False)}
    plan = plan_from(sections, served, Plan())
    assert [it.id for it in plan.for_camera("gate")] == ["all", "gate"]
    assert [it.id for it in plan.for_camera("yard")] == ["all"]
    assert plan.models == {"meter"}


def test_a_camera_nobody_wants_is_told_from_one_whose_rate_is_used_up(served: dict[str, ServedModel]) -> None:
    plan = plan_from({"gate": section(cameras="gate", rate=0.1)}, served, Plan())
    assert plan.for_camera("gate")
    assert not plan.for_camera("gate")
    assert plan.wants("gate")
    assert not plan.wants("yard")


@pytest.mark.parametrize(("rate", "fps"), [(5, 30), (10, 25), (1, 30), (24, 25), (30, 30)])
def test_the_rate_is_kept_on_average(served: dict[str, ServedModel], clock: Clock, rate: float, fps: float) -> None:
    plan = plan_from({"gate": section(rate=rate)}, served, Plan())
    looked = 0
    for _ in range(int(20 * fps)):
        looked += len(plan.for_camera("gate"))
        clock.now += 1 / fps
    assert looked == pytest.approx(20 * rate, abs=1 + 0.02 * 20 * rate)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.floats(0.2, 10))
def test_no_more_frames_than_the_rate_allows(gaps: list[float], rate: float) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        plan = Plan((module.Pipeline("p", section(rate=rate), None, None, frozenset(), ()),))  # type: ignore[arg-type]
        looked = []
        for gap in gaps:
            if plan.for_camera("gate"):
                looked.append(clock.now)
            clock.now += gap
    assert looked[0] == 100.0
    for index, first in enumerate(looked):
        for more, then in enumerate(looked[index:]):  # each has a period of its own, and may be late within it
            assert then - first >= (more - 1 - module.JITTER) / rate - 1e-9


def test_each_camera_and_each_pipeline_has_a_rate_of_its_own(served: dict[str, ServedModel], clock: Clock) -> None:
    plan = plan_from({"slow": section(rate=1), "every": section()}, served, Plan())
    assert [it.id for it in plan.for_camera("gate")] == ["every", "slow"]
    assert [it.id for it in plan.for_camera("yard")] == ["every", "slow"]
    assert [it.id for it in plan.for_camera("gate")] == ["every"]
    plan.forget({"gate"})
    assert [it.id for it in plan.for_camera("gate")] == ["every", "slow"]


def test_a_pause_is_not_made_up_for(served: dict[str, ServedModel], clock: Clock) -> None:
    plan = plan_from({"gate": section(rate=1)}, served, Plan())
    plan.for_camera("gate")
    clock.now += 60
    assert [bool(plan.for_camera("gate")) for _ in range(3)] == [True, False, False]


def test_the_threshold_of_a_pipeline_goes_before_the_models_own(served: dict[str, ServedModel]) -> None:
    plan = plan_from({"own": section(), "strict": section(threshold=0.9)}, served, Plan())
    own, strict = plan.pipelines
    model = served["meter"].model
    assert own.options(model) == model.resolved.options
    assert strict.options(model).confidence == 0.9
    assert strict.options(model).iou == model.resolved.options.iou


def test_a_pipeline_whose_new_model_is_not_to_be_had_stays_as_it_was(served: dict[str, ServedModel]) -> None:
    before = plan_from({"gate": section(cameras="gate")}, served, Plan())
    wanted = {"gate": section(model="missing"), "new": section(model="missing"), "yard": section(model="other")}
    after = plan_from(wanted, served, before)
    assert [(it.id, it.served.name, it.cameras) for it in after.pipelines] == [
        ("gate", "meter", frozenset({"gate"})),
        ("yard", "other", None),
    ]
    assert after.sections == {"gate": section(cameras="gate"), "new": wanted["new"], "yard": wanted["yard"]}
    assert after.models == {"meter", "other"}


def test_a_pipeline_that_is_switched_off_or_gone_does_not_stay(served: dict[str, ServedModel]) -> None:
    before = plan_from({"off": section(), "gone": section()}, served, Plan())
    assert plan_from({"off": section(model="missing", enabled=False)}, served, before).pipelines == ()
