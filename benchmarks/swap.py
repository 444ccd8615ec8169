"""A model is replaced while frames flow: what it costs the frames of that moment."""

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
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
from benchmarks.services import open_broker, open_core, open_updatable_app

MODEL, VERSIONS = "bench", ("1.0.0", "2.0.0")
CAMERAS, FPS = 2, 15.0
ORDERS = 15  # in which a requested version begins to serve; compiling takes what a busy machine leaves it
REQUESTS = 4  # made until a swap falls into an order
AT = 1.0  # seconds from the beginning of an order to the request for the other version
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
        stack.enter_context(open_updatable_app(core, MODEL, all_cores(), folder))
        camera = stack.enter_context(open_camera(broker, all_cores()))
        deployments = _Deployments(core)

        def streams() -> tuple[Report, Report]:
            return fulfil(camera, order), _with_swap(camera, order, deployments)

        steady, swapped = zip(*play(streams, bench.rounds), strict=True)
    yield from _figures("a steady stream", steady)
    yield from _figures("a stream with a swap in it", swapped)
    pairs = zip(steady, swapped, strict=True)
    ratios = [
        percentile(with_swap.latency_ms, 0.99) / percentile(without.latency_ms, 0.99) for without, with_swap in pairs
    ]
    yield Figure("a swap", "p99 against a steady stream", "times", ratios, at_most(2))


class _Deployments:
    """Deployment requests, each for the version that does not serve."""

    def __init__(self, core: Mapping[str, str]) -> None:
        self._url = f"{core['keeper']}/api/v3/kvs/key/edgex/v4/app-inference/Models/Desired"
        self._count = 0

    @contextlib.contextmanager
    def another(self) -> Iterator[str]:
        """Request it AT seconds from now; its number."""
        version = VERSIONS[self._count % len(VERSIONS)]
        self._count += 1
        request = {"version": version, "observe": AT_ONCE, "promoted": True}
        document = json.dumps({"generation": self._count, "models": {MODEL: request}})
        timer = threading.Timer(AT, self._put, [document])
        timer.start()
        try:
            yield version
        finally:
            timer.join()

    def _put(self, document: str) -> None:
        requests.put(self._url, json={"value": document}, timeout=5).raise_for_status()


def _with_swap(camera: Program, order: Order, deployments: _Deployments) -> Report:
    """A stream in which both versions gave results.

    On a busy machine the swap comes in a later order, or between two of them, where nobody sees it: then the other
    version is requested. Raises NotMeasured when no request led to a swap within an order.
    """
    reports = []
    for _ in range(REQUESTS):
        with deployments.another() as version:
            for _ in range(ORDERS):
                reports.append(report := fulfil(camera, order))
                if len(report.by_version) == len(VERSIONS):
                    return report
                if version in report.by_version:
                    break
    raise NotMeasured(
        f"no swap in {len(reports)} streams; their results by version: {[it.by_version for it in reports]}"
    )


def _figures(case: str, reports: Sequence[Report]) -> Iterator[Figure]:
    yield Figure(case, "p50", "ms", [percentile(it.latency_ms, 0.5) for it in reports])
    yield Figure(case, "p99", "ms", [percentile(it.latency_ms, 0.99) for it in reports])
    yield Figure(case, "longest", "ms", [max(it.latency_ms) for it in reports])
    yield Figure(case, "dropped and counted", "frames", [it.dropped for it in reports])
    yield Figure(case, "lost", "frames", [it.lost for it in reports], at_most(0))


def _write_version(folder: Path, version: str) -> None:
    """The INT8 detector under a name and version; they differ in nothing else."""
    folder.mkdir(parents=True)
    graph = build_detector(INT8)
    graph.set_rt_info(version, ["benchmark", "version"])
    ov.save_model(graph, folder / "model.xml", compress_to_fp16=False)
    (folder / "manifest.yaml").write_text(yaml.safe_dump({**MANIFEST, "version": version}))
