"""What a model found as an EdgeX event. Pure.

One event per analysed frame: an Object reading for programs, and scalars that rules can use without paths. An Object,
because eKuiper turns an ObjectArray into an empty text; `captureOrigin` as text, because Go would round it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgex_kit.service.clock import new_origin
from edgex_kit.wire.messages import Event, Reading, new_id
from edgex_kit.wire.values import encode_value
from msgspec import Struct, field

from app_inference.stages.zones import Zone
from app_inference.vision.detections import Anomaly, Classes, Detections, Instances, Keypoints, Result, Segmentation


class ImageFacts(Struct, rename="camel", frozen=True):
    width: int
    height: int
    media_type: str


class ModelFacts(Struct, rename="camel", frozen=True):
    """Which model said so, and what ran it."""

    name: str
    version: str
    digest: str  # first 12 digits of its sha256
    task: str
    device: str
    precision: str


class TimingFacts(Struct, rename="camel", frozen=True):
    """Milliseconds."""

    decode: float
    pre: float
    infer: float
    post: float
    total: float  # of these four


class DetectedObject(Struct, rename="camel", frozen=True, omit_defaults=True):
    """One object."""

    label: str
    label_id: int
    score: float
    box: tuple[float, float, float, float]  # xyxy, pixels
    box_norm: tuple[float, float, float, float]  # xyxy, 0..1
    zones: tuple[str, ...]  # those it stands in
    keypoints: tuple[tuple[float, float, float], ...] = ()  # x, y in pixels, score


class NamedClass(Struct, rename="camel", frozen=True):
    """One class of a whole picture; `score` is its probability, or the share of the picture it covers."""

    label: str
    label_id: int
    score: float


class FrameResult(Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    """The Object reading: `vision.detections/1` and its siblings."""

    schema: str
    pipeline: str
    camera: str
    frame_id: str
    seq: int
    capture_origin: str  # UNIX ns in decimal
    received_origin: str
    result_origin: str
    dropped_since_last: int = field()  # frames of this camera that this pipeline did not look at since its last result
    image: ImageFacts = field()
    model: ModelFacts = field()
    timing_ms: TimingFacts = field()
    objects: tuple[DetectedObject, ...] | None = None
    classes: tuple[NamedClass, ...] | None = None
    anomaly: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """Which frame a result belongs to."""

    camera: str
    frame_id: str
    seq: int
    capture_ns: int  # UNIX ns
    received_ns: int
    image: ImageFacts


RESOURCES = {"detection": "Detections", "classification": "Classes", "segmentation": "Segmentation",
             "instance_segmentation": "Detections", "keypoints": "Detections", "anomaly": "Anomaly"}  # fmt: skip
PROFILES = {"detection": "detection", "classification": "classification", "segmentation": "segmentation",
            "instance_segmentation": "detection", "keypoints": "detection", "anomaly": "anomaly"}  # fmt: skip


def objects_from(
    result: Result, labels: Sequence[str], size: tuple[int, int], wanted: frozenset[str], zones: Sequence[Zone]
) -> tuple[DetectedObject, ...]:
    """The objects of a result whose label is wanted (an empty set wants all), with the zones they stand in."""
    found = result.found if isinstance(result, Instances | Keypoints) else result
    if not isinstance(found, Detections) or not len(found):
        return ()
    boxes = found.boxes.astype(np.float64).round(1)
    norms = (boxes / (size * 2)).round(5)
    scores = found.scores.astype(np.float64).round(4)
    rows = zip(found.class_ids.tolist(), scores.tolist(), boxes.tolist(), norms.tolist(), strict=True)
    joints = _joints(result) if isinstance(result, Keypoints) else None
    objects = []
    for index, (class_id, score, box, norm) in enumerate(rows):
        label = _label(labels, class_id)
        if wanted and label not in wanted:
            continue
        foot = ((norm[0] + norm[2]) / 2, norm[3])  # where it stands
        inside = tuple(zone.name for zone in zones if zone.holds(*foot)) if zones else ()
        points = joints[index] if joints else ()
        objects.append(DetectedObject(label, class_id, score, tuple(box), tuple(norm), inside, points))
    return tuple(objects)


def classes_from(result: Result, labels: Sequence[str], wanted: frozenset[str]) -> tuple[NamedClass, ...]:
    """The classes of a classification, or those a segmentation found with their share of the picture."""
    if isinstance(result, Classes):
        pairs = zip(result.class_ids.tolist(), result.scores.tolist(), strict=True)
    elif isinstance(result, Segmentation):
        pairs = zip(result.class_ids.tolist(), result.areas.tolist(), strict=True)
    else:
        return ()
    named = (NamedClass(_label(labels, class_id), class_id, round(score, 5)) for class_id, score in pairs)
    return tuple(one for one in named if not wanted or one.label in wanted)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one pipeline saw in one frame."""

    pipeline: str
    is_news: bool  # even when it holds nothing
    result: Result
    frame: FrameFacts
    model: ModelFacts
    timing: TimingFacts
    objects: tuple[DetectedObject, ...]
    classes: tuple[NamedClass, ...]

    @property
    def is_told(self) -> bool:
        """Whether it is to be published."""
        is_alarm = isinstance(self.result, Anomaly) and self.result.is_anomalous
        return self.is_news or bool(self.objects or self.classes) or is_alarm


