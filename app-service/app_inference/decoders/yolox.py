"""YOLOX as it is exported: raw grid cells of strides 8, 16 and 32, in one tensor [1, cells, 5 + classes]."""

from functools import lru_cache

import numpy as np

from app_inference.decoders.candidates import corners_from_centers, select, sure_rows
from app_inference.decoders.contract import (
    DecodeOptions,
    Decoder,
    Expectation,
    Outputs,
    TypeDefaults,
    label_complaint,
    only_shape,
    only_values,
)
from app_inference.vision.detections import Candidates, Detections, Floats
from app_inference.vision.image import Size
from app_inference.vision.resize import WINDOW, Fit

STRIDES = (8, 16, 32)


@lru_cache(maxsize=16)
def grid(size: Size) -> tuple[Floats, Floats]:
    """Column and row (n, 2), and stride (n, 1), of every cell, in the order the model lists them."""
    cells, strides = [], []
    for stride in STRIDES:
        columns, rows = np.meshgrid(np.arange(size[0] // stride), np.arange(size[1] // stride))
        cells.append(np.stack((columns, rows), 2).reshape(-1, 2))
        strides.append(np.full((columns.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _complaint(expectation: Expectation) -> str | None:
    wrong = only_shape(expectation, 1, None, None)
    if wrong is not None:
        return wrong
    _, cells, channels = expectation.outputs[0].shape
    if expectation.size and cells not in (None, len(grid(expectation.size)[1])):
        width, height = expectation.size
        return f"an input of {width}x{height} has {len(grid(expectation.size)[1])} cells, the model {cells}"
    if channels is not None and channels < 6:
        return only_shape(expectation, 1, None, 6)
    return label_complaint(channels and channels - 5, expectation.labels)


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    sure, scores, ids = sure_rows(raw, options)
    terms = raw[sure, :4]
    corner, stride = (part[sure] for part in grid(fit.input_size))
    centers = np.concatenate(((terms[:, :2] + corner) * stride, np.exp(terms[:, 2:]) * stride), 1)
    return select(Candidates(corners_from_centers(centers), scores, ids), fit, options, nms=True)[0]


YOLOX = Decoder(
    type="yolox",
    task="detection",
    expects="one float output [1, cells of strides 8, 16 and 32, 5 + classes]",
    complaint=_complaint,
    read=_read,
    defaults=TypeDefaults(resize=WINDOW, pad=114, options=DecodeOptions(iou=0.65, agnostic_nms=True)),
)
