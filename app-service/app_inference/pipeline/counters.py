"""What became of every frame, counted by camera: received = analysed + dropped for one reason or another. Frames
that were lost before they came are counted apart.

The counts are both telemetry and status. What a person should know is logged once for each camera and reason, then only
counted: a broken camera sends thirty broken frames a second.
"""

import logging
import threading
import time
from collections.abc import Set
from typing import NamedTuple

from edgex_kit.service.metrics import Counter, Histogram, Metrics
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed

from app_inference.errors import ImageBroken, NoPicture
from app_inference.inference.model import Model, Timings
from app_inference.pipeline.frame import Frame
from app_inference.pipeline.live_view import LiveView

log = logging.getLogger(__name__)

# Why a frame was dropped.
REPLACED = "Replaced"  # a newer one of its camera came before a worker was free
QUEUE_FULL = "InboxFull"  # too many cameras, or too many bytes wait
STALE = "Stale"  # older than MaxFrameAge
RATE = "Rate"  # more than its pipelines' rates allow
NO_PIPELINE = "NoPipeline"  # no pipeline analyses this camera
FAILED = "InferenceFailed"  # every pipeline that analysed it failed
BROKEN = "Error"  # an unexpected exception
NO_PICTURE = NoPicture.__name__  # an event, but without a picture
INVALID = (Malformed.__name__, ImageBroken.__name__)  # no event, or one of another device; no picture we can decode

STEPS = ("decode", "pre", "infer", "post")
LINES = 20  # an hour and reason: many broken cameras do not flood the log


class _Gap(NamedTuple):
    """The numbers of a camera's newest frame. `published` begins anew when the camera restarts."""

    published: int
    arrived: int
    missing: int  # published minus arrived


