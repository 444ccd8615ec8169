"""The bus with a real broker: subscriptions, requests, bounded queues, and outages."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from edgex_kit.bus.bus import Bus, Message, Subscriptions, describe_malformed, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed, TimedOut, Unreachable
from edgex_kit.wire.messages import new_id
from edgex_standin.address import Address, free_port

from tests.kit.brokers import Killable

pytestmark = pytest.mark.integration

WAIT = 20.0  # seconds

Until = Callable[..., Awaitable[None]]
OpenClient = Callable[..., AbstractAsyncContextManager[Bus]]


# -- to and fro


async def test_what_one_publishes_another_receives_with_its_topic(bus: Bus, other: Bus, unique: str) -> None:
    async with bus.messages(f"{unique}/#") as messages:
        assert await bus.settle(WAIT)
        assert other.publish(f"{unique}/a/b", b"\x00\xff") is not None
        assert await anext(messages) == Message(f"{unique}/a/b", b"\x00\xff")


async def test_a_message_reaches_every_receiver_whose_pattern_covers_it(
    bus: Bus, other: Bus, unique: str, until: Until
) -> None:
    got: list[str] = []
    for name, pattern in (("all", "#"), ("plus", "+/x"), ("exact", "a/x"), ("none", "b/#")):
        bus.subscribe(f"{unique}/{pattern}", lambda _message, name=name: got.append(name))
    assert await bus.settle(WAIT)
    other.publish(f"{unique}/a/x", b"")
    await until(lambda: {"all", "plus", "exact"} <= set(got))
    assert "none" not in got


async def test_two_receivers_of_one_pattern_are_told_each_and_leave_each_on_its_own(
    bus: Bus, other: Bus, unique: str, until: Until
) -> None:
    one: list[bytes] = []
    two: list[bytes] = []
    first, second = (lambda message: one.append(message.data)), (lambda message: two.append(message.data))
    bus.subscribe(unique, first)
    bus.subscribe(unique, second)
    assert await bus.settle(WAIT)
    other.publish(unique, b"1")
    await until(lambda: one and two)
    bus.unsubscribe(unique, first)
    other.publish(unique, b"2")
    await until(lambda: len(two) == 2)
    assert one == [b"1"]
    bus.unsubscribe(unique, second)
    bus.unsubscribe(unique, second)
    async with bus.messages(f"{unique}/end") as messages:
        assert await bus.settle(WAIT)
        other.publish(unique, b"3")
        other.publish(f"{unique}/end", b"")
        await anext(messages)
    assert two == [b"1", b"2"]


async def test_a_receiver_that_fails_does_not_keep_messages_from_others(
    bus: Bus, other: Bus, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_message: Message) -> None:
        raise ValueError("mine")

    bus.subscribe(unique, fail)
    async with bus.messages(unique) as messages:
        assert await bus.settle(WAIT)
        other.publish(unique, b"1")
        assert (await anext(messages)).data == b"1"
    assert f"a receiver of '{unique}' failed" in caplog.text


async def test_replicas_share_the_messages_of_a_shared_subscription(
    broker: Address, unique: str, until: Until, open_client: OpenClient
) -> None:
    got: dict[str, list[bytes]] = {"a": [], "b": []}
    async with open_client(broker, f"{unique}-a") as a, open_client(broker, f"{unique}-b") as b:
        for name, replica in (("a", a), ("b", b)):
            replica.subscribe(f"{unique}/#", lambda message, name=name: got[name].append(message.data), group=unique)
            assert await replica.settle(WAIT)
        sent = [str(number).encode() for number in range(20)]
        for data in sent:
            a.publish(f"{unique}/x", data)
        await until(lambda: len(got["a"]) + len(got["b"]) == 20)
    assert sorted(got["a"] + got["b"]) == sorted(sent)
    assert got["a"]
    assert got["b"]


async def test_a_queue_is_bounded_and_counts_while_it_drops(bus: Bus, other: Bus, unique: str) -> None:
    async with bus.messages(f"{unique}/#", bound=3) as messages, bus.messages(f"{unique}/last") as last:
        assert await bus.settle(WAIT)
        for number in range(10):
            other.publish(f"{unique}/x", str(number).encode())
        other.publish(f"{unique}/last", b"last")
        await anext(last)
        assert bus.dropped == 8
        assert [(await anext(messages)).data for _ in range(3)] == [b"8", b"9", b"last"]
    assert bus.dropped == 8


async def test_any_thread_may_publish(bus: Bus, other: Bus, unique: str) -> None:
    async with other.messages(f"{unique}/#") as messages:
        assert await other.settle(WAIT)
        threads = [
            threading.Thread(target=lambda: [bus.publish(f"{unique}/x", b"1", qos=1) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        async with asyncio.timeout(WAIT):
            for _ in range(200):
                await anext(messages)
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("qos", [0, 1])
async def test_what_was_sent_is_known_to_be_done(bus: Bus, unique: str, qos: int, until: Until) -> None:
    sending = bus.publish(unique, b"x" * 200_000, qos=qos)
    assert sending is not None
    await until(lambda: sending.is_done)


async def test_a_topic_with_a_wildcard_cannot_be_published_on(bus: Bus) -> None:
    with pytest.raises(Invalid, match="cannot be published on 'a/#'"):
        bus.publish("a/#", b"")


# -- requests


async def test_a_request_gets_the_answer_to_its_own_id(bus: Bus, other: Bus, unique: str) -> None:
    async def answer() -> None:
        async with other.messages(f"{unique}/ask") as requests:
            assert await other.settle(WAIT)
            listening.set()
            async for message in requests:
                asked = codec.decode_envelope(message.data)
                reply = codec.encode(asked.payload, correlation_id=asked.correlation_id, request_id=asked.request_id)
                other.publish(f"{unique}/answer/{asked.request_id}", reply)

    listening = asyncio.Event()
    answering = asyncio.create_task(answer())
    await listening.wait()

    async def ask(what: int) -> object:
        request_id = new_id()
        data = codec.encode({"what": what}, request_id=request_id)
        return (await bus.request(f"{unique}/ask", data, f"{unique}/answer/{request_id}", WAIT)).payload

    assert await asyncio.gather(*map(ask, range(10))) == [{"what": number} for number in range(10)]
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering


async def test_a_refusal_is_an_error_with_its_text(bus: Bus, other: Bus, unique: str) -> None:
    other.subscribe(
        f"{unique}/ask",
        lambda _message: other.publish(f"{unique}/answer", codec.encode_error("not today", request_id="r")),
    )
    assert await other.settle(WAIT)
    with pytest.raises(EdgexError, match="not today"):
        await bus.request(f"{unique}/ask", codec.encode(None), f"{unique}/answer", WAIT)


async def test_a_request_that_nobody_answers_times_out_and_leaves_no_subscription(bus: Bus, unique: str) -> None:
    with pytest.raises(TimedOut, match=f"no answer on '{unique}/answer' within 0.05 s"):
        await bus.request(f"{unique}/ask", codec.encode(None), f"{unique}/answer", 0.05)
    assert not bus._subscriptions.patterns


async def test_a_malformed_message_is_described_without_its_content() -> None:
    message = Message("edgex/x", b"secret")
    with pytest.raises(Malformed) as caught:
        codec.decode_envelope(message.data)
    text = describe_malformed(message, caught.value)
    assert "edgex/x" in text
    assert "6 bytes" in text
    assert "secret" not in text


# -- its end, and its secrets


async def test_a_bus_closes_quickly_whether_or_not_there_is_a_broker(broker: Address) -> None:
    for port in (broker.port, free_port("127.0.0.1")):
        async with open_bus(BusSettings(host="127.0.0.1", port=port, client_id=f"short-{port}")):
            await asyncio.sleep(0.05)
            began = time.monotonic()
        assert time.monotonic() - began < 2


# -- brokers that come and go

WAIT = 20.0  # seconds

Until = Callable[..., Awaitable[None]]
OpenClient = Callable[..., AbstractAsyncContextManager[Bus]]


async def test_a_service_starts_without_a_broker_and_hears_everything_once_there_is_one(
    killable: Killable, caplog: pytest.LogCaptureFixture, until: Until, be_quick: Callable[[Bus], None]
) -> None:
    settings = BusSettings(host=killable.address.host, port=killable.address.port, client_id="early")
    async with open_bus(settings) as bus, bus.messages("t/#") as messages:
        be_quick(bus)
        assert bus.publish("t/x", b"") is None
        with pytest.raises(Unreachable, match=f"no message broker at 127.0.0.1:{killable.address.port}"):
            await bus.request("t/ask", b"", "t/answer", 1)
        assert not await bus.settle(0.05)
        await until(lambda: "no message broker" in caplog.text)
        killable.start()
        assert await bus.settle(WAIT)
        bus.publish("t/x", b"heard")
        assert (await anext(messages)).data == b"heard"
    assert caplog.text.count("no message broker") == 1


async def test_subscriptions_outlive_a_broker_that_is_killed_and_started_again(
    killable: Killable, until: Until, open_client: OpenClient
) -> None:
    killable.start()
    told: list[int] = []
    async with open_client(killable.address, "lasting") as bus, bus.messages("t/#") as messages:
        bus.on_connected(lambda: told.append(bus.connects))
        for round_ in range(2):
            killable.kill()
            await until(lambda: not bus.is_connected)
            assert bus.publish("t/x", b"lost") is None
            killable.start()
            await until(lambda: bus.is_connected)
            assert await bus.settle(WAIT)
            bus.publish("t/x", str(round_).encode())
            assert (await anext(messages)).data == str(round_).encode()
        assert bus.losses == 2
        assert told == [2, 3]


async def test_what_was_on_its_way_to_a_killed_broker_does_not_stay_so_for_ever(
    killable: Killable, until: Until, open_client: OpenClient
) -> None:
    killable.start()
    async with open_client(killable.address, "writer") as bus:
        killable.freeze()
        sendings = [bus.publish("t/x", b"x" * 4_000_000) for _ in range(4)]
        assert not all(sending is None or sending.is_done for sending in sendings)
        killable.kill()
        killable.start()
        await until(lambda: bus.connects == 2)
        await until(lambda: all(sending is None or sending.is_done for sending in sendings))


async def test_a_broker_that_falls_silent_is_lost_once_and_its_silence_is_the_cause(
    killable: Killable, caplog: pytest.LogCaptureFixture, until: Until, open_client: OpenClient
) -> None:
    killable.start()
    async with open_client(killable.address, "patient", keep_alive=1) as bus:
        losses: list[int] = []  # before each attempt to connect again
        bus._client.on_pre_connect = lambda *_: losses.append(bus.losses)
        killable.freeze()
        await until(lambda: len(losses) > 1)
        assert losses[:2] == [1, 2], "the connection is lost once, and so is the first attempt at another"
        assert "does not answer within 1 s; it may be no message broker" in caplog.text
    assert caplog.text.count("(Keep alive timeout)") == 1
    assert "TLS" not in caplog.text


async def test_a_message_of_quality_1_reaches_the_next_broker(
    killable: Killable, until: Until, open_client: OpenClient
) -> None:
    killable.start()
    async with open_client(killable.address, "sure") as bus, bus.messages("t/#") as messages:
        killable.freeze()
        sending = bus.publish("t/x", b"kept", qos=1)
        assert sending is not None
        killable.kill()
        killable.start()
        async with asyncio.timeout(WAIT):
            assert (await anext(messages)).data == b"kept"
        await until(lambda: sending.is_done)


async def test_a_listener_to_connections_that_fails_is_the_only_one_that_fails(
    killable: Killable, caplog: pytest.LogCaptureFixture, until: Until, be_quick: Callable[[Bus], None]
) -> None:
    told: list[str] = []

    def fail() -> None:
        raise ValueError("mine")

    settings = BusSettings(host=killable.address.host, port=killable.address.port, client_id="listened")
    async with open_bus(settings) as bus:
        be_quick(bus)
        bus.on_connected(fail)
        bus.on_connected(lambda: told.append("connected"))
        killable.start()
        await until(lambda: told)
        assert await bus.settle(WAIT)
    assert "a listener to connections failed" in caplog.text


@contextlib.asynccontextmanager
async def without_acknowledgements(broker: Address) -> AsyncIterator[tuple[Address, asyncio.Event]]:
    """A proxy of `broker` that withholds PUBACKs (MQTT 3.1.1, 3.4) until the event is set."""
    passing = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def downstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(2)
                body = await reader.readexactly(head[1])  # the messages of this test are short
                if head[0] >> 4 != 4 or passing.is_set():
                    writer.write(head + body)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(broker.host, broker.port)
        writers.extend((writer, far_writer))
        tasks.add(asyncio.create_task(upstream(reader, far_writer)))
        tasks.add(asyncio.create_task(downstream(far_reader, writer)))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1]), passing
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*tasks, *(one.wait_closed() for one in writers), return_exceptions=True)


@pytest.mark.fault(10)
async def test_acknowledgements_that_never_come_cost_a_reconnect_and_no_message(
    broker: Address,
    other: Bus,
    unique: str,
    until: Until,
    caplog: pytest.LogCaptureFixture,
    be_quick: Callable[[Bus], None],
) -> None:
    async with without_acknowledgements(broker) as (address, passing), other.messages(f"{unique}/#") as messages:
        assert await other.settle(WAIT)
        settings = BusSettings(host=address.host, port=address.port, client_id=f"{unique}-sender")
        async with open_bus(settings) as bus:
            be_quick(bus)
            assert await bus.settle(WAIT)
            bus._client._acknowledge_timeout = 0.5
            sendings = [bus.publish(f"{unique}/x", str(number).encode(), qos=1) for number in range(30)]
            await until(lambda: bus.losses == 1)
            passing.set()
            await until(lambda: all(sending is not None and sending.is_done for sending in sendings))
            assert bus.unacknowledged == 20, "as many as paho has in flight"
            received = {(await anext(messages)).data for _ in range(50)}
        assert received == {str(number).encode() for number in range(30)}


@pytest.mark.fault(5)
@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "a\x00", "\x7f", "\x85", "\ufffe"])
@pytest.mark.parametrize("qos", [0, 1])
async def test_control_characters_are_never_published(bus: Bus, unique: str, name: str, qos: int) -> None:
    with pytest.raises(Invalid):
        bus.publish(f"{unique}/{name}", b"", qos=qos)
    assert bus.losses == 0


# -- the table of subscriptions


def test_a_receiver_hears_what_its_pattern_covers_and_nothing_else() -> None:
    table: Subscriptions[str] = Subscriptions()
    table.add("edgex/frames/#", "app")
    table.add("edgex/+/device-camera/cam", "page")

    assert table.of("edgex/frames/device-camera/cam") == ("app", "page")
    assert table.of("edgex/events/device-camera/cam") == ("page",)
    assert table.of("edgex/telemetry") == ()


def test_a_topic_that_was_asked_for_before_follows_what_is_added_and_removed() -> None:
    table: Subscriptions[str] = Subscriptions()
    assert table.of("a/b") == ()
    table.add("a/#", "one")
    assert table.of("a/b") == ("one",)
    table.add("a/b", "two")
    assert table.of("a/b") == ("one", "two")
    table.remove("a/#", "one")
    assert table.of("a/b") == ("two",)


def test_the_first_and_the_last_with_a_pattern_are_told_so() -> None:
    table: Subscriptions[str] = Subscriptions()
    assert table.add("a", "one")
    assert not table.add("a", "two")
    assert not table.remove("a", "one")
    assert not table.remove("a", "stranger")
    assert table.remove("a", "two")
    assert not table.remove("a", "two")
    assert table.patterns == []


def test_topics_without_end_take_no_memory_without_end() -> None:
    table: Subscriptions[str] = Subscriptions()
    table.add("#", "all")
    for number in range(10_000):
        assert table.of(f"frames/{number}") == ("all",)
    assert len(table._cache) <= 4096
