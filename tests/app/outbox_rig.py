"""What tests of the outbox stand on: a network that a test can cut, and an outbox behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from app_inference.sinks.edgex_bus import EdgexBusSink
from app_inference.sinks.queue import ResultQueue
from edgex_kit.bus.bus import Bus, Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.service.metrics import Counter, Gauge
from edgex_standin.address import Address

TOPIC = "edgex/events/device/app-inference/detection/gate/lamps"


class Line:
    """The network between a client and its broker, which a test can cut and mend."""

    def __init__(self, far: Address) -> None:
        self._far = far
        self._open = True
        self._ends: set[asyncio.StreamWriter] = set()
        self.swallows = False  # what the client sends is lost on the way
        self.address = Address("127.0.0.1", 0)

    def cut(self) -> None:
        """As a pulled cable, but noticed at once."""
        self._open = False
        for end in list(self._ends):
            end.transport.abort()

    def mend(self) -> None:
        self._open, self.swallows = True, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(self._far.host, self._far.port)
        self._ends |= {writer, far_writer}
        async with asyncio.TaskGroup() as both:
            both.create_task(_pipe(reader, far_writer, lambda: self.swallows))
            both.create_task(_pipe(far_reader, writer, lambda: False))
        self._ends -= {writer, far_writer}


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_lost: Callable[[], bool]) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            if not is_lost():
                writer.write(data)
                await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def open_line(far: Address) -> AsyncIterator[Line]:
    line = Line(far)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield line
    finally:
        line.cut()
        server.close()
        await asyncio.sleep(0.05)


class Rig:
    """An outbox behind a line, and a listener in front of it."""

    def __init__(self, line: Line, bus: Bus, size: int) -> None:
        self.line = line
        self.bus = bus
        self.dropped, self.waiting = Counter("ResultsDropped"), Gauge("ResultsWaiting")
        self.queue = ResultQueue(EdgexBusSink(bus), size, self.dropped, self.waiting)
        self.heard: list[int] = []
        self.sent = 0

    def hear(self, message: Message) -> None:
        self.heard.append(int(message.data))

    def send(self, count: int) -> None:
        for _ in range(count):
            self.queue.send(TOPIC, b"%d" % self.sent)
            self.sent += 1

    def once(self) -> list[int]:
        """What was heard, each at its first time: MQTT may repeat what it got no receipt for."""
        return list(dict.fromkeys(self.heard))


@contextlib.asynccontextmanager
async def open_rig(broker: Address, size: int = 1000) -> AsyncIterator[Rig]:
    async with open_line(broker) as line, open_bus(BusSettings(line.address.host, line.address.port)) as bus:
        rig = Rig(line, bus, size)
        async with open_bus(BusSettings(broker.host, broker.port)) as ear, asyncio.TaskGroup() as tasks:
            ear.subscribe(TOPIC, rig.hear)
            assert await ear.settle(5)
            assert await bus.settle(5)
            sending = tasks.create_task(rig.queue.keep_sending())
            yield rig
            sending.cancel()


async def until(check: Callable[[], Any], wait: float = 15) -> None:
    async with asyncio.timeout(wait):
        while not check():
            await asyncio.sleep(0.01)