class FrameCounters:
    """Counts frames, and logs why they are dropped. Any thread may call."""

    def __init__(self, metrics: Metrics, view: LiveView) -> None:
        self._metrics = metrics
        self._view = view
        self._lock = threading.Lock()
        self._messages = metrics.counter("MessagesReceived")
        self._received: dict[str, Counter] = {}  # by camera, as the next
        self._analysed: dict[str, Counter] = {}
        self._latency: dict[str, Histogram] = {}
        self._gaps: dict[str, _Gap] = {}
        self._wait = metrics.histogram("QueueWaitMs")
        self._processed: dict[str, Counter] = {}  # by pipeline
        self._steps: dict[str, list[Histogram]] = {}  # digest -> one for each of STEPS
        self._logged: dict[str, set[str]] = {}  # camera -> reasons
        self._lines: dict[str, tuple[float, int]] = {}  # reason -> since when, and how many cameras have had it logged

    def received(self, camera: str, replaced: int) -> None:
        """A worker has taken a frame, after `replaced` others of its camera were replaced by newer ones."""
        self._messages.add(1 + replaced)
        self._counter(self._received, "FramesReceived", camera).add(1 + replaced)
        if replaced:
            self._of("FramesDropped", camera, reason=REPLACED).add(replaced)

    def arrived(self, frame: Frame, arrived: int) -> None:
        """A frame was read; it is the `arrived`-th that came of its camera. Counts those that were published and never
        came: the broker or the network dropped them."""
        self._wait.add(max(0.0, (time.time_ns() - frame.received_ns) / 1e6))
        if not frame.published:
            return
        missing = frame.published - arrived
        with self._lock:
            before = self._gaps.get(frame.camera)
            if before is not None and arrived < before.arrived:  # a later one, read by another worker, has told as much
                return
            self._gaps[frame.camera] = _Gap(frame.published, arrived, missing)
            if before is not None and frame.published > before.published and missing > before.missing:
                self._of("FramesLost", frame.camera).add(missing - before.missing)

    def answered(self, frame: Frame, now_ns: int) -> None:
        """The results of a frame were published."""
        latency = self._latency.get(frame.camera)
        if latency is None:
            with self._lock:
                latency = self._metrics.histogram("ResultLatencyMs", camera=frame.camera)
                self._latency[frame.camera] = latency
        latency.add(max(0.0, (now_ns - frame.capture_ns) / 1e6))

    def refused(self) -> None:
        """A frame could not be queued; its camera is not known, since nobody has parsed it."""
        self.received("", 0)
        self.dropped("", QUEUE_FULL, Invalid("too many cameras, or too many bytes of frames wait"))

    def analysed(self, camera: str) -> None:
        """A frame has the result of one pipeline at least."""
        self._counter(self._analysed, "FramesAnalysed", camera).add()

    def dropped(self, camera: str, reason: str, error: Exception | None = None) -> None:
        """A frame has no result. `error` is logged; `camera` may be empty, when it is not known."""
        self._of("FramesDropped", camera, reason=reason).add()
        if reason in INVALID:
            self._metrics.counter("InvalidMessagesReceived").add()
        if error is None:
            return
        if camera and reason != NO_PICTURE:  # most devices are no cameras, and are not on the page
            self._view.failed(camera, "frame", _text(error))
        self._log(camera, reason, f"a frame of '{camera[:80] or '?'}' was dropped", error)

    def processed(self, pipeline: str) -> None:
        """A pipeline has analysed a frame."""
        counter = self._processed.get(pipeline)
        if counter is None:
            counter = self._metrics.counter(f"PipelineMessagesProcessed-{pipeline}", pipeline=pipeline)
            self._processed[pipeline] = counter
        counter.add()

    def inferred(self, model: Model, decode_ms: float, spent: Timings) -> None:
        """A model has analysed a frame; its steps, in milliseconds."""
        digest = model.facts.digest
        steps = self._steps.get(digest)
        if steps is None:
            tags = {"model": model.name, "version": model.version, "digest": digest}
            steps = [self._metrics.histogram("InferenceStageMs", stage=it, **tags) for it in STEPS]
            self._steps[digest] = steps
        for step, ms in zip(steps, (decode_ms, spent.pre, spent.infer, spent.post), strict=True):
            step.add(ms)

    def keep_versions(self, digests: Set[str]) -> None:
        """Drop the measurements of versions that are not among `digests` (12 digits): they are gone."""
        known = {it.tags["digest"] for it in self._metrics if "digest" in it.tags}
        self._metrics.forget(digest=known - digests)
        self._steps = {digest: steps for digest, steps in self._steps.items() if digest in digests}

    def failed(self, camera: str, pipeline: str, error: Exception) -> None:
        """A pipeline could not analyse a frame, or its result could not be published."""
        self._metrics.counter(f"PipelineProcessingErrors-{pipeline}", pipeline=pipeline).add()
        self._view.failed(camera, pipeline, _text(error))
        self._log(camera, f"pipeline {pipeline}", f"pipeline '{pipeline}' failed on '{camera[:80]}'", error)

    def forget(self, cameras: Set[str]) -> None:
        """Drop the counts of cameras that are deleted, or gave way to others."""
        with self._lock:
            self._metrics.forget(camera=cameras)
            for camera in cameras:
                for kept in (self._logged, self._received, self._analysed, self._latency, self._gaps):
                    kept.pop(camera, None)

    def _counter(self, kept: dict[str, Counter], name: str, camera: str) -> Counter:
        counter = kept.get(camera)
        if counter is None:
            with self._lock:  # `forget` in between would leave a counter that nobody reads
                counter = kept[camera] = self._of(name, camera)
        return counter

    def _of(self, name: str, camera: str, **tags: str) -> Counter:
        return self._metrics.counter(name, **({"camera": camera} if camera else {}), **tags)

    def _log(self, camera: str, reason: str, what: str, error: Exception) -> None:
        if self._is_new(camera, reason):
            level = logging.INFO if reason == NO_PICTURE else logging.WARNING
            cause = None if isinstance(error, EdgexError) else error  # an unexpected one comes with its traceback
            log.log(level, "%s, more of this kind are only counted: %s", what, _text(error), exc_info=cause)

    def _is_new(self, camera: str, reason: str) -> bool:
        with self._lock:
            logged, now = self._logged.setdefault(camera, set()), time.monotonic()
            if reason in logged:
                return False
            logged.add(reason)
            since, lines = self._lines.get(reason, (now, 0))
            if now - since > 3600:
                since, lines = now, 0
            self._lines[reason] = since, lines + 1
        if lines == LINES:
            log.warning("%d cameras had '%s' logged within an hour; further ones are only counted", LINES, reason)
        return lines < LINES


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, EdgexError) else f"{type(error).__name__}: {error}"
