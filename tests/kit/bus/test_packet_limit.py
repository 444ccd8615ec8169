"""A broker that ends the connection for large messages costs those messages, and nothing else."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from edgex_kit.bus import packet_limit
from edgex_kit.bus.bus import Bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.bus.packet_limit import PacketLimit
from edgex_kit.wire.errors import TooLarge

from tests.kit.brokers import run_mosquitto

pytestmark = [pytest.mark.integration, pytest.mark.fault(9)]

LIMIT = 50_000  # bytes

Until = Callable[..., Awaitable[None]]
OpenClient = Callable[..., AbstractAsyncContextManager[Bus]]


async def test_large_messages_are_held_back_and_the_others_go_on(
    tmp_path: Path, open_client: OpenClient, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    with run_mosquitto(tmp_path, "allow_anonymous true", f"max_packet_size {LIMIT}") as address:
        async with open_client(address, "limited") as bus, bus.messages("t/#") as messages:
            assert bus.max_packet == 0
            bus.publish("t/large", b"x" * LIMIT)
            await until(lambda: bus.connects == 2 and bus.max_packet == LIMIT)
            assert await bus.settle(10)
            for _ in range(5):
                with pytest.raises(TooLarge, match=f"'t/large' is larger than the {LIMIT} bytes"):
                    bus.publish("t/large", b"x" * LIMIT)
            bus.publish("t/small", b"still here")
            assert (await anext(messages)).data == b"still here"
            assert bus.losses == 1
    assert caplog.text.count(f"at most {LIMIT} bytes") == 1


async def test_a_large_message_that_waits_for_its_acknowledgement_is_not_sent_again_for_ever(
    tmp_path: Path, open_client: OpenClient, until: Until
) -> None:
    with run_mosquitto(tmp_path, "allow_anonymous true", f"max_packet_size {LIMIT}") as address:
        async with open_client(address, "limited") as bus, bus.messages("t/#") as messages:
            sending = bus.publish("t/large", b"x" * LIMIT, qos=1)
            assert sending is not None
            await until(lambda: sending.is_done)
            await until(lambda: bus.is_connected)
            assert await bus.settle(10)
            bus.publish("t/small", b"still here", qos=1)
            assert (await anext(messages)).data == b"still here"


async def test_a_limit_that_was_lifted_is_forgotten_at_the_next_connection(
    tmp_path: Path, open_client: OpenClient, until: Until
) -> None:
    with run_mosquitto(tmp_path, "allow_anonymous true", f"max_packet_size {LIMIT}") as address:
        async with open_client(address, "limited") as bus:
            bus.publish("t/large", b"x" * LIMIT)
            await until(lambda: bus.max_packet == LIMIT)
    with run_mosquitto(tmp_path, "allow_anonymous true") as address:
        limit = bus._limit
        limit.ask(BusSettings(host=address.host, port=address.port, client_id="limited"))
        await until(lambda: limit.bytes == 0)
        limit.check(LIMIT * 2, "t/large", "here")


def lose(limit: PacketLimit, size: int) -> None:
    limit.check(size, "t", "here")
    limit.lost(BusSettings())


def test_without_an_answer_a_size_is_assumed_too_large_after_three_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_limit, "_limit_of", lambda _: None)
    limit = PacketLimit()
    for size in (50_000, 40_000):
        lose(limit, size)
    limit.check(50_000, "t", "here")
    limit.lost(BusSettings())
    deadline = time.monotonic() + 5
    while not limit.bytes:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert 40_000 < limit.bytes < 40_100
    with pytest.raises(TooLarge):
        limit.check(40_100, "t", "here")
    limit.check(1000, "t", "here")


@pytest.mark.fault(9)
def test_a_bad_link_makes_no_small_message_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_limit, "_limit_of", lambda _: None)
    limit = PacketLimit()
    for _ in range(6):
        limit.check(60, "t", "here")
        limit.lost(BusSettings())
        time.sleep(0.02)
    assert limit.bytes == 0


def test_the_largest_message_is_suspected_however_long_the_small_ones_went_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(packet_limit, "_PROVED", 0.1)
    monkeypatch.setattr(PacketLimit, "ask", lambda _self, _settings, _size, topic: asked.append(topic))
    limit = PacketLimit()
    limit.check(100, "small", "here")
    time.sleep(0.09)
    limit.check(5000, "large", "here")
    time.sleep(0.05)
    limit.lost(BusSettings())
    assert asked == ["large"]


def test_a_size_that_the_broker_took_is_not_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_limit, "_limit_of", lambda _: None)
    monkeypatch.setattr(packet_limit, "_PROVED", 0.01)
    limit = PacketLimit()
    for _ in range(5):
        limit.check(5000, "t", "here")
        time.sleep(0.02)
        limit.check(5000, "t", "here")
        limit.lost(BusSettings())
    time.sleep(0.1)
    assert limit.bytes == 0
