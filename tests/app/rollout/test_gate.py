"""The gate: what it lets pass, what it sends back, and when it waits."""

import random

import pytest
from app_inference.pipeline.samples import Evidence, Sample
from app_inference.rollout.desired import GateOptions, ObserveOptions
from app_inference.rollout.gate import Verdict, judge, stability_index

GATE, OBSERVE = GateOptions(), ObserveOptions(min_frames=100, hold_seconds=5)


def evidence(frames: int, *, ms: float = 10.0, classes: tuple[int, ...] = (0,), score: float = 0.8) -> Evidence:
    chance = random.Random(1)
    kept = Evidence()
    for _ in range(frames):
        kept.add(Sample(ms * chance.uniform(0.9, 1.1), class_ids=classes, score_sum=score * len(classes)))
    return kept


def test_a_version_like_the_one_before_passes_after_its_time() -> None:
    assert judge(evidence(200), evidence(200), 4.9, GATE, OBSERVE).verdict is Verdict.HOLD
    assert judge(evidence(200), evidence(200), 5.0, GATE, OBSERVE).verdict is Verdict.PASS


@pytest.mark.goal(19)
def test_a_quiet_scene_neither_passes_nor_fails() -> None:
    quiet = evidence(400, classes=())
    judgement = judge(quiet, quiet, 1e6, GATE, OBSERVE)
    assert judgement.verdict is Verdict.HOLD
    assert "0 of 100 frames" in judgement.reason


def test_no_frames_at_all_hold() -> None:
    assert judge(Evidence(), Evidence(), 1e6, GATE, OBSERVE).verdict is Verdict.HOLD


@pytest.mark.goal(19)
@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (evidence(50, ms=25.0), "times as long"),
        (evidence(100, classes=()), "finds 0.00 objects"),
        (evidence(100, classes=(0,) * 9), "finds 9.00 objects"),
        (evidence(100, score=0.3), "mean score moved by 0.50"),
        (evidence(100, classes=(7,)), "other classes"),
    ],
)
def test_each_way_of_being_worse_breaks_the_gate(candidate: Evidence, words: str) -> None:
    judgement = judge(evidence(300), candidate, 0, GATE, OBSERVE)
    assert judgement.verdict is Verdict.BREACH
    assert words in judgement.reason


@pytest.mark.goal(19)
def test_failing_frames_break_the_gate_before_anything_was_found() -> None:
    failing = evidence(10)
    for _ in range(10):
        failing.add(Sample(0.0, is_error=True))
    judgement = judge(Evidence(), failing, 0, GATE, OBSERVE)
    assert judgement.verdict is Verdict.BREACH
    assert "50.0% of the frames failed" in judgement.reason


@pytest.mark.goal(19)
def test_nonsense_after_two_hundred_good_frames_is_seen_at_once() -> None:
    late = evidence(200)
    frames = 0
    while judge(evidence(400), late, 1, GATE, ObserveOptions()).verdict is not Verdict.BREACH:
        late.add(Sample(10.0, class_ids=(5, 6, 7, 8, 9), score_sum=2.0))
        frames += 1
        assert frames < 120


def test_the_stability_index_of_equal_histograms_is_zero_and_grows_with_the_difference() -> None:
    assert stability_index({0: 50, 1: 50}, {0: 500, 1: 500}) == pytest.approx(0, abs=1e-3)
    assert stability_index({0: 90, 1: 10}, {0: 10, 1: 90}) > stability_index({0: 90, 1: 10}, {0: 60, 1: 40}) > 0


def test_milliseconds_more_or_less_of_a_quick_model_are_noise() -> None:
    judgement = judge(evidence(200, ms=0.1), evidence(200, ms=1.0), 9, GATE, OBSERVE)
    assert judgement.values["p99Ratio"] > GATE.max_p99_ratio
    assert judgement.verdict is Verdict.PASS


def test_slowness_may_be_excused_and_nothing_else_is() -> None:
    slow, failing = evidence(200, ms=40.0), evidence(200, ms=40.0)
    assert judge(evidence(200), slow, 9, GATE, OBSERVE).is_of_time
    assert judge(evidence(200), slow, 9, GATE, OBSERVE, is_timed=False).verdict is Verdict.PASS
    for _ in range(10):
        failing.add(Sample(0.0, is_error=True))
    judgement = judge(evidence(200), failing, 9, GATE, OBSERVE)
    assert (judgement.verdict, judgement.is_of_time) == (Verdict.BREACH, False)
