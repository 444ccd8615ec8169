"""The newest pictures, results, rates, latencies and errors of every camera, for the page, the terminal and REST.

Written by workers, read by the event loop. Pictures are kept as they came, a few for each camera, so that a box can be
drawn on the very frame it belongs to, and at most MAX_KEPT bytes of all cameras together.
"""

import asyncio
import statistics
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from edgex_kit.bus.queues import Bounded
from edgex_kit.service.clock import new_origin

from app_inference.pipeline.frame import Frame
from app_inference.pipeline.results import FrameResult, top
from app_inference.vision.image import Size

KEPT = 12  # pictures a camera: what a browser asks for was analysed a moment ago
MAX_KEPT = 256 * 1024 * 1024  # bytes
WINDOW = 240  # results that rates and latencies are taken from
SPAN = 5.0  # seconds over which rates and shares are taken
LIVE_S = 5.0  # a camera without a frame for longer than this, and than three of its own intervals, is not live


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame as it came."""

    frame_id: str
    media_type: str
    data: bytes


@dataclass(slots=True)
class CameraPictures:
    """The pictures of one camera."""

    newest: Picture | None = None  # analysed or not
    analysed: deque[Picture] = field(default_factory=deque)


class Pictures:
    """By camera; beyond MAX_KEPT bytes the camera that has been silent longest loses its oldest. Not thread-safe."""

    def __init__(self) -> None:
        self._cameras: OrderedDict[str, CameraPictures] = OrderedDict()  # the longest silent first
        self._bytes = 0

    def put_newest(self, camera: str, picture: Picture) -> None:
        """Keep a frame that arrived, in the place of the one before."""
        kept = self._camera(camera)
        self._count(kept.newest, picture)
        kept.newest = picture
        self._trim()

    def put_analysed(self, camera: str, picture: Picture) -> None:
        """Keep a frame that has a result, its first or one more."""
        kept = self._camera(camera)
        if kept.analysed and kept.analysed[-1].frame_id == picture.frame_id:
            return
        kept.analysed.append(picture)
        self._count(kept.analysed.popleft() if len(kept.analysed) > KEPT else None, picture)
        self._trim()

    def find(self, camera: str, frame_id: str = "") -> Picture | None:
        """The analysed frame of that id; without one, the newest frame there is."""
        kept = self._cameras.get(camera, CameraPictures())
        if not frame_id:
            return kept.newest
        return next((it for it in kept.analysed if it.frame_id == frame_id), None)

    def forget(self, camera: str) -> None:
        """Drop the pictures of a camera."""
        kept = self._cameras.pop(camera, CameraPictures())
        for picture in (kept.newest, *kept.analysed):
            self._count(picture, None)

    def _camera(self, camera: str) -> CameraPictures:
        kept = self._cameras.get(camera) or self._cameras.setdefault(camera, CameraPictures())
        self._cameras.move_to_end(camera)
        return kept

    def _count(self, removed: Picture | None, added: Picture | None) -> None:
        self._bytes += (len(added.data) if added else 0) - (len(removed.data) if removed else 0)

    def _trim(self) -> None:
        while self._bytes > MAX_KEPT:
            camera, kept = next(iter(self._cameras.items()))
            if kept.analysed:
                self._count(kept.analysed.popleft(), None)
            else:
                self.forget(camera)


@dataclass(slots=True)
class CameraView:
    """What is known of one camera."""

    name: str
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))  # seconds, monotonic
    arrived_ns: int = 0  # UNIX time of the newest
    full_size: Size | None = None  # of a camera that makes its pictures smaller when it is asked to
    newest: dict[str, FrameResult] = field(default_factory=dict)  # pipeline -> newest
    result_times: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    results: int = 0
    last_error: str = ""
    last_error_ns: int = 0


class LiveView:
    """All cameras, and those who listen for every result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, CameraView] = {}
        self._pictures = Pictures()
        self._kept: Collection[str] | None = None  # the pipelines that exist; None: any
        self._listeners: list[Bounded[FrameResult]] = []
        self._infer_ms: dict[tuple[str, str], deque[float]] = {}  # model, version

    def arrived(self, frame: Frame, replaced: int) -> None:
        """A worker has taken a frame, after `replaced` others of its camera were replaced."""
        with self._lock:
            camera = self._camera(frame.camera)
            self._pictures.put_newest(frame.camera, Picture(frame.frame_id, frame.media_type, frame.data))
            camera.arrivals.extend([time.monotonic()] * (1 + replaced))
            camera.arrived_ns = time.time_ns()
            camera.full_size = frame.full_size

    def answered(self, frame: Frame, result: FrameResult) -> None:
        """A result was published, or held nothing to publish."""
        now_ns = time.time_ns()
        with self._lock:
            camera = self._camera(frame.camera)
            self._pictures.put_analysed(frame.camera, Picture(frame.frame_id, frame.media_type, frame.data))
            if self._kept is None or result.pipeline in self._kept:
                camera.newest[result.pipeline] = result
            camera.result_times.append(time.monotonic())
            camera.latency_ms.append((now_ns - frame.capture_ns) / 1e6)
            camera.results += 1
            spent = self._infer_ms.setdefault((result.model.name, result.model.version), deque(maxlen=WINDOW))
            spent.append(result.timing_ms.infer)
            listeners = list(self._listeners)
        for listener in listeners:
            listener.put(result)

    def failed(self, camera: str, where: str, text: str) -> None:
        """A frame of `camera` was not analysed; `where` names the pipeline or the step that failed."""
        with self._lock:
            view = self._camera(camera)
            view.last_error, view.last_error_ns = f"{where}: {text}", new_origin()

    def keep(self, pipelines: Collection[str]) -> None:
        """Drop the results of pipelines other than these: they are gone."""
        with self._lock:
            self._kept = pipelines  # a frame may still be under way to one that has gone
            for camera in self._cameras.values():
                camera.newest = {key: result for key, result in camera.newest.items() if key in pipelines}

    def forget(self, cameras: Collection[str]) -> None:
        """Drop cameras that are deleted, or gave way to others."""
        with self._lock:
            for camera in cameras:
                self._cameras.pop(camera, None)
                self._pictures.forget(camera)

    def silent(self, seconds: float) -> list[str]:
        """The cameras from which nothing has come for so long, not even a broken frame."""
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
            known = [result for camera in self._cameras.values() for result in camera.newest.values()]
        return sorted(known, key=lambda result: int(result.result_origin))

    async def listen(self, patience: float | None = None) -> AsyncIterator[FrameResult | None]:
        """Every result from now on; None after `patience` seconds without one. A slow listener misses the oldest."""
        queue: Bounded[FrameResult] = Bounded(64)
        with self._lock:
            self._listeners.append(queue)
        try:
            while True:
                try:
                    async with asyncio.timeout(patience):
                        result = await queue.get()
                except TimeoutError:
                    yield None
                else:
                    yield result
        finally:
            with self._lock:
                self._listeners.remove(queue)

    def live(self) -> list[str]:
        """The cameras that send frames."""
        now = time.monotonic()
        with self._lock:
            return [it.name for it in self._cameras.values() if is_live(it.arrivals, now)]

    def status(self, known: Iterable[str] = ()) -> list[dict[str, Any]]:
        """One row for each camera, by name; also for the `known` ones that have sent nothing."""
        with self._lock:
            cameras = {name: CameraView(name) for name in known} | self._cameras
            return [_row(camera) for _, camera in sorted(cameras.items())]

    def _camera(self, name: str) -> CameraView:
        return self._cameras.get(name) or self._cameras.setdefault(name, CameraView(name))


