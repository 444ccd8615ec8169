"""A camera whose pace is given, and the reader of the results: frames go out, and when is each answered?

`python -m benchmarks.camera <host> <port>`; takes an Order a line, answers each with a Report. Frames are made and sent
by device-camera's own code. Open loop: `fps` a camera, whatever becomes of them. Closed loop (`fps` 0): `window` frames
of each camera are under way at any time, which shows how many app-inference can do.
"""

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Set
from typing import Any, NamedTuple

import msgspec
from edgex_kit.bus.bus import Bus, Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.wire import codec
from edgex_kit.wire.codec import PLAIN, Encoding
from edgex_standin.address import Address

from benchmarks.camera_frames import TOPICS, frame_of, frame_parts, topic_of
from benchmarks.cpu import cpu_of
from benchmarks.pictures import HD, jpegs
from benchmarks.programs import Program, open_program, serve

WARM_UP_WAIT = 10.0  # seconds
SETTLE = 0.3  # seconds of patience where nobody answers, or the first frames came too early


class Order(msgspec.Struct, kw_only=True):
    seconds: float
    cameras: int = 1
    fps: float = 0.0  # of each camera
    window: int = 2
    size: tuple[int, int] = HD
    kilobytes: int = 0  # instead of pictures, so many thousand bytes that nobody will decode
    is_cbor: bool = False  # the whole envelope
    is_first_enough: bool = False  # an open loop ends with the first answer
    patience: float = 10.0  # seconds until an unanswered frame is taken for lost
    tail: float = 0.0  # seconds an open loop goes on behind the frames that are counted: all of them meet the load
    warm_up: int = 0  # answers that are not counted, at the beginning of a closed loop
    pids: dict[str, int] = {}  # processes whose CPU is told


class Report(msgspec.Struct, kw_only=True):
    """`answered`, `latency_ms`, `by_camera` and `cpu` are of the counted time, the rest is of the whole order.

    With a tail the frames that were captured within that time are counted, else those that were answered; `cpu` has the
    tail in it.
    """

    seconds: float
    sent: int
    dropped: int  # as the results say
    lost: int  # neither answered nor said to be dropped
    answered: int
    latency_ms: list[float]
    by_camera: dict[str, int]
    by_version: dict[str, int]  # of the model
    first_answer: float  # seconds of this machine's monotonic clock; 0 without one
    cpu: dict[str, float]  # seconds

    @property
    def fps(self) -> float:
        return self.answered / self.seconds

    def cpu_ms(self, process: str) -> float:
        """Of one answered frame."""
        return self.cpu[process] / self.answered * 1e3


class Answered(NamedTuple):
    """A frame's result."""

    at: float  # seconds, monotonic
    began: float  # when it was captured
    camera: str
    version: str
    latency_ms: float


@contextlib.contextmanager
def open_camera(broker: Address, cores: Set[int]) -> Iterator[Program]:
    """It in a process of its own; `fulfil` has it do something."""
    with open_program("benchmarks.camera", cores, broker.host, str(broker.port)) as program:
        yield program


def fulfil(camera: Program, order: Order) -> Report:
    """What became of an order."""
    return msgspec.convert(camera.ask(**msgspec.to_builtins(order)), Report)


