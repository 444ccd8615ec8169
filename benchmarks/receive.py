"""CPU to receive a frame event and reach its JPEG, from the broker's socket to bytes that a decoder takes."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from app_inference.pipeline.frame import frame_from_event
from edgex_kit.wire import codec
from edgex_kit.wire.codec import PLAIN, Encoding

from benchmarks import standard_library
from benchmarks.bench import Bench, NotMeasured
from benchmarks.camera import SETTLE, Order, fulfil, open_camera
from benchmarks.camera_frames import encode_frame, frame_of
from benchmarks.cpu import app_cores, cpu_of, cpu_per_call, other_cores, pinned
from benchmarks.figures import Figure, at_least, at_most, ratios
from benchmarks.pictures import HD
from benchmarks.programs import Program, open_program
from benchmarks.rounds import alternate
from benchmarks.services import open_broker

KILOBYTES = (50, 120, 400)
CAMERAS, FPS = 10, 5.0
OURS, STANDARD = "ours", "standard-library"


def run(bench: Bench) -> Iterator[Figure]:
    """Decoding alone, then live with broker and MQTT client; each beside the standard library on the same messages."""
    for kilobytes in KILOBYTES:
        yield from _decoding(bench, kilobytes)
    with contextlib.ExitStack() as stack:
        ways = {kind: _open_way(stack, kind) for kind in (OURS, STANDARD)}
        for kilobytes in KILOBYTES:
            yield from _live(bench, ways, kilobytes)


def decode(message: bytes) -> bytes:
    """As a worker of app-inference does it."""
    return frame_from_event(codec.event_of(codec.decode_envelope(message))).data


def _decoding(bench: Bench, kilobytes: int) -> Iterator[Figure]:
    frame = frame_of(os.urandom(kilobytes * 1000), HD, 1)
    json, cbor = (encode_frame(frame, encoding=it) for it in (PLAIN, Encoding(cbor_envelope=True)))
    seconds = bench.seconds(0.4, 0.05)
    with pinned(app_cores()):
        spent = alternate(
            {
                OURS: lambda: cpu_per_call(lambda: decode(json), seconds),
                "cbor": lambda: cpu_per_call(lambda: decode(cbor), seconds),
                STANDARD: lambda: cpu_per_call(lambda: standard_library.decode_frame(json), seconds),
            },
            bench.rounds,
        )
    case, less = f"{kilobytes} KB, decoding alone", ratios(spent[STANDARD], spent[OURS])
    yield Figure(case, "JSON envelope", "ms CPU", spent[OURS])
    yield Figure(case, "CBOR envelope", "ms CPU", spent["cbor"])
    yield Figure(case, "standard library, JSON envelope", "ms CPU", spent[STANDARD])
    yield Figure(case, "less than the standard library", "x", less, at_least(8) if kilobytes == 120 else None)


@dataclass(frozen=True, slots=True)
class _Way:
    """A sender and a receiver with a broker of their own."""

    camera: Program
    receiver: Program

    def spend(self, wanted: Order) -> float:
        """Milliseconds of the receiver's CPU a frame. Raises NotMeasured when frames were lost."""
        frames, cpu = self.receiver.ask()["frames"], cpu_of(self.receiver.pid)
        sent = fulfil(self.camera, wanted).sent
        frames, cpu = self.receiver.ask()["frames"] - frames, cpu_of(self.receiver.pid) - cpu
        if frames != sent:
            raise NotMeasured(f"{sent} frames of {wanted.kilobytes} KB were sent, {frames} were received")
        return cpu / frames * 1e3


def _open_way(stack: contextlib.ExitStack, kind: str) -> _Way:
    broker = stack.enter_context(open_broker(other_cores()))
    where = broker.host, str(broker.port), kind
    receiver = stack.enter_context(open_program("benchmarks.receiver", app_cores(), *where))
    camera = stack.enter_context(open_camera(broker, other_cores()))
    receiver.ask()  # it is there
    return _Way(camera, receiver)


def _live(bench: Bench, ways: dict[str, _Way], kilobytes: int) -> Iterator[Figure]:
    json = Order(cameras=CAMERAS, fps=FPS, seconds=bench.seconds(2.0, 0.5), kilobytes=kilobytes, patience=SETTLE)
    cbor = msgspec.structs.replace(json, is_cbor=True)
    spent = alternate(
        {
            OURS: lambda: ways[OURS].spend(json),
            "cbor": lambda: ways[OURS].spend(cbor),
            STANDARD: lambda: ways[STANDARD].spend(json),
        },
        bench.rounds,
    )
    case, less = f"{kilobytes} KB at {CAMERAS * FPS:g} a second, MQTT included", ratios(spent[STANDARD], spent[OURS])
    yield Figure(case, "JSON envelope", "ms CPU", spent[OURS], at_most(0.6) if kilobytes == 120 else None)
    yield Figure(case, "CBOR envelope", "ms CPU", spent["cbor"])
    yield Figure(case, "standard library, JSON envelope", "ms CPU", spent[STANDARD])
    yield Figure(case, "less than the standard library", "x", less)
