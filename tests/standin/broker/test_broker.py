import asyncio
import gc
import logging
import shutil
import socket

import pytest
from edgex_kit.bus.bus import open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.wire.errors import Invalid, Unavailable
from edgex_standin.address import Address, free_port
from edgex_standin.broker.broker import open_broker
from edgex_standin.broker.mosquitto import open_mosquitto

pytestmark = pytest.mark.integration


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("choice", ["mosquitto", "embedded"])
async def test_either_broker_carries_a_picture(choice: str) -> None:
    picture = bytes(range(256)) * 4096
    with open_broker(choice, "127.0.0.1", 0) as broker:
        settings = BusSettings(host=broker.address.host, port=broker.address.port)
        async with open_bus(settings) as bus, bus.messages("edgex/frames/#") as messages:
            assert await bus.settle(5)
            bus.publish("edgex/frames/a", picture)
            async with asyncio.timeout(5):
                assert (await anext(messages)).data == picture
    gc.collect()  # amqtt may leave a connection to it: here, and not in the middle of another test


async def test_a_broker_that_was_killed_comes_back_on_its_port() -> None:
    with open_broker("mosquitto", "127.0.0.1", 0) as broker:
        broker._child.kill()
        broker._child.wait()
        broker.revive()
        async with open_bus(BusSettings(host=broker.address.host, port=broker.address.port)) as bus:
            assert await bus.settle(5)


@pytest.mark.parametrize("choice", ["mosquitto", "embedded"])
def test_a_taken_port_is_named_with_the_remedy(choice: str) -> None:
    with open_broker(choice, "127.0.0.1", 0) as first:
        said = rf"127.0.0.1:{first.address.port}.*--broker <host>:<port>"
        with pytest.raises(Unavailable, match=said), open_broker(choice, "127.0.0.1", first.address.port):
            pass


@pytest.mark.parametrize("choice", ["mosquitto", "embedded"])
def test_a_free_port_that_somebody_takes_first_is_left_for_another(
    choice: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "edgex_standin.broker.broker")
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        taken = thief.getsockname()[1]
        ports = iter([taken, free_port("127.0.0.1")])
        monkeypatch.setattr("edgex_standin.broker.broker.free_port", lambda host: next(ports))
        with open_broker(choice, "127.0.0.1", 0) as broker:
            assert broker.address.port != taken
    assert f"127.0.0.1:{taken} was taken before the broker had it" in caplog.text


def test_a_mosquitto_that_ends_at_once_is_told_from_one_that_is_slow() -> None:
    address = Address("127.0.0.1", free_port("127.0.0.1"))
    said = f"mosquitto ended with code 1 before it listened on {address}"
    with pytest.raises(Unavailable, match=said), open_mosquitto(str(shutil.which("false")), address):
        pass


def test_a_broker_elsewhere_is_taken_as_it_is() -> None:
    with open_broker("some.host:1883", "127.0.0.1", 0) as broker:
        assert (broker.kind, broker.address) == ("external", Address("some.host", 1883))


def test_a_broker_that_is_none_is_refused() -> None:
    said = "'rabbit' is none of auto, mosquitto, embedded"
    with pytest.raises(Invalid, match=said), open_broker("rabbit", "127.0.0.1", free_port("127.0.0.1")):
        pass
