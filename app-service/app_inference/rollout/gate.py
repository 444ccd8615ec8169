"""Whether a candidate may stay: what it does against what the outgoing version does. Pure.

Where both analyse the same frames their results are compared object by object, and a candidate is rolled back once a
fault is proved; docs/reference/gate.md says how, and how sure that is. Where no frame is analysed by both, the scene
may have changed between the two: only errors and time are faults then, and other differences are for an operator.
A quiet scene neither passes nor fails.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from app_inference.pipeline.samples import Evidence, Summary, percentile, summarise
from app_inference.rollout.desired import GateOptions, ObserveOptions
from app_inference.rollout.sequential import Bets, Bias, Share
from app_inference.vision.comparison import Comparison

PROOF = 500.0  # a gain that proves a fault
DOUBT = 30.0  # a gain from which a candidate is not passed yet
ASSURED = 20.0  # a gain that proves that the versions agree well enough
BLOCK = 5  # frames of one camera that are judged as one
LABEL_BLOCK = 3  # the same, of frames that hold a label
RARE = 12  # frames with a label before its losses are reported
PATIENCE = 3  # times the frames of an observation, after which it is called inconclusive

FEW = 20  # frames before time is judged
MANY = 100  # frames before their 99th percentile is more than the longest one of them; until then the median counts
WINDOW = 400  # of the newest compared frames are timed
NOISE_MS = 5.0  # of the 99th percentile: a thread that waits for its core costs as much, whatever the version
ENOUGH_OBJECTS = 20  # frames with objects before two scenes are compared
_SMOOTH = 0.5  # added to each class, so that one never seen before is no infinity

Compared = tuple[str, Comparison]  # of a camera


class Verdict(StrEnum):
    """What the gate says."""

    HOLD = "hold"
    PASS = "pass"  # noqa: S105 - a verdict
    BREACH = "breach"
    INCONCLUSIVE = "inconclusive"  # enough frames, and neither is proved


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, why, and the numbers behind it."""

    verdict: Verdict
    reason: str
    values: dict[str, float]
    is_of_time: bool = False  # a breach by slowness, which a busy machine feigns


