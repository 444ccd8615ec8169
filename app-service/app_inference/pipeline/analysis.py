"""From a frame's bytes to what the pipelines see in it; the whole of it runs on one worker thread.

parse -> decode the picture once -> every pipeline that is due: resize, infer, read the outputs -> a finding each
"""

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed, NotFound
from edgex_kit.wire.messages import Event
from edgex_kit.wire.topics import Topics

from app_inference.errors import InferenceFailed
from app_inference.inference.model import Model, Timings
from app_inference.pipeline.counters import BROKEN, FAILED, NO_PIPELINE, RATE, STALE, FrameCounters
from app_inference.pipeline.frame import Frame, frame_from_event
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Pipeline, Plan
from app_inference.pipeline.publishing import Publisher
from app_inference.pipeline.queue import Leave, QueuedFrame
from app_inference.pipeline.results import (
    Finding,
    FrameFacts,
    FrameResult,
    ImageFacts,
    ModelFacts,
    TimingFacts,
    answer_from,
    classes_from,
    objects_from,
)
from app_inference.pipeline.samples import Sample, sample_from
from app_inference.vision.agreement import agreement
from app_inference.vision.detections import Result
from app_inference.vision.formats import image_from_bytes
from app_inference.vision.image import Image


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame's picture, and what decoding it took."""

    image: Image
    facts: FrameFacts
    decode_ms: float


