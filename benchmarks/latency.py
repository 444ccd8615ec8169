"""Capture to result at a given load. Beyond capacity frames are dropped and counted, and latency stays."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.bare import Wanted, open_bare, spin
from benchmarks.bench import Bench, NotMeasured
from benchmarks.camera import Order, Report, fulfil, open_camera
from benchmarks.cpu import app_cores, other_cores
from benchmarks.detectors import INT8, save_detector
from benchmarks.figures import Figure, at_least, at_most, ratios
from benchmarks.programs import Program
from benchmarks.rounds import play
from benchmarks.services import open_app, open_broker

LOADS = (0.25, 0.5, 0.8, 1.2, 1.5, 3.0)  # of what app-inference can do
QUICK_LOADS = (0.5, 1.5)
CAMERAS = (1, 4)
TAIL = 0.3  # seconds; frames that wait when the sending ends are looked at without the load that is asked for
GOAL_MODEL_MS = 9.0  # of the goals; a machine takes now less and now more for ours: goals are told in inferences, too
FAIR = at_least(0.9)  # results of the camera that got fewest, of those of the one that got most


def run(bench: Bench) -> Iterator[Figure]:
    """The INT8 detector on one core, 720p; the share of capacity is found anew for each round."""
    model = save_detector(bench.folder / "detectors", INT8)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(open_broker(other_cores()))
        stack.enter_context(open_app(broker, model, app_cores(), bench.folder / "app"))
        camera = stack.enter_context(open_camera(broker, other_cores()))
        bare = stack.enter_context(open_bare(model, app_cores()))
        for cameras in CAMERAS:
            for load in QUICK_LOADS if bench.is_quick else LOADS:
                bench.say(f"latency: {load:.0%} of capacity, cameras: {cameras}")
                rounds = play(partial(_at, bench, camera, bare, cameras, load), bench.rounds)
                yield from _figures(f"{load:.0%} of capacity, {_counted(cameras)}", cameras, load, rounds)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@dataclass(frozen=True, slots=True)
class _Round:
    inference_ms: float  # of the model alone, on app-inference's core while that waits
    report: Report


def _at(bench: Bench, camera: Program, bare: Program, cameras: int, load: float) -> _Round:
    """Raises NotMeasured when a frame was neither answered nor counted as dropped."""
    inference_ms = 1e3 / spin(bare, Wanted(seconds=bench.seconds(0.5))).fps
    capacity = fulfil(camera, Order(seconds=bench.seconds(1.0, 0.7), cameras=cameras, warm_up=10)).fps
    report = fulfil(
        camera, Order(seconds=bench.seconds(2.5), cameras=cameras, fps=load * capacity / cameras, tail=TAIL)
    )
    if report.lost:
        raise NotMeasured(f"{report.lost} of {report.sent} frames were neither answered nor counted as dropped")
    return _Round(inference_ms, report)


def _figures(case: str, cameras: int, load: float, rounds: Sequence[_Round]) -> Iterator[Figure]:
    goals, reports = _goals(cameras, load), [it.report for it in rounds]
    inference = [it.inference_ms for it in rounds]
    yield Figure(case, "inference alone", "ms", inference)
    yield Figure(case, "frames sent", "fps", [it.sent / (it.seconds + TAIL) for it in reports])
    yield Figure(case, "results", "fps", [it.fps for it in reports])
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        values = [percentile(it.latency_ms, share) for it in reports]
        goal = goals.get(name)
        yield Figure(case, name, "ms", values, at_most(goal) if goal else None)
        in_inferences = at_most(goal / GOAL_MODEL_MS) if goal else None
        yield Figure(case, f"{name} / inference alone", "times", ratios(values, inference), in_inferences)
    yield Figure(case, "dropped and counted", "of 1", [it.dropped / it.sent for it in reports])
    if cameras > 1 and load > 1:
        fairness = [min(it.by_camera.values()) / max(it.by_camera.values()) for it in reports]
        yield Figure(case, "fewest results of a camera / most", "of 1", fairness, FAIR)


def _goals(cameras: int, load: float) -> dict[str, float]:
    """Milliseconds, by percentile."""
    if load == 0.5 and cameras == 1:
        return {"p50": 14, "p99": 22}
    if load >= 1.5:
        return {"p99": 32 if cameras == 1 else 50}
    return {}


def _counted(cameras: int) -> str:
    return "1 camera" if cameras == 1 else f"{cameras} cameras"
