"""Models as their producers leave them: every kind of embedded metadata is read as it is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from app_inference.errors import ModelRejected
from app_inference.inference.model import OpenedModel, open_model
from app_inference.models.repository import stored_model

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
        ("detect", "{0: a, 1: b, 2: c}", "2 classes, 3 labels are given"),
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
