"""What became of every frame, counted by camera: received = analysed + dropped for one reason or another.

The counts are telemetry and status at once. What a person should know is said once a camera and reason, then only
counted: a broken camera sends thirty broken frames a second.
"""

import logging
import threading
import time
from collections.abc import Set
from dataclasses import dataclass

from edgex_kit.service.metrics import Counter, Histogram, Metrics
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed

from app_inference.errors import ImageBroken, NoPicture
from app_inference.inference.model import Model, Timings
from app_inference.pipeline.live_view import LiveView

log = logging.getLogger(__name__)

# Why a frame was dropped.
REPLACED = "Replaced"  # a newer one of its camera came before a worker was free
INBOX_FULL = "InboxFull"  # too many cameras, or too many bytes wait
STALE = "Stale"  # older than MaxFrameAge
RATE = "Rate"  # more than its pipelines' rates allow
NO_PIPELINE = "NoPipeline"  # no pipeline looks at this camera
FAILED = "InferenceFailed"  # every pipeline that looked at it failed
BROKEN = "Error"  # we failed, in a way nobody foresaw
STAGES = ("decode", "pre", "infer", "post")
LINES = 20  # an hour and kind: a flood of broken cameras is no flood of lines
NO_PICTURE = NoPicture.__name__  # an event, but without a picture
INVALID = (Malformed.__name__, ImageBroken.__name__)  # no event, or one of another device; no picture we can decode


@dataclass(frozen=True, slots=True)
class _Counts:
    """What every frame of a camera is counted in."""

    received: Counter
    analysed: Counter


class FrameCounters:
    """Counts, and speaks up."""

    def __init__(self, metrics: Metrics, view: LiveView) -> None:
        self._metrics = metrics
        self._view = view
        self._lock = threading.Lock()
        self._messages = metrics.counter("MessagesReceived")
        self._counts: dict[str, _Counts] = {}  # by camera
        self._processed: dict[str, Counter] = {}  # by pipeline
        self._stages: dict[str, list[Histogram]] = {}  # digest -> one for each of STAGES
        self._said: dict[str, set[str]] = {}  # camera -> kinds
        self._lines: dict[str, tuple[float, int]] = {}  # kind -> since when, and how many cameras have said it

    def received(self, camera: str, missed: int) -> None:
        """A worker has taken a frame, `missed` others of its camera having been replaced by newer ones."""
        self._messages.add(1 + missed)
        self._counts_of(camera).received.add(1 + missed)
        if missed:
            self._of("FramesDropped", camera, reason=REPLACED).add(missed)

    def refused(self) -> None:
        """There was no room for a frame; whose it is nobody has read."""
        self.received("", 0)
        self.dropped("", INBOX_FULL, Invalid("too many cameras, or too many bytes of frames wait"))

    def analysed(self, camera: str) -> None:
        """A frame has the answer of one pipeline at least."""
        self._counts_of(camera).analysed.add()

    def dropped(self, camera: str, reason: str, error: Exception | None = None) -> None:
        """A frame has none. `error` is for a person; `camera` may be empty, when nobody knows."""
        self._of("FramesDropped", camera, reason=reason).add()
        if reason in INVALID:
            self._metrics.counter("InvalidMessagesReceived").add()
        if error is None:
            return
        if camera and reason != NO_PICTURE:  # most devices are no cameras, and have no place on the page
            self._view.failed(camera, "frame", _text(error))
        self._say(camera, reason, f"a frame of '{camera[:80] or '?'}' was dropped", error)

    def processed(self, pipeline: str) -> None:
        """A pipeline has looked at a frame."""
        processed = self._processed.get(pipeline) or self._processed_by(pipeline)
        processed.add()

    def looked(self, model: Model, decode_ms: float, spent: Timings) -> None:
        """A model has looked at a frame; its stages, in milliseconds."""
        stages = self._stages.get(model.digest[:12]) or self._stages_of(model)
        for stage, ms in zip(stages, (decode_ms, spent.pre, spent.infer, spent.post), strict=True):
            stage.add(ms)

    def keep_versions(self, digests: Set[str]) -> None:
        """Versions that are not among `digests` (12 digits) are gone, and so are their measurements."""
        known = {it.tags["digest"] for it in self._metrics if "digest" in it.tags}
        self._metrics.forget(digest=known - digests)
        self._stages = {digest: stages for digest, stages in self._stages.items() if digest in digests}

    def failed(self, camera: str, pipeline: str, error: Exception) -> None:
        """A pipeline could not look at a frame, or its result could not go out."""
        self._metrics.counter(f"PipelineProcessingErrors-{pipeline}", pipeline=pipeline).add()
        self._view.failed(camera, pipeline, _text(error))
        self._say(camera, f"pipeline {pipeline}", f"pipeline '{pipeline}' failed on '{camera[:80]}'", error)

    def forget(self, cameras: Set[str]) -> None:
        """Cameras are gone, and made room for others."""
        with self._lock:
            self._metrics.forget(camera=cameras)
            for camera in cameras:
                self._said.pop(camera, None)
                self._counts.pop(camera, None)

    def _stages_of(self, model: Model) -> list[Histogram]:
        tags = {"model": model.name, "version": model.version, "digest": model.digest[:12]}
        stages = [self._metrics.histogram("InferenceStageMs", stage=it, **tags) for it in STAGES]
        return self._stages.setdefault(tags["digest"], stages)

    def _processed_by(self, pipeline: str) -> Counter:
        counter = self._metrics.counter(f"PipelineMessagesProcessed-{pipeline}", pipeline=pipeline)
        return self._processed.setdefault(pipeline, counter)

    def _counts_of(self, camera: str) -> _Counts:
        return self._counts.get(camera) or self._new_counts(camera)

    def _new_counts(self, camera: str) -> _Counts:
        with self._lock:  # between two steps of `forget` they would be counted where nobody looks
            counts = _Counts(self._of("FramesReceived", camera), self._of("FramesAnalysed", camera))
            return self._counts.setdefault(camera, counts)

    def _of(self, name: str, camera: str, **tags: str) -> Counter:
        return self._metrics.counter(name, **({"camera": camera} if camera else {}), **tags)

    def _say(self, camera: str, kind: str, what: str, error: Exception) -> None:
        if self._is_news(camera, kind):
            level = logging.INFO if kind == NO_PICTURE else logging.WARNING
            where = None if isinstance(error, EdgexError) else error  # what nobody foresaw comes with its traceback
            log.log(level, "%s, more of this kind are only counted: %s", what, _text(error), exc_info=where)

    def _is_news(self, camera: str, kind: str) -> bool:
        with self._lock:
            said, now = self._said.setdefault(camera, set()), time.monotonic()
            if kind in said:
                return False
            said.add(kind)
            since, lines = self._lines.get(kind, (now, 0))
            if now - since > 3600:
                since, lines = now, 0
            self._lines[kind] = since, lines + 1
        if lines == LINES:
            log.warning("%d cameras have said '%s' within an hour; what more do is only counted", LINES, kind)
        return lines < LINES


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, EdgexError) else f"{type(error).__name__}: {error}"
