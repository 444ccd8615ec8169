"""How often the gate is wrong: rollouts of sound and of faulty versions in simulated scenes, and in a real video.

docs/reference/gate.md states the figures that `long` runs prove.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from app_inference.pipeline.samples import Evidence, Sample
from app_inference.rollout.desired import GateOptions, ObserveOptions
from app_inference.rollout.gate import Gate, Verdict
from app_inference.vision.comparison import FLOOR, Comparison, Seen, compare
from app_inference.vision.detections import Detections

from tests.app.rollout import scenes
from tests.app.rollout.scenes import KINDS, LABELS, THRESHOLD

log = logging.getLogger(__name__)

WITHIN = 300  # frames in which the fault shows
RARE = 30  # frames in which it shows, before a rollout counts
OBSERVE = ObserveOptions(min_frames=300, hold_seconds=0)

SOUND = {
    "identical": scenes.identical,
    "quantised well": scenes.quantised(spread=0.08, lower=0.03, box=0.015, flicker=0.01),
    "quantised fairly": scenes.quantised(spread=0.12, lower=0.03, box=0.02, flicker=0.02),
}
FAULTY = {
    "wrong weights": scenes.wrong_weights(),
    "finds nothing": scenes.finds_nothing,
    "swapped labels": scenes.swapped,
    "boxes aside by a tenth": scenes.shifted(0.1),
    "scores halved": scenes.halved,
    "blind for one label": scenes.blind(0),
    "quantised badly": scenes.quantised(spread=0.5, lower=0.35, box=0.05, flicker=0.1),
}


@dataclass(frozen=True)
class Ended:
    verdict: Verdict
    shows: int  # frames in which the candidate differs from the outgoing version


@cache
def watched(kind: str, frames: int) -> list[scenes.Found]:
    return scenes.watch(KINDS[kind], frames, seed=7)


def comparisons(kind: str, version: scenes.Version, frames: int) -> list[Comparison]:
    return [compare(_seen(found[0]), _seen(version(found))) for found in watched(kind, frames)]


def _seen(found: Detections) -> Seen:
    return Seen(found.above(FLOOR * THRESHOLD), LABELS, THRESHOLD)


def roll_out(
    chance: np.random.Generator,
    seen: Sequence[Comparison],
    good: Sequence[Comparison],
    begins: int = 0,
    cameras: int = 1,
) -> Ended:
    """One rollout that begins anywhere in the scene; from frame `begins` on the candidate is what `seen` says."""
    gate, candidate = Gate(GateOptions()), Evidence()
    starts = chance.integers(len(seen), size=cameras)
    shows = 0
    for number in range(6 * WITHIN):
        camera = number % cameras
        at = (starts[camera] + number // cameras) % len(seen)
        shown = (seen if number >= begins else good)[at]
        shows += number >= begins and shown != good[at]
        candidate.add(Sample(10.0, class_ids=(0,) if shown.is_telling else ()))
        gate.add([(str(camera), shown)])
        if number % 5 == 0:
            verdict = gate.judge(Evidence(), candidate, 1e9, OBSERVE, is_timed=False).verdict
            if verdict in (Verdict.PASS, Verdict.BREACH):
                return Ended(verdict, shows)
    return Ended(verdict, shows)


def rates(
    kind: str, version: scenes.Version, rollouts: int, begins: int = 0, frames: int = 4000
) -> tuple[Counter[str], float]:
    """How many rollouts ended how, and the share of those that went back in time.

    One in which the fault hardly shows, since the scene has nothing of that label, does not count.
    """
    good = comparisons(kind, scenes.identical, frames)
    seen = good if version is scenes.identical else comparisons(kind, version, frames)
    chance = np.random.default_rng(1)
    ended = [roll_out(chance, seen, good, begins, cameras=(1, 4)[number % 2]) for number in range(rollouts)]
    if version not in SOUND.values():
        ended = [it for it in ended if it.shows >= RARE or it.verdict is Verdict.BREACH]
    in_time = sum(it.verdict is Verdict.BREACH and it.shows <= WITHIN for it in ended)
    return Counter(str(it.verdict) for it in ended), in_time / len(ended)


def test_a_few_rollouts_of_each_kind_end_as_they_should() -> None:
    for name in ("identical", "quantised fairly"):
        assert rates("a street", SOUND[name], 4, frames=500)[0] == {"pass": 4}
    for name in ("wrong weights", "boxes aside by a tenth", "scores halved"):
        assert rates("a street", FAULTY[name], 4, frames=500)[1] == 1
    assert rates("a street", FAULTY["wrong weights"], 4, begins=200, frames=500)[1] == 1


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", SOUND)
def test_of_five_hundred_rollouts_of_a_sound_version_one_in_a_hundred_goes_back_at_most(version: str) -> None:
    ended: Counter[str] = Counter()
    for kind in KINDS:
        ended += rates(kind, SOUND[version], 125)[0]
    log.info("%s: %s", version, dict(ended))
    assert ended["breach"] <= 5
    assert ended["pass"] >= 475


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", FAULTY)
def test_a_faulty_version_goes_back_within_three_hundred_frames_of_its_fault(version: str) -> None:
    found = {kind: rates(kind, FAULTY[version], 100) for kind in KINDS}
    for kind, (ended, in_time) in found.items():
        log.info("%s, %s: %s, in time %.3f", version, kind, dict(ended), in_time)
        assert in_time >= 0.99, (kind, ended)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", ["wrong weights", "finds nothing"])
def test_nonsense_that_begins_after_two_hundred_frames_goes_back(version: str) -> None:
    for kind in ("a street", "a belt", "things that stand there"):
        ended, in_time = rates(kind, FAULTY[version], 100, begins=200)
        assert in_time >= 0.99, (kind, ended)
