"""From a detector's candidates to its result: the part all box families share."""

import numpy as np
from numpy.typing import NDArray

from app_inference.decoders.contract import DecodeOptions
from app_inference.detections import (
    MAX_CANDIDATES,
    Candidates,
    Detections,
    Floats,
    detections_on_original,
    sift,
    suppress,
)
from app_inference.fit import Fit


def select(found: Candidates, fit: Fit, options: DecodeOptions, nms: bool) -> tuple[Detections, NDArray[np.intp]]:
    """The detections, and the candidate each came from. `nms` is for families that do not suppress in the graph."""
    rows = sift(found, MAX_CANDIDATES)
    if nms:
        rows = suppress(found, rows, options.iou, options.agnostic_nms)
    return detections_on_original(found, rows[: options.max_detections], fit)


def corners_from_centers(boxes: Floats) -> Floats:
    """(n, 4) centre x, centre y, width, height to xyxy."""
    half = boxes[:, 2:4] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), 1)


def best_class(scores: Floats, offset: int) -> tuple[Floats, NDArray[np.int32]]:
    """Of (n, classes) each row's highest score and the label it stands for."""
    ids = scores.argmax(1)
    return scores[np.arange(len(ids)), ids], (ids - offset).astype(np.int32)
