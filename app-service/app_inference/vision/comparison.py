"""What two versions of a model say of the same frame, object by object. Pure.

Both results hold every object down to `FLOOR` of the threshold, so that an object just above the threshold in one and
just below it in the other counts as found by both, with a lower score. An object that one of them puts over the
threshold and the other does not find at all is lost or added.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from app_inference.vision.agreement import matches, names_of
from app_inference.vision.detections import (
    NO_CLASS,
    Anomaly,
    Classes,
    Detections,
    Floats,
    Instances,
    Keypoints,
    Result,
    Segmentation,
    boxes_of,
    label_of,
)

FLOOR = 0.45  # of the threshold: a score that is halved is still found, and measured
BACKGROUND = frozenset({"", "background", "_background_", "__background__"})
NEAR = 0.1  # of an object's longer side: a joint within that distance is at the same place
EVERY = 4  # pixels of a class map that is compared, both ways
_VISIBLE = 0.3  # score from which a joint counts


@dataclass(frozen=True, slots=True)
class Seen:
    """What one version says of a frame."""

    result: Result
    labels: Sequence[str]
    threshold: float  # 0..1, from which an object counts
    ms: float = 0.0  # inference time


@dataclass(slots=True)
class Count:
    """Objects of one label in one frame; fractions where one version is not sure of it."""

    common: float = 0.0
    lost: float = 0.0  # found by the outgoing version alone
    added: float = 0.0  # found by the candidate alone


@dataclass(frozen=True, slots=True)
class Comparison:
    """One frame as two versions saw it; `before` is the outgoing one."""

    counts: dict[str, Count] = field(default_factory=dict)  # by label; empty where neither found anything
    score: float | None = None  # mean over common objects: how much higher the candidate scores, -1..1 of the higher
    shift: tuple[float, float, float, float] | None = None  # mean over common objects: x, y, log width, log height
    before_ms: float = 0.0  # inference time
    candidate_ms: float = 0.0

    @property
    def is_telling(self) -> bool:
        """Whether either version found anything."""
        return self.total > 0

    @property
    def apart(self) -> float:
        """Objects that only one of the two found."""
        return sum(it.lost + it.added for it in self.counts.values())

    @property
    def total(self) -> float:
        """Objects of both: `1 - apart / total` is the F1 of what they found."""
        return 2 * sum(it.common for it in self.counts.values()) + self.apart


def compare(before: Seen, candidate: Seen) -> Comparison:
    """Compare two results that hold every object down to `FLOOR` of the threshold.

    Labels are compared by name, of models with other labels also by number. Instances and keypoints are objects with
    the same box, of which the masks or the joints agree too. Results of two tasks have nothing in common.
    """
    one, other = before.result, candidate.result
    if isinstance(one, Classes) and isinstance(other, Classes):
        seen = _compare_classes(before, candidate, one, other)
    elif isinstance(one, Segmentation) and isinstance(other, Segmentation):
        seen = _compare_maps(before, candidate, one, other)
    elif isinstance(one, Anomaly) and isinstance(other, Anomaly):
        seen = _compare_anomalies(one, other)
    else:
        found, others = boxes_of(one), boxes_of(other)
        if found is None or others is None:
            seen = Comparison({"": Count(lost=1.0, added=1.0)})
        else:
            seen = _compare_boxes(before, candidate, found, others)
    return replace(seen, before_ms=before.ms, candidate_ms=candidate.ms)


def _compare_boxes(before: Seen, candidate: Seen, found: Detections, others: Detections) -> Comparison:
    names, other_names = names_of(found, before.labels), names_of(others, candidate.labels)
    is_same = names[:, None] == other_names[None]
    if before.labels != candidate.labels:  # an operator allowed other labels: the same number is the same class, too
        is_same |= found.class_ids[:, None] == others.class_ids[None]
    is_over, is_other_over = found.scores >= before.threshold, others.scores >= candidate.threshold
    counts: defaultdict[str, Count] = defaultdict(Count)
    pairs = []
    for one, other in matches(found, others, is_same):
        over, other_over = bool(is_over[one]), bool(is_other_over[other])
        is_over[one] = is_other_over[other] = False
        if not (over or other_over):
            continue
        sureness = 0.0
        if _is_same_shape(before.result, candidate.result, one, other):
            sureness = min(
                _sureness(float(found.scores[one]), before.threshold),
                _sureness(float(others.scores[other]), candidate.threshold),
            )
            pairs.append((one, other))
        count = counts[names[one]]
        count.common += sureness
        count.lost += (1 - sureness) * over
        count.added += (1 - sureness) * other_over
    for index in is_over.nonzero()[0]:
        counts[names[index]].lost += 1
    for index in is_other_over.nonzero()[0]:
        counts[other_names[index]].added += 1
    if not pairs:
        return Comparison(dict(counts))
    rows, columns = np.array(pairs).T
    scores, other_scores = found.scores[rows], others.scores[columns]
    score = float(((other_scores - scores) / np.maximum(scores, other_scores)).mean())
    return Comparison(dict(counts), score, _shift(found.boxes[rows], others.boxes[columns]))


def _sureness(score: float, threshold: float) -> float:
    """1 for a score over the threshold, falling to 0 at half of it."""
    return min(1.0, max(0.0, 2 * score / threshold - 1)) if threshold else 1.0


def _shift(boxes: Floats, others: Floats) -> tuple[float, float, float, float]:
    """How far the others lie aside, as a share of the box, and the logarithm of how much larger they are; -1..1."""
    sizes, other_sizes = (np.maximum(it[:, 2:] - it[:, :2], 1.0) for it in (boxes, others))
    moved = ((others[:, :2] + others[:, 2:]) - (boxes[:, :2] + boxes[:, 2:])) / 2 / np.sqrt(sizes * other_sizes)
    grown = np.log(other_sizes / sizes)
    x, y, width, height = np.clip(np.concatenate((moved, grown), 1), -1, 1).mean(0).tolist()
    return x, y, width, height


def _is_same_shape(before: Result, candidate: Result, one: int, other: int) -> bool:
    """Whether joints or masks of two objects with the same box agree as well; True for plain boxes."""
    if isinstance(before, Keypoints) and isinstance(candidate, Keypoints):
        if before.points.shape[1] != candidate.points.shape[1]:
            return False
        is_seen = (before.scores[one] >= _VISIBLE) & (candidate.scores[other] >= _VISIBLE)
        box = before.found.boxes[one]
        far = np.abs(before.points[one] - candidate.points[other]).max(1) > NEAR * (box[2:] - box[:2]).max()
        return not is_seen.any() or bool((far & is_seen).sum() * 2 <= is_seen.sum())
    if isinstance(before, Instances) and isinstance(candidate, Instances):
        ours, theirs = before.masks[one] > 0.5, candidate.masks[other] > 0.5
        if ours.shape != theirs.shape or before.fit != candidate.fit:  # inputs of two sizes: the boxes must do
            return True
        return bool(2 * (ours & theirs).sum() >= (ours | theirs).sum())
    return type(before) is type(candidate)


def _compare_classes(before: Seen, candidate: Seen, found: Classes, others: Classes) -> Comparison:
    ours = label_of(before.labels, int(found.class_ids[0])) if len(found) else None
    theirs = label_of(candidate.labels, int(others.class_ids[0])) if len(others) else None
    is_renamed = before.labels != candidate.labels and found.class_ids[:1].tolist() == others.class_ids[:1].tolist()
    if ours is not None and (ours == theirs or is_renamed):
        score, other = float(found.scores[0]), float(others.scores[0])
        return Comparison({ours: Count(common=1.0)}, (other - score) / max(score, other, 1e-9))
    counts = {} if ours is None else {ours: Count(lost=1.0)}
    return Comparison(counts if theirs is None else {**counts, theirs: Count(added=1.0)})


def _compare_maps(before: Seen, candidate: Seen, found: Segmentation, others: Segmentation) -> Comparison:
    """Each label counts by its share of the pixels; the background does not count."""
    ours, theirs = _areas(found, before.labels), _areas(others, candidate.labels)
    maps = [it.class_map[::EVERY, ::EVERY] for it in (found, others)]
    counts = {}
    for name in (ours.keys() | theirs.keys()) - BACKGROUND:
        numbers = ours.get(name), theirs.get(name)
        masks = [
            np.zeros(it.shape, bool) if number is None else it == number
            for it, number in zip(maps, numbers, strict=True)
        ]
        if masks[0].shape != masks[1].shape:
            counts[name] = Count(lost=1.0, added=1.0)
            continue
        common = float((masks[0] & masks[1]).mean())
        counts[name] = Count(common, float(masks[0].mean()) - common, float(masks[1].mean()) - common)
    return Comparison(counts)


def _areas(found: Segmentation, labels: Sequence[str]) -> dict[str, int]:
    return {label_of(labels, number): number for number in found.class_ids.tolist() if number != NO_CLASS}


def _compare_anomalies(before: Anomaly, candidate: Anomaly) -> Comparison:
    score = candidate.score - before.score
    names = ["anomalous" if it.is_anomalous else "normal" for it in (before, candidate)]
    if names[0] == names[1]:
        return Comparison({names[0]: Count(common=1.0)}, score)
    return Comparison({names[0]: Count(lost=1.0), names[1]: Count(added=1.0)}, score)
