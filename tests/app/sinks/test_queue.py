"""Results wait while the broker is away, and leave in order when it is back."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from app_inference.sinks import queue as result_queue
from app_inference.sinks.edgex_bus import EdgexBusSink
from app_inference.sinks.queue import WINDOW, ResultQueue
from app_inference.sinks.store import Limits, MessageStore
from edgex_kit.bus.bus import Bus, Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.service.metrics import Counter, Gauge
from edgex_standin.address import Address
from edgex_standin.broker.broker import open_broker

TOPIC = "edgex/events/device/app-inference/detection/gate/lamps"


class Line:
    """The network between a client and its broker, which a test can cut and mend."""

    def __init__(self, far: Address) -> None:
        self._far = far
        self._open = True
        self._ends: set[asyncio.StreamWriter] = set()
        self.swallows = False  # what the client sends is lost on the way
        self.swallows_answers = False  # what the broker sends is
        self.address = Address("127.0.0.1", 0)

    def cut(self) -> None:
        """As a pulled cable, but noticed at once."""
        self._open = False
        for end in list(self._ends):
            end.transport.abort()

    def mend(self) -> None:
        self._open, self.swallows, self.swallows_answers = True, False, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(self._far.host, self._far.port)
        self._ends |= {writer, far_writer}
        async with asyncio.TaskGroup() as both:
            both.create_task(_pipe(reader, far_writer, lambda: self.swallows))
            both.create_task(_pipe(far_reader, writer, lambda: self.swallows_answers))
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
    """A result queue whose sink is behind a line, and a listener on the other side."""

    def __init__(self, line: Line, bus: Bus, size: int, store: MessageStore | None = None) -> None:
        self.line = line
        self.bus = bus
        self.dropped, self.waiting = Counter("ResultsDropped"), Gauge("ResultsWaiting")
        self.queue = ResultQueue(EdgexBusSink(bus, self.dropped), size, self.dropped, self.waiting, store)
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
async def open_rig(broker: Address, size: int = 1000, store: MessageStore | None = None) -> AsyncIterator[Rig]:
    async with open_line(broker) as line, open_bus(BusSettings(line.address.host, line.address.port)) as bus:
        rig = Rig(line, bus, size, store)
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


@pytest.fixture
def broker() -> Any:
    """Its own: these tests count every message on it."""
    with open_broker("auto", "127.0.0.1", 0) as running:
        yield running


async def test_results_go_out_at_once(broker: Any) -> None:
    async with open_rig(broker.address) as rig:
        rig.send(50)
        await until(lambda: len(rig.heard) == 50)
        assert rig.heard == list(range(50))
        assert (rig.waiting.value, rig.dropped.value) == (0, 0)


async def test_what_waited_goes_out_in_order_when_the_broker_is_back(broker: Any) -> None:
    async with open_rig(broker.address) as rig:
        rig.line.cut()
        await until(lambda: not rig.bus.is_connected)
        rig.send(300)
        assert rig.waiting.value == 300
        rig.line.mend()
        await until(lambda: len(rig.once()) == 300)
        assert rig.heard == list(range(300))
        await until(lambda: rig.waiting.value == 0)
        assert rig.dropped.value == 0


async def test_beyond_its_bound_the_oldest_go_and_are_counted_and_said(
    broker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with open_rig(broker.address, size=10) as rig:
        rig.line.cut()
        await until(lambda: not rig.bus.is_connected)
        rig.send(25)
        assert (rig.waiting.value, rig.dropped.value) == (10, 15)
        rig.line.mend()
        await until(lambda: rig.waiting.value == 0 and len(rig.heard) == 10)
        assert rig.heard == list(range(15, 25))
        await until(lambda: "15 results were dropped" in caplog.text)
        assert caplog.text.count("results wait in memory for the message broker") == 1


async def test_a_line_cut_again_and_again_in_mid_stream_loses_and_disorders_nothing(broker: Any) -> None:
    async with open_rig(broker.address) as rig:
        for _ in range(3):
            for _ in range(20):
                rig.send(5)
                await asyncio.sleep(0.002)
            rig.line.cut()
            rig.send(30)
            await until(lambda: not rig.bus.is_connected)
            rig.send(30)
            rig.line.mend()
            await until(lambda: rig.bus.is_connected)
        rig.send(10)
        await until(lambda: rig.sent - 1 in rig.heard)
        assert rig.once() == list(range(rig.sent))
        assert len(rig.heard) - rig.sent <= 3 * WINDOW
        assert rig.dropped.value == 0


async def test_what_a_lost_connection_has_swallowed_comes_before_what_is_sent_on_the_next(broker: Any) -> None:
    async with open_rig(broker.address) as rig:
        rig.line.swallows = True
        rig.send(5)
        await asyncio.sleep(0.1)
        rig.line.cut()
        await until(lambda: not rig.bus.is_connected)
        rig.bus.on_connected(lambda: rig.send(5))  # as a worker may, in that very moment
        rig.line.mend()
        await until(lambda: len(rig.heard) == 10)
        assert rig.heard == list(range(10))


async def test_no_more_than_a_window_is_handed_to_the_client_without_a_receipt(broker: Any) -> None:
    async with open_rig(broker.address) as rig:
        rig.line.swallows = True
        rig.send(100)
        assert rig.waiting.value == 100 - WINDOW
        rig.line.cut()
        await until(lambda: not rig.bus.is_connected)
        rig.line.mend()
        await until(lambda: len(rig.heard) == 100)
        assert rig.heard == list(range(100))


async def test_a_broker_that_was_killed_and_is_back_gets_everything_since(broker: Any) -> None:
    async with open_rig(broker.address) as rig:
        rig.send(10)
        await until(lambda: len(rig.heard) == 10)
        rig.line.cut()  # so that the listener is back before the results come
        broker._child.kill()
        broker._child.wait()
        rig.send(200)
        broker.revive()
        async with open_bus(BusSettings(broker.address.host, broker.address.port)) as ear:
            ear.subscribe(TOPIC, rig.hear)
            assert await ear.settle(10)
            rig.line.mend()
            await until(lambda: 209 in rig.heard)
        assert rig.once() == list(range(210))


async def test_many_threads_may_send_at_once_while_the_line_comes_and_goes(broker: Any) -> None:
    async with open_rig(broker.address, size=100_000) as rig:
        numbers = iter(range(100_000))
        lock, over = threading.Lock(), threading.Event()

        def work() -> None:
            while not over.is_set():
                with lock:  # as a camera's door does
                    rig.queue.send(TOPIC, b"%d" % next(numbers))
                over.wait(0.001)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        await asyncio.sleep(0.2)
        rig.line.cut()
        await asyncio.sleep(0.2)
        rig.line.mend()
        await until(lambda: rig.bus.is_connected)
        await asyncio.sleep(0.2)
        over.set()
        for thread in threads:
            thread.join()
        rig.queue.send(TOPIC, b"-1")
        await until(lambda: -1 in rig.heard)
        sent = next(numbers)
        assert rig.once() == [*range(sent), -1]


@pytest.mark.fault(10)
async def test_results_go_on_after_acknowledgements_that_never_come(broker: Any) -> None:
    """mosquitto drops PUBACKs when its queue for a client is full."""
    async with open_rig(broker.address) as rig:
        rig.bus._client._acknowledge_timeout = 0.5
        losses = rig.bus.losses
        rig.line.swallows_answers = True
        rig.send(WINDOW + 10)
        await until(lambda: rig.bus.losses > losses)
        assert rig.waiting.value == 10
        rig.line.mend()
        await until(lambda: len(rig.once()) == WINDOW + 10)
        assert rig.once() == list(range(WINDOW + 10))
        assert rig.bus.unacknowledged >= WINDOW
        await until(lambda: rig.waiting.value == 0)
        assert rig.dropped.value == 0


async def test_what_waits_at_the_end_goes_out_when_the_broker_comes_back_in_time(broker: Any, caplog: Any) -> None:
    async with open_rig(broker.address) as rig:
        async with rig.queue.emptied():
            rig.line.cut()
            await until(lambda: not rig.bus.is_connected)
            rig.send(100)
            asyncio.get_running_loop().call_later(0.3, rig.line.mend)
        assert (rig.waiting.value, rig.dropped.value) == (0, 0)
        await until(lambda: len(rig.heard) == 100)
        assert rig.heard == list(range(100))
        assert "lost:" not in caplog.text


async def test_what_the_broker_has_not_taken_at_the_end_is_counted_as_lost_in_one_line(
    broker: Any, caplog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(result_queue, "LAST_WAIT", 0.3)
    async with open_rig(broker.address) as rig:
        async with rig.queue.emptied():
            rig.line.swallows = True
            rig.send(5)  # these are written, and nobody ever says that they came
            await asyncio.sleep(0.1)
            rig.line.cut()
            await until(lambda: not rig.bus.is_connected)
            rig.send(10)
        assert (rig.waiting.value, rig.dropped.value) == (0, 15)
        assert caplog.text.count("15 results are lost") == 1


async def test_a_broker_that_takes_all_makes_nobody_wait_at_the_end(broker: Any, caplog: Any) -> None:
    async with open_rig(broker.address) as rig:
        async with rig.queue.emptied():
            rig.send(200)
        assert (rig.waiting.value, rig.dropped.value) == (0, 0)  # not one without its receipt
        await until(lambda: len(rig.heard) == 200, 1)
        async with asyncio.timeout(0.2), rig.queue.emptied():
            pass


async def test_a_second_signal_ends_the_last_wait_and_still_tells_what_is_lost(broker: Any, caplog: Any) -> None:
    async with open_rig(broker.address) as rig:

        async def serve() -> None:
            async with rig.queue.emptied():
                rig.send(7)
                await asyncio.Event().wait()

        rig.line.cut()
        await until(lambda: not rig.bus.is_connected)
        serving = asyncio.create_task(serve())
        for _ in range(2):
            await asyncio.sleep(0.1)
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(serving, 1)
        assert "7 results are lost" in caplog.text


@pytest.mark.fault(9)
async def test_a_result_that_can_never_be_published_is_counted_and_the_others_go_on(broker: Any) -> None:
    async with open_rig(broker.address) as rig:
        rig.bus._limit._limit = 1000  # as a broker has named it
        rig.send(1)
        rig.queue.send("no/#", b"0")
        rig.queue.send(TOPIC, b"0" * 2000)
        rig.send(2)
        await until(lambda: len(rig.heard) == 3)
        assert rig.heard == [0, 1, 2]
        assert rig.dropped.value == 2


def store_in(folder: Path) -> MessageStore:
    return MessageStore(folder, Limits(min_free=0))


async def test_what_waits_longer_is_on_disk_and_goes_out_in_order_before_anything_newer(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_queue, "SPILL_AFTER", 0.2)
    async with open_rig(broker.address, store=store_in(tmp_path)) as rig:
        rig.send(5)
        await until(lambda: len(rig.once()) == 5)
        assert list(tmp_path.iterdir()) == []  # nothing is written while the broker acknowledges
        rig.line.cut()
        await until(lambda: not rig.bus.is_connected)
        for _ in range(20):
            rig.send(10)
            await asyncio.sleep(0.05)
        await until(lambda: store_in(tmp_path).count > 150)
        rig.line.mend()
        await until(lambda: rig.bus.is_connected)
        while rig.once()[-1] < rig.sent - 1:
            rig.send(1)
            await asyncio.sleep(0.02)
            if rig.sent > 260:
                await until(lambda: rig.once()[-1] == rig.sent - 1)
        assert rig.once() == list(range(rig.sent))
        await until(lambda: list(tmp_path.iterdir()) == [])
        assert (rig.dropped.value, rig.waiting.value) == (0, 0)


async def test_what_a_run_left_on_disk_is_sent_first_by_the_next(broker: Any, tmp_path: Path) -> None:
    async with open_rig(broker.address, store=store_in(tmp_path)) as rig:
        rig.line.cut()
        await until(lambda: not rig.bus.is_connected)
        async with rig.queue.emptied():
            rig.send(30)
        assert rig.dropped.value == 0
    assert store_in(tmp_path).count == 30
    async with open_rig(broker.address, store=store_in(tmp_path)) as rig:
        rig.sent = 30
        rig.send(5)
        await until(lambda: len(rig.once()) == 35)
        assert rig.once() == list(range(35))


async def test_a_store_that_cannot_be_written_leaves_results_in_memory(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(result_queue, "SPILL_AFTER", 0.1)
    full = MessageStore(tmp_path, Limits(min_free=1 << 62))
    async with open_rig(broker.address, size=25, store=full) as rig:
        rig.line.cut()
        await until(lambda: not rig.bus.is_connected)
        rig.send(30)
        await until(lambda: "cannot be stored" in caplog.text)
        rig.line.mend()
        await until(lambda: len(rig.once()) == 25)
        assert rig.once() == list(range(5, 30))
        assert rig.dropped.value == 5
    assert caplog.text.count("cannot be stored") == 1
