"""What a model found: one frozen type a task, in pixels of the original picture, and the selection of boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app_inference.vision.resize import Fit

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]

# More candidates than this is noise, and the suppression's cost grows with their square (1000: 8 ms).
MAX_CANDIDATES = 1000

NO_CLASS = 255  # in a class map: background, or outside what the model was given


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects in a picture, best first."""

    boxes: Floats  # (n, 4) xyxy, pixels of the original, clamped to it
    scores: Floats  # (n,) 0..1
    class_ids: Ids  # (n,) index into the model's labels

    @classmethod
    def empty(cls) -> "Detections":
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, keep: NDArray[np.intp] | NDArray[np.bool_]) -> "Detections":
        """The rows `keep` points at, in that order."""
        return Detections(self.boxes[keep], self.scores[keep], self.class_ids[keep])

    def above(self, confidence: float) -> "Detections":
        """Those that score at least `confidence`."""
        return self.take(self.scores >= confidence)


@dataclass(frozen=True, slots=True)
class Classes:
    """What the whole picture shows, best first."""

    class_ids: Ids  # (k,)
    scores: Floats  # (k,) 0..1

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A class for every pixel, and how much of the picture each class takes."""

    class_map: NDArray[np.uint8]  # (height, width) of the original; NO_CLASS where there is none
    class_ids: Ids  # (k,) those present, the largest first
    areas: Floats  # (k,) share of the picture, 0..1


@dataclass(frozen=True, slots=True)
class Instances:
    """Objects with their shapes."""

    found: Detections
    masks: Floats  # (n, h, w) 0..1 over the model input, at the model's own scale
    fit: Fit

    def mask(self, index: int) -> NDArray[np.bool_]:
        """(height, width) of the original: which pixels belong to object `index`."""
        return np.asarray(self.fit.plane_to_original(self.masks[index], nearest=False) > 0.5)


@dataclass(frozen=True, slots=True)
class Keypoints:
    """Persons or other bodies with their joints."""

    found: Detections
    points: Floats  # (n, k, 2) xy, pixels of the original
    scores: Floats  # (n, k) 0..1 a joint


@dataclass(frozen=True, slots=True)
class Anomaly:
    """How unusual a picture is, and where."""

    score: float  # 0..1; 0.5 is the limit the model was trained to
    is_anomalous: bool
    heat: Floats  # (h, w) 0..1 over the model input, at the model's own scale
    fit: Fit


Result = Detections | Classes | Segmentation | Instances | Keypoints | Anomaly


def boxes_of(result: Result) -> Detections | None:
    """The boxes of a result; None for one that has none by its kind."""
    if isinstance(result, Instances | Keypoints):
        return result.found
    return result if isinstance(result, Detections) else None


def above(result: "Result", confidence: float) -> "Result":
    """The objects that score at least `confidence`; a result that holds no boxes as it is."""
    if isinstance(result, Detections):
        return result.above(confidence)
    if isinstance(result, Instances | Keypoints):
        keep = result.found.scores >= confidence
        if isinstance(result, Instances):
            return Instances(result.found.take(keep), result.masks[keep], result.fit)
        return Keypoints(result.found.take(keep), result.points[keep], result.scores[keep])
    return result


def label_of(labels: Sequence[str], class_id: int) -> str:
    """The label of a class, or its number where there is none."""
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes as a decoder read them: in input pixels, unsorted, overlapping, perhaps not finite."""

    boxes: Floats  # (n, 4) xyxy
    scores: Floats  # (n,)
    class_ids: Ids  # (n,)


def sift(found: Candidates, limit: int) -> NDArray[np.intp]:
    """Which candidates are numbers and have a size, best first, at most `limit`."""
    boxes = found.boxes
    sound = np.isfinite(boxes).all(1) & np.isfinite(found.scores) & (found.class_ids >= 0)
    sound &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = sound.nonzero()[0]
    return rows[(-found.scores[rows]).argsort(kind="stable")[:limit]]


def suppress(found: Candidates, rows: NDArray[np.intp], iou: float, agnostic: bool) -> NDArray[np.intp]:
    """Of `rows`, best first, those that overlap no better one of their class (of any class if `agnostic`)."""
    if not len(rows):
        return rows
    corners = found.boxes[rows].astype(np.float64)
    sides = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), 1)
    scores = found.scores[rows].astype(np.float64)
    classes = np.zeros(len(rows), np.int32) if agnostic else found.class_ids[rows]
    # The stubs want lists; arrays are taken as well and spare a copy.
    kept = cv2.dnn.NMSBoxesBatched(sides, scores, classes, float(scores[-1]) - 1, iou)  # type: ignore[arg-type]
    return rows[np.sort(np.asarray(kept, np.intp).reshape(-1))]


def detections_on_original(found: Candidates, rows: NDArray[np.intp], fit: Fit) -> tuple[Detections, NDArray[np.intp]]:
    """`rows` of `found` in pixels of the original, without those that lie wholly outside it; and which stayed."""
    boxes = fit.boxes_to_original(found.boxes[rows])
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = rows[inside]
    scores = found.scores[rows].astype(np.float32)
    return Detections(boxes[inside], scores, found.class_ids[rows].astype(np.int32)), rows
