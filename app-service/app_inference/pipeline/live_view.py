"""What the service sees right now, for the page, the terminal and REST: newest pictures, rates, latency, errors.

Written by workers, read by the event loop. Pictures are kept as they came, a few a camera, so that a box can be drawn
on the very frame it belongs to.
"""

import statistics
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from edgex_kit.bus.queues import Bounded
from edgex_kit.service.clock import new_origin

from app_inference.pipeline.frame import Frame
from app_inference.pipeline.pictures import Picture, Pictures
from app_inference.pipeline.results import FrameResult, top
from app_inference.vision.image import Size

WINDOW = 240  # results that rates and latencies are taken from
LIVE_S = 5.0  # a camera without a frame for longer than this, and than three of its own intervals, is not live


@dataclass(slots=True)
class CameraView:
    """One camera as this service knows it."""

    name: str
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))  # seconds, monotonic
    arrived_ns: int = 0  # UNIX time of the newest
    full_size: Size | None = None  # of a camera that makes its pictures smaller when it is asked to
    answers: dict[str, FrameResult] = field(default_factory=dict)  # pipeline -> newest
    answered: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    results: int = 0
    last_error: str = ""
    last_error_ns: int = 0


class LiveView:
    """All cameras, and whoever wants to hear of every result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, CameraView] = {}
        self._pictures = Pictures()
        self._kept: Collection[str] | None = None  # the pipelines there are; None: whichever answers
        self._listeners: list[Bounded[FrameResult]] = []
        self._infer_ms: dict[tuple[str, str], deque[float]] = {}  # model, version

    def arrived(self, frame: Frame, missed: int) -> None:
        """A frame was taken up by a worker, after `missed` others of its camera were replaced."""
        with self._lock:
            camera = self._camera(frame.camera)
            self._pictures.put_newest(frame.camera, Picture(frame.frame_id, frame.media_type, frame.data))
            camera.arrivals.extend([time.monotonic()] * (1 + missed))
            camera.arrived_ns = time.time_ns()
            camera.full_size = frame.full_size

    def answered(self, frame: Frame, answer: FrameResult) -> None:
        """A result went out."""
        now_ns = time.time_ns()
        with self._lock:
            camera = self._camera(frame.camera)
            self._pictures.put_analysed(frame.camera, Picture(frame.frame_id, frame.media_type, frame.data))
            if self._kept is None or answer.pipeline in self._kept:
                camera.answers[answer.pipeline] = answer
            camera.answered.append(time.monotonic())
            camera.latency_ms.append((now_ns - frame.capture_ns) / 1e6)
            camera.results += 1
            spent = self._infer_ms.setdefault((answer.model.name, answer.model.version), deque(maxlen=WINDOW))
            spent.append(answer.timing_ms.infer)
            listeners = list(self._listeners)
        for listener in listeners:
            listener.put(answer)

    def failed(self, camera: str, where: str, text: str) -> None:
        """A frame of `camera` was not looked at; `where` names the pipeline or the step that gave up."""
        with self._lock:
            view = self._camera(camera)
            view.last_error, view.last_error_ns = f"{where}: {text}", new_origin()

    def keep(self, pipelines: Collection[str]) -> None:
        """Forget what pipelines other than these have seen: they are gone."""
        with self._lock:
            self._kept = pipelines  # a frame may still be under way to one that has gone
            for camera in self._cameras.values():
                camera.answers = {key: answer for key, answer in camera.answers.items() if key in pipelines}

    def forget(self, cameras: Collection[str]) -> None:
        """Cameras are gone."""
        with self._lock:
            for camera in cameras:
                self._cameras.pop(camera, None)
                self._pictures.forget(camera)

    def silent(self, seconds: float) -> list[str]:
        """The cameras of which nothing has come for so long, not even a broken frame."""
        before = time.time_ns() - int(seconds * 1e9)
        with self._lock:
            return [it.name for it in self._cameras.values() if max(it.arrived_ns, it.last_error_ns) < before]

    def full_sizes(self, seconds: float) -> dict[str, Size]:
        """The cameras that can be asked for smaller pictures, of those that sent one in the last `seconds`."""
        after = time.time_ns() - int(seconds * 1e9)
        with self._lock:
            return {it.name: it.full_size for it in self._cameras.values() if it.full_size and it.arrived_ns > after}

    def picture(self, camera: str, frame_id: str = "") -> Picture | None:
        """A kept frame with a result; without `frame_id`, the newest frame there is."""
        with self._lock:
            return self._pictures.find(camera, frame_id)

    def inference_ms(self, model: Mapping[str, Any]) -> float | None:
        """The median time of an inference of a row of `Models.status`; None before its first."""
        with self._lock:
            spent = self._infer_ms.get((model.get("model", ""), model.get("version", "")))
            return round(statistics.median(spent), 1) if spent else None

    def newest(self) -> list[FrameResult]:
        """The newest result of every camera and pipeline, the oldest of them first."""
        with self._lock:
            known = [answer for camera in self._cameras.values() for answer in camera.answers.values()]
        return sorted(known, key=lambda answer: int(answer.result_origin))

    async def listen(self) -> AsyncIterator[FrameResult]:
        """Every result from now on; a slow listener misses the oldest."""
        queue: Bounded[FrameResult] = Bounded(64)
        with self._lock:
            self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            with self._lock:
                self._listeners.remove(queue)

    def status(self) -> list[dict[str, Any]]:
        """One row a camera, by name."""
        with self._lock:
            return [_row(camera) for _, camera in sorted(self._cameras.items())]

    def _camera(self, name: str) -> CameraView:
        return self._cameras.get(name) or self._cameras.setdefault(name, CameraView(name))


def rate(stamps: deque[float], now: float, span: float = 5.0) -> float:
    """Events per second over the last `span` seconds."""
    recent = [stamp for stamp in stamps if now - stamp <= span]
    if len(recent) < 2:
        return 0.0
    return (len(recent) - 1) / max(now - recent[0], 1e-3)


def is_live(stamps: deque[float], now: float) -> bool:
    """Whether frames still come, for a camera of any rate: one picture a minute is live, too."""
    if not stamps:
        return False
    gaps = [after - before for before, after in pairwise(stamps)]
    return now - stamps[-1] < max(LIVE_S, 3 * statistics.median(gaps) if gaps else 0)


def _row(camera: CameraView) -> dict[str, Any]:
    now = time.monotonic()
    newest = list(camera.answers.values())
    latency = sorted(camera.latency_ms)
    return {
        "name": camera.name,
        "isLive": is_live(camera.arrivals, now),
        "lastFrameOrigin": str(camera.arrived_ns) if camera.arrived_ns else "",
        "framesPerSecond": round(rate(camera.arrivals, now), 2),
        "resultsPerSecond": round(rate(camera.answered, now), 2),
        "results": camera.results,
        "latencyMs": {
            "p50": round(statistics.median(latency), 1) if latency else None,
            "p99": round(latency[min(len(latency) - 1, int(len(latency) * 0.99))], 1) if latency else None,
        },
        "seen": [_seen(answer) for answer in newest],
        "lastError": camera.last_error,
        "lastErrorOrigin": str(camera.last_error_ns) if camera.last_error_ns else "",
    }


def _seen(answer: FrameResult) -> dict[str, Any]:
    label, score = top(answer)
    named = answer.objects or answer.classes or ()
    return {
        "pipeline": answer.pipeline,
        "model": answer.model.name,
        "version": answer.model.version,
        "task": answer.model.task,
        "frameId": answer.frame_id,
        "count": len(named),
        "topLabel": label,
        "topScore": score,
        "inferenceMs": answer.timing_ms.infer,
    }
