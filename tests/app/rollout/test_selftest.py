"""Versions prove themselves before they serve."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.inference.model import load_model
from app_inference.models.importer import Wanted, add
from app_inference.models.manifest import Golden, Limits, Manifest
from app_inference.models.repository import Repository, StoredModel, stored_model
from app_inference.rollout.selftest import make_golden, self_test
from numpy.typing import NDArray
from openvino import opset13 as op

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
        with pytest.raises(ModelRejected, match=r"golden/red.png: expected a JPEG"):
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
