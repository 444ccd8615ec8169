"""The model by itself, and behind nothing but a decoder: what no service around it can be better than.

`python -m benchmarks.bare <model> <threads>`; takes a Wanted a line, answers each with a Done. A thread has an infer
request of its own and one inference stream.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import openvino as ov
from app_inference.vision.image import image_from_bytes
from openvino.preprocess import ColorFormat, PrePostProcessor

from benchmarks.detectors import SIDE
from benchmarks.pictures import jpegs
from benchmarks.programs import Program, open_program, serve


class Wanted(msgspec.Struct, kw_only=True):
    seconds: float
    size: tuple[int, int] | None = None  # decode and resize pictures of that size; None only infers


class Done(msgspec.Struct, kw_only=True):
    calls: int
    seconds: float
    cpu: float  # seconds

    @property
    def fps(self) -> float:
        return self.calls / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Of one call."""
        return self.cpu / self.calls * 1e3


@contextlib.contextmanager
def open_bare(model: Path, cores: Set[int]) -> Iterator[Program]:
    """It in a process of its own, with one thread a core."""
    with open_program("benchmarks.bare", cores, str(model), str(len(cores))) as program:
        yield program


def spin(bare: Program, wanted: Wanted) -> Done:
    """What it did."""
    return msgspec.convert(bare.ask(**msgspec.to_builtins(wanted)), Done)


def compiled(path: Path, threads: int) -> ov.CompiledModel:
    """As app-inference compiles it, written down a second time so that the reference does not move with it."""
    core = ov.Core()
    steps = PrePostProcessor(core.read_model(path))
    steps.input(0).tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    steps.input(0).model().set_layout(ov.Layout("NCHW"))
    steps.input(0).preprocess().convert_element_type(ov.Type.f32).mean(127.5).scale(127.5)
    return core.compile_model(steps.build(), "CPU", {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads})


def _work(request: ov.InferRequest, size: tuple[int, int] | None) -> Callable[[int], object]:
    """One frame; takes its number."""
    if size is None:
        still = np.zeros((1, SIDE, SIDE, 3), np.uint8)
        return lambda _: request.infer({0: still}, share_inputs=True, share_outputs=True)
    pictures = jpegs(size)

    def frame(number: int) -> None:
        pixels = image_from_bytes(pictures[number % len(pictures)], (SIDE, SIDE)).pixels
        fitted = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        request.infer({0: fitted[None]}, share_inputs=True, share_outputs=True)

    return frame


def _spin(requests: list[ov.InferRequest], wanted: Wanted) -> Done:
    calls = [0] * len(requests)
    size = (wanted.size[0], wanted.size[1]) if wanted.size else None
    works = [_work(request, size) for request in requests]
    before, begin = time.process_time(), time.perf_counter()

    def spin(index: int) -> None:
        while time.perf_counter() - begin < wanted.seconds:
            works[index](calls[index])
            calls[index] += 1

    threads = [threading.Thread(target=spin, args=(index,)) for index in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Done(calls=sum(calls), seconds=time.perf_counter() - begin, cpu=time.process_time() - before)


def main() -> None:
    path, threads = Path(sys.argv[1]), int(sys.argv[2])
    cv2.setNumThreads(1)
    model = compiled(path, threads)
    requests = [model.create_infer_request() for _ in range(threads)]
    requests[0].infer({0: np.zeros((1, SIDE, SIDE, 3), np.uint8)})  # the binding's first use is no thread's but ours

    def answer(order: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = msgspec.to_builtins(_spin(requests, msgspec.convert(order, Wanted)))
        return done

    serve(answer)


if __name__ == "__main__":
    main()