def rate(stamps: deque[float], now: float, span: float = SPAN) -> float:
    """Events per second over the last `span` seconds."""
    recent = [stamp for stamp in stamps if now - stamp <= span]
    if len(recent) < 2:
        return 0.0
    return (len(recent) - 1) / max(now - recent[0], 1e-3)


def replaced_share(stamps: deque[float], now: float, span: float = SPAN) -> float:
    """The share of the frames of the last `span` seconds that a newer one replaced: those have its time of arrival."""
    recent = [stamp for stamp in stamps if now - stamp <= span]
    return 1 - len(set(recent)) / len(recent) if recent else 0.0


def is_live(stamps: deque[float], now: float) -> bool:
    """Whether frames still come, for a camera of any rate: one picture a minute is live, too."""
    if not stamps:
        return False
    gaps = [after - before for before, after in pairwise(stamps)]
    return now - stamps[-1] < max(LIVE_S, 3 * statistics.median(gaps) if gaps else 0)


def _row(camera: CameraView) -> dict[str, Any]:
    now = time.monotonic()
    latency = sorted(camera.latency_ms)
    return {
        "name": camera.name,
        "isLive": is_live(camera.arrivals, now),
        "lastFrameOrigin": str(camera.arrived_ns) if camera.arrived_ns else "",
        "framesPerSecond": round(rate(camera.arrivals, now), 2),
        "resultsPerSecond": round(rate(camera.result_times, now), 2),
        "replacedShare": round(replaced_share(camera.arrivals, now), 3),
        "results": camera.results,
        "latencyMs": {
            "p50": round(statistics.median(latency), 1) if latency else None,
            "p99": round(latency[min(len(latency) - 1, int(len(latency) * 0.99))], 1) if latency else None,
        },
        "seen": [_seen(result) for result in list(camera.newest.values())],
        "lastError": camera.last_error,
        "lastErrorOrigin": str(camera.last_error_ns) if camera.last_error_ns else "",
    }


def _seen(result: FrameResult) -> dict[str, Any]:
    label, score = top(result)
    named = result.objects or result.classes or ()
    return {
        "pipeline": result.pipeline,
        "model": result.model.name,
        "version": result.model.version,
        "task": result.model.task,
        "frameId": result.frame_id,
        "count": len(named),
        "topLabel": label,
        "topScore": score,
        "inferenceMs": result.timing_ms.infer,
    }
