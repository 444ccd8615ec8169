"""Whether a candidate may stay: its samples against those of the version before it, over the same cameras. Pure.

Errors and time are judged as soon as a few frames are in. What was found is judged once both versions found something
in enough frames: a quiet scene neither passes nor fails.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from app_inference.pipeline.samples import Evidence, Summary, summarise
from app_inference.rollout.desired import GateOptions, ObserveOptions

FEW = 20  # frames before errors and time are judged
MANY = 100  # frames before their 99th percentile is more than the longest one of them; until then the median counts
NOISE_MS = 5.0  # of the 99th percentile: a thread that waits for its core costs as much, whatever the version
ENOUGH_OBJECTS = 20  # before classes and scores are compared
_SMOOTH = 0.5  # added to each class, so that one never seen before is no infinity


class Verdict(StrEnum):
    """What the gate says."""

    HOLD = "hold"
    PASS = "pass"  # noqa: S105 - a verdict
    BREACH = "breach"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, why, and the numbers behind it."""

    verdict: Verdict
    reason: str
    values: dict[str, float]
    is_of_time: bool = False  # a breach by slowness, which a busy machine feigns


def judge(
    before: Evidence,
    candidate: Evidence,
    held_s: float,
    gate: GateOptions,
    observe: ObserveOptions,
    agreed: float | None = None,
    *,
    is_timed: bool = True,
) -> Judgement:
    """Compare a candidate, observed for `held_s` seconds, with the version before it.

    `agreed` is how far both said the same of the same frames (0..1), where both have looked at them. Without `is_timed`
    it may take as long as it does.
    """
    old, new = summarise(before.samples), summarise(candidate.samples)
    values = _values(old, new) | ({} if agreed is None else {"agreement": round(agreed, 4)})
    breach = _failing(new, gate) or _changed(before, candidate, values, gate, observe)
    breach = breach or _disagrees(candidate, agreed, gate)
    if breach:
        return Judgement(Verdict.BREACH, breach, values)
    late = _late(old, new, gate) if is_timed else ""
    if late:
        return Judgement(Verdict.BREACH, late, values, is_of_time=True)
    waiting = _missing(candidate, held_s, observe)
    if waiting:
        return Judgement(Verdict.HOLD, waiting, values)
    return Judgement(Verdict.PASS, f"{candidate.frames} frames within the limits", values)


def is_slower(before_ms: float, candidate_ms: float, gate: GateOptions) -> bool:
    """Whether a candidate takes longer than it may."""
    return candidate_ms - before_ms > NOISE_MS and candidate_ms > gate.max_p99_ratio * before_ms


def stability_index(expected: dict[int, int], found: dict[int, int]) -> float:
    """Population stability index of two class histograms: 0 equal, above 0.25 commonly called a shift."""
    classes = expected.keys() | found.keys()
    if not classes:
        return 0.0
    total_expected = sum(expected.values()) + _SMOOTH * len(classes)
    total_found = sum(found.values()) + _SMOOTH * len(classes)
    index = 0.0
    for one in classes:
        was = (expected.get(one, 0) + _SMOOTH) / total_expected
        now = (found.get(one, 0) + _SMOOTH) / total_found
        index += (now - was) * math.log(now / was)
    return index


def _values(old: Summary, new: Summary) -> dict[str, float]:
    return {
        "frames": new.frames,
        "errorRate": round(new.error_rate, 4),
        "p99Ratio": round(new.p99_ms / old.p99_ms, 3) if old.p99_ms and new.p99_ms else 0.0,
        "objectsPerFrame": round(new.objects_per_frame, 3),
        "objectsPerFrameBefore": round(old.objects_per_frame, 3),
        "scoreShift": round(abs(new.mean_score - old.mean_score), 4) if old.objects and new.objects else 0.0,
        "classShift": round(stability_index(old.classes, new.classes), 4) if old.objects and new.objects else 0.0,
    }


def _failing(new: Summary, gate: GateOptions) -> str:
    if new.frames < FEW or new.error_rate <= gate.max_error_rate:
        return ""
    return f"{new.error_rate:.1%} of the frames failed, {gate.max_error_rate:.1%} may"


def _late(old: Summary, new: Summary, gate: GateOptions) -> str:
    frames = min(old.frames, new.frames)
    if frames < FEW:
        return ""
    which, old_ms, new_ms = "p99", old.p99_ms, new.p99_ms
    if frames < MANY:
        which, old_ms, new_ms = "median", old.median_ms, new.median_ms
    if not is_slower(old_ms, new_ms, gate):
        return ""
    ratio = f"{new_ms / old_ms:.1f}" if old_ms else "many"
    return f"inference takes {ratio} times as long ({which}), {gate.max_p99_ratio:g} times is the limit"


def _changed(
    before: Evidence, candidate: Evidence, values: dict[str, float], gate: GateOptions, observe: ObserveOptions
) -> str:
    """What is found differently, once there is enough to compare."""
    was, now = values["objectsPerFrameBefore"], values["objectsPerFrame"]
    if before.telling < ENOUGH_OBJECTS or candidate.frames < min(observe.min_frames, 2 * ENOUGH_OBJECTS):
        return ""
    if now * gate.max_count_ratio < was or now > max(was, 0.25) * gate.max_count_ratio:
        return f"finds {now:.2f} objects a frame, the version before found {was:.2f}"
    if candidate.telling < ENOUGH_OBJECTS:
        return ""
    if values["scoreShift"] > gate.max_score_shift:
        return f"the mean score moved by {values['scoreShift']:.2f}, {gate.max_score_shift:g} is the limit"
    if values["classShift"] > gate.max_class_shift:
        return f"finds other classes: stability index {values['classShift']:.2f}, {gate.max_class_shift:g} is the limit"
    return ""


def _disagrees(candidate: Evidence, agreed: float | None, gate: GateOptions) -> str:
    if agreed is None or candidate.frames < 2 * ENOUGH_OBJECTS or agreed >= gate.min_agreement:
        return ""
    return f"agrees with the serving version to {agreed:.2f}, {gate.min_agreement:g} is the least"


def _missing(candidate: Evidence, held_s: float, observe: ObserveOptions) -> str:
    if candidate.telling < observe.min_frames:
        return f"{candidate.telling} of {observe.min_frames} frames in which something was found"
    if held_s < observe.hold_seconds:
        return f"{held_s:.0f} of {observe.hold_seconds:g} s"
    return ""