class PairedTests:
    """What is proved of a candidate by the frames that both versions analysed."""

    def __init__(self, gate: GateOptions) -> None:
        self.frames = 0
        self.telling = 0  # frames in which either version found something
        self.times: deque[tuple[float, float]] = deque(maxlen=WINDOW)  # milliseconds: outgoing, candidate
        self._gate = gate
        self._disagreement = Share(1 - gate.min_agreement, BLOCK)
        self._labels: dict[str, Share] = {}  # lost objects by label
        self._score = Bias(gate.max_score_shift, BLOCK)
        self._places = [Bias(gate.max_box_shift, BLOCK) for _ in range(2)]
        self._sizes = [Bias(2 * gate.max_box_shift, BLOCK) for _ in range(2)]

    def add(self, camera: str, seen: Comparison) -> None:
        """Take in one frame."""
        self.frames += 1
        self.times.append((seen.before_ms, seen.candidate_ms))
        if not seen.is_telling:
            return
        self.telling += 1
        self._disagreement.add(camera, seen.apart, seen.total)
        for label, count in seen.counts.items():
            if count.common + count.lost > 0:
                lost = self._labels.setdefault(label, Share(self._gate.max_label_loss, LABEL_BLOCK))
                lost.add(camera, count.lost, count.common + count.lost)
        if seen.score is not None:
            self._score.add(camera, seen.score)
        for bias, value in zip((*self._places, *self._sizes), seen.shift or (), strict=False):
            bias.add(camera, value)

    def fault(self) -> str:
        """What is proved against the candidate; empty where nothing is."""
        return next((text for gain, text in self._findings() if gain >= PROOF), "")

    def doubt(self) -> str:
        """What speaks against passing it; empty where nothing does."""
        found = next((text for gain, text in self._findings() if gain >= DOUBT), "")
        return found or next(self._over_limits(), "")

    def is_assured(self) -> bool:
        """Whether it is proved that the versions agree as well as is asked."""
        if not self._gate.min_agreement:
            return self.telling >= ENOUGH_OBJECTS
        return self._disagreement.assurance >= ASSURED

    @property
    def disagreement(self) -> float:
        """0..1: mean over the objects of all frames."""
        return self._disagreement.mean

    def values(self) -> dict[str, float]:
        """The numbers for the report."""
        if not self.telling:
            return {"comparedFrames": self.frames}
        lost = [it.mean for it in self._labels.values() if it.frames >= RARE]
        return {
            "comparedFrames": self.frames,
            "agreement": round(1 - self._disagreement.mean, 4),
            "labelLoss": round(max(lost, default=0.0), 4),
            "scoreShift": round(self._score.mean, 4),
            "boxShift": round(max(self._places, key=lambda it: abs(it.mean)).mean, 4),
            "boxGrowth": round(max(self._sizes, key=lambda it: abs(it.mean)).mean, 4),
            "proof": round(max(gain for gain, _ in self._findings()) / PROOF, 6),
        }

    def _findings(self) -> Iterator[tuple[float, str]]:
        """Each statistic: how much bets on its being beyond its limit have gained, and the words for it."""
        gate = self._gate
        agreed = f"agrees with the outgoing version to {1 - self._disagreement.mean:.2f}"
        yield (self._disagreement.gain, f"{agreed}, {gate.min_agreement:g} is the least (minAgreement)")
        text = f"scores {self._score.mean:+.0%} against the outgoing version, {gate.max_score_shift:.0%} is the limit"
        yield self._score.gain, f"{text} (maxScoreShift)"
        place, size = (max(it, key=lambda bias: bias.gain) for it in (self._places, self._sizes))
        yield place.gain, f"boxes lie {place.mean:+.0%} aside, {gate.max_box_shift:.0%} is the limit (maxBoxShift)"
        yield size.gain, f"boxes are {size.mean:+.0%} larger, {2 * gate.max_box_shift:.0%} is the limit (maxBoxShift)"
        for label, lost in self._labels.items():  # one proof among many tests must be the stronger
            text = f"loses {lost.mean:.0%} of '{label}', {gate.max_label_loss:.0%} is the limit (maxLabelLoss)"
            yield lost.gain / len(self._labels), text

    def _over_limits(self) -> Iterator[str]:
        agreed, score, place, size, *_ = (text for _, text in self._findings())
        if self._disagreement.mean > 1 - self._gate.min_agreement:
            yield agreed
        if abs(self._score.mean) > self._gate.max_score_shift:
            yield score
        if max(abs(it.mean) for it in self._places) > self._gate.max_box_shift:
            yield place
        if max(abs(it.mean) for it in self._sizes) > 2 * self._gate.max_box_shift:
            yield size


