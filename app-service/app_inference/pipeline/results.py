"""The result of a frame as an EdgeX event. Pure. docs/reference/results.md describes every field.

One event for each analysed frame and pipeline: an Object reading for programs, and scalars that rules can use without
paths. An Object, because eKuiper turns an ObjectArray into an empty text; times as text, because Go would round them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from edgex_kit.service.clock import new_origin
from edgex_kit.wire.messages import Event, Reading, new_id
from edgex_kit.wire.values import encode_value
from msgspec import Struct, field

from app_inference.inference.model import Model, ModelFacts, Timings
from app_inference.pipeline.frame import Frame
from app_inference.pipeline.plan import Pipeline
from app_inference.stages.stage import DetectedObject, SceneCount, SceneEvent
from app_inference.vision.detections import (
    Anomaly,
    Classes,
    Keypoints,
    Result,
    Segmentation,
    boxes_of,
    label_of,
)
from app_inference.vision.image import Image


class ImageFacts(Struct, rename="camel", frozen=True):
    width: int
    height: int
    media_type: str


class StageTimes(Struct, rename="camel", frozen=True):
    """Milliseconds."""

    decode: float
    pre: float
    infer: float
    post: float
    total: float  # of these four


class NamedClass(Struct, rename="camel", frozen=True):
    """One class of a whole picture; `score` is its probability, or the share of the picture it covers."""

    label: str
    label_id: int
    score: float


class FrameResult(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The Object reading: `vision.detections/1` and its siblings."""

    schema: str
    pipeline: str
    camera: str
    frame_id: str
    seq: int
    capture_origin: str  # UNIX ns in decimal
    received_origin: str
    result_origin: str = field()  # set by `complete`, as the next
    dropped_since_last: int = field()  # frames of this camera that this pipeline did not analyse since its last result
    image: ImageFacts = field()
    model: ModelFacts = field()
    timing_ms: StageTimes = field()
    objects: tuple[DetectedObject, ...] | None = None
    classes: tuple[NamedClass, ...] | None = None
    anomaly: dict[str, Any] | None = None


# task -> the resource of the Object reading, and the profile
RESOURCES = {"detection": "Detections", "classification": "Classes", "segmentation": "Segmentation",
             "instance_segmentation": "Detections", "keypoints": "Detections", "anomaly": "Anomaly"}  # fmt: skip
PROFILES = {"detection": "detection", "classification": "classification", "segmentation": "segmentation",
            "instance_segmentation": "detection", "keypoints": "detection", "anomaly": "anomaly"}  # fmt: skip


def result_from(
    result: Result, model: Model, pipeline: Pipeline, frame: Frame, image: Image, spent: tuple[float, Timings]
) -> FrameResult:
    """What `model` found in a frame, with the labels the pipeline wants; its stages are still to come."""
    decode_ms, times = spent
    total_ms = decode_ms + times.pre + times.infer + times.post
    resource, objects, classes, anomaly = RESOURCES[model.task], None, None, None
    if isinstance(result, Anomaly):
        anomaly = {"score": round(result.score, 5), "isAnomalous": result.is_anomalous}
    elif isinstance(result, Classes | Segmentation):
        classes = classes_from(result, model.labels, pipeline.labels)
    else:
        objects = objects_from(result, model.labels, (image.width, image.height), pipeline.labels)
    return FrameResult(
        schema=f"vision.{resource.lower()}/1",
        pipeline=pipeline.id,
        camera=frame.camera,
        frame_id=frame.frame_id,
        seq=frame.seq,
        capture_origin=str(frame.capture_ns),
        received_origin=str(frame.received_ns),
        result_origin="",
        dropped_since_last=0,
        image=ImageFacts(image.width, image.height, frame.media_type),
        model=model.facts,
        timing_ms=StageTimes(*(round(ms, 2) for ms in (decode_ms, times.pre, times.infer, times.post, total_ms))),
        objects=objects,
        classes=classes,
        anomaly=anomaly,
    )


def objects_from(
    result: Result, labels: Sequence[str], size: tuple[int, int], wanted: frozenset[str]
) -> tuple[DetectedObject, ...]:
    """The objects of a result whose label is wanted; an empty set wants all. `size` is (width, height) in pixels."""
    found = boxes_of(result)
    if found is None or not len(found):
        return ()
    boxes = found.boxes.astype(np.float64).round(1)
    norms = (boxes / (size * 2)).round(5)
    scores = found.scores.astype(np.float64).round(4)
    rows = zip(found.class_ids.tolist(), scores.tolist(), boxes.tolist(), norms.tolist(), strict=True)
    joints = _joints(result) if isinstance(result, Keypoints) else None
    objects = []
    for index, (class_id, score, box, norm) in enumerate(rows):
        label = label_of(labels, class_id)
        if not wanted or label in wanted:
            points = joints[index] if joints else ()
            objects.append(DetectedObject(label, class_id, score, tuple(box), tuple(norm), (), points))
    return tuple(objects)


