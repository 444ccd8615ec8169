"""Models as their producers leave them: every layout and every kind of embedded metadata is read as it is."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from app_inference.detections import Classes
from app_inference.errors import ModelRejected
from app_inference.images import image_from_pixels
from app_inference.model import OpenedModel, load_model, open_model
from app_inference.repository import Repository, stored_model

BuildModel = Callable[..., Path]

V8 = {"output0": np.zeros((1, 6, 84), np.float32)}
END2END = {"output0": np.zeros((1, 300, 6), np.float32)}
METADATA = """
description: Ultralytics YOLO11n model
author: Ultralytics
date: '2026-02-03T10:00:00'
version: 8.4.1
license: AGPL-3.0 License (https://ultralytics.com/license)
stride: 32
task: {task}
batch: 1
imgsz: [64, 64]
names: {names}
args: {{half: false}}
"""
ULTRALYTICS_INFO = {
    "model_type": "YOLO",
    "labels": "person traffic_light",
    "resize_type": "fit_to_window_letterbox",
    "pad_value": "114",
    "reverse_input_channels": "YES",
    "scale_values": "255",
    "iou_threshold": "0.7",
}


def ultralytics(path: Path, task: str = "detect", names: str = "{0: person, 1: traffic light}") -> OpenedModel:
    (path.parent / "metadata.yaml").write_text(METADATA.format(task=task, names=names))
    return open_model(stored_model(path.parent))


def origins(opened: OpenedModel, *keys: str) -> dict[str, str]:
    return {key: opened.resolved.origins[key] for key in keys}


@pytest.mark.goal(5, 6)
def test_an_ultralytics_export_opens_as_it_is(build_saying: BuildModel) -> None:
    opened = ultralytics(build_saying(V8, info=ULTRALYTICS_INFO))
    assert opened.resolved.decoder.type == "yolov8"
    assert opened.resolved.labels == ("person", "traffic light")
    assert (opened.resolved.resize, opened.resolved.pad, opened.resolved.color) == (
        "fit_to_window_letterbox", 114, "RGB",
    )  # fmt: skip
    assert origins(opened, "type", "labels", "pad", "iou", "confidence") == {
        "type": "metadata.yaml",
        "labels": "metadata.yaml",
        "pad": "model_info",
        "iou": "model_info",
        "confidence": "default",
    }


@pytest.mark.goal(6)
@pytest.mark.parametrize(
    ("task", "outputs", "names", "kind"),
    [
        ("detect", END2END, "{0: a, 1: b}", "yolo_end2end"),
        ("pose", {"o": np.zeros((1, 14, 84), np.float32)}, "{0: person}", "yolo_pose"),
        (
            "segment",
            {"o": np.zeros((1, 9, 84), np.float32), "p": np.zeros((1, 2, 16, 16), np.float32)},
            "{0: a, 1: b, 2: c}",
            "yolo_seg",
        ),
        ("classify", {"o": np.zeros((1, 3), np.float32)}, "[a, b, c]", "classification"),
    ],
)
def test_the_task_of_an_export_is_its_metadatas(
    build_saying: BuildModel, task: str, outputs: Mapping[str, Any], names: str, kind: str
) -> None:
    opened = ultralytics(build_saying(outputs, info={"model_type": "YOLO"}), task, names)
    assert opened.resolved.decoder.type == kind


@pytest.mark.goal(6)
@pytest.mark.parametrize(
    ("task", "names", "said"),
    [
        ("detect", "{0: a, 1: b, 2: c}", "2 classes apart, 3 labels are given"),
        ("segment", "{0: a, 1: b}", r"expects two outputs, .*; the model has output0 \[1, 6, 84\] float32"),
        ("obb", "{0: a, 1: b}", "metadata.yaml says task 'obb'; known are detect, segment, pose, classify"),
        ("detect", "{1: a, 2: b}", "neither a list nor numbered from 0"),
    ],
)
def test_an_export_that_contradicts_its_model_is_refused(
    build_saying: BuildModel, task: str, names: str, said: str
) -> None:
    with pytest.raises(ModelRejected, match=said):
        ultralytics(build_saying(V8), task, names)


@pytest.mark.goal(31)
def test_the_licence_of_an_export_is_told_with_who_says_so(build_saying: BuildModel) -> None:
    told = ultralytics(build_saying(V8)).provenance
    assert told["license"].text.startswith("AGPL-3.0")
    assert told["license"].origin == "metadata.yaml"
    assert told["trainer"].text == "Ultralytics 8.4.1"
    assert told["created"].text.startswith("2026-02-03")


def test_somebody_elses_metadata_file_is_left_alone(build_saying: BuildModel) -> None:
    path = build_saying(V8, info=ULTRALYTICS_INFO)
    for text in ("title: a paper\n", "just words", "[1, 2]"):
        (path.parent / "metadata.yaml").write_text(text)
        assert open_model(stored_model(path.parent)).resolved.origins["type"] == "model_info"
    (path.parent / "metadata.yaml").write_text("names: [unclosed")
    with pytest.raises(ModelRejected, match=r"metadata.yaml: not YAML"):
        stored_model(path.parent)


@pytest.mark.goal(5)
def test_an_onnx_file_says_of_itself_what_an_ir_does(build_onnx: BuildModel) -> None:
    said = {"model_info model_type": "Classification", "model_info labels": "blue green red", "producer": "somebody"}
    opened = open_model(stored_model(build_onnx(said)))
    assert opened.resolved.labels == ("blue", "green", "red")
    assert opened.resolved.origins["type"] == "model_info"


@pytest.mark.goal(5)
def test_an_ultralytics_onnx_needs_no_file_beside_it(build_onnx: BuildModel) -> None:
    said = {"task": "classify", "names": "{0: 'a b', 1: 'c', 2: 'd'}", "stride": "1", "imgsz": "[32, 32]",
            "license": "AGPL-3.0", "author": "Ultralytics"}  # fmt: skip
    opened = open_model(stored_model(build_onnx(said)))
    assert opened.resolved.labels == ("a b", "c", "d")
    assert opened.resolved.scale == (255.0,)
    assert opened.resolved.origins["labels"] == "metadata_props"
    assert (opened.provenance["license"].text, opened.provenance["license"].origin) == ("AGPL-3.0", "metadata_props")


@pytest.mark.goal(5)
@pytest.mark.parametrize(
    ("outputs", "info", "kind", "labels", "settings"),
    [
        (  # OTX and Geti: detection, with the labels' own spaces in label_info
            {"boxes": np.zeros((1, 20, 5), np.float32), "labels": np.zeros((1, 20), np.int64)},
            {"model_type": "ssd", "labels": "red_car bus", "label_info": '{"label_names": ["red car", "bus"]}',
             "confidence_threshold": "0.35", "otx_version": "2.2.0"},
            "boxes_labels_scores", ("red car", "bus"), {"confidence": 0.35},
        ),
        (  # Geti puts a label before those of instance segmentation
            {"boxes": np.zeros((1, 20, 5), np.float32), "labels": np.zeros((1, 20), np.int64)},
            {"model_type": "ssd", "labels": "otx_empty_lbl cell nucleus", "label_info": "no json"},
            "boxes_labels_scores", ("cell", "nucleus"), {},
        ),
        (
            {"map": np.zeros((1, 1, 16, 16), np.float32)},
            {"model_type": "AnomalyDetection", "labels": "Normal Anomaly", "image_threshold": "12.5",
             "pixel_threshold": "11.0", "normalization_scale": "30.1", "reverse_input_channels": "True"},
            "anomaly", ("Normal", "Anomaly"), {"image_threshold": 12.5, "normalization_scale": 30.1},
        ),
        (  # Open Model Zoo
            {"detection_out": np.zeros((1, 1, 200, 7), np.float32)},
            {"model_type": "ssd", "labels": "background person", "confidence_threshold": "0.6",
             "resize_type": "standard"},
            "ssd", ("background", "person"), {"confidence": 0.6},
        ),
    ],
)  # fmt: skip
def test_what_each_producer_writes_is_understood(
    build_saying: BuildModel,
    outputs: Mapping[str, Any],
    info: Mapping[str, str],
    kind: str,
    labels: tuple[str, ...],
    settings: Mapping[str, Any],
) -> None:
    opened = open_model(stored_model(build_saying(outputs, info=info)))
    assert (opened.resolved.decoder.type, opened.resolved.labels) == (kind, labels)
    for key, value in settings.items():
        assert opened.resolved.values()[key] == value
        assert opened.resolved.origins[key] == "model_info"


@pytest.mark.goal(47)
def test_an_int8_graph_of_another_openvino_is_warned_of(build_saying: BuildModel) -> None:
    path = build_saying(V8, info=ULTRALYTICS_INFO)
    model = ov.Core().read_model(path)
    model.set_rt_info("2.13.0", ["nncf", "version"])
    quantised = path.parent / "quantised" / "model.xml"
    quantised.parent.mkdir()
    ov.save_model(model, quantised)
    assert open_model(stored_model(quantised)).warnings == ()
    text = quantised.read_text()
    written = text.replace(f'value="{ov.get_version()}"', 'value="2024.3.0-16041-abc"')
    assert written != text
    quantised.write_text(written)
    opened = open_model(stored_model(quantised))
    assert len(opened.warnings) == 1
    assert opened.warnings[0].startswith("quantised by NNCF 2.13.0 for OpenVINO 2024.3, this is ")


# Layouts


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
    (export / "metadata.yaml").write_text(METADATA.format(task="classify", names="[red, green, blue]"))
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
    assert origins(opened, "labels", "size") == {"labels": "config.pbtxt", "size": "config.pbtxt"}


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
