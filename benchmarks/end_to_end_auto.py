"""A camera that gives decoded pictures, to result on the bus: in full, and with `Size: auto`.

device-camera itself this time, with a folder of BMP files as the camera: they weigh what photographs weigh, and are
decoded for next to nothing. App and references have a core of their own, everything else shares the others.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.bare import Wanted, open_bare, spin
from benchmarks.bench import Bench, NotMeasured
from benchmarks.benchmark_app import frames_per_second
from benchmarks.cpu import app_cores, cpu_of, other_cores
from benchmarks.detectors import INT8, save_detector
from benchmarks.figures import Figure, Goal, at_least, at_most, ratios
from benchmarks.pictures import FITTED, HD, KINDS, Size, pixels
from benchmarks.programs import Program
from benchmarks.rounds import alternate
from benchmarks.services import Running, open_app, open_broker, open_core, open_device_camera

CAMERA = "bench-0"
OVER = 1.15  # of benchmark_app's frames a second are sent, so that app-inference never waits and drops few
WAIT = 30.0  # seconds until the pictures have the size they are to have
SETTLE = 1.0  # seconds until app-inference has caught up
SIZES = {"auto": FITTED, "": HD}  # as OutputImageSize has it
OF_BENCHMARK_APP, OVERHEAD = at_least(0.75), at_most(3.5)  # as with 720p, ms CPU


def run(bench: Bench) -> Iterator[Figure]:
    """Both sizes beside the references, all of them in turn; the INT8 detector on one core."""
    bench.say("end_to_end_auto: 720p decoded by the camera, in full and with Size auto")
    model = save_detector(bench.folder / "detectors", INT8)
    with _open_path(bench, model) as path:
        fps = OVER * frames_per_second(model, app_cores(), bench.seconds(1.5))
        given = _measure(bench, path, fps)
    for asked, size in SIZES.items():
        how = f"Size auto, which comes to {size[0]}x{size[1]}" if asked else "sent in full"
        yield from _figures(f"INT8, 720p decoded by the camera, {how}, one core", given, asked)


@dataclass(frozen=True, slots=True)
class _Path:
    """Everything between a camera and its results, running, and the references beside it."""

    model: Path
    app: Running
    camera: Running
    bare: Program


@dataclass(frozen=True, slots=True)
class _Looked:
    """What app-inference did for a while."""

    fps: float
    cpu_ms: float  # a result


@contextlib.contextmanager
def _open_path(bench: Bench, model: Path) -> Iterator[_Path]:
    source = {"Source": str(_folder(bench.folder / "pictures" / "bmp")), "AutoStreaming": False}
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(open_broker(other_cores()))
        core = stack.enter_context(open_core(broker, other_cores()))
        app = stack.enter_context(open_app(broker, model, app_cores(), bench.folder / "app"))
        opened = open_device_camera(core, broker, [source], other_cores(), bench.folder / "auto")
        camera = stack.enter_context(opened)
        bare = stack.enter_context(open_bare(model, app_cores()))
        _until("the camera is known", lambda: "event" in camera.get(f"device/name/{CAMERA}/IsStreaming"))
        yield _Path(model, app, camera, bare)


def _measure(bench: Bench, path: _Path, fps: float) -> dict[str, list[Any]]:
    seconds = bench.seconds(1.5)
    return alternate(
        {
            "benchmark_app": lambda: frames_per_second(path.model, app_cores(), seconds),
            "infer": lambda: spin(path.bare, Wanted(seconds=seconds)),
            **{asked: partial(_looked, path, asked, fps, seconds) for asked in SIZES},
        },
        bench.rounds,
    )


def _looked(path: _Path, asked: str, fps: float, seconds: float) -> _Looked:
    """Raises NotMeasured when a frame was neither answered nor counted as dropped."""
    options = {"OutputFps": round(fps, 1), "OutputImageSize": asked}
    path.camera.put(f"device/name/{CAMERA}/StartStreaming", {"StartStreaming": options})
    try:
        _until(f"pictures are of {SIZES[asked]}", lambda: _size(path) == SIZES[asked])
        time.sleep(SETTLE)
        results, cpu, begin = _row(path)["results"], cpu_of(path.app.pid), time.monotonic()
        time.sleep(seconds)
        results, cpu, elapsed = _row(path)["results"] - results, cpu_of(path.app.pid) - cpu, time.monotonic() - begin
    finally:
        path.camera.put(f"device/name/{CAMERA}/StopStreaming", {"StopStreaming": "true"})
    _until("every frame is answered or counted as dropped", lambda: _is_accounted(path))
    if not results:
        raise NotMeasured("there were no results")
    return _Looked(results / elapsed, cpu / results * 1e3)


def _figures(case: str, given: dict[str, list[Any]], asked: str) -> Iterator[Figure]:
    looked, infer = given[asked], given["infer"]
    goals: tuple[Goal | None, Goal | None] = (OF_BENCHMARK_APP, OVERHEAD) if asked else (None, None)
    fps = [it.fps for it in looked]
    yield Figure(case, "results", "fps", fps)
    yield Figure(case, "benchmark_app", "fps", given["benchmark_app"])
    yield Figure(case, "of benchmark_app", "of 1", ratios(fps, given["benchmark_app"]), goals[0])
    yield Figure(case, "inference", "ms CPU", [it.cpu_ms for it in infer])
    yield Figure(case, "frame", "ms CPU", [it.cpu_ms for it in looked])
    overhead = [one.cpu_ms - other.cpu_ms for one, other in zip(looked, infer, strict=True)]
    yield Figure(case, "overhead over inference", "ms CPU", overhead, goals[1])


def _size(path: _Path) -> Size:
    event = path.camera.get(f"device/name/{CAMERA}/FrameSize")["event"]
    width, _, height = event["readings"][0]["value"].partition("x")
    return int(width), int(height)


def _row(path: _Path) -> dict[str, Any]:
    return next((row for row in path.app.get("vision/status")["cameras"] if row["name"] == CAMERA), {"results": 0})


def _is_accounted(path: _Path) -> bool:
    event = path.camera.get(f"device/name/{CAMERA}/FramesPublished")["event"]
    row = _row(path)
    return int(event["readings"][0]["value"]) == row["results"] + sum(row["dropped"].values())


def _until(what: str, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        if time.monotonic() > deadline:
            raise NotMeasured(f"not within {WAIT:g} s: {what}")
        time.sleep(0.1)


def _folder(folder: Path) -> Path:
    """The pictures that are measured everywhere, as a camera gives them that does not encode."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(KINDS):
        cv2.imwrite(str(folder / f"{number}.bmp"), np.roll(pixels(HD), number * 97, axis=(0, 1)))
    return folder
