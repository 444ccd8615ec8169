"""What a model costs on this machine: measured in a process of its own, so that memory is the model's alone.

`python -m app_inference.inference.benchmark JOB` answers with one line of JSON.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from edgex_kit.wire.errors import EdgexError
from msgspec import Struct

from app_inference.errors import ModelRejected, ModelUnavailable
from app_inference.vision.image import Image, image_from_bytes, image_from_pixels

FRAME = (1280, 720)  # of the made-up picture, where none is given
MAX_PICTURES = 32  # kept decoded
_FEW = 20  # analyses that are measured at the least
_WAIT = 600.0  # seconds until a measurement is given up


class Job(Struct, frozen=True):
    """What to measure."""

    path: str  # of the version, as `stored_model` takes it
    overrides: dict[str, Any] = {}
    device: str = "CPU"
    precision: str = "auto"  # of inference, one of runtime.PRECISIONS
    seconds: float = 5.0  # for latency, and again for throughput
    pictures: tuple[str, ...] = ()


class Cost(Struct, rename="camel", frozen=True, kw_only=True, tag=True):
    """What came out; times in milliseconds, from decoded picture to result."""

    name: str
    version: str
    digest: str
    precision: str
    devices: tuple[str, ...]
    bytes: int  # of graph and weights
    load_ms: float
    first_ms: float
    p50_ms: float  # one at a time
    p99_ms: float
    pre_ms: float  # medians of the steps
    infer_ms: float
    post_ms: float
    frames_per_second: float  # as many at a time as the device has streams
    memory_mb: float  # what the process grew by, at its largest
    frames: int


class Failed(Struct, frozen=True, tag=True):
    """Why there is no answer."""

    error: str


def measure(job: Job) -> Cost:
    """Have a process measure the job; raises ModelRejected, or ModelUnavailable when that process dies."""
    command = [sys.executable, "-m", "app_inference.inference.benchmark", msgspec.json.encode(job).decode()]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_WAIT, check=False)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired as error:
        raise ModelUnavailable(f"{job.path}: not measured within {_WAIT:g} s") from error
    line = done.stdout.strip().splitlines()[-1:] or [b""]
    try:
        answer = msgspec.json.decode(line[0], type=Cost | Failed)
    except msgspec.MsgspecError as error:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing said"]
        raise ModelUnavailable(f"{job.path}: its process ended with {done.returncode}: {said[0]}") from error
    if isinstance(answer, Failed):
        raise ModelRejected(answer.error)
    return answer


def pictures(paths: Sequence[Path]) -> list[Image]:
    """The pictures decoded; a made-up one where there are none. Raises ImageBroken."""
    if not paths:
        noise = np.random.default_rng(0).integers(0, 256, (FRAME[1], FRAME[0], 3), np.uint8)
        return [image_from_pixels(noise)]
    return [image_from_bytes(path.read_bytes()) for path in paths[:MAX_PICTURES]]


def _measured(job: Job) -> Cost:
    from app_inference.inference.model import load_model
    from app_inference.inference.runtime import Runtime
    from app_inference.models.repository import stored_model

    images = pictures([Path(name) for name in job.pictures])
    stored = stored_model(Path(job.path))
    before = _memory_mb("VmRSS")
    started = time.perf_counter()
    model = load_model(stored, job.overrides, Runtime(job.device, precision=job.precision))
    load_ms = (time.perf_counter() - started) * 1e3
    first_ms = model.warm_up().infer
    spent = _one_by_one(model, images, job.seconds)
    rate = _all_at_once(model, images, job.seconds)
    steps = [statistics.median(getattr(one, step) for one in spent) for step in ("pre", "infer", "post")]
    totals = sorted(one.pre + one.infer + one.post for one in spent)
    return Cost(
        name=model.name,
        version=model.version,
        digest=model.digest,
        precision=model.precision,
        devices=model.execution_devices,
        bytes=stored.size(),
        load_ms=round(load_ms, 1),
        first_ms=round(first_ms, 1),
        p50_ms=round(statistics.median(totals), 2),
        p99_ms=round(totals[min(len(totals) - 1, int(len(totals) * 0.99))], 2),
        pre_ms=round(steps[0], 2),
        infer_ms=round(steps[1], 2),
        post_ms=round(steps[2], 2),
        frames_per_second=round(rate, 1),
        memory_mb=round(_memory_mb("VmHWM") - before, 1),
        frames=len(spent),
    )


def _one_by_one(model: Any, images: Sequence[Image], seconds: float) -> list[Any]:
    session, spent = model.session(), []
    end = time.perf_counter() + seconds
    for image in cycle(images):
        spent.append(session.analyse(image)[1])
        if len(spent) >= _FEW and time.perf_counter() >= end:
            return spent
    return spent


def _all_at_once(model: Any, images: Sequence[Image], seconds: float) -> float:
    """Frames a second with a thread for each core we may use."""
    counts: list[int] = []
    started = time.perf_counter()

    def work() -> None:
        session, done = model.session(), 0
        for image in cycle(images):
            session.analyse(image)
            done += 1
            if time.perf_counter() - started >= seconds:
                break
        counts.append(done)

    threads = [threading.Thread(target=work) for _ in range(len(os.sched_getaffinity(0)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def _memory_mb(key: str) -> float:
    """VmRSS is resident now, VmHWM at its largest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def main(text: str) -> int:
    try:
        answer: Cost | Failed = _measured(msgspec.json.decode(text, type=Job))
    except EdgexError as error:
        answer = Failed(str(error))
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
