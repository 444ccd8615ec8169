"""What the service sees right now, for the page, the terminal and REST: newest pictures, rates, latency, errors.

Written by workers, read by the event loop. Pictures are kept as they came, a few a camera, so that a box can be drawn
on the very frame it belongs to.
"""

import statistics
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from edgex_kit.handover import Bounded
from edgex_kit.messages import new_origin

from app_inference.frames import ArrivedFrame
from app_inference.results import Answer, top

KEPT_PICTURES = 4
WINDOW = 240  # results that rates and latencies are taken from


@dataclass(slots=True)
class CameraView:
    """One camera as this service knows it."""

    name: str
    pictures: deque[tuple[str, str, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT_PICTURES))
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))  # seconds, monotonic
    answers: dict[str, Answer] = field(default_factory=dict)  # pipeline's model -> newest
    answered: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    received: int = 0
    replaced: int = 0
    results: int = 0
    last_error: str = ""
    last_error_ns: int = 0


class View:
    """All cameras, and whoever wants to hear of every result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, CameraView] = {}
        self._listeners: list[Bounded[Answer]] = []

    def arrived(self, frame: ArrivedFrame, missed: int) -> None:
        """A frame was taken up by a worker, after `missed` others of its camera were replaced."""
        with self._lock:
            camera = self._camera(frame.camera)
            camera.received += 1 + missed
            camera.replaced += missed
            camera.arrivals.append(time.monotonic())

    def answered(self, frame: ArrivedFrame, answer: Answer) -> None:
        """A result went out."""
        now_ns = time.time_ns()
        with self._lock:
            camera = self._camera(frame.camera)
            if not camera.pictures or camera.pictures[-1][0] != frame.frame_id:
                camera.pictures.append((frame.frame_id, frame.media_type, frame.data))
            camera.answers[f"{answer.model.name} {answer.model.task}"] = answer
            camera.answered.append(time.monotonic())
            camera.latency_ms.append((now_ns - frame.capture_ns) / 1e6)
            camera.results += 1
            listeners = list(self._listeners)
        for listener in listeners:
            listener.put(answer)

    def failed(self, camera: str, pipeline: str, text: str) -> None:
        """A pipeline could not look at a frame of `camera`."""
        with self._lock:
            view = self._camera(camera)
            view.last_error, view.last_error_ns = f"{pipeline}: {text}", new_origin()

    def picture(self, camera: str, frame_id: str = "") -> tuple[str, bytes] | None:
        """Media type and bytes of a kept frame, the newest without `frame_id`."""
        with self._lock:
            view = self._cameras.get(camera)
            kept = [it for it in view.pictures if frame_id in ("", it[0])] if view else []
            return kept[-1][1:] if kept else None

    async def listen(self) -> AsyncIterator[Answer]:
        """Every result from now on; a slow listener misses the oldest."""
        queue: Bounded[Answer] = Bounded(64)
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
        return self._cameras.setdefault(name, CameraView(name))


def rate(stamps: deque[float], now: float, span: float = 5.0) -> float:
    """Events per second over the last `span` seconds."""
    recent = [stamp for stamp in stamps if now - stamp <= span]
    if len(recent) < 2:
        return 0.0
    return (len(recent) - 1) / max(now - recent[0], 1e-3)


def _row(camera: CameraView) -> dict[str, Any]:
    now = time.monotonic()
    newest = list(camera.answers.values())
    latency = sorted(camera.latency_ms)
    return {
        "name": camera.name,
        "isLive": bool(camera.arrivals) and now - camera.arrivals[-1] < 5,
        "framesPerSecond": round(rate(camera.arrivals, now), 2),
        "resultsPerSecond": round(rate(camera.answered, now), 2),
        "framesReceived": camera.received,
        "framesReplaced": camera.replaced,
        "results": camera.results,
        "latencyMs": {
            "p50": round(statistics.median(latency), 1) if latency else None,
            "p99": round(latency[min(len(latency) - 1, int(len(latency) * 0.99))], 1) if latency else None,
        },
        "seen": [_seen(answer) for answer in newest],
        "lastError": camera.last_error,
        "lastErrorOrigin": str(camera.last_error_ns) if camera.last_error_ns else "",
    }


def _seen(answer: Answer) -> dict[str, Any]:
    label, score = top(answer)
    named = answer.objects or answer.classes or ()
    return {
        "model": answer.model.name,
        "version": answer.model.version,
        "task": answer.model.task,
        "frameId": answer.frame_id,
        "count": len(named),
        "topLabel": label,
        "topScore": score,
        "inferenceMs": answer.timing_ms.infer,
    }
