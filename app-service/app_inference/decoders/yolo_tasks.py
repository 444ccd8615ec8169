"""YOLO v8 and later beyond boxes: masks from coefficients and prototypes, and bodies with their joints.

[1, 4 + classes + m, anchors] and [1, m, h, w]   yolo_seg
[1, 5 + 3 x joints, anchors]                     yolo_pose   one class; x, y, score a joint
"""

import numpy as np

from app_inference.decoders.candidates import from_columns, select
from app_inference.decoders.contract import (
    DecodeOptions,
    Decoder,
    Expectation,
    Outputs,
    TensorSpec,
    came,
    label_complaint,
    only_shape,
    only_values,
)
from app_inference.decoders.yolo import ULTRALYTICS
from app_inference.vision.detections import Floats, Instances, Keypoints
from app_inference.vision.resize import Fit


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


def _complaint_seg(expectation: Expectation) -> str | None:
    heads = [spec for spec in expectation.outputs if spec.matches(1, None, None)]
    planes = [spec for spec in expectation.outputs if spec.matches(1, None, None, None)]
    if len(heads) != 1 or len(planes) != 1 or len(expectation.outputs) != 2:
        return came(expectation.outputs)
    classes = _classes(heads[0], planes[0])
    if classes is not None and classes < 1:
        return came(expectation.outputs)
    return label_complaint(classes, expectation.labels)


def _classes(head: TensorSpec, planes: TensorSpec) -> int | None:
    channels, masks = head.shape[1], planes.shape[1]
    return None if channels is None or masks is None else channels - 4 - masks


def _complaint_pose(expectation: Expectation) -> str | None:
    wrong = only_shape(expectation, 1, None, None)
    if wrong is not None:
        return wrong
    _, channels, anchors = expectation.outputs[0].shape
    if channels is None or channels < 8 or (channels - 5) % 3 or (anchors is not None and anchors <= channels):
        return came(expectation.outputs)
    return label_complaint(1, expectation.labels)


YOLO_SEG = Decoder(
    type="yolo_seg",
    task="instance_segmentation",
    expects="two outputs, [1, 4 + classes + masks, anchors] and [1, masks, h, w]",
    complaint=_complaint_seg,
    read=_read_seg,
    defaults=ULTRALYTICS,
)

YOLO_POSE = Decoder(
    type="yolo_pose",
    task="keypoints",
    expects="one float output [1, 5 + 3 x joints, anchors] of one class",
    complaint=_complaint_pose,
    read=_read_pose,
    defaults=ULTRALYTICS,
)
