"""Models where their producers leave them: the folders of other servers and exporters, and files alone."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from app_inference.errors import ModelRejected
from app_inference.inference.model import load_model, open_model
from app_inference.models.repository import Repository, stored_model
from app_inference.vision.detections import Classes
from app_inference.vision.image import image_from_pixels

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


@pytest.mark.goal(29)
def test_weights_that_onnx_keeps_beside_the_graph_count(build_onnx: BuildModel) -> None:
    path = build_onnx()
    digests = [stored_model(path).digest()]
    for name in ("model.onnx.data", "model.onnx_data", "model.data"):
        (path.parent / name).write_bytes(name.encode())
        digests.append(stored_model(path).digest())
    assert len(set(digests)) == 4
