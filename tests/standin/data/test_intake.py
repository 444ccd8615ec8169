import asyncio
import contextlib
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from edgex_kit.bus.bus import Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.messages import new_id
from edgex_kit.wire.topics import Topics
from edgex_standin.address import Address
from edgex_standin.core import Core
from edgex_standin.data import events
from edgex_standin.data import intake as data_intake
from edgex_standin.data.intake import Intake, event_of
from edgex_standin.store import IN_MEMORY, open_store

TOPIC = "edgex/events/device/svc/p/cam/Count"


def request_of(value: str = "1", **fields: Any) -> dict[str, Any]:
    shared = {"deviceName": "cam", "profileName": "p", "origin": 1795334685911810108}
    reading = {"resourceName": "Count", "valueType": "Int32", "value": value, **shared}
    event = {"apiVersion": "v3", "id": new_id(), "sourceName": "Count", "readings": [reading], **shared, **fields}
    return {"apiVersion": "v3", "requestId": "", "event": event}


@contextlib.asynccontextmanager
async def taking(broker: Address, base: str) -> AsyncIterator[tuple[Core, Callable[[bytes], Any]]]:
    """A core-data that only listens, and a way to tell it something."""
    settings = BusSettings(broker.host, broker.port)
    async with open_store(IN_MEMORY) as store, open_bus(settings) as bus, asyncio.TaskGroup() as tasks:
        core = Core(store=store, bus=bus, topics=Topics(base), places={}, broker=broker)
        intake = tasks.create_task(Intake(core).run())
        await asyncio.sleep(0)
        assert await bus.settle(5)
        yield core, lambda data: bus.publish(f"{base}/events/device/svc/p/cam/Count", data)
        intake.cancel()


async def count(core: Core, wanted: int) -> int:
    async with asyncio.timeout(10):
        while (found := await core.store.run(events.count_events)) < wanted:
            await asyncio.sleep(0.01)
    return found


def malformed(seed: int) -> bytes:
    """A good message with something cut out, put in or exchanged; never a good one."""
    chance = random.Random(seed)
    data = bytearray(codec.encode(request_of()))
    kind = seed % 5
    if kind == 0:
        return bytes(data[: chance.randrange(len(data) - 1)])
    if kind == 1:
        return chance.randbytes(chance.randrange(1, 2000))
    if kind == 2:
        return json.dumps({"payload": chance.choice([None, [], 5, "x", {"event": []}, {"event": None}])}).encode()
    if kind == 3:
        wrong = chance.choice([{"id": "x"}, {"readings": {}}, {"origin": "now"}, {"tags": []}, {"deviceName": 5}])
        return codec.encode(request_of(**wrong))
    return codec.encode(request_of(value=chance.choice(["", "1.5", "many", "99999999999"])))


async def test_a_thousand_malformed_messages_are_dropped_one_by_one(
    broker: Address, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="edgex_standin.data.intake")
    async with taking(broker, unique) as (core, tell):
        for seed in range(1000):
            tell(malformed(seed) or b"{")
        tell(codec.encode(request_of()))
        assert await count(core, 1) == 1
    dropped = [record for record in caplog.records if "was dropped" in record.message]
    assert len(dropped) == 1000
    assert not any(record.exc_info for record in dropped), "a message broke the code instead of being refused"


async def test_a_burst_of_good_messages_is_stored_whole(broker: Address, unique: str) -> None:
    async with taking(broker, unique) as (core, tell):
        for n in range(1000):
            tell(codec.encode(request_of(value=str(n))))
        assert await count(core, 1000) == 1000


async def test_a_flood_is_cut_off_at_its_bytes_and_said_once(
    broker: Address, unique: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    message = Message(TOPIC, codec.encode(request_of()))
    monkeypatch.setattr(data_intake, "WAITING", 3 * len(message.data))
    async with taking(broker, unique) as (core, _tell):
        intake = Intake(core)
        for _ in range(10):
            intake._deliver(message)
        assert len(intake._queue) == 3
    assert sum("events come faster" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("edgex/events/device/svc/p/cam/Other", "sourceName Count mismatches with the name Other received in topic"),
        ("edgex/events/device/svc/p/cam2/Count", "deviceName cam mismatches with the name cam2 received in topic"),
        ("edgex/events/device/svc/q/cam/Count", "profileName p mismatches with the name q received in topic"),
        ("edgex/events/device/Count", "invalid message topic"),
    ],
)
def test_a_topic_that_names_something_else_is_refused(topic: str, said: str) -> None:
    with pytest.raises(EdgexError, match=said):
        event_of(Message(topic, codec.encode(request_of())))


def test_more_levels_before_the_names_do_not_matter() -> None:
    assert event_of(Message("edgex/events/device/gateway/7/svc/p/cam/Count", codec.encode(request_of())))


def test_origins_that_came_as_floats_are_whole_numbers() -> None:
    event = event_of(Message(TOPIC, codec.encode(request_of(origin=1.5e18))))
    assert (event["origin"], type(event["origin"])) == (1500000000000000000, int)
