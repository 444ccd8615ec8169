"""A long run: does a frame cost at its end what it cost at the beginning, and does memory stay?"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.bench import Bench, NotMeasured
from benchmarks.camera import Order, Report, fulfil, open_camera
from benchmarks.cpu import app_cores, memory_of, other_cores
from benchmarks.detectors import INT8, save_detector
from benchmarks.figures import Figure, at_most
from benchmarks.latency import percentile
from benchmarks.pictures import VGA
from benchmarks.services import open_app, open_broker

SLICE = 5.0  # seconds
CAMERAS = (1, 8)
FPS = 48.0  # of all cameras together
WARM = 600  # frames before anything counts
ENOUGH = 5000  # frames that tell how memory goes; over fewer, one page more looks like growth


def run(bench: Bench) -> Iterator[Figure]:
    """One camera, then eight of an eighth of its rate, at three fifths of what app-inference can do."""
    model = save_detector(bench.folder / "detectors", INT8)
    slices = max(2, round(bench.seconds(bench.soak_seconds, 8.0) / SLICE / len(CAMERAS)))
    seconds = bench.seconds(SLICE, 1.5)
    costs = {}
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(open_broker(other_cores()))
        app = stack.enter_context(open_app(broker, model, app_cores(), bench.folder / "app"))
        camera = stack.enter_context(open_camera(broker, other_cores()))
        for cameras in CAMERAS:
            order = Order(seconds=seconds, cameras=cameras, fps=FPS / cameras, size=VGA, pids={"app": app.pid})
            fulfil(camera, Order(seconds=bench.seconds(WARM / FPS), cameras=cameras, fps=FPS / cameras, size=VGA))
            reports, memory = [], []
            for number in range(slices):
                bench.say(f"soak: {cameras} cameras, {number * seconds:.0f} of {slices * seconds:.0f} s")
                reports.append(fulfil(camera, order))
                memory.append(memory_of(app.pid))
            costs[cameras] = [it.cpu_ms("app") for it in reports]
            yield from _figures(f"{cameras} camera{'s' * (cameras > 1)}", reports, memory)
    few, many = (costs[cameras] for cameras in CAMERAS)
    yield Figure("8 cameras / 1 camera", "CPU of a frame", "of 1", [float(np.median(many) / np.median(few))])


def _figures(case: str, reports: Sequence[Report], memory: Sequence[float]) -> Iterator[Figure]:
    if lost := sum(it.lost for it in reports):
        raise NotMeasured(f"{lost} frames were neither answered nor counted as dropped")
    frames = np.cumsum([it.answered for it in reports])
    third = max(1, len(reports) // 3)
    cost = [it.cpu_ms("app") for it in reports]
    middle = [percentile(it.latency_ms, 0.5) for it in reports]
    yield Figure(case, "frames", "", [float(frames[-1])])
    yield Figure(case, "CPU of a frame", "ms", cost)
    yield Figure(case, "CPU of a frame, last third / first third", "of 1", [_growth(cost, third)])
    yield Figure(case, "p50 latency, last third / first third", "of 1", [_growth(middle, third)])
    yield Figure(case, "memory", "MB", memory)
    if frames[-1] - frames[third - 1] >= ENOUGH:
        slope = float(np.polyfit(frames[third:], memory[third:], 1)[0]) * 1000
        yield Figure(case, "memory, per 1000 frames after the first third", "MB", [slope], at_most(0.1))


def _growth(values: Sequence[float], third: int) -> float:
    return float(np.median(values[-third:]) / np.median(values[:third]))
