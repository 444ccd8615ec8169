"""Whether a committed version finds other things than when it was committed: what it saw then against what it sees now.
Pure.

A world that changes is no fault of the version, so nothing is taken back; it is told.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from app_inference.pipeline.samples import Sample
from app_inference.rollout.gate import stability_index

BINS = 10  # of mean scores a frame, 0..1
ENOUGH = 50  # frames in which something was found, before they say anything


class Baseline(msgspec.Struct, rename="camel", frozen=True):
    """What a version found while it was committed."""

    telling: int = 0  # frames in which something was found
    classes: dict[int, int] = msgspec.field(default_factory=dict)  # class -> how often
    scores: dict[int, int] = msgspec.field(default_factory=dict)  # bin of a frame's mean score -> how many frames

    @property
    def is_enough(self) -> bool:
        return self.telling >= ENOUGH


@dataclass(frozen=True, slots=True)
class Drift:
    """Population stability indices: 0 is as then, above 0.25 is commonly called a shift."""

    classes: float
    scores: float


def baseline_from(samples: Iterable[Sample]) -> Baseline:
    """What there is to compare with later."""
    telling = [sample for sample in samples if not sample.is_error and sample.count]
    classes = Counter(class_id for sample in telling for class_id in sample.class_ids)
    scores = Counter(min(BINS - 1, max(0, int(BINS * sample.score_sum / sample.count))) for sample in telling)
    return Baseline(len(telling), dict(classes), dict(scores))


def drift(then: Baseline, now: Baseline) -> Drift | None:
    """None while either has seen too little to say."""
    if not (then.is_enough and now.is_enough):
        return None
    return Drift(stability_index(then.classes, now.classes), stability_index(then.scores, now.scores))
