"""How far two models say the same."""

import numpy as np
import pytest
from app_inference.vision.agreement import agreement, mean_agreement
from app_inference.vision.detections import Anomaly, Classes, Detections, Keypoints, Segmentation
from app_inference.vision.resize import Fit

LABELS = ("person", "car")


def boxes(*rows: tuple[float, float, float, float, int]) -> Detections:
    return Detections(
        np.array([row[:4] for row in rows], np.float32).reshape(-1, 4),
        np.full(len(rows), 0.9, np.float32),
        np.array([row[4] for row in rows], np.int32),
    )


def classes(number: int) -> Classes:
    return Classes(np.array([number], np.int32), np.ones(1, np.float32))


ONE = boxes((0, 0, 10, 10, 0), (20, 20, 40, 40, 1))


@pytest.mark.goal(46)
@pytest.mark.parametrize(
    ("other", "score"),
    [
        (ONE, 1.0),
        (boxes((1, 1, 11, 11, 0), (20, 20, 40, 40, 1)), 1.0),
        (boxes((0, 0, 10, 10, 1), (20, 20, 40, 40, 1)), 0.5),
        (boxes((0, 0, 10, 10, 0)), 2 / 3),
        (boxes((0, 0, 10, 10, 0), (0, 0, 10, 10, 0)), 0.5),
        (boxes((60, 60, 70, 70, 0)), 0.0),
        (boxes(), 0.0),
    ],
)
def test_boxes_agree_by_label_and_overlap(other: Detections, score: float) -> None:
    assert agreement(ONE, other, LABELS, LABELS) == pytest.approx(score)
    assert agreement(other, ONE, LABELS, LABELS) == pytest.approx(score)


def test_labels_count_by_their_name_not_their_number() -> None:
    swapped = boxes((0, 0, 10, 10, 1), (20, 20, 40, 40, 0))
    assert agreement(ONE, swapped, LABELS, LABELS[::-1]) == 1.0


def test_nothing_on_both_sides_says_nothing() -> None:
    assert agreement(boxes(), boxes(), LABELS, LABELS) is None
    assert mean_agreement([None, 1.0, 0.5]) == 0.75
    assert mean_agreement([None]) is None


def test_other_tasks_have_their_own_measure() -> None:
    fit = Fit((4, 4), (4, 4), (1, 1))
    plane = np.zeros((4, 4), np.uint8)
    half = plane.copy()
    half[:2] = 1
    none = np.zeros(0, np.float32)
    maps = [Segmentation(it, np.zeros(0, np.int32), none) for it in (plane, half)]
    odd, even = (Anomaly(score, score >= 0.5, np.zeros((2, 2), np.float32), fit) for score in (0.9, 0.1))
    body = Keypoints(ONE, np.zeros((2, 3, 2), np.float32), np.zeros((2, 3), np.float32))
    assert agreement(*maps, LABELS, LABELS) == 0.5
    assert (agreement(odd, odd, (), ()), agreement(odd, even, (), ())) == (1.0, 0.0)
    assert (agreement(classes(0), classes(0), LABELS, LABELS), agreement(classes(0), classes(1), LABELS, LABELS)) == (
        1.0,
        0.0,
    )
    assert agreement(body, ONE, LABELS, LABELS) == 1.0
    assert agreement(classes(0), ONE, LABELS, LABELS) == 0.0
