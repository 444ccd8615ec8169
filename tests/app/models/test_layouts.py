"""Models where their producers leave them: the folders of other servers and exporters, and files alone."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.inference.model import load_model, open_model
from app_inference.models.repository import Repository, stored_model
from app_inference.vision.detections import Classes
from app_inference.vision.image import image_from_pixels
from openvino import opset13 as op

BuildModel = Callable[..., Path]
METADATA = "author: Ultralytics\nstride: 32\ntask: classify\nimgsz: [64, 64]\nnames: [red, green, blue]\n"


def red(root: Path | str) -> str:
    """What the mean colour model says of a red picture, found through a repository; and a digest of its answer."""
    settings = {"type": "classification", "color": "RGB", "labels": ["red", "green", "blue"], "scale": [100.0]}
    settings |= {"resize": "standard", "size": [32, 32]}  # which the layouts have words of their own for
    with load_model(Repository(Path("models")).find(str(root)), settings) as model:
        result, _ = model.session().analyse(image_from_pixels(np.full((20, 30, 3), (10, 20, 200), np.uint8)))
    assert isinstance(result, Classes)
    assert model.labels[int(result.class_ids[0])] == "red"
    return hashlib.sha256(result.scores.tobytes()).hexdigest()


@pytest.mark.goal(1)
def test_every_layout_leads_to_the_same_answer(build_mean_color: BuildModel, tmp_path: Path) -> None:
    path = build_mean_color(name="source/net")

    def laid(*parts: str, stem: str = "model") -> Path:
        folder = tmp_path.joinpath(*parts)
        folder.mkdir(parents=True)
        for suffix in (".xml", ".bin"):
            shutil.copy(path.with_suffix(suffix), folder / f"{stem}{suffix}")
        return folder

    ours = laid("ours", "net", "1.2.0")
    (ours / "manifest.yaml").write_text("schema: vision.model/1\nname: net\nversion: 1.2.0\n")
    laid("ovms", "net", "1", stem="net")
    laid("ovms", "net", "12", stem="net")
    triton = laid("triton", "net", "3")
    (triton.parent / "config.pbtxt").write_text('name: "net"\nbackend: "openvino"\nmax_batch_size: 0\n')
    export = laid("net_openvino_model", stem="net")
    (export / "metadata.yaml").write_text(METADATA)
    places = [path, ours, ours.parent, tmp_path / "ovms" / "net", tmp_path / "ovms" / "net" / "1", triton, export]
    assert len({red(place) for place in places}) == 1
    assert Repository(tmp_path / "ovms").newest("net").version == "12"


PBTXT = """
# Triton's own words
name: "net"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "picture" data_type: TYPE_FP32 format: FORMAT_NHWC dims: [ 48, 64, 3 ] }
]
output { name: "logits" data_type: TYPE_FP32 dims: 3, label_filename: "labels.txt" }
instance_group [ { count: 2 kind: KIND_CPU } ]
parameters { key: "x" value: { string_value: "a \\"quoted\\" {brace}" } }
"""


@pytest.mark.goal(1)
def test_tritons_configuration_tells_layout_size_and_labels(build_mean_color: BuildModel, tmp_path: Path) -> None:
    source = build_mean_color("NHWC", dynamic=True, name="source/net")
    folder = tmp_path / "triton" / "net" / "1"
    folder.mkdir(parents=True)
    for suffix in (".xml", ".bin"):
        shutil.copy(source.with_suffix(suffix), folder / f"model{suffix}")
    (folder.parent / "config.pbtxt").write_text(PBTXT)
    (folder.parent / "labels.txt").write_text("red\ngreen\nblue\n")
    opened = open_model(Repository(tmp_path / "triton").newest("net"), {"type": "classification"})
    assert (opened.resolved.labels, opened.resolved.size) == (("red", "green", "blue"), (64, 48))
    assert {key: opened.resolved.origins[key] for key in ("labels", "size")} == {
        "labels": "config.pbtxt",
        "size": "config.pbtxt",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name: "net', r"line 1: '\"net' is not understood"),
        ("input [ { name: 'x' } ]", "is not understood"),
        ("input [ 1, 2", "a list is not closed"),
        ("a { " * 40, "nested too deeply"),
        ('output { label_filename: "gone.txt" }', "label_filename gone.txt cannot be read"),
        ('output { label_filename: "../../secret.txt" }', "label_filename secret.txt cannot be read"),
    ],
)
def test_a_wrong_configuration_of_triton_is_refused(
    build_mean_color: BuildModel, tmp_path: Path, text: str, said: str
) -> None:
    build_mean_color(name="net/1/model")
    (tmp_path / "net" / "config.pbtxt").write_text(text)
    with pytest.raises(ModelRejected, match=said):
        stored_model(tmp_path / "net" / "1")


@pytest.mark.goal(2)
def test_a_format_nobody_knows_is_refused_with_the_ones_we_read(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelRejected, match=r"suffix '.safetensors' is none of .xml, .onnx, .tflite, .pb, .pdmodel"):
        stored_model(tmp_path / "model.safetensors")


@pytest.mark.goal(2)
def test_an_onnx_file_answers(build_onnx: BuildModel) -> None:
    assert red(build_onnx())


RED, GREEN = (
    np.array([[9, 0], [0, 0], [0, 9]], np.float32).tobytes(),
    np.array([[0, 9], [0, 0], [9, 0]], np.float32).tobytes(),
)


@pytest.mark.fault(14)
@pytest.mark.goal(29)
@pytest.mark.parametrize("location", ["weights.bin", "w", "data/net.onnx_data"])
def test_two_versions_that_differ_in_external_weights_alone_answer_each_with_its_own(
    build_external_onnx: BuildModel, location: str
) -> None:
    paths = [build_external_onnx(data, location, f"{number}/net") for number, data in enumerate((RED, GREEN))]
    picture = image_from_pixels(np.full((32, 32, 3), (0, 0, 200), np.uint8))
    settings = {"type": "classification", "color": "RGB", "labels": ["a", "b"]}
    found = []
    for path in paths:
        with load_model(stored_model(path), settings) as model:
            result, _ = model.session().analyse(picture)
            assert isinstance(result, Classes)
            found.append((model.digest, model.labels[int(result.class_ids[0])]))
    assert [label for _, label in found] == ["a", "b"]
    assert found[0][0] != found[1][0]


@pytest.mark.fault(14)
def test_external_weights_that_are_missing_or_elsewhere_are_named(build_external_onnx: BuildModel) -> None:
    with pytest.raises(ModelUnavailable, match=r"weights\.bin"):
        load_model(stored_model(build_external_onnx(None)))
    for location in ("../weights.bin", "/etc/hostname"):
        with pytest.raises(ModelRejected, match="outside"):
            stored_model(build_external_onnx(None, location)).digest()


@pytest.mark.fault(23)
@pytest.mark.parametrize("text", ["version https://git-lfs.github.com/spec/v1\noid 0\n", "<!DOCTYPE html><html>"])
def test_what_stands_in_for_a_model_is_named_and_openvino_is_not_asked(
    build_mean_color: BuildModel, tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.onnx").write_text(text)
    weights = build_mean_color(name="ir/net").with_suffix(".bin")
    weights.write_text(text)
    for path in (tmp_path / "net.onnx", weights.with_suffix(".xml")):
        with pytest.raises(ModelRejected, match=r"git lfs pull|HTML page"):
            load_model(stored_model(path), {"type": "classification"})
    assert capfd.readouterr() == ("", "")


@pytest.mark.fault(23)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_model_of_one_channel_gets_grey_pictures(tmp_path: Path, layout: str) -> None:
    shape, axes = ([1, 1, 32, 32], [2, 3]) if layout == "NCHW" else ([1, 32, 32, 1], [1, 2])
    picture = op.parameter(shape, np.float32, name="picture")
    mean = op.reduce_mean(picture, np.array(axes))
    both = op.concat([mean, op.subtract(np.float32(2.55), mean)], 1)
    ov.save_model(ov.Model([op.result(both)], [picture]), tmp_path / "net.xml")
    settings = {"type": "classification", "labels": ["bright", "dark"], "scale": [100.0]}
    with load_model(stored_model(tmp_path / "net.xml"), settings) as model:
        assert model.resolved.color == "GRAY"
        for value, label in ((250, "bright"), (5, "dark")):
            result, _ = model.session().analyse(image_from_pixels(np.full((20, 30, 3), value, np.uint8)))
            assert isinstance(result, Classes)
            assert model.labels[int(result.class_ids[0])] == label
    with pytest.raises(ModelRejected, match="one number"):
        load_model(stored_model(tmp_path / "net.xml"), {**settings, "mean": [1.0, 2.0, 3.0]})
