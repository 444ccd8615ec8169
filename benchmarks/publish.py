"""CPU to publish a frame: from the JPEG or pixels a camera gives to the broker's socket."""

import contextlib
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from device_camera.frame import Encoding, Moment, frame_from_picture

from benchmarks import standard_library
from benchmarks.bench import Bench, NotMeasured
from benchmarks.camera_frames import encode_frame, frame_of, frame_parts
from benchmarks.cpu import app_cores, cpu_of, cpu_per_call, other_cores, pinned
from benchmarks.figures import Figure, at_least, at_most, ratios
from benchmarks.pictures import FULL_HD, HD, VGA, jpegs, name_of, pixels
from benchmarks.programs import Program, open_program
from benchmarks.rounds import alternate, play
from benchmarks.services import open_broker, open_core, open_device_camera

KILOBYTES = (50, 120, 400)
SIZES = (VGA, HD, FULL_HD)
CAMERAS, FPS = 10, 5.0


def run(bench: Bench) -> Iterator[Figure]:
    """Framing alone beside the standard library, encoding pictures, and device-camera itself with ten cameras."""
    for kilobytes in KILOBYTES:
        yield from _framing(bench, kilobytes)
    for size in SIZES:
        yield from _re_encoding(bench, size)
    yield from _device_camera(bench)


def _framing(bench: Bench, kilobytes: int) -> Iterator[Figure]:
    """Until a client can send it: ours takes pieces, the standard library's one text."""
    jpeg, seconds = os.urandom(kilobytes * 1000), bench.seconds(0.4, 0.05)
    with pinned(app_cores()):
        spent = alternate(
            {
                "ours": lambda: cpu_per_call(lambda: frame_parts(frame_of(jpeg, HD, 1)), seconds),
                "standard library": lambda: cpu_per_call(lambda: standard_library.encode_frame(jpeg, 1), seconds),
            },
            bench.rounds,
        )
    case, less = f"{kilobytes} KB, framing alone", ratios(spent["standard library"], spent["ours"])
    yield Figure(case, "JSON envelope", "ms CPU", spent["ours"])
    yield Figure(case, "standard library", "ms CPU", spent["standard library"])
    yield Figure(case, "less than the standard library", "x", less, at_least(15) if kilobytes == 120 else None)


def _re_encoding(bench: Bench, size: tuple[int, int]) -> Iterator[Figure]:
    """What a frame costs whose camera gives pixels, and how much less when it is made half as wide and high."""
    picture, taken = pixels(size), Moment(1, time.time_ns(), time.monotonic_ns())
    half = size[0] // 2, size[1] // 2

    def cost(encoding: Encoding) -> float:
        return cpu_per_call(
            lambda: encode_frame(frame_from_picture(picture, encoding, taken)), bench.seconds(0.5, 0.05)
        )

    with pinned(app_cores()):
        spent = alternate(
            {"own": lambda: cost(Encoding()), "half": lambda: cost(Encoding(size=half))},
            bench.rounds,
        )
    yield Figure(f"{name_of(size)}, re-encoded", "in its own size", "ms CPU", spent["own"])
    yield Figure(f"{name_of(size)}, re-encoded", f"as {half[0]}x{half[1]}", "ms CPU", spent["half"])


def _device_camera(bench: Bench) -> Iterator[Figure]:
    """The whole service, with folders of JPEGs as cameras, which pass through; and what reading those takes."""
    for size, limit in ((VGA, None), (HD, at_most(0.5)), (FULL_HD, None)):
        folder = _folder_of(bench.folder / "pictures", size)
        with contextlib.ExitStack() as stack:
            broker = stack.enter_context(open_broker(other_cores()))
            where = broker.host, str(broker.port), "ours"
            receiver = stack.enter_context(open_program("benchmarks.receiver", other_cores(), *where))
            core = stack.enter_context(open_core(broker, other_cores()))
            source = {"Source": str(folder), "Fps": FPS}
            opened = open_device_camera(core, broker, [source] * CAMERAS, app_cores(), bench.folder / "publish")
            service = stack.enter_context(opened)
            _await_frames(receiver)
            spent = play(partial(_spent, receiver, service.pid, bench.seconds(2.0)), bench.rounds)
        with open_program("benchmarks.sources", app_cores(), str(folder), str(CAMERAS), str(FPS)) as sources:
            _await_frames(sources)
            read = play(partial(_spent, sources, sources.pid, bench.seconds(2.0)), bench.rounds)
        case = f"{name_of(size)}, {sum(map(len, jpegs(size))) // len(jpegs(size)) // 1000} KB, passed through"
        yield Figure(case, f"device-camera, {CAMERAS} cameras at {FPS:g} fps", "ms CPU", spent)
        yield Figure(case, "of it, reading the files that stand for cameras", "ms CPU", read)
        rest = [whole - part for whole, part in zip(spent, read, strict=True)]
        yield Figure(case, "the rest, which is publishing", "ms CPU", rest, limit)


def _spent(counter: Program, pid: int, seconds: float) -> float:
    """Milliseconds of a process's CPU for each frame that `counter` counts."""
    frames, cpu = counter.ask()["frames"], cpu_of(pid)
    time.sleep(seconds)
    return (cpu_of(pid) - cpu) / (counter.ask()["frames"] - frames) * 1e3


def _await_frames(counter: Program) -> None:
    for _ in range(200):
        if counter.ask()["frames"] >= 2 * CAMERAS:
            return
        time.sleep(0.05)
    raise NotMeasured("device-camera publishes no frames")


def _folder_of(parent: Path, size: tuple[int, int]) -> Path:
    folder = parent / name_of(size)
    folder.mkdir(parents=True, exist_ok=True)
    for number, jpeg in enumerate(jpegs(size)):
        (folder / f"{number}.jpg").write_bytes(jpeg)
    return folder