def answer_from(finding: Finding, dropped: int) -> FrameResult:
    """The Object reading of a finding, as of now; `dropped` frames of this camera were not looked at before it."""
    frame, model, result = finding.frame, finding.model, finding.result
    resource = RESOURCES[model.task]
    return FrameResult(
        schema=f"vision.{resource.lower()}/1",
        pipeline=finding.pipeline,
        camera=frame.camera,
        frame_id=frame.frame_id,
        seq=frame.seq,
        capture_origin=str(frame.capture_ns),
        received_origin=str(frame.received_ns),
        result_origin=str(new_origin()),
        dropped_since_last=dropped,
        image=frame.image,
        model=model,
        timing_ms=finding.timing,
        objects=finding.objects if resource == "Detections" else None,
        classes=finding.classes if resource in ("Classes", "Segmentation") else None,
        anomaly=_anomaly(result) if isinstance(result, Anomaly) else None,
    )


def event_from(answer: FrameResult) -> Event:
    """The result event of a camera: profile of its task, source named as its pipeline."""
    profile = PROFILES[answer.model.task]
    origin = int(answer.result_origin)
    label, score = top(answer)

    def reading(resource: str, value_type: str, **value: Any) -> Reading:
        return Reading(
            id=new_id(),
            origin=origin,
            device_name=answer.camera,
            resource_name=resource,
            profile_name=profile,
            value_type=value_type,
            **value,
        )

    return Event(
        api_version="v3",
        id=new_id(),
        device_name=answer.camera,
        profile_name=profile,
        source_name=answer.pipeline,
        origin=origin,
        readings=(
            reading(RESOURCES[answer.model.task], "Object", object_value=answer),
            reading("ObjectCount", "Int32", value=str(len(answer.objects or answer.classes or ()))),
            reading("TopLabel", "String", value=label),
            reading("TopScore", "Float32", value=encode_value(score, "Float32")),
            reading("InferenceTimeMs", "Float32", value=encode_value(answer.timing_ms.infer, "Float32")),
        ),
        tags={
            "frameId": answer.frame_id,
            "seq": answer.seq,
            "captureOrigin": answer.capture_origin,
            "model": answer.model.name,
            "modelVersion": answer.model.version,
        },
    )


def top(answer: FrameResult) -> tuple[str, float]:
    """The best label and its score; an empty label where nothing was found."""
    if answer.anomaly is not None:
        return ("anomalous" if answer.anomaly["isAnomalous"] else "normal"), float(answer.anomaly["score"])
    named: Sequence[DetectedObject | NamedClass] = answer.objects or answer.classes or ()
    best = max(named, key=lambda one: one.score, default=None)
    return (best.label, best.score) if best is not None else ("", 0.0)


def _anomaly(result: Anomaly) -> dict[str, Any]:
    return {"score": round(result.score, 5), "isAnomalous": result.is_anomalous}


def _label(labels: Sequence[str], class_id: int) -> str:
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)


def _joints(result: Keypoints) -> list[tuple[tuple[float, float, float], ...]]:
    return [
        tuple((round(x, 1), round(y, 1), round(score, 4)) for (x, y), score in zip(points, scores, strict=True))
        for points, scores in zip(result.points.tolist(), result.scores.tolist(), strict=True)
    ]
