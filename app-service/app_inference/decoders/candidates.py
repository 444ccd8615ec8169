"""From a detector's tensors to its result: the steps that box families share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app_inference.decoders.contract import DecodeOptions
from app_inference.vision.detections import (
    MAX_CANDIDATES,
    Candidates,
    Detections,
    Floats,
    detections_on_original,
    sift,
    suppress,
)
from app_inference.vision.resize import Fit


def select(found: Candidates, fit: Fit, options: DecodeOptions, nms: bool) -> tuple[Detections, NDArray[np.intp]]:
    """The detections, and the candidate each came from. `nms` is for families that do not suppress in the graph."""
    rows = sift(found, MAX_CANDIDATES)
    if nms:
        rows = suppress(found, rows, options.iou, options.agnostic_nms)
    return detections_on_original(found, rows[: options.max_detections], fit)


def from_columns(boxes: Floats, scores: Floats, options: DecodeOptions) -> tuple[Candidates, NDArray[np.intp]]:
    """Of boxes (4, n), centre and sides, and scores (classes, n): the sure ones, and which columns they were.

    Reducing over the first axis runs at memory speed; the class is looked up for the few that passed.
    """
    columns = np.flatnonzero(scores.max(0) >= options.confidence)
    best, ids = best_class(scores[:, columns].T, options.label_offset)
    return Candidates(corners_from_centers(boxes[:, columns].T), best, ids), columns


def sure_rows(raw: Floats, options: DecodeOptions) -> tuple[NDArray[np.intp], Floats, NDArray[np.int32]]:
    """Of (n, 5 + classes), four box terms, objectness, classes: which rows are sure, their scores and labels.

    A score is objectness times class, both at most 1: no row below the limit in the first can reach it.
    """
    near = np.flatnonzero(raw[:, 4] >= options.confidence)
    scores, ids = best_class(raw[near, 5:] * raw[near, 4:5], options.label_offset)
    sure = scores >= options.confidence
    return near[sure], scores[sure], ids[sure]


def corners_from_centers(boxes: Floats) -> Floats:
    """(n, 4) centre x, centre y, width, height to xyxy."""
    half = boxes[:, 2:4] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), 1)


def best_class(scores: Floats, offset: int) -> tuple[Floats, NDArray[np.int32]]:
    """Of (n, classes) each row's highest score and the label it stands for."""
    ids = scores.argmax(1)
    return scores[np.arange(len(ids)), ids], (ids - offset).astype(np.int32)


def label_ids(classes: NDArray[Any], offset: int) -> NDArray[np.int32]:
    """Classes as the model numbers them, perhaps as floats, to labels; what is no number becomes -1, no label."""
    numbers = classes.astype(np.float64)
    return np.where(np.isfinite(numbers), np.maximum(numbers - offset, -1), -1).astype(np.int32)
