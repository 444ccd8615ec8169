"""openvino-model-api on the same frames with the same model: from JPEG to named boxes, in one thread of one process."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from app_inference.inference.model import load_model
from app_inference.inference.runtime import Runtime
from app_inference.models.repository import Repository
from app_inference.pipeline.results import objects_from
from app_inference.vision.image import image_from_bytes

from benchmarks.bench import Bench
from benchmarks.cpu import app_cores, cpu_per_call, pinned
from benchmarks.detectors import FP32, INT8, save_detector
from benchmarks.figures import Figure, ratios
from benchmarks.pictures import FULL_HD, HD, VGA, Size, jpegs, name_of
from benchmarks.rounds import alternate

OURS, PEER = "ours", "openvino-model-api"


def run(bench: Bench) -> Iterator[Figure]:
    """Both with one inference stream on one core; nothing where the peer is not installed."""
    if importlib.util.find_spec("model_api") is None:
        bench.say("peers: openvino-model-api is not installed, make bench installs it")
        return
    with pinned(app_cores()):
        for precision in (INT8,) if bench.is_quick else (FP32, INT8):
            model = save_detector(bench.folder / "detectors", precision)
            ways = {OURS: _ours(model), PEER: _peer(model)}
            for size in (HD,) if bench.is_quick else (VGA, HD, FULL_HD):
                yield from _figures(bench, f"{precision}, {name_of(size)}", ways, size)


Look = Callable[[bytes], int]  # a JPEG to how many things are seen in it


def _figures(bench: Bench, case: str, ways: dict[str, Look], size: Size) -> Iterator[Figure]:
    jpeg = jpegs(size)[0]
    seen = {name: look(jpeg) for name, look in ways.items()}
    seconds = bench.seconds(1.0, 0.5)
    costs = {name: partial(cpu_per_call, partial(look, jpeg), seconds) for name, look in ways.items()}
    spent = alternate(costs, bench.rounds)
    for name, values in spent.items():
        yield Figure(case, f"{name}, {seen[name]} seen", "ms CPU", values)
    yield Figure(case, "ours / theirs", "of 1", ratios(spent[OURS], spent[PEER]))


def _ours(model: Path) -> Look:
    loaded = load_model(Repository(model.parent).find(str(model)), None, Runtime(streams=1, threads=1))
    session = loaded.session()

    def look(jpeg: bytes) -> int:
        image = image_from_bytes(jpeg, loaded.input_size, loaded.resolved.keeps_ratio)
        result, _ = session.analyse(image)
        return len(objects_from(result, loaded.labels, (image.width, image.height), frozenset()))

    return look


def _peer(model: Path) -> Look:
    from model_api.models import Model

    wrapped = Model.create_model(str(model), device="CPU", nstreams="1", max_num_requests=1)

    def look(jpeg: bytes) -> int:
        return len(wrapped(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)).bboxes)

    return look