class Camera:
    """Sends on one thread, reads results on the bus's."""

    def __init__(self, bus: Bus, order: Order) -> None:
        self._bus = bus
        self._order = order
        self._pictures = [os.urandom(order.kilobytes * 1000)] if order.kilobytes else list(jpegs(tuple(order.size)))
        self._encoding = Encoding(cbor_envelope=True) if order.is_cbor else PLAIN
        self._room = [threading.Semaphore(order.window) for _ in range(order.cameras)]
        self._seq = itertools.count(1)
        self._began: dict[str, int] = {}  # frame -> ns
        self._answers: list[Answered] = []
        self._dropped: Counter[str] = Counter()
        self._sent: list[float] = []

    def receive(self, message: Message) -> None:
        """A result."""
        now = time.monotonic_ns()
        event = codec.event_of(codec.decode_envelope(message.data))
        began = self._began.pop(str((event.tags or {}).get("frameId")), None)
        if began is None:
            return  # of an order before this one
        dropped = next(it.object_value["droppedSinceLast"] for it in event.readings if it.value_type == "Object")
        version = str((event.tags or {}).get("modelVersion"))
        self._answers.append(Answered(now / 1e9, began / 1e9, event.device_name, version, (now - began) / 1e6))
        self._dropped[event.device_name] += dropped
        for _ in range(1 + dropped):
            self._room[int(event.device_name.rpartition("-")[2])].release()

    def run(self) -> Report:
        """Send for as long as the order says, then wait for the rest of the answers."""
        stop = threading.Event()
        sender = threading.Thread(target=self._send_open if self._order.fps else self._send_closed, args=(stop,))
        sender.start()
        deadline = time.monotonic() + WARM_UP_WAIT
        while len(self._answers) < self._order.warm_up and time.monotonic() < deadline:
            time.sleep(0.005)
        begin, before = time.monotonic(), self._cpu()
        while time.monotonic() < begin + self._order.seconds and not (self._order.is_first_enough and self._answers):
            time.sleep(min(0.02, self._order.seconds))
        until = time.monotonic()
        time.sleep(self._order.tail)
        if self._order.fps:
            stop.set()
            sender.join()
            self._drain()
        end, after = time.monotonic(), self._cpu()
        stop.set()
        sender.join()
        self._drain()
        cpu = {name: after[name] - before[name] for name in before}
        return self._report(begin, until if self._order.tail else end, cpu)

    def _report(self, begin: float, end: float, cpu: dict[str, float]) -> Report:
        counted = [it for it in self._answers if begin <= (it.began if self._order.tail else it.at) <= end]
        return Report(
            seconds=end - begin,
            sent=len(self._sent),
            dropped=sum(self._dropped.values()),
            lost=len(self._sent) - len(self._answers) - sum(self._dropped.values()),
            answered=len(counted),
            latency_ms=[round(it.latency_ms, 3) for it in counted],
            by_camera=Counter(it.camera for it in counted),
            by_version=Counter(it.version for it in counted),
            first_answer=self._answers[0].at if self._answers else 0.0,
            cpu=cpu,
        )

    def _send_open(self, stop: threading.Event) -> None:
        step = 1 / (self._order.fps * self._order.cameras)
        due = time.monotonic()
        for camera in itertools.cycle(range(self._order.cameras)):
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            self._send(camera)
            due += step

    def _send_closed(self, stop: threading.Event) -> None:
        for camera in itertools.cycle(range(self._order.cameras)):
            while not self._room[camera].acquire(timeout=0.1):
                if stop.is_set():
                    return
            if stop.is_set():
                return
            self._send(camera)

    def _send(self, camera: int) -> None:
        seq = next(self._seq)
        frame = frame_of(self._pictures[seq % len(self._pictures)], self._order.size, seq)
        self._began[frame.frame_id] = frame.captured_mono_ns
        self._bus.publish(topic_of(camera), *frame_parts(frame, camera, self._encoding))
        self._sent.append(time.monotonic())

    def _drain(self) -> None:
        """Until everything is answered or dropped, as far as it ever will be."""
        deadline = time.monotonic() + self._order.patience
        while len(self._answers) + sum(self._dropped.values()) < len(self._sent) and time.monotonic() < deadline:
            time.sleep(0.005)

    def _cpu(self) -> dict[str, float]:
        return {"camera": cpu_of(os.getpid()), **{name: cpu_of(pid) for name, pid in self._order.pids.items()}}


async def main(host: str, port: int) -> None:
    """Until there are no more orders."""
    async with open_bus(BusSettings(host=host, port=port, client_id="camera")) as bus:
        now: list[Camera] = []

        def receive(message: Message) -> None:
            for camera in now:
                camera.receive(message)

        bus.subscribe(TOPICS.below("events/device/app-inference/#"), receive)
        await bus.settle(10)

        def answer(order: dict[str, Any]) -> dict[str, Any]:
            now[:] = [Camera(bus, msgspec.convert(order, Order))]
            report: dict[str, Any] = msgspec.to_builtins(now[0].run())
            return report

        await asyncio.to_thread(serve, answer)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
