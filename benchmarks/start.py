"""Process start to first result with frames already flowing, and what the services cost while nothing happens."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
from edgex_standin.address import Address

from benchmarks.bench import Bench, NotMeasured
from benchmarks.camera import SETTLE, Order, Report, open_camera
from benchmarks.cpu import all_cores, app_cores, cpu_of, memory_of, other_cores, pinned
from benchmarks.detectors import INT8, save_detector
from benchmarks.figures import Figure, at_most
from benchmarks.programs import ROOT, Program, with_bytecode
from benchmarks.rounds import alternate, play
from benchmarks.services import launch_app, open_app, open_broker

FPS = 20.0
PATIENCE = 30.0  # seconds in which a start must have given its first result


def run(bench: Bench) -> Iterator[Figure]:
    """Starts without and with a compiled model at hand, imports, then rest."""
    model = save_detector(bench.folder / "detectors", INT8)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(open_broker(other_cores()))
        camera = stack.enter_context(open_camera(broker, all_cores()))

        def starts() -> tuple[float, float]:
            shutil.rmtree(bench.folder / "start", ignore_errors=True)
            return _first_result(bench, broker, camera, model), _first_result(bench, broker, camera, model)

        cold, warm = zip(*play(starts, bench.rounds), strict=True)
    yield Figure("start to first result", "the model is compiled first", "s", cold)
    yield Figure("start to first result", "compiled model in the cache", "s", warm, at_most(1.0))
    services = "app_inference.__main__", "device_camera.__main__"
    imports = alternate({module: partial(_import, module) for module in ("sys", *services)}, bench.rounds)
    for module in services:
        spent = [whole - python for whole, python in zip(imports[module], imports["sys"], strict=True)]
        yield Figure("import", module.partition(".")[0], "s CPU", spent)
    yield from _rest(bench, model)


def _first_result(bench: Bench, broker: Address, camera: Program, model: Path) -> float:
    """Seconds. Raises NotMeasured when there was none in time."""
    camera.tell(**msgspec.to_builtins(Order(seconds=PATIENCE, fps=FPS, is_first_enough=True, patience=SETTLE)))
    time.sleep(0.5)  # frames flow
    began = time.monotonic()
    with launch_app(broker, model, all_cores(), bench.folder / "start"):
        first = msgspec.convert(camera.answer(), Report).first_answer
    if not first:
        raise NotMeasured(f"no result within {PATIENCE:g} s of the start")
    return first - began


def _import(module: str) -> float:
    """Seconds of CPU of a process that does nothing else."""
    code = f"import {module}, time; print(time.process_time())"
    with pinned(app_cores()):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, cwd=ROOT, env=with_bytecode(os.environ),
        )  # fmt: skip
    return float(done.stdout)


def _rest(bench: Bench, model: Path) -> Iterator[Figure]:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(open_broker(other_cores()))
        app = stack.enter_context(open_app(broker, model, app_cores(), bench.folder / "app"))
        time.sleep(1)
        shares = play(partial(_share, app.pid, bench.seconds(4.0)), bench.rounds)
        yield Figure("at rest", "app-inference with REST and page", "% of a core", shares, at_most(0.5))
        yield Figure("at rest", "its memory", "MB", [memory_of(app.pid)])


def _share(pid: int, seconds: float) -> float:
    """Of a core that a process uses, in percent."""
    cpu, began = cpu_of(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_of(pid) - cpu) / (time.monotonic() - began) * 100
