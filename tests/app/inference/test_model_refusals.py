"""What the door to OpenVINO does not let in, and why."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.inference.model import Runtime, load_model
from app_inference.models.repository import stored_model
from edgex_kit.wire.errors import EdgexError
from openvino import opset13 as op

from tests.app.colours import loaded, with_manifest

BuildModel = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.onnx", b"\x00" * 100),
        ("model.xml", b"<net"),
        ("model.xml", b""),
        ("model.tflite", b"TFL3" * 10),
        ("model.pb", b"not a graph"),
        ("model.pdmodel", b"not a program"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_line_that_names_it(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelRejected, match=f"{name}: (OpenVINO cannot read it: |the file is empty)") as refused:
        load_model(stored_model(tmp_path / name), {"type": "yolox"})
    said = str(refused.value)
    assert "\n" not in said
    assert "Exception from" not in said
    assert len(said) < 400


def test_a_model_without_a_type_is_refused_before_it_is_compiled(build_mean_color: BuildModel) -> None:
    with pytest.raises(ModelRejected, match=r"no model type given for model.xml; say one of .*--model-type"):
        load_model(stored_model(build_mean_color()))


def test_a_model_of_the_wrong_family_is_refused_with_what_it_has(build_mean_color: BuildModel) -> None:
    with pytest.raises(ModelRejected, match=r"model.xml: type yolox expects .*; the model has logits \[1, 3\] float32"):
        loaded(build_mean_color(), type="yolox")


def test_labels_of_another_model_are_refused(build_mean_color: BuildModel) -> None:
    with pytest.raises(ModelRejected, match="3 classes, 7 labels are given"):
        loaded(build_mean_color(), labels=list("abcdefg"))


def test_a_device_that_is_not_there_is_unavailable(build_mean_color: BuildModel) -> None:
    with pytest.raises(ModelUnavailable, match=r"model.xml: cannot run on NPU: ") as refused:
        loaded(build_mean_color(), runtime=Runtime(device="NPU"))
    assert "\n" not in str(refused.value)


def test_two_inputs_are_one_too_many(tmp_path: Path) -> None:
    picture, other = (
        op.parameter([1, 3, 8, 8], np.float32, name="picture"),
        op.parameter([1, 3], np.float32, name="info"),
    )
    path = tmp_path / "model.xml"
    ov.save_model(ov.Model([op.result(op.relu(picture)), op.result(op.relu(other))], [picture, other], "m"), path)
    with pytest.raises(ModelRejected, match=r"expected one input, a picture; it has 2: picture, info"):
        loaded(path)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([1, 10], r"\[1, 10\] float32 is no picture"),
        ([1, 3, 8, 3], r"does not tell NCHW from NHWC; say input.layout"),
    ],
)
def test_an_input_that_is_no_colour_picture_is_refused(tmp_path: Path, shape: list[int], said: str) -> None:
    parameter = op.parameter(shape, np.float32, name="picture")
    ov.save_model(ov.Model([op.result(op.relu(parameter))], [parameter], "m"), tmp_path / "model.xml")
    with pytest.raises(ModelRejected, match=said):
        loaded(tmp_path / "model.xml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: detection", "type classification does classification, manifest.yaml says task detection"),
        ("input: {dtype: u8}", r"picture \[1, 3, 32, 32\] float32 is not of the dtype that manifest.yaml says, u8"),
    ],
)
def test_a_manifest_that_speaks_of_another_model_is_refused(build_mean_color: BuildModel, text: str, said: str) -> None:
    with pytest.raises(ModelRejected, match=said):
        load_model(with_manifest(build_mean_color(), text))


@pytest.mark.goal(47)
@pytest.mark.parametrize("limits", ["min_openvino: '2099.1'", "max_openvino: '2024.6'"])
def test_a_model_made_for_another_openvino_is_refused(build_mean_color: BuildModel, limits: str) -> None:
    with pytest.raises(ModelRejected, match=r"model.xml: made for OpenVINO (from 2099.1|up to 2024.6), this is 20"):
        load_model(with_manifest(build_mean_color(), limits))


@pytest.mark.goal(28)
def test_a_changed_file_is_refused_before_it_is_read(build_mean_color: BuildModel) -> None:
    path = build_mean_color()
    size = path.stat().st_size
    files = f"files:\n  - {{name: model.xml, size: {size}, sha256: '{'0' * 64}'}}\n"
    with pytest.raises(ModelRejected, match=r"manifest\.yaml says 000000000000…"):
        load_model(with_manifest(path, files))


def test_every_refusal_has_a_status(build_mean_color: BuildModel) -> None:
    assert issubclass(ModelRejected, EdgexError)
    assert (ModelRejected.status, ModelUnavailable.status) == (400, 503)
