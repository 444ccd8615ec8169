"""Where each detector family puts its boxes: one made-up object, and where it must come out."""

from typing import Any

import numpy as np
import pytest
from app_inference.decoders import DECODERS, DecodeOptions, TensorSpec
from app_inference.errors import ModelRejected
from app_inference.vision.detections import Detections
from app_inference.vision.image import image_from_pixels
from app_inference.vision.resize import Fit, fit_image
from numpy.typing import NDArray

INPUT = (64, 32)  # width, height: unequal, so that a swap shows
PLAIN = Fit(INPUT, INPUT, (1.0, 1.0))
OPTIONS = DecodeOptions(confidence=0.3, iou=0.5)

Arrays = dict[str, NDArray[Any]]


def decoded(name: str, outputs: Arrays, fit: Fit = PLAIN, options: DecodeOptions = OPTIONS) -> Detections:
    result = DECODERS[name].decode(outputs, fit, options)
    assert isinstance(result, Detections)
    return result


def one_object(found: Detections) -> tuple[list[float], float, int]:
    assert len(found) == 1
    return found.boxes[0].tolist(), float(found.scores[0]), int(found.class_ids[0])


def test_yolox_reads_cells_in_the_order_of_their_strides() -> None:
    cells = (64 // 8) * (32 // 8) + (64 // 16) * (32 // 16) + (64 // 32) * (32 // 32)
    raw = np.zeros((1, cells, 7), np.float32)
    # stride 16 starts behind 32 cells of stride 8; its column 2, row 1 is cell 6
    raw[0, 32 + 6] = (0.5, 0.25, np.log(1.25), np.log(0.5), 0.9, 0.1, 0.8)
    box, score, class_id = one_object(decoded("yolox", {"output": raw}))
    assert box == pytest.approx([40 - 10, 20 - 4, 40 + 10, 20 + 4], abs=1e-4)
    assert score == pytest.approx(0.72)
    assert class_id == 1


def test_yolov8_takes_the_best_class_of_an_anchor() -> None:
    raw = np.zeros((1, 6, 40), np.float32)
    raw[0, :, 11] = (30, 16, 20, 10, 0.6, 0.7)
    box, score, class_id = one_object(decoded("yolov8", {"output0": raw}))
    assert box == [20, 11, 40, 21]
    assert (score, class_id) == (pytest.approx(0.7), 1)


def test_yolov5_multiplies_objectness_and_class() -> None:
    raw = np.zeros((1, 40, 7), np.float32)
    raw[0, 3] = (30, 16, 20, 10, 0.5, 0.2, 0.8)
    raw[0, 4] = (10, 10, 5, 5, 0.9, 0.3, 0.2)  # 0.27 is below the limit, though each factor is not
    box, score, class_id = one_object(decoded("yolov5", {"output": raw}))
    assert box == [20, 11, 40, 21]
    assert (score, class_id) == (pytest.approx(0.4), 1)


@pytest.mark.parametrize(("name", "row"), [("yolov5", (30, 16, 20, 10, 1, 0, 0.9)), ("yolox", (0, 0, 1, 1, 1, 0, 0.9))])
def test_labels_may_start_at_a_later_class(name: str, row: tuple[float, ...]) -> None:
    raw = np.zeros((1, 42, 7), np.float32)
    raw[0, 10] = row
    options = DecodeOptions(confidence=0.3, label_offset=1)
    assert one_object(decoded(name, {"output": raw}, options=options))[2] == 0
    raw[0, 10, 5:] = (0.9, 0)  # the class before the first label is none
    assert len(decoded(name, {"output": raw}, options=options)) == 0


def test_end_to_end_boxes_are_taken_as_they_are() -> None:
    raw = np.zeros((1, 300, 6), np.float32)
    raw[0, 0] = (20, 11, 40, 21, 0.7, 5)
    raw[0, 1] = (21, 11, 41, 21, 0.6, 5)  # the graph has suppressed: what it left in stays
    found = decoded("yolo_end2end", {"output0": raw})
    assert found.boxes.tolist() == [[20, 11, 40, 21], [21, 11, 41, 21]]
    assert found.class_ids.tolist() == [5, 5]


def test_ssd_rows_end_at_the_first_that_belongs_to_no_image() -> None:
    raw = np.zeros((1, 1, 10, 7), np.float32)
    raw[0, 0, 0] = (0, 2, 0.9, 0.25, 0.5, 0.5, 0.75)
    raw[0, 0, 1, 0] = -1
    raw[0, 0, 2] = (0, 3, 0.9, 0.1, 0.1, 0.9, 0.9)  # left over from an earlier picture
    box, _, class_id = one_object(decoded("ssd", {"detection_out": raw}))
    assert box == [16, 16, 32, 24]
    assert class_id == 2


def tf_outputs(count: float, *rows: tuple[tuple[float, float, float, float], float, float]) -> Arrays:
    boxes, scores, classes = np.zeros((1, 4, 4)), np.zeros((1, 4)), np.zeros((1, 4))
    for index, (box, score, number) in enumerate(rows):
        boxes[0, index], scores[0, index], classes[0, index] = box, score, number
    arrays = {"detection_boxes": boxes, "detection_scores": scores, "detection_classes": classes}
    return {name: values.astype(np.float32) for name, values in arrays.items()} | {
        "num_detections": np.array([count], np.float32)
    }


def test_tensorflow_boxes_are_y_x_y_x_and_classes_start_at_one() -> None:
    outputs = tf_outputs(1, ((0.5, 0.25, 0.75, 0.5), 0.8, 1))
    box, score, class_id = one_object(decoded("ssd_tf", outputs, options=DecodeOptions(label_offset=1)))
    assert box == [16, 16, 32, 24]
    assert (score, class_id) == (pytest.approx(0.8), 0)


def test_tensorflow_rows_beyond_the_count_are_nothing() -> None:
    row = ((0.5, 0.25, 0.75, 0.5), 0.8, 1.0)
    assert len(decoded("ssd_tf", tf_outputs(2, row, row, row))) == 2
    assert len(decoded("ssd_tf", tf_outputs(0, row))) == 0
    assert len(decoded("ssd_tf", tf_outputs(float("nan"), row))) == 0


def test_a_class_below_the_first_label_is_background() -> None:
    outputs = tf_outputs(2, ((0.5, 0.25, 0.75, 0.5), 0.9, 0), ((0.1, 0.1, 0.4, 0.4), 0.8, 3))
    assert decoded("ssd_tf", outputs, options=DecodeOptions(label_offset=1)).class_ids.tolist() == [2]


def test_boxes_with_their_score_are_in_pixels() -> None:
    boxes = np.array([[16, 16, 32, 24, 0.9], [0, 0, 9, 9, 0.1]], np.float32)
    outputs: Arrays = {"boxes": boxes, "labels": np.array([4, 0], np.int64)}
    assert one_object(decoded("boxes_labels_scores", outputs)) == ([16, 16, 32, 24], pytest.approx(0.9), 4)


@pytest.mark.parametrize("batched", [True, False])
def test_boxes_apart_from_their_scores_are_shares_of_the_input(batched: bool) -> None:
    boxes = np.array([[0.25, 0.5, 0.5, 0.75]], np.float32)
    outputs: Arrays = {"bboxes": boxes, "scores": np.array([0.9], np.float32), "labels": np.array([4], np.float32)}
    if batched:
        outputs = {name: values[None] for name, values in outputs.items()}
    assert one_object(decoded("boxes_labels_scores", outputs)) == ([16, 16, 32, 24], pytest.approx(0.9), 4)


def test_box_units_can_be_said() -> None:
    outputs: Arrays = {
        "boxes": np.array([[16, 16, 32, 24]], np.float32),
        "scores": np.array([0.9], np.float32),
        "labels": np.array([4], np.int64),
        "saliency_map": np.zeros((1, 8, 8), np.float32),
    }
    options = DecodeOptions(box_units="pixels")
    assert one_object(decoded("boxes_labels_scores", outputs, options=options))[0] == [16, 16, 32, 24]


def test_tensorflow_outputs_are_not_taken_for_corner_boxes() -> None:
    specs = [TensorSpec((name,), values.shape, "float32") for name, values in tf_outputs(0).items()]
    with pytest.raises(ModelRejected):
        DECODERS["boxes_labels_scores"].check(specs)


def test_fastestdet_cells_are_tanh_and_sigmoid_away() -> None:
    raw = np.zeros((1, 7, 2, 4), np.float32)  # cells of 16 x 16
    raw[0, :, 1, 2] = (0.9, np.arctanh(0.5), np.arctanh(-0.25), 0, -np.log(3), 0.1, 0.8)
    raw[0, 0, 0, 0] = 0.9  # an object of no class
    box, score, class_id = one_object(decoded("fastestdet", {"758": raw}))
    center = ((2 + 0.5) * 16, (1 - 0.25) * 16)
    assert box == pytest.approx([center[0] - 16, center[1] - 4, center[0] + 16, center[1] + 4], abs=1e-4)
    assert score == pytest.approx(0.9**0.6 * 0.8**0.4, abs=1e-6)
    assert class_id == 1


def test_fastestdet_trusts_a_sure_class_on_a_doubtful_object() -> None:
    raw = np.zeros((1, 7, 2, 4), np.float32)
    raw[0, :, 1, 2] = (0.2, 0, 0, 0, 0, 0, 0.99)
    _, score, _ = one_object(decoded("fastestdet", {"758": raw}))
    assert score == pytest.approx(0.2**0.6 * 0.99**0.4, abs=1e-6)
    assert 0.2 < OPTIONS.confidence < score


def test_yunet_scores_are_the_root_of_class_times_objectness() -> None:
    outputs: Arrays = {
        f"{part}_{stride}": np.zeros((1, (64 // stride) * (32 // stride), width), np.float32)
        for part, width in (("cls", 1), ("obj", 1), ("bbox", 4))
        for stride in (8, 16, 32)
    }
    outputs["cls_16"][0, 6], outputs["obj_16"][0, 6] = 0.9, 0.4
    outputs["bbox_16"][0, 6] = (0.5, 0.25, np.log(1.25), np.log(0.5))  # column 2, row 1
    box, score, _ = one_object(decoded("yunet", outputs))
    assert box == pytest.approx([30, 16, 50, 24], abs=1e-4)
    assert score == pytest.approx(0.6)


@pytest.mark.parametrize("kind", ["standard", "fit_to_window", "fit_to_window_letterbox", "crop"])
def test_boxes_come_out_in_pixels_of_the_original(kind: str) -> None:
    _, fit = fit_image(image_from_pixels(np.zeros((600, 800, 3), np.uint8)), INPUT, kind)
    wanted = np.array([350, 250, 450, 350], np.float32)
    box = wanted.reshape(2, 2) * fit.scale + fit.offset
    raw = np.zeros((1, 6, 40), np.float32)
    raw[0, :4, 0] = (*box.mean(0), *(box[1] - box[0]))
    raw[0, 4, 0] = 0.9
    assert decoded("yolov8", {"o": raw}, fit).boxes[0] == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize(
    ("anchors", "number", "center"),
    [(896, 0, (2, 1)), (896, 33, (2, 3)), (896, 512 + 6, (12, 2)), (2304, 47, (47.5 / 48 * 64, 1 / 3))],
)
def test_blazeface_counts_from_its_anchor(anchors: int, number: int, center: tuple[float, float]) -> None:
    outputs = {"boxes": np.zeros((1, anchors, 16), np.float32), "scores": np.full((1, anchors, 1), -200, np.float32)}
    outputs["boxes"][0, number, :4] = (-1, 4, 1, 1)
    outputs["scores"][0, number] = 200
    box, score, _ = one_object(decoded("blazeface", outputs))
    assert score == pytest.approx(1)
    assert (box[0] + box[2]) / 2 == pytest.approx(center[0] - 1, abs=1e-3)
    assert (box[1] + box[3]) / 2 == pytest.approx(center[1] + 4, abs=1e-3)


@pytest.mark.fault(23)
@pytest.mark.parametrize(("scale", "names"), [(64, ("boxes", "scores", "labels")), (1, ("boxes", "scores", "labels")),
                                              (64, ("det_boxes", "det_scores", "det_classes"))])  # fmt: skip
def test_boxes_far_above_one_are_pixels_and_a_count_is_no_box(scale: int, names: tuple[str, str, str]) -> None:
    square = Fit((64, 64), (64, 64), (1.0, 1.0))
    box = np.array([[[0.25, 0.25, 0.5, 0.375], [0.5, 0.5, 0.75, 0.75]]], np.float32) * scale
    scores, classes = np.array([[0.9, 0.8]], np.float32), np.array([[4, 2]], np.int64)
    outputs = dict(zip(names, (box, scores, classes), strict=True))
    if names[0] == "det_boxes":
        outputs = {"num_dets": np.array([[1]], np.int32), **outputs}
        assert one_object(decoded("boxes_labels_scores", outputs, square)) == ([16, 16, 32, 24], pytest.approx(0.9), 4)
    else:
        assert decoded("boxes_labels_scores", outputs, square).boxes.tolist() == [[16, 16, 32, 24], [32, 32, 48, 48]]
