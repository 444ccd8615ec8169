"""From a queued frame to its results on the bus and in the live view; all of it runs on one worker thread.

parse -> decode the picture once -> every pipeline that is due: resize, infer, decode the outputs, stages -> publish
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import replace
from functools import lru_cache, partial

from edgex_kit.jpeg import LIMITS, Limits
from edgex_kit.service.service import Service
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed, NotFound
from edgex_kit.wire.messages import AddEventRequest, Event, new_id
from edgex_kit.wire.topics import Topics

from app_inference.errors import ImageBroken, InferenceFailed
from app_inference.inference.model import Model, Timings
from app_inference.pipeline.counters import BROKEN, FAILED, NO_PIPELINE, RATE, STALE, FrameCounters
from app_inference.pipeline.frame import Frame, frame_from_event
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.plan import Pipeline, Plan
from app_inference.pipeline.queue import MAX_CAMERAS, Publish, QueuedFrame
from app_inference.pipeline.results import (
    FrameResult,
    complete,
    event_from,
    is_empty,
    result_from,
    scene_count_from,
    scene_event_from,
)
from app_inference.pipeline.samples import Sample, sample_from
from app_inference.pipeline.serving import Assignment
from app_inference.pipeline.store_lag import StoreLag
from app_inference.pipeline.suspension import Suspension
from app_inference.settings import AppSettings, InferenceSection
from app_inference.sinks.edgex_bus import Destination
from app_inference.sinks.queue import ResultQueue
from app_inference.stages.scene import SceneStage
from app_inference.stages.stage import Stage
from app_inference.vision.comparison import FLOOR, Seen, compare
from app_inference.vision.detections import Result, above
from app_inference.vision.image import Image, image_from_bytes

MAX_OVERHEAD = 1 << 20  # bytes of an event beside its picture
SCENES_EVERY = 1.0  # seconds
WITH_BOXES = frozenset({"detection", "instance_segmentation", "keypoints"})  # tasks

Compare = Callable[[], None]


class Publisher:
    """Makes events of results, queues them for the sink, and shows the results in the live view."""

    def __init__(
        self, service: Service[AppSettings], queue: ResultQueue, view: LiveView, counters: FrameCounters
    ) -> None:
        template = service.settings.trigger.publish_topic
        self.destination = Destination(template, service.name, service.topics) if template else None
        self.store_lag = StoreLag(service)
        self._service = service
        self._queue = queue
        self._view = view
        self._counters = counters

    def publishing(
        self, queued: QueuedFrame, frame: Frame, image: Image, results: Sequence[tuple[Pipeline, FrameResult]]
    ) -> Publish:
        """What to do with the results of a frame once those of all earlier frames of its camera are published."""

        def publish(passed: int) -> None:
            last = queued.camera_queue.last_result
            for pipeline, result in results:
                before = last.get(pipeline.id, (0, 0))
                dropped = passed - before[0] - 1
                if before[1] and frame.published > before[1]:  # also those that were lost before they arrived here
                    dropped = max(dropped, frame.published - before[1] - 1)
                complete(result, pipeline, frame, image, dropped)
                last[pipeline.id] = passed, frame.published
                if (pipeline.section.publish_empty or not is_empty(result)) and self.store_lag.admits(result):
                    self._publish(result, queued.topic)
                self._view.answered(frame, result)
                for stage in pipeline.stages:
                    self.publish_scene(stage, queued.topic)
            self._counters.answered(frame, time.time_ns())

        return publish

    def publish_scene(self, stage: Stage, received_topic: str = "") -> None:
        """Publish what happened in a stage since the last call. Any thread may call."""
        if not isinstance(stage, SceneStage):
            return
        events, counts = stage.take(time.monotonic())
        for event in events:
            self._publish_event(event.camera, event.pipeline, scene_event_from(event), received_topic)
        for count in counts:
            self._publish_event(count.camera, count.pipeline, scene_count_from(count), received_topic)

    def _publish(self, result: FrameResult, received_topic: str) -> None:
        self._publish_event(result.camera, result.pipeline, event_from(result), received_topic)

    def _publish_event(self, camera: str, pipeline: str, event: Event, received_topic: str) -> None:
        if self.destination is None:
            return
        request = AddEventRequest(request_id=new_id(), event=event)
        limit = self._service.settings.max_event_size
        try:
            topic = self.destination.topic(event, received_topic)
            data = codec.encode(request, encoding=self._service.encoding, limit_kb=limit)
        except EdgexError as error:  # too large, or no topic
            self._counters.failed(camera, pipeline, error)
            return
        self._queue.send(topic, data)


class FrameAnalyser:
    """Analyses queued frames on any number of threads; `plan` may be replaced at any time."""

    def __init__(
        self,
        topics: Topics,
        publisher: Publisher,
        view: LiveView,
        counters: FrameCounters,
        inference: InferenceSection,
        limits: Limits = LIMITS,
    ) -> None:
        self.plan = Plan()
        self.suspension = Suspension(inference.max_decode_time_s)
        self._camera_of = lru_cache(MAX_CAMERAS)(lambda topic: topics.parse_event(topic).device)
        self._publisher = publisher
        self._view = view
        self._counters = counters
        self._max_age_s = inference.max_frame_age_s  # 0: any age
        self._limits = limits
        self._max_message = limits.size * 4 // 3 + MAX_OVERHEAD  # bytes; base64 in JSON

    def analyse(self, queued: QueuedFrame) -> None:
        """Analyse one frame. Whatever is wrong with it costs this frame alone, is counted, and is logged once."""
        camera, publish = "", None
        later: list[Compare] = []
        try:
            camera = self._camera_of(queued.topic)
            publish = self._analysed(camera, queued, later)
        except EdgexError as error:
            self._counters.dropped(camera, type(error).__name__, error)
        except Exception as error:  # noqa: BLE001 - logged by the counters; the worker goes on with the next frame
            self._counters.dropped(camera, BROKEN, error)
        finally:
            self._counters.received(camera, queued.replaced)
            queued.done(publish)
        for compare_versions in later:
            try:
                compare_versions()
            except Exception as error:  # noqa: BLE001 - logged by the counters; the results are published
                self._counters.failed(camera, "", error)

    def results(
        self, frame: Frame, due: Sequence[Pipeline], later: list[Compare]
    ) -> tuple[Image, list[tuple[Pipeline, FrameResult]]]:
        """The picture, and the result of each pipeline but those that fail, not completed. Raises ImageBroken.

        What is to be called once the results are published is added to `later`.
        """
        started = time.perf_counter()
        sizes = [it.served.model.input_size for it in due]
        needed = max(width for width, _ in sizes), max(height for _, height in sizes)
        keeps_ratio = all(it.served.model.resolved.keeps_ratio for it in due)
        with self.suspension.decoding(frame.camera):
            image = image_from_bytes(frame.data, needed, keeps_ratio, self._limits)
        decode_ms = (time.perf_counter() - started) * 1e3
        results = ((pipeline, self._result(pipeline, frame, image, decode_ms, later)) for pipeline in due)
        return image, [(pipeline, result) for pipeline, result in results if result is not None]

    def result_of(self, event: Event) -> FrameResult:
        """The result of the first pipeline that analyses the event's camera. Blocking.

        Raises Malformed, NoPicture, ImageBroken, NotFound without a pipeline, InferenceFailed.
        """
        frame = frame_from_event(event, time.time_ns())
        due = [it for it in self.plan.pipelines if it.wants(frame.camera)][:1]
        if not due:
            raise NotFound(f"no pipeline analyses camera '{frame.camera}'")
        image, results = self.results(frame, due, [])
        if not results:
            raise InferenceFailed(f"pipeline '{due[0].id}' failed on this picture")
        pipeline, result = results[0]
        complete(result, pipeline, frame, image, dropped=0)
        return result

    def forget(self, topics: Collection[str]) -> None:
        """Drop what is kept of the cameras of `topics`, which have given way to others."""
        cameras = set()
        for topic in topics:
            with contextlib.suppress(Malformed):
                cameras.add(self._camera_of(topic))
        self.forget_cameras(cameras)

    def forget_cameras(self, cameras: Set[str]) -> None:
        """Drop what is kept of cameras that are deleted."""
        parts = self._view, self._counters, self.plan, self.suspension, self._publisher.store_lag
        for part in parts:
            part.forget(cameras)

    def end_stages(self, stages: Sequence[Stage]) -> None:
        """Publish the end of what stages track that are no longer in the plan."""
        for stage in stages:
            if isinstance(stage, SceneStage):
                stage.end()
                self._publisher.publish_scene(stage)

    async def watch_scenes(self) -> None:
        """Publish what happens while no frame comes: tracks end, counts are repeated. For ever."""
        while True:
            await asyncio.sleep(SCENES_EVERY)
            for pipeline in self.plan.pipelines:
                for stage in pipeline.stages:
                    self._publisher.publish_scene(stage)

    def _analysed(self, camera: str, queued: QueuedFrame, later: list[Compare]) -> Publish | None:
        if len(queued.data) > self._max_message:
            size, most = len(queued.data) >> 10, self._limits.size >> 10
            raise ImageBroken(f"a message of {size} KB holds a picture over the limit of {most} KB (Images.MaxSize)")
        frame = frame_from_event(codec.event_of(codec.decode_envelope(queued.data)), queued.received_ns)
        if frame.camera != camera:  # core-data refuses it, too; this also bounds what is kept by name
            raise Malformed(f"an event of '{frame.camera[:80]}' came on the topic of '{camera[:80]}'")
        self._view.arrived(frame, queued.replaced)
        self._counters.arrived(frame, queued.arrived)
        due = self._due(frame)
        if not due:
            return None
        image, results = self.results(frame, due, later)
        if not results:
            self._counters.dropped(camera, FAILED)
            return None
        self._counters.analysed(camera)
        return self._publisher.publishing(queued, frame, image, results)

    def _due(self, frame: Frame) -> list[Pipeline]:
        """The pipelines that are to analyse it; where there are none the frame is dropped, and counted."""
        age_s = time.time() - frame.capture_ns / 1e9
        if self._max_age_s and age_s > self._max_age_s:
            what = f"it is {age_s:.1f} s old, Inference.MaxFrameAge is {self._max_age_s:g} s"
            self._counters.dropped(frame.camera, STALE, Invalid(what))
            return []
        plan = self.plan
        due = plan.for_camera(frame.camera)
        if not due:
            self._counters.dropped(frame.camera, RATE if plan.wants(frame.camera) else NO_PIPELINE)
        return due

    def _result(
        self, pipeline: Pipeline, frame: Frame, image: Image, decode_ms: float, later: list[Compare]
    ) -> FrameResult | None:
        served = pipeline.served
        assignment = served.assign(frame.camera)
        model, second = assignment.first, assignment.second
        floor = FLOOR if second is not None else 1.0
        found = self._infer(pipeline, model, frame, image, decode_ms, floor, is_checked=assignment.is_checked)
        is_failed = found is None
        if found is None and assignment.fallback is not None:  # an update costs no frame: the other version answers
            model, second = assignment.fallback, None
            found = self._infer(pipeline, model, frame, image, decode_ms, is_checked=False)
            is_failed = found is not None  # a picture that both fail on is no evidence against the first
        if is_failed:
            served.observe(assignment.first, frame.camera, Sample(0.0, is_error=True))
        if found is None:
            return None
        result, spent = found
        if second is not None:
            later.append(partial(self._compare, pipeline, assignment, frame, image, decode_ms, found))
            result = above(result, pipeline.options(model).confidence)
        served.observe(model, frame.camera, sample_from(result, spent.infer))
        self._counters.processed(pipeline.id)
        return result_from(result, model, pipeline, frame, image, (decode_ms, spent))

    def _infer(
        self,
        pipeline: Pipeline,
        model: Model,
        frame: Frame,
        image: Image,
        decode_ms: float,
        floor: float = 1.0,
        *,
        is_checked: bool,
    ) -> tuple[Result, Timings] | None:
        """What one model finds, objects down to `floor` of the threshold; None when it fails, which is counted."""
        options = pipeline.options(model)
        if floor < 1 and model.task in WITH_BOXES:
            options = replace(options, confidence=floor * options.confidence)
        try:
            found = pipeline.served.session(model).analyse(image, options, is_checked=is_checked)
        except Exception as error:  # noqa: BLE001 - logged by the counters; the other pipelines analyse this frame
            self._counters.failed(frame.camera, pipeline.id, error)
            return None
        self._counters.inferred(model, decode_ms, found[1])
        return found

    def _compare(
        self,
        pipeline: Pipeline,
        assignment: Assignment,
        frame: Frame,
        image: Image,
        decode_ms: float,
        found: tuple[Result, Timings],
    ) -> None:
        """Analyse the frame with the other version of a rollout, too, and compare the two."""
        served, second = pipeline.served, assignment.second
        if second is None or second not in served.active.models():
            return
        started = time.perf_counter()
        other = self._infer(pipeline, second, frame, image, decode_ms, FLOOR, is_checked=not assignment.is_trial)
        if other is None:
            served.observe(second, frame.camera, Sample(0.0, is_error=True))
        else:
            threshold = pipeline.options(second).confidence
            served.observe(second, frame.camera, sample_from(above(other[0], threshold), other[1].infer))
            pair = [
                Seen(result, model.labels, pipeline.options(model).confidence, spent.infer)
                for model, (result, spent) in ((assignment.first, found), (second, other))
            ]
            served.comparisons.add(frame.camera, compare(*(reversed(pair) if assignment.is_trial else pair)))
        served.comparisons.spend(time.perf_counter() - started)
