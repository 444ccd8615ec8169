"""The gate: what it passes, what it sends back, when it waits, and what it leaves to an operator."""

import random
from collections.abc import Callable

import pytest
from app_inference.pipeline.samples import Evidence, Sample
from app_inference.rollout.desired import GateOptions, ObserveOptions
from app_inference.rollout.gate import Gate, Judgement, Verdict, stability_index
from app_inference.vision.comparison import Comparison, Count

OBSERVE = ObserveOptions(min_frames=100, hold_seconds=5)
OPTIONS = GateOptions()
LONG = 1e6  # seconds


def evidence(frames: int, *, ms: float = 10.0, classes: tuple[int, ...] = (0,), score: float = 0.8) -> Evidence:
    chance = random.Random(1)
    kept = Evidence()
    for _ in range(frames):
        kept.add(Sample(ms * chance.uniform(0.9, 1.1), class_ids=classes, score_sum=score * len(classes)))
    return kept


def alike(**changes: float) -> Comparison:
    """A frame with four objects; what is not `changes` is as in the outgoing version."""
    lost, added = changes.get("lost", 0.0), changes.get("added", 0.0)
    return Comparison(
        {"person": Count(4 - lost, lost, added)},
        changes.get("score", 0.0),
        (changes.get("aside", 0.0), 0.0, 0.0, 0.0),
        10.0,
        changes.get("ms", 10.0),
    )


def judged(
    frames: int, seen: Callable[[int], Comparison], options: GateOptions = OPTIONS, *, held: float = LONG
) -> Judgement:
    gate = Gate(options)
    gate.add(("gate", seen(number)) for number in range(frames))
    return gate.judge(evidence(300), evidence(frames), held, OBSERVE)


def test_a_version_like_the_one_before_passes_after_its_time() -> None:
    assert judged(200, lambda _: alike(), held=4.9).verdict is Verdict.HOLD
    assert judged(99, lambda _: alike()).verdict is Verdict.HOLD
    judgement = judged(200, lambda _: alike())
    assert judgement.verdict is Verdict.PASS
    assert (judgement.values["agreement"], judgement.values["comparedFrames"]) == (1.0, 200)


@pytest.mark.goal(19)
def test_a_quiet_scene_neither_passes_nor_fails() -> None:
    gate, quiet = Gate(GateOptions()), evidence(4000, classes=())
    gate.add(("gate", Comparison()) for _ in range(4000))
    assert gate.judge(quiet, quiet, LONG, OBSERVE).verdict is Verdict.HOLD
    assert Gate(GateOptions()).judge(Evidence(), Evidence(), LONG, OBSERVE).verdict is Verdict.HOLD


@pytest.mark.goal(19)
@pytest.mark.parametrize(
    ("seen", "named"),
    [
        (lambda _: alike(lost=1), "minAgreement"),
        (lambda _: alike(added=1.5), "minAgreement"),
        (lambda _: alike(score=-0.5), "maxScoreShift"),
        (lambda _: alike(score=0.4), "maxScoreShift"),
        (lambda _: alike(aside=0.1), "maxBoxShift"),
        (
            lambda number: Comparison({"person": Count(4), "dog": Count(0, 1 if number % 3 else 0)}, 0.0),
            "maxLabelLoss",
        ),
    ],
)
def test_each_fault_is_proved_within_three_hundred_frames_and_names_its_limit(
    seen: Callable[[int], Comparison], named: str
) -> None:
    judgement = judged(300, seen)
    assert judgement.verdict is Verdict.BREACH
    assert named in judgement.reason


@pytest.mark.goal(19)
def test_failing_frames_break_the_gate_before_anything_was_found() -> None:
    failing = Evidence()
    for number in range(20):
        failing.add(Sample(0.0, is_error=number % 2 == 0))
    judgement = Gate(GateOptions()).judge(Evidence(), failing, 0, OBSERVE)
    assert judgement.verdict is Verdict.BREACH
    assert "maxErrorRate" in judgement.reason


def test_one_failed_frame_is_no_proof() -> None:
    failing = Evidence()
    for number in range(200):
        failing.add(Sample(10.0, is_error=number == 100))
    assert Gate(GateOptions()).judge(Evidence(), failing, 0, OBSERVE).verdict is Verdict.HOLD


@pytest.mark.goal(19)
def test_nonsense_after_two_hundred_good_frames_is_seen_within_thirty() -> None:
    judgement = judged(230, lambda number: alike(lost=4, added=4) if number >= 200 else alike())
    assert judgement.verdict is Verdict.BREACH


def test_what_is_near_a_limit_is_inconclusive_in_the_end_and_says_why() -> None:
    def seen(number: int) -> Comparison:
        return alike(lost=0.8 if number % 2 else 0.79)

    assert judged(110, seen).verdict is Verdict.HOLD
    judgement = judged(310, seen)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.values["agreement"] == pytest.approx(0.89, abs=0.01)


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        (evidence(300), Verdict.PASS),
        (evidence(300, classes=(0,) * 9), Verdict.INCONCLUSIVE),
        (evidence(300, score=0.3), Verdict.INCONCLUSIVE),
        (evidence(300, classes=(7,)), Verdict.INCONCLUSIVE),
        (evidence(300, classes=()), Verdict.INCONCLUSIVE),
    ],
)
def test_without_compared_frames_another_scene_is_for_an_operator(candidate: Evidence, verdict: Verdict) -> None:
    gate = Gate(GateOptions(compare_share=0))
    assert gate.judge(evidence(300), candidate, LONG, OBSERVE).verdict is verdict


def test_a_machine_that_cannot_compare_is_waited_for_and_then_judged_by_other_frames() -> None:
    gate = Gate(GateOptions())
    assert gate.judge(evidence(300), evidence(150), LONG, OBSERVE).verdict is Verdict.HOLD
    assert gate.judge(evidence(300), evidence(300), LONG, OBSERVE).verdict is Verdict.PASS


def test_limits_can_be_lifted() -> None:
    options = GateOptions(min_agreement=0, max_label_loss=1)
    assert judged(200, lambda _: alike(lost=4, added=4), options).verdict is Verdict.PASS


def test_the_stability_index_of_equal_histograms_is_zero_and_grows_with_the_difference() -> None:
    assert stability_index({0: 50, 1: 50}, {0: 500, 1: 500}) == pytest.approx(0, abs=1e-3)
    assert stability_index({0: 90, 1: 10}, {0: 10, 1: 90}) > stability_index({0: 90, 1: 10}, {0: 60, 1: 40}) > 0


def test_slowness_on_the_same_frames_may_be_excused_and_nothing_else_is() -> None:
    judgement = judged(200, lambda _: alike(ms=40.0))
    assert (judgement.verdict, judgement.is_of_time) == (Verdict.BREACH, True)
    gate = Gate(GateOptions())
    gate.add(("gate", alike(ms=40.0)) for _ in range(200))
    assert gate.judge(evidence(300), evidence(200), LONG, OBSERVE, is_timed=False).verdict is Verdict.PASS
    both = judged(300, lambda _: alike(ms=40.0, score=-0.5))
    assert (both.verdict, both.is_of_time) == (Verdict.BREACH, False)


def test_milliseconds_more_or_less_of_a_quick_model_are_noise() -> None:
    judgement = Gate(GateOptions(compare_share=0)).judge(evidence(200, ms=0.1), evidence(200, ms=1.0), 9, OBSERVE)
    assert judgement.values["p99Ratio"] > GateOptions().max_p99_ratio
    assert judgement.verdict is Verdict.PASS
