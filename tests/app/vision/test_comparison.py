"""What two versions say of one frame, object by object."""

import numpy as np
import pytest
from app_inference.vision.comparison import Comparison, Seen, compare
from app_inference.vision.detections import Anomaly, Classes, Detections, Keypoints, Result, Segmentation
from app_inference.vision.resize import Fit

LABELS = ("person", "car", "dog")
FIT = Fit((4, 4), (4, 4), (1.0, 1.0))
Row = tuple[int, float, int]  # label, score, left edge


def boxes(*rows: Row) -> Detections:
    found = np.array([[left, 10, left + 100, 60] for _, _, left in rows], np.float32).reshape(-1, 4)
    scores, ids = np.array([row[1] for row in rows], np.float32), np.array([row[0] for row in rows], np.int32)
    return Detections(found, scores, ids)


def compared(before: Result, candidate: Result, labels: tuple[str, ...] = LABELS) -> Comparison:
    return compare(Seen(before, LABELS, 0.5, 1.0), Seen(candidate, labels, 0.5, 2.0))


def agreement(seen: Comparison) -> float:
    return 1 - seen.apart / seen.total


def test_the_same_agrees_wholly_and_nothing_says_nothing() -> None:
    same = compared(boxes((0, 0.9, 0), (1, 0.6, 300)), boxes((0, 0.9, 0), (1, 0.6, 300)))
    assert (agreement(same), same.score, same.shift) == (1.0, 0.0, (0.0, 0.0, 0.0, 0.0))
    assert (same.before_ms, same.candidate_ms) == (1.0, 2.0)
    assert not compared(boxes(), boxes()).is_telling
    assert not compared(boxes((0, 0.3, 0)), boxes((0, 0.3, 0))).is_telling  # below both thresholds


def test_lost_added_and_renamed_objects_are_told_by_label() -> None:
    seen = compared(boxes((0, 0.9, 0), (1, 0.9, 300)), boxes((0, 0.9, 0), (2, 0.9, 300), (0, 0.9, 600)))
    assert (seen.counts["person"].common, seen.counts["person"].added) == (1, 1)
    assert (seen.counts["car"].lost, seen.counts["dog"].added) == (1, 1)
    assert agreement(seen) == pytest.approx(2 / 5)


def test_a_score_that_slips_below_the_threshold_is_no_lost_object() -> None:
    seen = compared(boxes((0, 0.52, 0)), boxes((0, 0.48, 0)))
    assert agreement(seen) > 0.9
    assert seen.score == pytest.approx(-0.077, abs=0.01)


def test_halved_scores_show_as_such() -> None:
    assert compared(boxes((0, 0.9, 0)), boxes((0, 0.45, 0))).score == pytest.approx(-0.5)


def test_boxes_aside_and_grown_show_as_a_share_of_the_box() -> None:
    assert compared(boxes((0, 0.9, 0)), boxes((0, 0.9, 10))).shift == pytest.approx((0.1, 0, 0, 0), abs=1e-6)
    grown = Detections(np.array([[-10, 5, 110, 65]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))
    assert compared(boxes((0, 0.9, 0)), grown).shift == pytest.approx((0, 0, 0.182, 0.182), abs=1e-3)


def test_labels_that_an_operator_changed_are_compared_by_number_too() -> None:
    swapped = ("car", "person", "dog")
    assert agreement(compared(boxes((0, 0.9, 0)), boxes((0, 0.9, 0)), swapped)) == 1
    longer = ("background", *LABELS)
    assert agreement(compared(boxes((0, 0.9, 0)), boxes((1, 0.9, 0)), longer)) == 1
    classes = Classes(np.array([1], np.int32), np.array([0.9], np.float32))
    assert agreement(compared(classes, classes, swapped)) == 1


def test_classes_agree_in_the_best_one() -> None:
    cat = Classes(np.array([0, 1], np.int32), np.array([0.6, 0.3], np.float32))
    dog = Classes(np.array([1], np.int32), np.array([0.5], np.float32))
    assert (agreement(compared(cat, cat)), agreement(compared(cat, dog))) == (1, 0)


def test_class_maps_agree_by_the_pixels_that_are_no_background() -> None:
    def area(columns: int) -> Segmentation:
        plane = np.zeros((40, 40), np.uint8)
        plane[:, :columns] = 1
        return Segmentation(plane, np.array([0, 1], np.int32), np.ones(2, np.float32))

    labels = ("background", "road")
    seen = compare(Seen(area(20), labels, 0.5), Seen(area(20), labels, 0.5))
    assert (list(seen.counts), agreement(seen)) == (["road"], 1)
    assert agreement(compare(Seen(area(20), labels, 0.5), Seen(area(10), labels, 0.5))) == pytest.approx(2 / 3, abs=0.1)


def test_anomalies_agree_in_the_verdict_and_tell_how_far_the_score_moved() -> None:
    def anomaly(score: float) -> Anomaly:
        return Anomaly(score, score >= 0.5, np.zeros((4, 4), np.float32), FIT)

    seen = compared(anomaly(0.2), anomaly(0.4))
    assert (agreement(seen), seen.score) == (1, pytest.approx(0.2))
    assert agreement(compared(anomaly(0.4), anomaly(0.6))) == 0


def test_joints_at_other_places_are_another_object() -> None:
    def pose(left: int) -> Keypoints:
        points = np.array([[[left, 20], [left + 5, 40]]], np.float32)
        return Keypoints(boxes((0, 0.9, 0)), points, np.ones((1, 2), np.float32))

    assert (agreement(compared(pose(10), pose(12))), agreement(compared(pose(10), pose(60)))) == (1, 0)


def test_results_of_two_tasks_have_nothing_in_common() -> None:
    classes = Classes(np.array([0], np.int32), np.array([0.9], np.float32))
    assert agreement(compared(boxes((0, 0.9, 0)), classes)) == 0
