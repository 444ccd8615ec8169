"""The bus while brokers come and go: subscriptions that last, messages that wait, and one line for each outage."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from edgex_kit.bus.bus import Bus, BusSettings, open_bus
from edgex_kit.wire.errors import Unreachable

from tests.kit.brokers import Killable

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
