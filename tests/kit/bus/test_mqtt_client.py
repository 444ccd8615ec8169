"""The client against a real broker: few wake-ups, and every message whole whichever thread wrote it."""

import asyncio
import hashlib
import os
import select
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator

import pytest
from edgex_kit.bus.bus import Bus, Message
from edgex_kit.bus.mqtt_client import PatientSocket
from edgex_kit.wire.errors import Invalid

pytestmark = pytest.mark.integration

Until = Callable[..., Awaitable[None]]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, PatientSocket]]:
    """Two ends of one TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    near.setblocking(False)
    with near, far:
        yield far, PatientSocket(near)


def is_readable(end: PatientSocket, wait: float) -> bool:
    return bool(select.select([end], [], [], wait)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's select knows how much is wanted")
def test_a_reader_that_misses_something_is_woken_once_it_has_all_come(
    ends: tuple[socket.socket, PatientSocket],
) -> None:
    far, near = ends
    far.sendall(b"x" * 10)
    assert is_readable(near, 1)
    assert near.recv(1000) == b"x" * 10
    with pytest.raises(BlockingIOError):
        near.recv(990)

    far.sendall(b"y" * 900)
    assert not is_readable(near, 0.05)
    far.sendall(b"z" * 90)
    assert is_readable(near, 1)
    assert near.recv(990) == b"y" * 900 + b"z" * 90

    far.sendall(b"!")
    assert is_readable(near, 1)


def test_a_reader_that_misses_something_hears_that_nothing_more_will_come(
    ends: tuple[socket.socket, PatientSocket],
) -> None:
    far, near = ends
    with pytest.raises(BlockingIOError):
        near.recv(1000)
    far.sendall(b"x")
    far.close()
    assert is_readable(near, 1)
    assert near.recv(1000) == b"x"
    assert near.recv(999) == b""


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_message_is_written_by_the_thread_that_publishes_it(bus: Bus, unique: str, qos: int) -> None:
    connection = bus._client._sock
    assert isinstance(connection, PatientSocket)
    writers, send, sendmsg = [], connection.send, connection.sendmsg

    def noted(data: bytes) -> int:
        writers.append(threading.current_thread())
        return send(data)

    def noted_parts(parts: Iterable[bytes]) -> int:
        writers.append(threading.current_thread())
        return sendmsg(parts)

    connection.send = noted  # type: ignore[method-assign, assignment]
    connection.sendmsg = noted_parts  # type: ignore[method-assign, assignment]
    bus.publish(f"{unique}/x", b"some", b"more", qos=qos)
    assert writers == [threading.current_thread()]


async def test_no_message_waits_in_the_kernel_for_what_the_broker_says_to_the_one_before(bus: Bus) -> None:
    connection = bus._client._sock
    assert connection is not None
    with socket.socket(fileno=os.dup(connection.fileno())) as seen:
        assert seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("size", [0, 1, 200_000, 5_000_000])
@pytest.mark.parametrize("qos", [0, 1])
async def test_parts_arrive_as_one_message(bus: Bus, other: Bus, unique: str, size: int, qos: int) -> None:
    parts = [os.urandom(size), b"", os.urandom(100)]
    async with other.messages(f"{unique}/#") as messages:
        assert await other.settle(10)
        bus.publish(f"{unique}/x", *parts, qos=qos)
        async with asyncio.timeout(20):
            assert (await anext(messages)).data == b"".join(parts)


async def test_what_does_not_fit_into_the_socket_goes_out_before_anything_else(
    bus: Bus, other: Bus, unique: str, until: Until
) -> None:
    connection = bus._client._sock
    assert isinstance(connection, PatientSocket)
    sendmsg, send = connection.sendmsg, connection.send
    is_full = threading.Event()

    def half(parts: Iterable[bytes]) -> int:
        if not is_full.is_set():
            is_full.set()
            bus.subscribe(f"{unique}/asked for meanwhile", print)  # waits in paho's queue before the rest does
        return sendmsg([b"".join(parts)[:1000]])

    def refused(data: bytes) -> int:
        if is_full.is_set():
            raise BlockingIOError
        return send(data)

    connection.sendmsg, connection.send = half, refused  # type: ignore[method-assign, assignment]
    async with other.messages(f"{unique}/#") as messages:
        assert await other.settle(10)
        first = bus.publish(f"{unique}/x", b"a" * 900, b"b" * 900)
        second = bus.publish(f"{unique}/x", b"behind it")
        assert first is not None
        assert second is not None
        assert not first.is_done
        assert not second.is_done
        is_full.clear()
        async with asyncio.timeout(20):
            assert (await anext(messages)).data == b"a" * 900 + b"b" * 900
            assert (await anext(messages)).data == b"behind it"
    await until(lambda: first.is_done and second.is_done)


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "x" * 65536])
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_topic_that_cannot_be_published_on_is_refused(bus: Bus, topic: str, qos: int) -> None:
    with pytest.raises(Invalid):
        bus.publish(topic, b"some", qos=qos)


async def test_messages_of_many_threads_arrive_whole_and_in_the_order_of_each(
    bus: Bus, other: Bus, unique: str, until: Until
) -> None:
    came: list[Message] = []
    other.subscribe(f"{unique}/#", came.append)
    assert await other.settle(10)

    def send(thread: int) -> None:
        for number in range(30):
            body = number.to_bytes(4, "big") + os.urandom(150_000)
            bus.publish(f"{unique}/{thread}", hashlib.sha256(body).digest() + body, qos=number % 2)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    await until(lambda: len(came) == 120, 30)  # 18 MB, on a machine with other things to do

    for message in came:
        assert hashlib.sha256(message.data[32:]).digest() == message.data[:32]
    for thread in range(4):
        order = [int.from_bytes(it.data[32:36], "big") for it in came if it.topic == f"{unique}/{thread}"]
        # Those without a receipt may overtake others that wait for theirs (MQTT 3.1.1, 4.6).
        assert [number for number in order if number % 2 == 0] == list(range(0, 30, 2))
        assert [number for number in order if number % 2] == list(range(1, 30, 2))
