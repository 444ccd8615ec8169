"""What a model must say of a picture, and how near is near enough."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from app_inference.errors import ModelRejected
from app_inference.rollout.golden import Expected, complaint, expected_from, expected_text, parse_expected
from app_inference.vision.detections import Anomaly, Classes, Detections, Instances, Keypoints, Result, Segmentation
from app_inference.vision.resize import Fit

FIT = Fit((64, 64), (640, 480), (0.1, 0.1))
LABELS = ("person", "car")
SIDE = 640.0


def objects(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    return Detections(
        np.array([row[:4] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[4] for row in rows], np.float32),
        np.array([row[5] for row in rows], np.int32),
    )


FOUND = objects((10, 10, 100, 200, 0.9, 0), (300, 20, 400, 120, 0.7, 1), (10, 10, 90, 90, 0.505, 0))
MASKS = np.zeros((3, 16, 16), np.float32)
MASKS[:, :8] = 1
JOINTS = np.full((3, 2, 2), 50, np.float32)
PLANE = np.repeat(np.arange(4, dtype=np.uint8), 120)[:, None].repeat(640, 1)

RESULTS: dict[str, Result] = {
    "detection": FOUND,
    "instance_segmentation": Instances(FOUND, MASKS, FIT),
    "keypoints": Keypoints(FOUND, JOINTS, np.array([[0.9, 0.1]] * 3, np.float32)),
    "classification": Classes(np.array([1, 0], np.int32), np.array([0.8, 0.2], np.float32)),
    "segmentation": Segmentation(PLANE, np.arange(4, dtype=np.int32), np.full(4, 0.25, np.float32)),
    "anomaly": Anomaly(0.62, True, np.zeros((4, 4), np.float32), FIT),
}


def said(result: Result, task: str = "detection") -> Expected:
    return expected_from(result, LABELS, task, 0.5)


@pytest.mark.parametrize("task", RESULTS)
def test_what_is_written_down_is_read_back_and_is_like_itself(task: str) -> None:
    wanted = said(RESULTS[task], task)
    assert parse_expected(expected_text(wanted), "x") == wanted
    assert not wanted.is_empty
    assert complaint(wanted, said(RESULTS[task], task), SIDE, 0.0) == ""


@pytest.mark.parametrize(
    ("result", "wrong"),
    [
        (objects((10, 10, 100, 200, 0.9, 0)), "car 0.700 at [300, 20, 400, 120] is expected, person 0.900 at "),
        (objects(), "person 0.900 at [10, 10, 100, 200] is expected, nothing came"),
        (replace(FOUND, class_ids=np.array([1, 1, 0], np.int32)), "person 0.900 at [10, 10, 100, 200] is expected"),
        (replace(FOUND, scores=np.array([0.88, 0.7, 0.505], np.float32)), "person 0.880 at [10, 10, 100, 200] came"),
        (replace(FOUND, boxes=FOUND.boxes + np.float32(7)), "person 0.900 at [10, 10, 100, 200] is expected"),
        (
            objects((10, 10, 100, 200, 0.9, 0), (300, 20, 400, 120, 0.7, 1), (200, 200, 300, 300, 0.6, 0)),
            "person 0.600 at [200, 200, 300, 300] is not expected",
        ),
    ],
)
def test_objects_that_differ_are_named(result: Detections, wrong: str) -> None:
    assert wrong in complaint(said(FOUND), said(result), SIDE, 0.01)


@pytest.mark.parametrize(
    "result",
    [
        replace(FOUND, boxes=FOUND.boxes + np.float32(6)),
        replace(FOUND, scores=FOUND.scores - np.float32(0.009)),
        objects((10, 10, 100, 200, 0.9, 0), (300, 20, 400, 120, 0.7, 1)),  # the one at the threshold is gone
        objects((300, 20, 400, 120, 0.7, 1), (10, 10, 100, 200, 0.9, 0), (9, 9, 9.5, 9.5, 0.5, 1)),
    ],
)
def test_what_differs_by_less_than_the_tolerance_passes(result: Detections) -> None:
    assert complaint(said(FOUND), said(result), SIDE, 0.01) == ""


@pytest.mark.parametrize(
    ("task", "other", "wrong"),
    [
        ("instance_segmentation", Instances(FOUND, MASKS * 0, FIT), "is expected"),
        ("keypoints", Keypoints(FOUND, JOINTS + 9, np.array([[0.9, 0.1]] * 3, np.float32)), "is expected"),
        (
            "classification",
            Classes(np.array([0, 1], np.int32), np.array([0.8, 0.2], np.float32)),
            "car 0.800 is expected, 0.200 came",
        ),
        (
            "segmentation",
            Segmentation(PLANE[::-1].copy(), np.arange(4, dtype=np.int32), np.full(4, 0.25, np.float32)),
            "100.0% of the class map differ, 1.0% may",
        ),
        (
            "anomaly",
            Anomaly(0.6, True, np.zeros((4, 4), np.float32), FIT),
            "an anomaly score of 0.620 is expected, 0.600 came",
        ),
    ],
)
def test_every_task_has_its_own_difference(task: str, other: Result, wrong: str) -> None:
    assert wrong in complaint(said(RESULTS[task], task), said(other, task), SIDE, 0.01)


def test_joints_that_are_nowhere_in_particular_may_lie_anywhere() -> None:
    moved = JOINTS.copy()
    moved[:, 1] += 300
    other = Keypoints(FOUND, moved, np.array([[0.9, 0.1]] * 3, np.float32))
    assert complaint(said(RESULTS["keypoints"], "keypoints"), said(other, "keypoints"), SIDE, 0.01) == ""


def test_another_task_is_another_model() -> None:
    assert complaint(said(FOUND), said(RESULTS["anomaly"], "anomaly"), SIDE, 1.0) == (
        "its task is anomaly, detection is expected"
    )


def test_a_picture_in_which_nothing_is_found_proves_nothing() -> None:
    assert said(objects()).is_empty


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "vision.golden/2", "task": "x", "confidence": 1}'])
def test_a_wrong_file_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ModelRejected, match=r"golden/a.json: "):
        parse_expected(text, "golden/a.json")
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(text or "x", type=Expected)
