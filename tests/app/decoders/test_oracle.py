"""Our decoders against OpenVINO's own model_api, on the same files and pictures: boxes within a pixel, scores within
a thousandth. Its wrappers share their defaults between models, so every setting is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
from app_inference.inference.model import load_model
from app_inference.models.repository import StoredModel
from app_inference.vision.detections import Anomaly, Classes, Detections, Instances, Result, Segmentation
from app_inference.vision.image import image_from_pixels

pytest.importorskip("model_api", reason="openvino-model-api, the oracle, is not installed")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.goal(8)]

BuildModel = Callable[..., Path]
Stored = Callable[[Path], StoredModel]

SIDE = 128
PICTURE = np.random.default_rng(5).integers(0, 256, (96, 160, 3), np.uint8)
COMMON: dict[str, Any] = {"reverse_input_channels": False, "mean_values": [], "scale_values": [], "pad_value": 0}


def theirs(path: Path, kind: str, **configuration: Any) -> Any:
    from model_api.models import Model

    model = Model.create_model(str(path), model_type=kind, configuration={**COMMON, **configuration}, device="CPU")
    return model(PICTURE)


def ours(stored: StoredModel, **overrides: Any) -> Result:
    plain = {"color": "BGR", "mean": [0.0], "scale": [1.0], "pad": 0}
    with load_model(stored, {**plain, **overrides}) as model:
        return model.session().analyse(image_from_pixels(PICTURE))[0]


def assert_same_boxes(mine: Detections, other: Any, least: int = 5) -> None:
    order = by_score(other)
    assert len(mine) >= least
    assert len(mine) == len(order)
    assert mine.class_ids.tolist() == np.asarray(other.labels)[order].tolist()
    assert mine.scores == pytest.approx(np.asarray(other.scores)[order], abs=1e-3)
    assert mine.boxes == pytest.approx(np.asarray(other.bboxes)[order], abs=1)


def by_score(other: Any) -> np.ndarray:
    """Their boxes best first, without those they keep although nothing of them is left in the picture."""
    boxes, scores = np.asarray(other.bboxes).reshape(-1, 4), np.asarray(other.scores)
    order = np.argsort(-scores, kind="stable")
    return order[(boxes[order, 2] > boxes[order, 0]) & (boxes[order, 3] > boxes[order, 1])]


def spread(count: int, seed: int) -> np.ndarray:
    """Boxes (n, 4) xywh around the input, some over one another."""
    random = np.random.default_rng(seed)
    return np.concatenate((random.uniform(20, 108, (count, 2)), random.uniform(12, 40, (count, 2))), 1)


def anchors(count: int, classes: int, seed: int) -> np.ndarray:
    """(4 + classes, anchors), most of them sure of nothing."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 0.2, (count, classes))
    sure = random.choice(count, 40, replace=False)
    scores[sure, random.integers(0, classes, 40)] = random.uniform(0.3, 0.99, 40)
    return np.concatenate((spread(count, seed), scores), 1).T.astype(np.float32)


@pytest.mark.parametrize("kind", ["YOLOv8", "YOLO11", "YOLOv5"])
@pytest.mark.parametrize("resize", ["standard", "fit_to_window", "fit_to_window_letterbox"])
def test_yolo_heads(build_saying: BuildModel, stored: Stored, kind: str, resize: str) -> None:
    path = build_saying({"output0": anchors(336, 3, seed=1)[None]}, (1, 3, SIDE, SIDE))
    settings = {"confidence_threshold": 0.25, "iou_threshold": 0.7, "nms_execute": True, "agnostic_nms": False}
    expected = theirs(path, kind, resize_type=resize, nms_max_predictions=300, **settings)
    assert_same_boxes(
        ours(stored(path), type=kind, resize=resize, confidence=0.25, iou=0.7),
        expected,
    )


def theirs_from_yolox(path: Path, picture: np.ndarray, raw: np.ndarray, **configuration: Any) -> Any:
    """Their wrapper fails over a missing scale when it is called whole, so its second half is called alone."""
    from model_api.models import Model

    wrapper = Model.create_model(str(path), model_type="YOLOX", configuration=COMMON | configuration, device="CPU")
    height, width = picture.shape[:2]
    scale = min(wrapper.w / width, wrapper.h / height)
    return wrapper.postprocess({"output": raw.copy()}, {"original_shape": picture.shape, "scale": scale})