def classes_from(
    result: Classes | Segmentation, labels: Sequence[str], wanted: frozenset[str]
) -> tuple[NamedClass, ...]:
    """The classes of a classification, or those a segmentation found with their share of the picture."""
    scores = result.scores if isinstance(result, Classes) else result.areas
    pairs = zip(result.class_ids.tolist(), scores.tolist(), strict=True)
    named = (NamedClass(label_of(labels, class_id), class_id, round(score, 5)) for class_id, score in pairs)
    return tuple(one for one in named if not wanted or one.label in wanted)


def complete(result: FrameResult, pipeline: Pipeline, frame: Frame, image: Image, dropped: int) -> None:
    """Pass the objects through the pipeline's stages and set the origin; for a camera's frames in their order."""
    if result.objects is not None:
        for stage in pipeline.stages:
            result.objects = stage.process(frame, image, result.objects)
    result.dropped_since_last, result.result_origin = dropped, str(new_origin())


def is_empty(result: FrameResult) -> bool:
    """Whether nothing was found: no object, no class, no anomaly."""
    return not (result.objects or result.classes or (result.anomaly and result.anomaly["isAnomalous"]))


def event_from(result: FrameResult) -> Event:
    """The result event of a camera: profile of its task, source named as its pipeline.

    core-data keeps a row of `device_info` for each distinct (device, profile, source, tags) and never removes it: tags
    must not change from frame to frame.
    """
    profile, origin = PROFILES[result.model.task], int(result.result_origin)
    label, score = top(result)

    def reading(resource: str, value_type: str, **value: Any) -> Reading:
        return Reading(
            id=new_id(),
            origin=origin,
            device_name=result.camera,
            resource_name=resource,
            profile_name=profile,
            value_type=value_type,
            **value,
        )

    return Event(
        api_version="v3",
        id=new_id(),
        device_name=result.camera,
        profile_name=profile,
        source_name=result.pipeline,
        origin=origin,
        readings=(
            reading(RESOURCES[result.model.task], "Object", object_value=result),
            reading("ObjectCount", "Int32", value=str(len(result.objects or result.classes or ()))),
            reading("TopLabel", "String", value=label),
            reading("TopScore", "Float32", value=encode_value(score, "Float32")),
            reading("InferenceTimeMs", "Float32", value=encode_value(result.timing_ms.infer, "Float32")),
        ),
        tags={"model": result.model.name, "modelVersion": result.model.version},
    )


SCENE_EVENT, SCENE_COUNT = "scene-event", "scene-count"  # profiles


def scene_event_from(event: SceneEvent) -> Event:
    """An event of a tracked object: source named as its type. Its tags are constant for each pipeline."""
    origin = new_origin()
    reading = partial(_scene_reading, event.camera, SCENE_EVENT, origin)
    readings = (
        reading("SceneEvent", "Object", object_value=event),
        reading("EventType", "String", value=event.type),
        reading("TrackId", "Int64", value=str(event.track_id)),
        reading("Label", "String", value=event.label),
        reading("Score", "Float32", value=encode_value(event.score, "Float32")),
        reading("Zone", "String", value=event.zone),
        reading("Line", "String", value=event.line),
        reading("Direction", "String", value=event.direction),
        reading("DwellSeconds", "Float32", value=encode_value(event.dwell_seconds, "Float32")),
    )
    return _scene_event(event.camera, SCENE_EVENT, event.type, event.pipeline, origin, readings)


def scene_count_from(count: SceneCount) -> Event:
    """The count of a zone or line: source named as it."""
    origin = new_origin()
    reading = partial(_scene_reading, count.camera, SCENE_COUNT, origin)
    readings = (
        reading("Occupancy", "Int32", value=str(count.occupancy)),
        reading("CountIn", "Int64", value=str(count.count_in)),
        reading("CountOut", "Int64", value=str(count.count_out)),
        reading("Since", "String", value=count.since),
    )
    return _scene_event(count.camera, SCENE_COUNT, count.source, count.pipeline, origin, readings)


def _scene_reading(camera: str, profile: str, origin: int, resource: str, value_type: str, **value: Any) -> Reading:
    return Reading(
        id=new_id(),
        origin=origin,
        device_name=camera,
        resource_name=resource,
        profile_name=profile,
        value_type=value_type,
        **value,
    )


def _scene_event(
    camera: str, profile: str, source: str, pipeline: str, origin: int, readings: tuple[Reading, ...]
) -> Event:
    return Event(
        api_version="v3",
        id=new_id(),
        device_name=camera,
        profile_name=profile,
        source_name=source,
        origin=origin,
        readings=readings,
        tags={"pipeline": pipeline},
    )


def top(result: FrameResult) -> tuple[str, float]:
    """The best label and its score; an empty label where nothing was found."""
    if result.anomaly is not None:
        return ("anomalous" if result.anomaly["isAnomalous"] else "normal"), float(result.anomaly["score"])
    named: Sequence[DetectedObject | NamedClass] = result.objects or result.classes or ()
    best = max(named, key=lambda one: one.score, default=None)
    return (best.label, best.score) if best is not None else ("", 0.0)


def _joints(result: Keypoints) -> list[tuple[tuple[float, float, float], ...]]:
    return [
        tuple((round(x, 1), round(y, 1), round(score, 4)) for (x, y), score in zip(points, scores, strict=True))
        for points, scores in zip(result.points.tolist(), result.scores.tolist(), strict=True)
    ]
