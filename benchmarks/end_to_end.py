"""Camera process to result on the bus, against the model alone: how much of it is left for frames?"""

import contextlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bare import Wanted, open_bare, spin
from benchmarks.bench import Bench, NotMeasured
from benchmarks.benchmark_app import frames_per_second
from benchmarks.camera import Order, Report, fulfil, open_camera
from benchmarks.cpu import all_cores, app_cores, other_cores
from benchmarks.detectors import FP32, INT8, save_detector
from benchmarks.figures import Figure, Goal, at_least, at_most, ratios
from benchmarks.pictures import FITTED, FULL_HD, HD, VGA, Size, name_of
from benchmarks.programs import Program
from benchmarks.rounds import alternate
from benchmarks.services import Running, open_app, open_broker

OVERHEAD = {VGA: at_most(2.5), HD: at_most(3.5), FULL_HD: at_most(6.5), FITTED: at_most(3.5)}  # ms CPU
ONE_CORE = {FP32: at_least(0.88), INT8: at_least(0.75)}  # of benchmark_app, at 720p
WHOLE_BOX = {FP32: at_least(0.85), INT8: at_least(0.70)}
LIMIT = at_least(0.97)  # of bare decoding and inference
WARM_UP = 10  # frames


def run(bench: Bench) -> Iterator[Figure]:
    """app-inference on a core of its own first, then everything on all cores."""
    for precision in (INT8,) if bench.is_quick else (FP32, INT8):
        model = save_detector(bench.folder / "detectors", precision)
        with _open_path(bench, model, app_cores(), other_cores()) as path:
            for size in (HD,) if bench.is_quick else (VGA, HD, FULL_HD, FITTED):
                yield from _one_core(bench, path, precision, size)
        if len(all_cores()) > 1:
            with _open_path(bench, model, all_cores(), all_cores()) as path:
                for size in (HD, FITTED) if precision == INT8 and not bench.is_quick else (HD,):
                    yield from _whole_box(bench, path, precision, size)


@dataclass(frozen=True, slots=True)
class _Path:
    """Everything between a camera and its results, running, and the references beside it."""

    model: Path
    cores: Set[int]  # of app-inference and of the references
    app: Running
    camera: Program
    bare: Program

    def frames(self, bench: Bench, size: Size, cameras: int, window: int) -> Report:
        """As many as app-inference can do. Raises NotMeasured when one was neither answered nor counted as dropped."""
        order = Order(
            seconds=bench.seconds(1.5),
            size=size,
            cameras=cameras,
            window=window,
            warm_up=WARM_UP,
            pids={"app": self.app.pid},
        )
        report = fulfil(self.camera, order)
        if report.lost:
            raise NotMeasured(f"{report.lost} of {report.sent} frames were lost")
        return report


@contextlib.contextmanager
def _open_path(bench: Bench, model: Path, service_cores: Set[int], camera_cores: Set[int]) -> Iterator[_Path]:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(open_broker(camera_cores))
        app = stack.enter_context(open_app(broker, model, service_cores, bench.folder / "app"))
        camera = stack.enter_context(open_camera(broker, camera_cores))
        bare = stack.enter_context(open_bare(model, service_cores))
        yield _Path(model, service_cores, app, camera, bare)


def _one_core(bench: Bench, path: _Path, precision: str, size: Size) -> Iterator[Figure]:
    for cameras in (1,) if bench.is_quick or size != HD else (1, 4):
        bench.say(f"end_to_end: {precision}, {name_of(size)}, cameras: {cameras}, one core")
        given = _measure(bench, path, size, cameras, window=2)
        case = f"{precision}, {name_of(size)}, {_counted(cameras)}, one core"
        yield from _figures(case, given, ONE_CORE[precision] if size in (HD, FITTED) else None)
        overhead = [one.cpu_ms("app") - other.cpu_ms for one, other in zip(given["path"], given["infer"], strict=True)]
        yield Figure(case, "overhead over inference", "ms CPU", overhead, OVERHEAD[size])


def _whole_box(bench: Bench, path: _Path, precision: str, size: Size) -> Iterator[Figure]:
    bench.say(f"end_to_end: {precision}, {name_of(size)}, all cores")
    given = _measure(bench, path, size, cameras=4, window=2)
    case = f"{precision}, {name_of(size)}, 4 cameras, all cores for all"
    yield from _figures(case, given, WHOLE_BOX[precision])
    yield Figure(case, "cameras, and the reader of results", "ms CPU", [it.cpu_ms("camera") for it in given["path"]])


def _measure(bench: Bench, path: _Path, size: Size, cameras: int, window: int) -> dict[str, list[Any]]:
    seconds = bench.seconds(1.5)
    return alternate(
        {
            "benchmark_app": lambda: frames_per_second(path.model, path.cores, seconds),
            "infer": lambda: spin(path.bare, Wanted(seconds=seconds)),
            "path": lambda: path.frames(bench, size, cameras, window),
            "frame": lambda: spin(path.bare, Wanted(seconds=seconds, size=size)),
        },
        bench.rounds,
    )


def _figures(case: str, given: dict[str, list[Any]], goal: Goal | None) -> Iterator[Figure]:
    path, infer, frame = given["path"], given["infer"], given["frame"]
    fps, spent = [it.fps for it in path], [it.cpu_ms("app") for it in path]
    yield Figure(case, "results", "fps", fps)
    yield Figure(case, "benchmark_app", "fps", given["benchmark_app"])
    yield Figure(case, "of benchmark_app", "of 1", ratios(fps, given["benchmark_app"]), goal)
    yield Figure(case, "of decoding and inference alone", "of 1", ratios(fps, [it.fps for it in frame]), LIMIT)
    yield Figure(case, "CPU: inference / frame", "of 1", ratios([it.cpu_ms for it in infer], spent))
    yield Figure(case, "CPU: decoding and inference / frame", "of 1", ratios([it.cpu_ms for it in frame], spent))
    yield Figure(case, "inference", "ms CPU", [it.cpu_ms for it in infer])
    yield Figure(case, "frame", "ms CPU", spent)


def _counted(cameras: int) -> str:
    return "1 camera" if cameras == 1 else f"{cameras} cameras"
