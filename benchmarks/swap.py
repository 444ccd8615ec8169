"""A model is replaced while frames flow: what it costs the frames of that moment."""

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

import openvino as ov
import requests
import yaml

from benchmarks.bench import Bench, NotMeasured
from benchmarks.camera import Order, Report, fulfil, open_camera
from benchmarks.cpu import all_cores
from benchmarks.detectors import INT8, build_detector
from benchmarks.figures import Figure, at_most
from benchmarks.latency import percentile
from benchmarks.programs import Program
from benchmarks.rounds import play
from benchmarks.services import open_broker, open_core, open_updatable_eye

MODEL, VERSIONS = "bench", ("1.0.0", "2.0.0")
CAMERAS, FPS = 2, 15.0
PATIENCE = 3  # orders
AT = 1.0  # seconds from the beginning of an order to the wish for the other version
AT_ONCE = {"minFrames": 1, "holdSeconds": 0}  # no version is held back here
MANIFEST = {"schema": "vision.model/1", "name": MODEL, "type": "ssd"}


def run(bench: Bench) -> Iterator[Figure]:
    """Two versions take turns; a steady stream beside one with a swap in it."""
    folder = bench.folder / "swap"
    shutil.rmtree(folder, ignore_errors=True)
    for version in VERSIONS:
        _write_version(folder / "models" / MODEL / version, version)
    order = Order(seconds=10.0, cameras=CAMERAS, fps=FPS)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(open_broker(all_cores()))
        core = stack.enter_context(open_core(broker, all_cores()))
        stack.enter_context(open_updatable_eye(core, MODEL, all_cores(), folder))
        camera = stack.enter_context(open_camera(broker, all_cores()))
        numbers = count()

        def streams() -> tuple[Report, Report]:
            number = next(numbers)
            steady = fulfil(camera, order)
            with _wished(core, number + 1, VERSIONS[number % len(VERSIONS)]):
                return steady, _with_swap(camera, order)

        steady, swapped = zip(*play(streams, bench.rounds), strict=True)
    yield from _figures("a steady stream", steady)
    yield from _figures("a stream with a swap in it", swapped)
    pairs = zip(steady, swapped, strict=True)
    ratios = [
        percentile(with_swap.latency_ms, 0.99) / percentile(without.latency_ms, 0.99) for without, with_swap in pairs
    ]
    yield Figure("a swap", "p99 against a steady stream", "times", ratios, at_most(2))


def _with_swap(camera: Program, order: Order) -> Report:
    """The stream in which both versions were seen: the first, or one after it on a machine that is busy."""
    for _ in range(PATIENCE):
        report = fulfil(camera, order)
        if len(report.by_version) == len(VERSIONS):
            return report
    raise NotMeasured(f"no swap within {PATIENCE * order.seconds:g} s: results by version {report.by_version}")


def _figures(case: str, reports: Sequence[Report]) -> Iterator[Figure]:
    yield Figure(case, "p50", "ms", [percentile(it.latency_ms, 0.5) for it in reports])
    yield Figure(case, "p99", "ms", [percentile(it.latency_ms, 0.99) for it in reports])
    yield Figure(case, "longest", "ms", [max(it.latency_ms) for it in reports])
    yield Figure(case, "dropped and counted", "frames", [it.dropped for it in reports])
    yield Figure(case, "lost", "frames", [it.lost for it in reports], at_most(0))


@contextlib.contextmanager
def _wished(core: Mapping[str, str], generation: int, version: str) -> Iterator[None]:
    """The wish for a version reaches core-keeper AT seconds from now."""
    wish = {"version": version, "observe": AT_ONCE, "promoted": True}
    document = json.dumps({"generation": generation, "models": {MODEL: wish}})
    place = f"{core['keeper']}/api/v3/kvs/key/edgex/v4/app-inference/Models/Desired"
    timer = threading.Timer(AT, lambda: requests.put(place, json={"value": document}, timeout=5).raise_for_status())
    timer.start()
    try:
        yield
    finally:
        timer.join()


def _write_version(folder: Path, version: str) -> None:
    """The INT8 detector under a name and version; they differ in nothing else."""
    folder.mkdir(parents=True)
    graph = build_detector(INT8)
    graph.set_rt_info(version, ["benchmark", "version"])
    ov.save_model(graph, folder / "model.xml", compress_to_fp16=False)
    (folder / "manifest.yaml").write_text(yaml.safe_dump({**MANIFEST, "version": version}))