class Gate:
    """Judges one candidate by the limits of `options`; `add` and `judge` are called again and again."""

    def __init__(self, options: GateOptions) -> None:
        self.options = options
        self._paired = PairedTests(options)
        self._errors = Bets(options.max_error_rate)
        self._failed = self._frames = 0  # of the candidate, as far as they are judged

    def add(self, compared: Iterable[Compared]) -> None:
        """Take in frames that both versions analysed."""
        for camera, seen in compared:
            self._paired.add(camera, seen)

    def judge(
        self, before: Evidence, candidate: Evidence, held_s: float, observe: ObserveOptions, *, is_timed: bool = True
    ) -> Judgement:
        """Judge a candidate that is observed for `held_s` seconds by all that came so far.

        `before` and `candidate` are what each version did on its own frames. Without `is_timed` the candidate may take
        as long as it does.
        """
        old, new = summarise(before.samples), summarise(candidate.samples)
        values = _values(old, new) | self._paired.values()
        breach = self._failing(candidate) or self._paired.fault()
        if breach:
            return Judgement(Verdict.BREACH, breach, values)
        late = self._late(old, new) if is_timed else ""
        if late:
            return Judgement(Verdict.BREACH, late, values, is_of_time=True)
        return Judgement(*self._outcome(before, candidate, held_s, observe), values)

    def _failing(self, candidate: Evidence) -> str:
        """Errors are judged as they come: those since the last time, in no order."""
        failed, frames = candidate.failed - self._failed, candidate.frames - self._frames
        if frames > 0:
            self._errors.add_events(failed, frames)
            self._failed, self._frames = candidate.failed, candidate.frames
        if self._errors.gain < PROOF:
            return ""
        share = self._failed / self._frames
        return f"{share:.1%} of the frames failed, {self.options.max_error_rate:.1%} may (maxErrorRate)"

    def _late(self, old: Summary, new: Summary) -> str:
        """Compared frames are timed one after the other, on a machine that is as busy for both."""
        times = list(zip(*self._paired.times, strict=True))
        if len(self._paired.times) >= FEW:
            frames, (ours, theirs) = len(self._paired.times), (sorted(it) for it in times)
            (old_p99, new_p99), (old_median, new_median) = (
                tuple(percentile(it, share) for it in (ours, theirs)) for share in (0.99, 0.5)
            )
        else:
            frames = min(old.frames, new.frames)
            old_p99, new_p99, old_median, new_median = old.p99_ms, new.p99_ms, old.median_ms, new.median_ms
        if frames < FEW:
            return ""
        which, old_ms, new_ms = ("p99", old_p99, new_p99) if frames >= MANY else ("median", old_median, new_median)
        if not is_slower(old_ms, new_ms, self.options):
            return ""
        ratio = f"{new_ms / old_ms:.1f}" if old_ms else "many"
        limit = f"{self.options.max_p99_ratio:g} times is the limit (maxP99Ratio)"
        return f"inference takes {ratio} times as long ({which}), {limit}"

    def _outcome(
        self, before: Evidence, candidate: Evidence, held_s: float, observe: ObserveOptions
    ) -> tuple[Verdict, str]:
        """Once nothing is proved against it: whether that is enough to pass."""
        telling = max(candidate.telling, self._paired.telling)
        is_blind = not telling and before.telling >= ENOUGH_OBJECTS and candidate.frames >= observe.min_frames
        if telling < observe.min_frames and not is_blind:
            return Verdict.HOLD, f"{telling} of {observe.min_frames} frames in which something was found"
        if held_s < observe.hold_seconds:
            return Verdict.HOLD, f"{held_s:.0f} of {observe.hold_seconds:g} s"
        is_late = telling >= PATIENCE * observe.min_frames or is_blind
        return self._conclusion(before, candidate, is_late=is_late)

    def _conclusion(self, before: Evidence, candidate: Evidence, *, is_late: bool) -> tuple[Verdict, str]:
        """With enough frames: passed, not yet, or, when `is_late`, inconclusive."""
        paired, doubt = self._paired, self._paired.doubt()
        if paired.is_assured() and not doubt:
            return Verdict.PASS, f"{paired.frames} frames compared, all within the limits"
        if paired.is_assured() or paired.telling >= ENOUGH_OBJECTS:
            agreed = f"agreement {1 - paired.disagreement:.2f} in {paired.telling} frames with objects"
            return Verdict.INCONCLUSIVE if is_late else Verdict.HOLD, f"not proved: {doubt or agreed}"
        if self.options.compare_share and not is_late:
            return Verdict.HOLD, f"{paired.telling} frames with objects compared, more are needed"
        changed = self._changed(before, candidate)
        if changed:
            return Verdict.INCONCLUSIVE, f"not compared on the same frames, and the scene may have changed: {changed}"
        return Verdict.PASS, f"{candidate.frames} frames within the limits, not compared on the same frames"

    def _changed(self, before: Evidence, candidate: Evidence) -> str:
        """What is found differently in the frames of another time."""
        gate, old, new = self.options, summarise(before.samples), summarise(candidate.samples)
        was, now = old.objects_per_frame, new.objects_per_frame
        if before.telling < ENOUGH_OBJECTS:
            return ""
        if now * gate.max_count_ratio < was or now > max(was, 0.25) * gate.max_count_ratio:
            return f"finds {now:.2f} objects a frame, the outgoing version found {was:.2f}"
        if candidate.telling < ENOUGH_OBJECTS:
            return ""
        moved = new.mean_score / old.mean_score - 1
        if abs(moved) > gate.max_score_shift:
            return f"the mean score moved by {moved:+.0%}, {gate.max_score_shift:.0%} is the limit"
        index = stability_index(old.classes, new.classes)
        if index > gate.max_class_shift:
            return f"finds other classes: stability index {index:.2f}, {gate.max_class_shift:g} is the limit"
        return ""


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
    }
