"""What a model must say of a picture, and how near is near enough."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import openvino as ov
import pytest
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.inference.model import load_model
from app_inference.models.importer import Wanted, add
from app_inference.models.manifest import Golden, Limits, Manifest
from app_inference.models.repository import Repository, StoredModel, stored_model
from app_inference.rollout.golden import (
    Expected,
    complaint,
    expected_from,
    expected_text,
    make_golden,
    parse_expected,
    self_test,
)
from app_inference.vision.detections import Anomaly, Classes, Detections, Instances, Keypoints, Result, Segmentation
from app_inference.vision.resize import Fit
from numpy.typing import NDArray
from openvino import opset13 as op

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


BuildModel = Callable[..., Path]
INFO = {"model_type": "Classification", "labels": "blue green red"}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((40, 60, 3), (10, 20, 200), np.uint8))
    return path


def with_golden(path: Path, root: Path, picture: Path, tolerance: float = 0.01) -> StoredModel:
    def finish(stored: StoredModel) -> list[Golden]:
        with load_model(stored) as model:
            return [make_golden(model, stored.folder, picture, tolerance)]

    return add(Repository(root), Wanted(path, name="net"), finish)


def refusal_of(stored: StoredModel) -> str:
    """What the self-test refuses it for; empty when it passes."""
    try:
        with load_model(stored) as model:
            self_test(model, stored)
    except ModelRejected as refused:
        return str(refused)
    return ""


def weighed(path: Path, weights: NDArray[np.float32]) -> Path:
    """A classifier with weights of its own."""
    parameter = op.parameter([1, 3, 32, 32], np.float32, name="picture")
    mean = op.reduce_mean(parameter, np.array([2, 3]))
    logits = op.matmul(op.multiply(mean, np.float32(0.01)), op.constant(weights), False, False)
    model = ov.Model([op.result(logits)], [parameter], "net")
    for key, value in INFO.items():
        model.set_rt_info(value, ["model_info", key])
    path.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, path, compress_to_fp16=False)
    return path


@pytest.mark.goal(16)
def test_wrong_weights_of_the_right_shape_are_refused(tmp_path: Path, picture: Path) -> None:
    right = weighed(tmp_path / "right" / "model.xml", np.eye(3, dtype=np.float32))
    stored = with_golden(right, tmp_path / "models", picture)
    assert refusal_of(stored) == ""
    wrong = weighed(tmp_path / "wrong" / "model.xml", np.eye(3, dtype=np.float32)[::-1].copy())
    bad = StoredModel(stored.name, stored.version, wrong, _without_files(stored), stored.folder)
    assert "net@1.0.0 fails its self-test: golden/red.png: red " in refusal_of(bad)
    assert "is expected, " in refusal_of(bad)


@pytest.mark.goal(16)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    path = weighed(tmp_path / "nan" / "model.xml", np.full((3, 3), value, np.float32))
    assert "holds NaN or infinity" in refusal_of(stored_model(path))


@pytest.mark.goal(16)
def test_an_answer_that_takes_too_long_is_refused(build_mean_color: BuildModel) -> None:
    stored = stored_model(build_mean_color(info=INFO))
    manifest = Manifest(schema="vision.model/1", name="net", version="1.0.0", limits=Limits(latency_ms=1e-6))
    limited = StoredModel("net", "1.0.0", stored.path, manifest, stored.folder)
    assert "an answer takes " in refusal_of(limited)
    assert refusal_of(stored) == ""


def test_a_passed_test_tells_what_it_saw(build_mean_color: BuildModel, tmp_path: Path, picture: Path) -> None:
    stored = with_golden(build_mean_color(info=INFO), tmp_path / "models", picture)
    with load_model(stored) as model:
        passed = self_test(model, stored)
    assert passed.golden == 1
    assert passed.latency_ms > 0
    assert stored.manifest is not None
    assert [(it.input, it.output) for it in stored.manifest.golden] == [("golden/red.png", "golden/red.png.json")]
    assert {"golden/red.png", "golden/red.png.json"} <= {file.name for file in stored.manifest.files}


def test_a_golden_picture_that_is_gone_or_broken_is_said(
    build_mean_color: BuildModel, tmp_path: Path, picture: Path
) -> None:
    stored = with_golden(build_mean_color(info=INFO), tmp_path / "models", picture)
    bare = StoredModel(stored.name, stored.version, stored.path, _without_files(stored), tmp_path)
    with load_model(stored) as model:
        with pytest.raises(ModelUnavailable, match=r"red.png: No such file"):
            self_test(model, bare)
        (tmp_path / "golden").mkdir()
        (tmp_path / "golden" / "red.png").write_bytes(b"no picture")
        (tmp_path / "golden" / "red.png.json").write_bytes((stored.folder / "golden/red.png.json").read_bytes())
        with pytest.raises(ModelRejected, match=r"golden/red\.png: "):
            self_test(model, bare)


def test_a_picture_in_which_nothing_is_found_makes_no_golden(
    build_saying: BuildModel, tmp_path: Path, picture: Path
) -> None:
    path = build_saying({"o": np.zeros((1, 6, 84), np.float32)}, info={"model_type": "YOLO", "labels": "a b"})
    with load_model(stored_model(path)) as model:
        with pytest.raises(ModelRejected, match="the model finds nothing in it"):
            make_golden(model, tmp_path, picture, 0.01)
        assert make_golden(model, tmp_path, picture, 0.02, may_be_empty=True).tolerance == 0.02


def _without_files(stored: StoredModel) -> Manifest:
    assert stored.manifest is not None
    said = stored.manifest
    return Manifest(schema=said.schema, name=said.name, version=said.version, golden=said.golden)


def test_a_golden_result_travels_between_precisions_and_bad_weights_do_not() -> None:
    shifted = replace(FOUND, boxes=FOUND.boxes + np.float32(9), scores=FOUND.scores - np.float32(0.05))
    in_bf16 = expected_from(shifted, LABELS, "detection", 0.5, "BF16")
    assert complaint(said(FOUND), in_bf16, SIDE, 0.01) == ""
    assert complaint(in_bf16, said(FOUND), SIDE, 0.01) == ""
    assert complaint(said(FOUND), said(shifted), SIDE, 0.01) != ""
    for bad in (replace(FOUND, scores=FOUND.scores / 2), replace(FOUND, boxes=FOUND.boxes + np.float32(60)), objects()):
        wrong = complaint(said(FOUND), expected_from(bad, LABELS, "detection", 0.5, "BF16"), SIDE, 0.01)
        assert wrong.endswith("(recorded in FP32, computed in BF16)")
