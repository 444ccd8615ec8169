"""How many cameras at 5 frames a second a gateway carries, every frame looked at and 99 of 100 within 200 ms."""

import contextlib
from collections.abc import Iterator, Set
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.camera import Order, Report, fulfil, open_camera
from benchmarks.cpu import all_cores, app_cores, other_cores
from benchmarks.detectors import FP32, INT8, save_detector
from benchmarks.figures import Figure
from benchmarks.latency import percentile
from benchmarks.services import open_app, open_broker

FPS = 5.0
MOST_MS = 200.0
MOST_DROPPED = 0.01  # of all frames


def run(bench: Bench) -> Iterator[Figure]:
    """app-inference on one core with camera and broker on the other, then all on all."""
    for precision in (INT8,) if bench.is_quick else (FP32, INT8):
        model = save_detector(bench.folder / "detectors", precision)
        yield from _on(bench, model, f"{precision}, 720p, one core", app_cores(), other_cores())
        if len(all_cores()) > 1 and not bench.is_quick:
            yield from _on(bench, model, f"{precision}, 720p, all cores for all", all_cores(), all_cores())


def _on(bench: Bench, model: Path, case: str, cores: Set[int], camera_cores: Set[int]) -> Iterator[Figure]:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(open_broker(camera_cores))
        stack.enter_context(open_app(broker, model, cores, bench.folder / "app"))
        camera = stack.enter_context(open_camera(broker, camera_cores))
        capacity = fulfil(camera, Order(seconds=bench.seconds(2.0, 0.7), cameras=4, warm_up=10)).fps
        cameras = max(1, int(capacity / FPS))
        while True:
            bench.say(f"streams: {case}, trying {cameras} cameras")
            report = fulfil(camera, Order(seconds=bench.seconds(6.0, 1.5), cameras=cameras, fps=FPS))
            if carries(report) or cameras == 1:
                break
            cameras -= 1
    yield Figure(case, f"cameras at {FPS:g} fps", "", [cameras])
    yield Figure(case, "p99 with so many", "ms", [percentile(report.latency_ms, 0.99)])


def carries(report: Report) -> bool:
    """Whether that was not too much."""
    return (
        report.lost == 0
        and report.dropped <= MOST_DROPPED * report.sent
        and percentile(report.latency_ms, 0.99) <= MOST_MS
    )
