"""Steps that families share: checks of a model's outputs, and from a detector's tensors to its result."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app_inference.decoders.decoder import DecodeOptions, Expectation, Outputs, TensorSpec
from app_inference.vision import detections
from app_inference.vision.detections import Candidates, Detections, Floats
from app_inference.vision.resize import Fit


def outputs_text(outputs: Sequence[TensorSpec]) -> str:
    """The outputs in words."""
    return "the model has " + ("; ".join(map(str, outputs)) or "no output")


def only_shape(expectation: Expectation, *pattern: int | None) -> str | None:
    """A mismatch unless there is one floating point output of this shape."""
    outputs = expectation.outputs
    if len(outputs) == 1 and outputs[0].matches(*pattern) and outputs[0].dtype.startswith("float"):
        return None
    return outputs_text(outputs)


def only_values(outputs: Outputs) -> NDArray[Any]:
    """The values of the only output, without the batch side."""
    values: NDArray[Any] = next(iter(outputs.values()))[0]
    return values


def label_mismatch(classes: int | None, labels: int) -> str | None:
    """A mismatch unless the model's classes and the labels are equally many, or one of the two is not known."""
    if classes is None or not labels or classes == labels:
        return None
    hint = "; if its class 0 is the background, say label_offset: 1" if classes == labels + 1 else ""
    return f"the model has {classes} classes, {labels} labels are given{hint}"


def select(found: Candidates, fit: Fit, options: DecodeOptions, nms: bool) -> tuple[Detections, NDArray[np.intp]]:
    """The detections, and the candidate each came from. `nms` is for families that do not suppress in the graph."""
    rows = detections.sift(found, detections.MAX_CANDIDATES)
    if nms:
        rows = detections.suppress(found, rows, options.iou, options.agnostic_nms)
    return detections.detections_on_original(found, rows[: options.max_detections], fit)


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
