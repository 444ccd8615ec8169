"""From a frame's bytes to result events on the bus; the whole of it runs on one worker thread.

parse -> decode the picture once -> every pipeline that is due: resize, infer, read the outputs -> event -> outbox
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgex_kit import codec
from edgex_kit.durations import parse_duration
from edgex_kit.errors import EdgexError, Malformed
from edgex_kit.messages import AddEventRequest, new_id
from edgex_kit.service import Service

from app_inference.frames import ArrivedFrame, frame_from_event
from app_inference.images import Image, image_from_jpeg
from app_inference.inbox import Arrival
from app_inference.model import Model, Timings
from app_inference.outbox import Outbox
from app_inference.pipelines import Pipeline, Plan
from app_inference.results import (
    Answer,
    FrameFacts,
    ImageFacts,
    ModelFacts,
    TimingFacts,
    answer_from,
    event_from,
    named_classes,
    named_objects,
)
from app_inference.settings import AppSettings
from app_inference.view import View

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clocked:
    """A decoded picture and when its stages ended, in seconds of the performance counter."""

    image: Image
    started: float
    decoded: float


class Analyst:
    """Looks at arrivals; `plan` may be replaced at any time."""

    def __init__(self, service: Service[AppSettings], outbox: Outbox, view: View) -> None:
        self.plan = Plan()
        self._service = service
        self._outbox = outbox
        self._view = view
        self._max_age_ns = int(parse_duration(service.settings.inference.max_frame_age) * 1e9)
        self._said: set[str] = set()

    def look(self, arrival: Arrival) -> None:
        """Analyse one frame. Whatever is wrong with it costs this frame alone, is counted, and is said once."""
        leave: Callable[[], None] | None = None
        camera = arrival.topic
        try:
            camera = self._service.topics.parse_event(arrival.topic).device
            frame = frame_from_event(codec.event_of(codec.decode_envelope(arrival.data)))
            if frame.camera != camera:  # as core-data checks it (contract 1.8); it also bounds what we keep by name
                raise Malformed(f"an event of '{frame.camera}' came on the topic of '{camera}'")
            self._view.arrived(frame, arrival.missed)
            answers = self._answers(frame, arrival)
            if answers:
                leave = self._leaving(frame, answers)
        except EdgexError as error:
            self._drop(camera, type(error).__name__, str(error))
            if camera != arrival.topic:  # a topic that is no camera's gets no place on the page
                self._view.failed(camera, "frame", str(error))
        finally:
            arrival.lane.leave(arrival.ticket, leave)

    def _answers(self, frame: ArrivedFrame, arrival: Arrival) -> list[tuple[str, Answer]]:
        if self._max_age_ns and time.time_ns() - frame.capture_ns > self._max_age_ns:
            self._drop(frame.camera, "Stale", "")
            return []
        plan = self.plan
        due = plan.for_camera(frame.camera)
        if not due:
            self._drop(frame.camera, "Rate" if plan.wants(frame.camera) else "NoPipeline", "")
            return []
        started = time.perf_counter()
        image = image_from_jpeg(frame.data, _needed(due))
        clocked = Clocked(image, started, time.perf_counter())
        return [(it.id, answer) for it in due if (answer := self._analyse(it, frame, arrival, clocked)) is not None]

    def _analyse(self, pipeline: Pipeline, frame: ArrivedFrame, arrival: Arrival, clocked: Clocked) -> Answer | None:
        model, session = pipeline.slot.session()
        try:
            result, spent = session.analyse(clocked.image, pipeline.options(model))
        except EdgexError as error:
            self._view.failed(frame.camera, pipeline.id, str(error))
            self._drop(frame.camera, "Inference", str(error))
            return None
        image = clocked.image
        objects = named_objects(result, model.labels, (image.width, image.height), pipeline.labels, pipeline.zones)
        classes = named_classes(result, model.labels, pipeline.labels)
        answer = answer_from(
            result, _facts(frame, arrival, image), _model_facts(model), _timing(clocked, spent), objects, classes
        )
        return answer if pipeline.section.publish_empty or objects or classes or answer.anomaly else None

    def _leaving(self, frame: ArrivedFrame, answers: list[tuple[str, Answer]]) -> Callable[[], None]:
        """What happens when it is this frame's turn to leave: its results go out."""
        messages = [(answer, *self._message(pipeline, answer)) for pipeline, answer in answers]

        def leave() -> None:
            for answer, topic, data in messages:
                self._outbox.send(topic, data)
                self._view.answered(frame, answer)

        return leave

    def _message(self, pipeline: str, answer: Answer) -> tuple[str, bytes]:
        service = self._service
        event = event_from(answer, pipeline)
        topic = service.topics.event(service.name, event.profile_name, event.device_name, event.source_name)
        request = AddEventRequest(request_id=new_id(), event=event)
        return topic, codec.encode(request, encoding=service.encoding, limit_kb=service.settings.max_event_size)

    def _drop(self, camera: str, reason: str, text: str) -> None:
        self._service.metrics.counter("FramesDropped", camera=camera, reason=reason).add()
        if text and f"{camera} {reason}" not in self._said:
            self._said.add(f"{camera} {reason}")
            log.warning("a frame of '%s' was dropped, further ones of this kind are only counted: %s", camera, text)


def _needed(pipelines: list[Pipeline]) -> tuple[int, int]:
    """The largest input any of them looks at."""
    sizes = [it.slot.model.input_size for it in pipelines]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _facts(frame: ArrivedFrame, arrival: Arrival, image: Image) -> FrameFacts:
    return FrameFacts(
        camera=frame.camera,
        frame_id=frame.frame_id,
        seq=frame.seq,
        capture_ns=frame.capture_ns,
        received_ns=arrival.received_ns,
        missed=arrival.missed,
        image=ImageFacts(image.width, image.height, frame.media_type),
    )


def _model_facts(model: Model) -> ModelFacts:
    device = ",".join(model.execution_devices)
    return ModelFacts(model.name, model.version, model.digest[:12], model.task, device, model.precision)


def _timing(clocked: Clocked, spent: Timings) -> TimingFacts:
    decode = (clocked.decoded - clocked.started) * 1e3
    total = decode + spent.pre + spent.infer + spent.post
    return TimingFacts(*(round(ms, 2) for ms in (decode, spent.pre, spent.infer, spent.post, total)))
