"""The YOLO family. Boxes are in pixels of the input; where the graph does not decode them, they are cells of a grid.

[1, 4 + classes, anchors]                        yolov8        v8, v9, 11, 12, and v5 as Ultralytics exports it now
[1, anchors, 5 + classes]                        yolov5        v5 and v7 with objectness
[1, boxes, 6]                                    yolo_end2end  v10, 26: x1, y1, x2, y2, score, class, after NMS
[1, 4 + classes + m, anchors] and [1, m, h, w]   yolo_seg      masks from m coefficients and prototypes
[1, 5 + 3 x joints, anchors]                     yolo_pose     one class; x, y, score a joint
[1, cells, 5 + classes]                          yolox         raw cells of strides 8, 16 and 32
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TensorSpec, TypeDefaults
from app_inference.decoders.steps import (
    corners_from_centers,
    from_columns,
    label_ids,
    label_mismatch,
    only_shape,
    only_values,
    outputs_text,
    select,
    sure_rows,
)
from app_inference.vision.detections import Candidates, Detections, Floats, Instances, Keypoints
from app_inference.vision.image import Size
from app_inference.vision.resize import LETTERBOX, WINDOW, Fit

ULTRALYTICS = TypeDefaults(
    resize=LETTERBOX, pad=114, color="RGB", scale=(255.0,), options=DecodeOptions(confidence=0.25, iou=0.7)
)
STRIDES = (8, 16, 32)  # of YOLOX
_MOST_BOXES = 1000  # a graph that suppresses lists some hundred boxes; one that does not, thousands of anchors


def _read_v8(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    return select(from_columns(raw[:4], raw[4:], options)[0], fit, options, nms=True)[0]


def _read_v5(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    sure, scores, ids = sure_rows(raw, options)
    return select(Candidates(corners_from_centers(raw[sure, :4]), scores, ids), fit, options, nms=True)[0]


def _read_end2end(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    rows = raw[raw[:, 4] >= options.confidence]
    found = Candidates(rows[:, :4], rows[:, 4], label_ids(rows[:, 5], options.label_offset))
    return select(found, fit, options, nms=False)[0]


def _head(before: int, side: int) -> Callable[[Expectation], str | None]:
    """The mismatch about what is not one output with `before` terms and then its classes along `side`, and the anchors
    along the other."""

    def mismatch(expectation: Expectation) -> str | None:
        wrong = only_shape(expectation, 1, None, None)
        if wrong is not None:
            return wrong
        shape = expectation.outputs[0].shape
        channels, anchors = shape[side], shape[3 - side]
        if not _is_head(channels, anchors, before):
            return outputs_text(expectation.outputs)
        return label_mismatch(channels and channels - before, expectation.labels)

    return mismatch


def _mismatch_end2end(expectation: Expectation) -> str | None:
    wrong = only_shape(expectation, 1, None, 6)
    if wrong is not None:
        return wrong
    boxes = expectation.outputs[0].shape[1]
    return outputs_text(expectation.outputs) if boxes is not None and boxes > _MOST_BOXES else None


def _is_head(channels: int | None, anchors: int | None, before: int) -> bool:
    """Whether these sides can be meant this way round: a class at least, and more anchors than channels."""
    return (channels is None or channels > before) and (None in (channels, anchors) or anchors > channels)  # type: ignore[operator]


def _read_seg(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Instances:
    raw = next(values for values in outputs.values() if values.ndim == 3)[0]
    prototypes = next(values for values in outputs.values() if values.ndim == 4)[0]
    classes = len(raw) - len(prototypes)
    candidates, columns = from_columns(raw[:4], raw[4:classes], options)
    found, rows = select(candidates, fit, options, nms=True)
    weights = raw[classes:, columns[rows]].T
    return Instances(found, _masks(weights, prototypes, candidates.boxes[rows], fit), fit)


def _masks(weights: Floats, prototypes: Floats, boxes: Floats, fit: Fit) -> Floats:
    """(n, h, w) 0..1 at the prototypes' scale, nothing outside its box."""
    _, height, width = prototypes.shape
    masks = 1 / (1 + np.exp(-(weights @ prototypes.reshape(len(prototypes), -1))))
    masks = masks.reshape(-1, height, width).astype(np.float32)
    scale = np.array([width / fit.input_size[0], height / fit.input_size[1]] * 2, np.float32)
    left, top, right, bottom = (boxes * scale).T[:, :, None, None]
    columns, rows = np.arange(width)[None, None], np.arange(height)[None, :, None]
    inside = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
    return np.where(inside, masks, np.float32(0))


