"""FastestDet: one grid of cells, [1, 5 + classes, rows, columns]; objectness, four box terms, then the classes."""

import numpy as np

from app_inference.decoders.decoder import DecodeOptions, Decoder, Expectation, Outputs, TypeDefaults
from app_inference.decoders.steps import (
    best_class,
    corners_from_centers,
    label_mismatch,
    only_shape,
    only_values,
    outputs_text,
    select,
)
from app_inference.vision.detections import Candidates, Detections, Floats
from app_inference.vision.resize import Fit

_OBJECT, _CLASS = 0.6, 0.4  # a score is objectness ** 0.6 * class ** 0.4


def _read(outputs: Outputs, fit: Fit, options: DecodeOptions) -> Detections:
    raw = only_values(outputs)
    rows, columns = np.nonzero(raw[0] >= options.confidence ** (1 / _OBJECT))  # the class is at most 1
    cells = raw[:, rows, columns].T
    best, ids = best_class(cells[:, 5:], options.label_offset)
    scores = cells[:, 0] ** _OBJECT * best**_CLASS
    sure = scores >= options.confidence
    corners = np.stack((columns, rows), 1)[sure].astype(np.float32)
    boxes = _boxes(cells[sure, 1:5], corners, raw.shape[2], raw.shape[1], fit)
    return select(Candidates(boxes, scores[sure], ids[sure]), fit, options, nms=True)[0]


def _boxes(terms: Floats, corners: Floats, columns: int, rows: int, fit: Fit) -> Floats:
    """The centre is a tanh away from the cell's corner, the sides are a sigmoid's share of the input."""
    cell = np.array([fit.input_size[0] / columns, fit.input_size[1] / rows], np.float32)
    centers = (corners + np.tanh(terms[:, :2])) * cell
    sides = np.array(fit.input_size, np.float32) / (1 + np.exp(-terms[:, 2:]))
    return corners_from_centers(np.concatenate((centers, sides), 1))


def _mismatch(expectation: Expectation) -> str | None:
    wrong = only_shape(expectation, 1, None, None, None)
    if wrong is not None:
        return wrong
    channels = expectation.outputs[0].shape[1]
    if channels is not None and channels < 6:
        return outputs_text(expectation.outputs)
    return label_mismatch(channels and channels - 5, expectation.labels)


FASTESTDET = Decoder(
    type="fastestdet",
    task="detection",
    expects="one float output [1, 5 + classes, rows, columns]",
    mismatch=_mismatch,
    read=_read,
    defaults=TypeDefaults(scale=(255.0,), options=DecodeOptions(confidence=0.65, iou=0.45)),
)
