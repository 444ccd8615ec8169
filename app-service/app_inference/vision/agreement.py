"""How far the results of two models for one picture agree: from 0, nothing in common, to 1, the same. Pure.

Boxes are matched by label and overlap, and the score is F1 of what the second finds of the first; a classifier's is
whether the best class is the same; of a class map and an anomaly map, the share that is the same.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app_inference.vision.detections import Anomaly, Classes, Detections, Result, Segmentation, boxes_of, label_of

OVERLAP = 0.5  # intersection over union from which two boxes are one object


def agreement(one: Result, other: Result, labels: Sequence[str], other_labels: Sequence[str]) -> float | None:
    """0..1; None when neither finds anything, which proves nothing. Results of two tasks agree in nothing."""
    if isinstance(one, Classes) and isinstance(other, Classes):
        return float(_best(one, labels) == _best(other, other_labels))
    if isinstance(one, Segmentation) and isinstance(other, Segmentation):
        return float((one.class_map == other.class_map).mean())
    if isinstance(one, Anomaly) and isinstance(other, Anomaly):
        return float(one.is_anomalous == other.is_anomalous)
    found, others = boxes_of(one), boxes_of(other)
    if found is None or others is None:
        return 0.0
    if not len(found) and not len(others):
        return None
    common = matches(found, others, names_of(found, labels)[:, None] == names_of(others, other_labels)[None])
    return 2 * len(common) / (len(found) + len(others))


def mean_agreement(scores: Sequence[float | None]) -> float | None:
    """The mean of those that are known; None without any."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def _best(classes: Classes, labels: Sequence[str]) -> str:
    return label_of(labels, int(classes.class_ids[0])) if len(classes) else ""


def matches(found: Detections, others: Detections, is_same: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The objects that both have at the same place: those that overlap best first, each once.

    `is_same` (n, m) says which labels are one.
    """
    overlap = _overlap(found, others)
    overlap[~is_same] = 0
    pairs = []
    while overlap.size and overlap.max() >= OVERLAP:
        row, column = (int(index) for index in np.unravel_index(int(overlap.argmax()), overlap.shape))
        overlap[row], overlap[:, column] = 0, 0
        pairs.append((row, column))
    return pairs


def names_of(found: Detections, labels: Sequence[str]) -> NDArray[np.object_]:
    """(n,) the label of each object."""
    return np.array([label_of(labels, number) for number in found.class_ids.tolist()], object)


def _overlap(found: Detections, others: Detections) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n, m) intersection over union."""
    one, other = found.boxes[:, None].astype(np.float64), others.boxes[None].astype(np.float64)
    sides = np.clip(np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]), 0, None)
    shared = sides.prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (one, other)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9))