def _read_pose(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Keypoints:
    raw = only_values(outputs)
    candidates, columns = from_columns(raw[:4], raw[4:5], options)
    found, rows = select(candidates, fit, options, nms=True)
    joints = raw[5:, columns[rows]].T.reshape(len(rows), len(raw[5:]) // 3, 3)
    joints = np.where(np.isfinite(joints).all(2, keepdims=True), joints, np.float32(0))
    return Keypoints(found, fit.points_to_original(joints[:, :, :2]), joints[:, :, 2])


def _mismatch_seg(expectation: Expectation) -> str | None:
    heads = [spec for spec in expectation.outputs if spec.matches(1, None, None)]
    planes = [spec for spec in expectation.outputs if spec.matches(1, None, None, None)]
    if len(heads) != 1 or len(planes) != 1 or len(expectation.outputs) != 2:
        return outputs_text(expectation.outputs)
    classes = _classes(heads[0], planes[0])
    if classes is not None and classes < 1:
        return outputs_text(expectation.outputs)
    return label_mismatch(classes, expectation.labels)


def _classes(head: TensorSpec, planes: TensorSpec) -> int | None:
    channels, masks = head.shape[1], planes.shape[1]
    return None if channels is None or masks is None else channels - 4 - masks


def _mismatch_pose(expectation: Expectation) -> str | None:
    wrong = only_shape(expectation, 1, None, None)
    if wrong is not None:
        return wrong
    _, channels, anchors = expectation.outputs[0].shape
    if channels is None or channels < 8 or (channels - 5) % 3 or (anchors is not None and anchors <= channels):
        return outputs_text(expectation.outputs)
    return label_mismatch(1, expectation.labels)


@lru_cache(maxsize=16)
def grid(size: Size) -> tuple[Floats, Floats]:
    """Column and row (n, 2), and stride (n, 1), of every cell, in the order the model lists them."""
    cells, strides = [], []
    for stride in STRIDES:
        columns, rows = np.meshgrid(np.arange(size[0] // stride), np.arange(size[1] // stride))
        cells.append(np.stack((columns, rows), 2).reshape(-1, 2))
        strides.append(np.full((columns.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _mismatch_x(expectation: Expectation) -> str | None:
    wrong = only_shape(expectation, 1, None, None)
    if wrong is not None:
        return wrong
    _, cells, channels = expectation.outputs[0].shape
    if expectation.size and cells not in (None, len(grid(expectation.size)[1])):
        width, height = expectation.size
        return f"an input of {width}x{height} has {len(grid(expectation.size)[1])} cells, the model {cells}"
    if channels is not None and channels < 6:
        return only_shape(expectation, 1, None, 6)
    return label_mismatch(channels and channels - 5, expectation.labels)


def _read_x(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    sure, scores, ids = sure_rows(raw, options)
    terms = raw[sure, :4]
    corner, stride = (part[sure] for part in grid(fit.input_size))
    centers = np.concatenate(((terms[:, :2] + corner) * stride, np.exp(terms[:, 2:]) * stride), 1)
    return select(Candidates(corners_from_centers(centers), scores, ids), fit, options, nms=True)[0]


YOLOV8 = Decoder(
    type="yolov8",
    task="detection",
    expects="one float output [1, 4 + classes, anchors]",
    mismatch=_head(before=4, side=1),
    read=_read_v8,
    defaults=ULTRALYTICS,
)

YOLOV5 = Decoder(
    type="yolov5",
    task="detection",
    expects="one float output [1, anchors, 5 + classes]",
    mismatch=_head(before=5, side=2),
    read=_read_v5,
    defaults=ULTRALYTICS,
)

YOLO_END2END = Decoder(
    type="yolo_end2end",
    task="detection",
    expects=f"one float output [1, boxes, 6] of at most {_MOST_BOXES} boxes",
    mismatch=_mismatch_end2end,
    read=_read_end2end,
    defaults=ULTRALYTICS,
)

YOLO_SEG = Decoder(
    type="yolo_seg",
    task="instance_segmentation",
    expects="two outputs, [1, 4 + classes + masks, anchors] and [1, masks, h, w]",
    mismatch=_mismatch_seg,
    read=_read_seg,
    defaults=ULTRALYTICS,
)

YOLO_POSE = Decoder(
    type="yolo_pose",
    task="keypoints",
    expects="one float output [1, 5 + 3 x joints, anchors] of one class",
    mismatch=_mismatch_pose,
    read=_read_pose,
    defaults=ULTRALYTICS,
)

YOLOX = Decoder(
    type="yolox",
    task="detection",
    expects="one float output [1, cells of strides 8, 16 and 32, 5 + classes]",
    mismatch=_mismatch_x,
    read=_read_x,
    defaults=TypeDefaults(resize=WINDOW, pad=114, options=DecodeOptions(iou=0.65, agnostic_nms=True)),
)