class FrameAnalyser:
    """Looks at arrivals; `plan` may be replaced at any time."""

    def __init__(
        self, topics: Topics, publisher: Publisher, view: LiveView, tally: FrameCounters, max_age_s: float
    ) -> None:
        self.plan = Plan()
        self._topics = topics
        self._publisher = publisher
        self._view = view
        self._tally = tally
        self._max_age_s = max_age_s  # 0: any age

    def look(self, arrival: QueuedFrame) -> None:
        """Analyse one frame. Whatever is wrong with it costs this frame alone, is counted, and is said once."""
        camera, leave = "", None
        try:
            camera = self._topics.parse_event(arrival.topic).device
            leave = self._look(camera, arrival)
        except EdgexError as error:
            self._tally.dropped(camera, type(error).__name__, error)
        except Exception as error:  # noqa: BLE001 - told by the tally; the worker goes on with the next frame
            self._tally.dropped(camera, BROKEN, error)
        finally:
            self._tally.received(camera, arrival.missed)
            arrival.leave(leave)

    def findings(self, frame: Frame, received_ns: int, due: Sequence[Pipeline]) -> list[Finding]:
        """What each pipeline sees, without those that fail. Raises ImageBroken."""
        started = time.perf_counter()
        keeps_ratio = all(it.slot.model.resolved.keeps_ratio for it in due)
        image = image_from_bytes(frame.data, _needed(due), keeps_ratio)
        decoded = Decoded(image, _facts(frame, received_ns, image), (time.perf_counter() - started) * 1e3)
        return [it for pipeline in due if (it := self._finding(pipeline, decoded)) is not None]

    def answer(self, event: Event) -> FrameResult:
        """What the first pipeline that looks at the event's camera sees, for who asks for it. Blocking.

        Raises Malformed, NoPicture, ImageBroken, NotFound without a pipeline, InferenceFailed.
        """
        received_ns = time.time_ns()
        frame = frame_from_event(event)
        due = [it for it in self.plan.pipelines if it.wants(frame.camera)][:1]
        if not due:
            raise NotFound(f"no pipeline looks at camera '{frame.camera}'")
        findings = self.findings(frame, received_ns, due)
        if not findings:
            raise InferenceFailed(f"pipeline '{due[0].id}' failed on this picture")
        return answer_from(findings[0], dropped=0)

    def forget(self, topics: Collection[str]) -> None:
        """Nothing comes on `topics` any more: what is kept of their cameras makes room for others."""
        cameras = set()
        for topic in topics:
            with contextlib.suppress(Malformed):
                cameras.add(self._topics.parse_event(topic).device)
        for place in (self._view, self._tally, self.plan):
            place.forget(cameras)

    def _look(self, camera: str, arrival: QueuedFrame) -> Leave | None:
        frame = frame_from_event(codec.event_of(codec.decode_envelope(arrival.data)))
        if frame.camera != camera:  # as core-data checks it (contract 1.8); it also bounds what we keep by name
            raise Malformed(f"an event of '{frame.camera[:80]}' came on the topic of '{camera[:80]}'")
        self._view.arrived(frame, arrival.missed)
        due = self._due(frame)
        if not due:
            return None
        findings = self.findings(frame, arrival.received_ns, due)
        if not findings:
            self._tally.dropped(camera, FAILED)
            return None
        self._tally.analysed(camera)
        return self._publisher.leave(arrival, frame, findings)

    def _due(self, frame: Frame) -> list[Pipeline]:
        """The pipelines that are to look at it; where there are none the frame is dropped, and counted."""
        age_s = time.time() - frame.capture_ns / 1e9
        if self._max_age_s and age_s > self._max_age_s:
            what = f"it is {age_s:.1f} s old, Inference.MaxFrameAge is {self._max_age_s:g} s"
            self._tally.dropped(frame.camera, STALE, Invalid(what))
            return []
        plan = self.plan
        due = plan.for_camera(frame.camera)
        if not due:
            self._tally.dropped(frame.camera, RATE if plan.wants(frame.camera) else NO_PIPELINE)
        return due

    def _finding(self, pipeline: Pipeline, decoded: Decoded) -> Finding | None:
        camera, slot = decoded.facts.camera, pipeline.slot
        turn = slot.turn(camera)
        seen = self._seen(pipeline, turn.first, decoded, is_checked=turn.is_checked)
        model = turn.first
        if seen is None and turn.fallback is not None:  # an update costs no frame: the other version steps in
            seen, model = self._seen(pipeline, turn.fallback, decoded, is_checked=False), turn.fallback
        if turn.shadow is not None:
            other = self._seen(pipeline, turn.shadow, decoded, is_checked=True)
            if seen is not None and other is not None:
                slot.compare(agreement(seen[0], other[0], model.labels, turn.shadow.labels))
        if seen is None:
            return None
        self._tally.processed(pipeline.id)
        (result, spent), image = seen, decoded.image
        return Finding(
            pipeline=pipeline.id,
            is_news=pipeline.section.publish_empty,
            result=result,
            frame=decoded.facts,
            model=_model_facts(model),
            timing=_timing(decoded.decode_ms, spent),
            objects=objects_from(result, model.labels, (image.width, image.height), pipeline.labels, pipeline.zones),
            classes=classes_from(result, model.labels, pipeline.labels),
        )

    def _seen(
        self, pipeline: Pipeline, model: Model, decoded: Decoded, *, is_checked: bool
    ) -> tuple[Result, Timings] | None:
        """What one model sees; None when it fails, which is noted as evidence against it."""
        camera, slot = decoded.facts.camera, pipeline.slot
        try:
            seen = slot.session(model).analyse(decoded.image, pipeline.options(model), is_checked=is_checked)
        except Exception as error:  # noqa: BLE001 - told by the tally; the other pipelines look at this frame all the same
            slot.observe(model, camera, Sample(0.0, is_error=True))
            self._tally.failed(camera, pipeline.id, error)
            return None
        slot.observe(model, camera, sample_from(seen[0], seen[1].infer))
        self._tally.looked(model, decoded.decode_ms, seen[1])
        return seen


def _needed(pipelines: Sequence[Pipeline]) -> tuple[int, int]:
    """The largest input any of them looks at."""
    sizes = [it.slot.model.input_size for it in pipelines]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _facts(frame: Frame, received_ns: int, image: Image) -> FrameFacts:
    return FrameFacts(
        camera=frame.camera,
        frame_id=frame.frame_id,
        seq=frame.seq,
        capture_ns=frame.capture_ns,
        received_ns=received_ns,
        image=ImageFacts(image.width, image.height, frame.media_type),
    )


def _model_facts(model: Model) -> ModelFacts:
    device = ",".join(model.execution_devices)
    return ModelFacts(model.name, model.version, model.digest[:12], model.task, device, model.precision)


def _timing(decode_ms: float, spent: Timings) -> TimingFacts:
    total = decode_ms + spent.pre + spent.infer + spent.post
    return TimingFacts(*(round(ms, 2) for ms in (decode_ms, spent.pre, spent.infer, spent.post, total)))
