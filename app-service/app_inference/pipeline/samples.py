"""What one version did with the last frames, small enough to keep: the gate's evidence. Pure."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app_inference.vision.detections import Classes, Detections, Instances, Keypoints, Result, Segmentation

WINDOW = 400  # frames a version and camera: old enough to be steady, new enough to see a change within seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """What one version found in one frame."""

    infer_ms: float
    is_error: bool = False  # no answer, or one that holds NaN or infinity
    class_ids: tuple[int, ...] = ()  # of what was found
    score_sum: float = 0.0

    @property
    def count(self) -> int:
        return len(self.class_ids)


class Evidence:
    """The newest samples of one version over some cameras; `capacity` None keeps all."""

    def __init__(self, capacity: int | None = WINDOW) -> None:
        self.samples: deque[Sample] = deque(maxlen=capacity)
        self.frames = 0  # all, the forgotten ones too
        self.failed = 0  # of them
        self.telling = 0  # frames in which something was found

    def add(self, sample: Sample) -> None:
        self.samples.append(sample)
        self.frames += 1
        self.failed += sample.is_error
        self.telling += sample.count > 0

    def merge(self, other: "Evidence") -> None:
        """Take in what was noted of another camera."""
        self.samples.extend(other.samples)
        self.frames += other.frames
        self.failed += other.failed
        self.telling += other.telling


@dataclass(frozen=True, slots=True)
class Summary:
    """Evidence in numbers."""

    frames: int
    error_rate: float
    median_ms: float
    p99_ms: float
    objects_per_frame: float
    mean_score: float
    classes: dict[int, int]  # class -> how often

    @property
    def objects(self) -> int:
        return sum(self.classes.values())


def summarise(samples: Iterable[Sample]) -> Summary:
    """The numbers of some samples; zeros for none."""
    kept = list(samples)
    answered = [sample for sample in kept if not sample.is_error]
    times = sorted(sample.infer_ms for sample in answered)
    classes = Counter(class_id for sample in answered for class_id in sample.class_ids)
    found = sum(classes.values())
    return Summary(
        frames=len(kept),
        error_rate=(len(kept) - len(answered)) / len(kept) if kept else 0.0,
        median_ms=percentile(times, 0.5),
        p99_ms=percentile(times, 0.99),
        objects_per_frame=found / len(answered) if answered else 0.0,
        mean_score=sum(sample.score_sum for sample in answered) / found if found else 0.0,
        classes=dict(classes),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of sorted numbers; 0 for none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def sample_from(result: Result, infer_ms: float) -> Sample:
    """What there is to compare about a result, before any pipeline picks out labels."""
    found = result.found if isinstance(result, Instances | Keypoints) else result
    if isinstance(found, Detections | Classes):
        return Sample(infer_ms, class_ids=tuple(found.class_ids.tolist()), score_sum=float(found.scores.sum()))
    if isinstance(found, Segmentation):
        return Sample(infer_ms, class_ids=tuple(found.class_ids.tolist()), score_sum=float(found.areas.sum()))
    return Sample(infer_ms, class_ids=(int(found.is_anomalous),), score_sum=found.score)
