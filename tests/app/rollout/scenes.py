"""Scenes that never happened: what a detector finds in the frames of a camera, and what other versions of it find.

Objects come, stay for some seconds, move and go; their scores wander. A version of the detector is a function that
changes what is found in a frame; it keeps its opinion of an object as long as that is there, so that frames that
follow one another are as alike as they are in a video.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from app_inference.vision.comparison import Seen, compare
from app_inference.vision.detections import Detections

SIZE = 640, 480
LABELS = [f"label-{number}" for number in range(12)]
THRESHOLD = 0.5


@dataclass(frozen=True)
class Kind:
    """A kind of scene."""

    arrivals: float  # objects a frame
    stay: float  # frames
    labels: Sequence[float]  # how often each of the first labels comes
    score: tuple[float, float] = (0.4, 0.95)


KINDS = {
    "one person at a time": Kind(1 / 90, 70, (0.97, 0.03)),
    "a street": Kind(1 / 12, 50, (0.45, 0.3, 0.15, 0.07, 0.03), (0.3, 0.95)),
    "things that stand there": Kind(1 / 400, 1500, (0.5, 0.3, 0.2)),
    "a belt": Kind(1 / 15, 20, (0.6, 0.4), (0.6, 0.98)),
}

Found = tuple[Detections, np.ndarray]  # of one frame, and which object each is
Version = Callable[[Found], Detections]


def watch(kind: Kind, frames: int, seed: int) -> list[Found]:
    """What the outgoing version finds in each frame, down to a score of 0.05."""
    chance = np.random.default_rng(seed)
    alive: list[dict[str, np.ndarray | float]] = []
    seen, number = [], 0
    for index in range(frames + 200):
        for _ in range(chance.poisson(kind.arrivals)):
            size = chance.uniform(0.08, 0.4) * np.array(SIZE) * chance.uniform(0.6, 1.4, 2)
            alive.append(
                {
                    "number": number,
                    "label": chance.choice(len(kind.labels), p=kind.labels),
                    "left": chance.geometric(1 / kind.stay),
                    "center": chance.uniform(0.15, 0.85, 2) * SIZE,
                    "speed": chance.normal(0, 1.0, 2) * (kind.stay < 500),
                    "size": size,
                    "score": chance.uniform(*kind.score),
                    "wander": 0.0,
                }
            )
            number += 1
        for it in alive:
            it["left"] -= 1
            it["center"] = it["center"] + it["speed"]
            it["wander"] = 0.9 * it["wander"] + chance.normal(0, 0.03)
        alive = [it for it in alive if it["left"] > 0]
        if index >= 200:
            seen.append(_found(alive))
    return seen


def _found(alive: list[dict[str, np.ndarray | float]]) -> Found:
    boxes = [np.concatenate((it["center"] - it["size"] / 2, it["center"] + it["size"] / 2)) for it in alive]
    scores = [min(0.99, max(0.05, it["score"] + it["wander"])) for it in alive]
    return (
        Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(scores, np.float32),
            np.array([it["label"] for it in alive], np.int32),
        ),
        np.array([it["number"] for it in alive], int),
    )


def identical(found: Found) -> Detections:
    return found[0]


def quantised(spread: float, lower: float, box: float, flicker: float, seed: int = 5) -> Version:
    """A version of fewer bits: what it thinks of an object differs by `spread` for as long as that is there.

    Scores fall by the share `lower` on the average, boxes move by the share `box`, and a share `flicker` of what is
    found is lost from one frame to the next, or found where there is nothing.
    """
    chance = np.random.default_rng(seed)

    def version(found: Found) -> Detections:
        objects, numbers = found
        scores, boxes = objects.scores.copy(), objects.boxes.copy()
        for index, number in enumerate(numbers):
            opinion = np.random.default_rng([seed, number])
            scores[index] *= math.exp(opinion.normal(-lower, spread) + chance.normal(0, spread / 2))
            sides = np.tile(boxes[index, 2:] - boxes[index, :2], 2)
            boxes[index] += (opinion.normal(0, box, 4) + chance.normal(0, box, 4)) * sides
        kept = Detections(boxes, np.clip(scores, 0.01, 0.99), objects.class_ids).take(
            chance.random(len(numbers)) >= flicker
        )
        ghosts = wrong(found) if chance.random() < flicker else Detections.empty()
        return Detections(
            *(np.concatenate((getattr(kept, it), getattr(ghosts, it))) for it in ("boxes", "scores", "class_ids"))
        )

    wrong = wrong_weights(seed)
    return version


def halved(found: Found) -> Detections:
    return Detections(found[0].boxes, found[0].scores / 2, found[0].class_ids)


def shifted(share: float) -> Version:
    """Boxes aside by a share of their own width and height."""

    def version(found: Found) -> Detections:
        boxes = found[0].boxes
        return Detections(boxes + share * np.tile(boxes[:, 2:] - boxes[:, :2], 2), found[0].scores, found[0].class_ids)

    return version


def swapped(found: Found) -> Detections:
    """Every label is that of its neighbour."""
    exchanged = np.array([number ^ 1 for number in range(len(LABELS))], np.int32)
    return Detections(found[0].boxes, found[0].scores, exchanged[found[0].class_ids])


def blind(label: int) -> Version:
    return lambda found: found[0].take(found[0].class_ids != label)


def wrong_weights(seed: int = 3) -> Version:
    """Boxes that have nothing to do with the picture."""
    chance = np.random.default_rng(seed)

    def version(found: Found) -> Detections:
        count = chance.poisson(3)
        corner, side = chance.uniform(0, 0.7, (count, 2)) * SIZE, chance.uniform(0.05, 0.3, (count, 2)) * SIZE
        boxes = np.concatenate((corner, corner + side), 1).astype(np.float32)
        return Detections(boxes, chance.uniform(0.3, 1, count).astype(np.float32), chance.integers(0, 12, count))

    return version


def finds_nothing(found: Found) -> Detections:
    return Detections.empty()


def hard_agreement(pairs: Sequence[tuple[Detections, Detections]]) -> float:
    """F1 over all objects at or over the threshold, same label and overlap of a half: how people measure it."""
    common = apart = 0.0
    for before, candidate in pairs:
        seen = compare(*(Seen(it.above(THRESHOLD), LABELS, THRESHOLD) for it in (before, candidate)))
        common += sum(it.common for it in seen.counts.values())
        apart += sum(it.lost + it.added for it in seen.counts.values())
    return 2 * common / (2 * common + apart) if common or apart else math.nan