def test_yolox(build_saying: BuildModel, stored: Stored) -> None:
    random = np.random.default_rng(2)
    raw = np.concatenate(
        (random.normal(0, 0.5, (336, 2)), random.normal(0.7, 0.3, (336, 2)), random.uniform(0, 0.1, (336, 4))), 1
    )
    raw[random.choice(336, 40, replace=False), 4] = random.uniform(0.7, 1, 40)
    raw[np.arange(336), 5 + random.integers(0, 3, 336)] = random.uniform(0.6, 1, 336)
    raw = raw[None].astype(np.float32)
    path = build_saying({"output": raw}, (1, 3, SIDE, SIDE))
    settings = {"confidence_threshold": 0.5, "iou_threshold": 0.65, "nms_execute": True, "agnostic_nms": True}
    expected = theirs_from_yolox(path, PICTURE, raw, **settings)
    mine = ours(stored(path), type="YOLOX", confidence=0.5, iou=0.65, agnostic_nms=True, resize="fit_to_window")
    assert isinstance(mine, Detections)
    assert_same_boxes(mine, expected)


def corners(count: int, seed: int) -> np.ndarray:
    """(n, 4) xyxy in 0..1, inside the input."""
    boxes = spread(count, seed) / SIDE
    return np.clip(np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1), 0, 1)


def falling(count: int) -> np.ndarray:
    return np.linspace(0.95, 0.05, count)


@pytest.mark.parametrize("resize", ["standard", "fit_to_window_letterbox"])
def test_ssd_in_one_output(build_saying: BuildModel, stored: Stored, resize: str) -> None:
    rows = np.concatenate(
        (np.zeros((20, 1)), np.arange(20)[:, None] % 4, falling(20)[:, None], corners(20, 3)), 1
    ).astype(np.float32)
    path = build_saying({"detection_out": rows[None, None]}, (1, 3, SIDE, SIDE))
    expected = theirs(path, "SSD", resize_type=resize, confidence_threshold=0.4, nms_execute=False)
    assert_same_boxes(ours(stored(path), type="SSD", resize=resize, confidence=0.4), expected)


def test_boxes_scores_and_labels_apart(build_saying: BuildModel, stored: Stored) -> None:
    outputs = {
        "bboxes": corners(20, 4)[None].astype(np.float32),
        "scores": falling(20)[None].astype(np.float32),
        "labels": (np.arange(20) % 4)[None].astype(np.int64),
    }
    path = build_saying(outputs, (1, 3, SIDE, SIDE))
    expected = theirs(path, "SSD", resize_type="standard", confidence_threshold=0.4, nms_execute=False)
    assert_same_boxes(ours(stored(path), type="SSD", resize="standard", confidence=0.4), expected)


def test_boxes_with_their_scores(build_saying: BuildModel, stored: Stored) -> None:
    boxes = np.concatenate((corners(20, 6) * SIDE, falling(20)[:, None]), 1)[None].astype(np.float32)
    outputs = {"boxes": boxes, "labels": (np.arange(20) % 4)[None].astype(np.int64)}
    path = build_saying(outputs, (1, 3, SIDE, SIDE))
    expected = theirs(path, "SSD", resize_type="standard", confidence_threshold=0.4, nms_execute=False)
    assert_same_boxes(ours(stored(path), type="SSD", resize="standard", confidence=0.4), expected)


@pytest.mark.parametrize("resize", ["standard", "fit_to_window_letterbox"])
def test_yolo_masks(build_saying: BuildModel, stored: Stored, resize: str) -> None:
    random = np.random.default_rng(8)
    head = np.concatenate((anchors(336, 3, seed=9), random.normal(0, 1, (8, 336))), 0).astype(np.float32)
    prototypes = random.normal(0, 1, (8, 4, 4)).repeat(8, 1).repeat(8, 2).astype(np.float32)
    path = build_saying({"output0": head[None], "output1": prototypes[None]}, (1, 3, SIDE, SIDE))
    settings = {"confidence_threshold": 0.25, "iou_threshold": 0.5, "nms_execute": True, "agnostic_nms": False}
    expected = theirs(path, "YOLO-seg", resize_type=resize, nms_max_predictions=300, **settings)
    mine = ours(stored(path), type="YOLO-seg", resize=resize, confidence=0.25, iou=0.5)
    assert isinstance(mine, Instances)
    expected.labels = np.asarray(expected.labels) - 1  # theirs count from 1
    assert_same_boxes(mine.found, expected)
    for index, row in enumerate(by_score(expected)):
        same = mine.mask(index) == (np.asarray(expected.masks[row]) > 0)
        assert same.mean() > 0.98, f"mask {index}"


