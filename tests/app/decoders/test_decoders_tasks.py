"""What the families beyond boxes say: classes, maps, masks, joints, anomalies."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from app_inference.decoders import DECODERS, DecodeOptions
from app_inference.vision.detections import NO_CLASS, Anomaly, Classes, Instances, Keypoints, Segmentation
from app_inference.vision.resize import Fit
from numpy.typing import NDArray

INPUT = (64, 32)
TWICE = Fit(INPUT, (128, 64), (0.5, 0.5))
OPTIONS = DecodeOptions(confidence=0.3)

Arrays = dict[str, NDArray[Any]]


def classes(raw: NDArray[Any], **options: Any) -> Classes:
    result = DECODERS["classification"].decode({"logits": raw}, TWICE, replace(OPTIONS, **options))
    assert isinstance(result, Classes)
    return result


def test_logits_become_probabilities_best_first() -> None:
    found = classes(np.array([[0, 2, 1]], np.float32), top_k=2)
    assert found.class_ids.tolist() == [1, 2]
    assert found.scores == pytest.approx(np.exp([2, 1]) / np.exp([0, 2, 1]).sum(), abs=1e-6)


def test_probabilities_stay_as_they_are() -> None:
    assert classes(np.array([[0.2, 0.7, 0.1]], np.float32)).scores.tolist() == pytest.approx([0.7])


def test_quantised_probabilities_are_parts_of_255() -> None:
    assert classes(np.array([[5, 204, 9]], np.uint8)).scores.tolist() == pytest.approx([0.8])


def test_classes_before_the_first_label_are_never_named() -> None:
    found = classes(np.array([[9, 1, 2]], np.float32), label_offset=1, top_k=5)
    assert found.class_ids.tolist() == [1, 0]


def test_labels_that_do_not_exclude_one_another_are_all_told() -> None:
    found = classes(np.array([[2, -3, 1]], np.float32), multilabel=True, confidence=0.5)
    assert found.class_ids.tolist() == [0, 2]
    assert found.scores == pytest.approx(1 / (1 + np.exp([-2, -1])), abs=1e-6)


def test_a_map_of_feature_planes_is_read_flat() -> None:
    assert classes(np.array([0, 5, 1], np.float32).reshape(1, 3, 1, 1)).class_ids.tolist() == [1]


def segmented(raw: NDArray[Any], fit: Fit = TWICE, **options: Any) -> Segmentation:
    result = DECODERS["segmentation"].decode({"map": raw}, fit, replace(OPTIONS, **options))
    assert isinstance(result, Segmentation)
    return result


@pytest.mark.parametrize("shape", [(1, 32, 64), (1, 1, 32, 64)])
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_a_class_map_covers_the_original(shape: tuple[int, ...], kind: type) -> None:
    raw = np.zeros((32, 64), kind)
    raw[:, 48:] = 3
    result = segmented(raw.reshape(shape))
    assert result.class_map.shape == (64, 128)
    assert (result.class_map[:, :96] == 0).all()
    assert (result.class_map[:, 96:] == 3).all()
    assert result.class_ids.tolist() == [0, 3]
    assert result.areas.tolist() == pytest.approx([0.75, 0.25])


def test_the_best_score_wins_a_pixel() -> None:
    raw = np.zeros((1, 3, 16, 32), np.float32)
    raw[0, 2, :8] = 1
    raw[0, 1, 8:] = 1
    result = segmented(raw)
    assert (result.class_map[:32] == 2).all()
    assert (result.class_map[32:] == 1).all()


def test_background_without_a_label_is_no_class() -> None:
    raw = np.zeros((1, 32, 64), np.int32)
    raw[:, :8] = 2
    result = segmented(raw, label_offset=1)
    assert set(np.unique(result.class_map)) == {1, NO_CLASS}
    assert result.class_ids.tolist() == [1]
    assert result.areas.tolist() == pytest.approx([0.25])


def test_what_a_crop_cut_away_is_no_class() -> None:
    crop = Fit((32, 32), (128, 32), (1.0, 1.0), (-48.0, 0.0))
    result = segmented(np.ones((1, 32, 32), np.int32), crop)
    assert result.class_ids.tolist() == [1]
    assert result.areas.tolist() == pytest.approx([0.25], abs=0.02)


def seg_outputs() -> Arrays:
    """Two classes, two prototypes: the left half, and the upper half."""
    head, masks = np.zeros((1, 8, 50), np.float32), np.full((1, 2, 8, 16), -9, np.float32)
    masks[0, 0, :, :8], masks[0, 1, :4] = 9, 9
    head[0, :, 4] = (32, 16, 40, 24, 0.9, 0.1, 1, 0)
    head[0, :, 9] = (32, 16, 40, 24, 0.1, 0.8, 0, 1)
    return {"head": head, "masks": masks}


def test_masks_are_weighted_prototypes_within_their_box() -> None:
    result = DECODERS["yolo_seg"].decode(seg_outputs(), TWICE, OPTIONS)
    assert isinstance(result, Instances)
    assert result.found.class_ids.tolist() == [0, 1]
    assert result.found.boxes.tolist() == [[24, 8, 104, 56]] * 2
    left, upper = result.mask(0), result.mask(1)
    assert left.shape == (64, 128)
    assert left[12:52, 28:60].all()
    assert not left[:, 68:].any()
    assert not left[:4].any()
    assert upper[12:28, 28:100].all()
    assert not upper[36:].any()


def test_no_instance_has_no_mask() -> None:
    outputs = seg_outputs()
    outputs["head"][0, 4:6] = 0
    result = DECODERS["yolo_seg"].decode(outputs, TWICE, OPTIONS)
    assert isinstance(result, Instances)
    assert len(result.found) == 0
    assert result.masks.shape == (0, 8, 16)


def test_joints_of_every_body_come_out_in_pixels_of_the_original() -> None:
    raw = np.zeros((1, 11, 50), np.float32)
    raw[0, :, 7] = (32, 16, 20, 10, 0.9, 30, 14, 0.8, 34, 18, 0.6)
    result = DECODERS["yolo_pose"].decode({"output0": raw}, TWICE, OPTIONS)
    assert isinstance(result, Keypoints)
    assert result.found.boxes.tolist() == [[44, 22, 84, 42]]
    assert result.points.tolist() == [[[60, 28], [68, 36]]]
    assert result.scores[0] == pytest.approx([0.8, 0.6])


def test_one_body_is_boxed_by_its_sure_joints() -> None:
    raw = np.zeros((1, 1, 3, 3), np.float32)
    raw[0, 0] = ((0.25, 0.5, 0.9), (0.5, 0.75, 0.7), (0.9, 0.9, 0.1))
    result = DECODERS["movenet"].decode({"out": raw}, TWICE, OPTIONS)
    assert isinstance(result, Keypoints)
    assert result.found.boxes.tolist() == [[64, 16, 96, 32]]
    assert result.found.scores.tolist() == pytest.approx([0.8])
    assert result.points.shape == (1, 3, 2)
    assert result.points[0, 0].tolist() == [64, 16]


def anomaly(outputs: Arrays, **options: Any) -> Anomaly:
    result = DECODERS["anomaly"].decode(outputs, TWICE, DecodeOptions(**options))
    assert isinstance(result, Anomaly)
    return result


def test_a_map_is_brought_to_its_threshold() -> None:
    raw = np.full((1, 1, 8, 16), 10, np.float32)
    raw[0, 0, 2, 3] = 30
    options = {"image_threshold": 20.0, "pixel_threshold": 24.0, "normalization_scale": 40.0}
    result = anomaly({"output": raw}, **options)
    assert result.score == pytest.approx(0.75)
    assert result.is_anomalous
    assert result.heat[2, 3] == pytest.approx(0.65)
    assert result.heat[0, 0] == pytest.approx(0.15)
    assert not anomaly({"output": raw - 15}, **options).is_anomalous


def test_a_graph_that_normalises_is_taken_at_its_word() -> None:
    heat = np.full((1, 1, 8, 16), 0.2, np.float32)
    outputs: Arrays = {"anomaly_map": heat, "pred_score": np.array([0.9], np.float32), "pred_mask": heat > 1}
    result = anomaly(outputs)
    assert (result.score, result.is_anomalous) == (pytest.approx(0.9), True)
    assert (result.heat == np.float32(0.2)).all()


@pytest.mark.parametrize(("model_type", "label"), [("movenet", "person"), ("yunet", "face"), ("blazeface", "face")])
def test_a_family_that_finds_one_thing_knows_its_name(model_type: str, label: str) -> None:
    assert DECODERS[model_type].defaults.labels == (label,)
