"""Which setting wins, and where each came from."""

from typing import Any

import pytest
from app_inference.decoders import TensorSpec
from app_inference.errors import ModelRejected
from app_inference.models.manifest import Manifest, parse_manifest
from app_inference.models.metadata.model_info import settings
from app_inference.models.resolution import ResolvedModel, resolve, state
from edgex_kit.wire.errors import Invalid

YOLOV8 = [TensorSpec(("output0",), (1, 6, 8400), "float32")]
SIZE = (640, 640)
INFO = {
    "model_type": "YOLO",
    "labels": "person traffic_light",
    "resize_type": "fit_to_window_letterbox",
    "pad_value": "114",
    "reverse_input_channels": "YES",
    "mean_values": "0.485 0.456 0.406",
    "scale_values": "255",
    "confidence_threshold": "0.4",
    "iou_threshold": "0.65",
}


def manifest(**extra: Any) -> Manifest:
    lines = {"schema": "vision.model/1", "name": "m", "version": "1.0.0", "type": "yolov8", **extra}
    return parse_manifest("\n".join(f"{key}: {value}" for key, value in lines.items()))


def resolved(
    by_manifest: Manifest | None = None, info: dict[str, str] | None = None, **overrides: Any
) -> ResolvedModel:
    return resolve("m.xml", state(by_manifest, info or {}, overrides), YOLOV8, SIZE)


def test_a_model_that_says_nothing_gets_its_types_defaults() -> None:
    model = resolved(type="yolov8")
    assert (model.decoder.type, model.labels, model.size) == ("yolov8", (), SIZE)
    assert (model.resize, model.pad, model.color, model.scale) == ("fit_to_window_letterbox", 114, "RGB", (255.0,))
    assert model.options.confidence == 0.25
    assert model.origins["type"] == "override"
    assert model.origins["resize"] == "default"
    assert model.origins["size"] == "model"


def test_model_info_alone_is_enough() -> None:
    model = resolved(info=INFO)
    assert model.decoder.type == "yolov8"
    assert model.labels == ("person", "traffic_light")
    assert model.mean == (0.485, 0.456, 0.406)
    assert (model.options.confidence, model.options.iou) == (0.4, 0.65)
    assert model.origins["confidence"] == "model_info"
    assert model.origins["max_detections"] == "default"


def test_the_stronger_layer_wins_key_by_key() -> None:
    by_manifest = manifest(thresholds="{confidence: 0.5, iou: 0.55}", input="{pad: 0}")
    model = resolved(by_manifest, INFO, confidence=0.9)
    assert (model.options.confidence, model.options.iou, model.pad) == (0.9, 0.55, 0)
    assert model.labels == ("person", "traffic_light")
    wanted = {
        "confidence": "override",
        "iou": "manifest",
        "pad": "manifest",
        "labels": "model_info",
        "type": "manifest",
    }
    assert {key: model.origins[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("kind", "keeps"),
    [("standard", False), ("crop", False), ("fit_to_window", True), ("fit_to_window_letterbox", True)],
)
def test_kinds_that_pad_keep_the_ratio(kind: str, keeps: bool) -> None:
    assert resolved(type="yolov8", resize=kind).keeps_ratio is keeps


def test_zero_and_false_are_settings_too() -> None:
    model = resolved(manifest(thresholds="{confidence: 0.0, agnostic_nms: false}", input="{pad: 0, mean: [0]}"), INFO)
    assert model.options.confidence == 0
    assert model.pad == 0
    assert model.mean == (0.0,)


def test_a_model_without_a_type_is_refused_with_what_to_do() -> None:
    with pytest.raises(ModelRejected) as refused:
        resolved()
    assert str(refused.value).startswith("no model type given for m.xml; say one of anomaly, blazeface, ")
    assert str(refused.value).endswith(" in manifest.yaml beside the file or with --model-type")


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelRejected, match="2 classes, 3 labels"):
        resolved(type="yolov8", labels=["a", "b", "c"])


def test_an_offset_counts_with_the_labels() -> None:
    outputs = [TensorSpec(("logits",), (1, 1001), "float32")]
    stated = state(None, {}, {"type": "classification", "labels": ["x"] * 1000, "label_offset": 1})
    assert resolve("m", stated, outputs, SIZE).options.label_offset == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"confidence": 1.5}, "confidence"),
        ({"confidense": 0.5}, "confidense"),
        ({"color": "YUV"}, "color"),
        ({"size": [640]}, "size"),
        ({"labels": "person"}, "labels"),
    ],
)
def test_a_wrong_override_is_the_operators(override: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=f"model override: .*{said}") as refused:
        resolved(type="yolov8", **override)
    assert not isinstance(refused.value, ModelRejected)


def test_a_class_without_a_label_is_called_by_its_number() -> None:
    model = resolved(info=INFO)
    assert [model.label(number) for number in (0, 1, 2, -1)] == ["person", "traffic_light", "2", "-1"]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("confidence_threshold", "often"),
        ("confidence_threshold", "7"),
        ("resize_type", "squeeze"),
        ("scale_values", "1 2"),
        ("mean_values", "a b c"),
        ("color_space", "YUV"),
        ("pad_value", "grey"),
    ],
)
def test_a_wrong_model_info_is_refused_by_its_key(key: str, text: str) -> None:
    with pytest.raises(ModelRejected, match=f"model_info/{key} is '{text}'"):
        settings({key: text})


def test_none_and_nothing_are_unset() -> None:
    assert settings({"mean_values": "", "pad_value": "None", "something_else": "x"}) == {}


def test_a_graph_that_prepares_its_picture_is_fed_plainly_at_its_inner_size() -> None:
    stated = settings({**INFO, "embedded_processing": "True", "orig_width": "640", "orig_height": "480"})
    assert stated["size"] == (640, 480)
    assert (stated["color"], stated["mean"], stated["scale"]) == ("BGR", [], [])