@pytest.mark.parametrize("top_k", [1, 5])
def test_classification(build_saying: BuildModel, stored: Stored, top_k: int) -> None:
    logits = np.random.default_rng(1).normal(0, 2, (1, 20)).astype(np.float32)
    path = build_saying({"logits": logits}, (1, 3, SIDE, SIDE))
    labels = [f"l{i}" for i in range(20)]
    expected = theirs(path, "Classification", topk=top_k, labels=labels, resize_type="standard").top_labels
    mine = ours(stored(path), type="Classification", top_k=top_k, labels=labels, resize="standard")
    assert isinstance(mine, Classes)
    assert mine.class_ids.tolist() == [one.id for one in expected]
    assert mine.scores == pytest.approx([one.confidence for one in expected], abs=1e-3)


def test_segmentation(build_saying: BuildModel, stored: Stored) -> None:
    random = np.random.default_rng(4)
    scores = random.normal(0, 1, (1, 4, 8, 8)).repeat(16, 2).repeat(16, 3).astype(np.float32)
    path = build_saying({"output": scores}, (1, 3, SIDE, SIDE))
    expected = theirs(path, "Segmentation", resize_type="standard", blur_strength=-1, return_soft_prediction=False)
    mine = ours(stored(path), type="Segmentation", resize="standard")
    assert isinstance(mine, Segmentation)
    assert (mine.class_map == expected).mean() > 0.99


def test_anomaly(build_saying: BuildModel, stored: Stored) -> None:
    heat = np.random.default_rng(6).uniform(0, 60, (1, 1, 32, 32)).astype(np.float32)
    path = build_saying({"output": heat}, (1, 3, SIDE, SIDE))
    limits = {"image_threshold": 20.0, "pixel_threshold": 25.0, "normalization_scale": 50.0}
    expected = theirs(
        path, "AnomalyDetection", resize_type="standard", labels=["Normal", "Anomaly"], task="segmentation", **limits
    )
    mine = ours(stored(path), type="AnomalyDetection", resize="standard", **limits)
    assert isinstance(mine, Anomaly)
    assert mine.is_anomalous == (expected.pred_label == "Anomaly")
    assert mine.score == pytest.approx(expected.pred_score, abs=1e-3)


@pytest.mark.parametrize("second", [15.0, 30.0])
def test_a_real_yolox_on_a_real_picture(media: Path, stored: Stored, tmp_path: Path, second: float) -> None:
    capture = cv2.VideoCapture(str(media / "video" / "intel_one-by-one-person-detection.mp4"))
    capture.set(cv2.CAP_PROP_POS_MSEC, second * 1000)
    picture = capture.read()[1]
    capture.release()
    model = ov.Core().read_model(media / "models" / "yolox_nano.onnx")
    ov.save_model(model, tmp_path / "yolox.xml", compress_to_fp16=False)
    fitted = cv2.copyMakeBorder(cv2.resize(picture, (416, 234)), 0, 182, 0, 0, cv2.BORDER_CONSTANT, value=(114,) * 3)
    raw = ov.compile_model(model, "CPU")(fitted.transpose(2, 0, 1)[None].astype(np.float32))[0]
    settings = {"confidence_threshold": 0.3, "iou_threshold": 0.65, "nms_execute": True, "agnostic_nms": True}
    expected = theirs_from_yolox(tmp_path / "yolox.xml", picture, raw, **settings)
    with load_model(stored(tmp_path / "yolox.xml"), {"type": "yolox", "confidence": 0.3}) as loaded:
        mine = loaded.session().analyse(image_from_pixels(picture))[0]
    assert isinstance(mine, Detections)
    assert_same_boxes(mine, expected, least=1)
