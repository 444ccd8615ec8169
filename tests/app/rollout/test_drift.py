"""What a committed version sees now against what it saw at its commit."""

import pytest
from app_inference.pipeline.samples import Sample
from app_inference.rollout.drift import Baseline, baseline_from, drift


def samples(frames: int, class_id: int = 0, score: float = 0.85) -> list[Sample]:
    return [Sample(1.0, class_ids=(class_id,), score_sum=score)] * frames


@pytest.mark.goal(39)
def test_the_same_world_is_no_drift() -> None:
    found = drift(baseline_from(samples(200)), baseline_from(samples(400)))
    assert found is not None
    assert found.classes == pytest.approx(0, abs=0.01)
    assert found.scores == pytest.approx(0, abs=0.01)


@pytest.mark.goal(39)
def test_other_classes_and_lower_scores_are_told_apart() -> None:
    then = baseline_from(samples(200))
    others, fainter = drift(then, baseline_from(samples(200, 1))), drift(then, baseline_from(samples(200, score=0.45)))
    assert others is not None
    assert fainter is not None
    assert (others.classes > 1, others.scores < 0.01) == (True, True)
    assert (fainter.classes < 0.01, fainter.scores > 1) == (True, True)


def test_a_quiet_scene_says_nothing() -> None:
    assert drift(baseline_from(samples(200)), baseline_from(samples(10))) is None
    assert drift(Baseline(), baseline_from(samples(200))) is None


def test_frames_without_an_answer_and_without_objects_do_not_count() -> None:
    silent = [Sample(1.0, is_error=True, class_ids=(1,), score_sum=1.0), Sample(1.0)]
    assert baseline_from([*silent, *samples(3, score=1.0)]) == Baseline(3, {0: 3}, {9: 3})
