"""core-data: the checklist points it has to meet, and events in the store."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import cbor2
import msgspec
import pytest
from edgex_kit.service.clock import new_origin
from edgex_kit.wire import codec
from edgex_kit.wire.messages import CBOR, AddEventRequest, Event, Reading, new_id
from edgex_standin import store
from edgex_standin.data import events
from edgex_standin.data.events import EVERYTHING, Limits, Which
from edgex_standin.web import Page

from tests.standin.device_services import JPEG, bus_of


def event_request(name: str, source: str, reading: dict[str, Any], **fields: Any) -> dict[str, Any]:
    origin = new_origin()
    shared = {"deviceName": name, "profileName": "p", "origin": origin}
    readings = [{"resourceName": source, **shared, **reading}]
    event = {"apiVersion": "v3", "id": new_id(), "sourceName": source, **shared, "readings": readings, **fields}
    return {"apiVersion": "v3", "requestId": "", "event": event}


async def test_85_a_frame_in_cbor_is_stored_and_given_back_in_base64(edgex: Any, ask: Any, unique: str) -> None:
    origin = new_origin()
    shared = {"origin": origin, "device_name": unique, "profile_name": "p"}
    reading = Reading(resource_name="Frame", value_type="Binary", binary_value=JPEG, media_type="image/jpeg", **shared)
    event = Event(api_version="v3", id=new_id(), source_name="Frame", readings=(reading,), **shared)
    async with bus_of(edgex) as bus:
        data = codec.encode(AddEventRequest(event=event))
        assert codec.decode_envelope(data).content_type == CBOR
        bus.publish(f"edgex/events/device/svc/p/{unique}/Frame", data)
        stored = await _stored(edgex, ask, unique, 1)
    kept = stored["events"][0]["readings"][0]
    assert (kept["binaryValue"], kept["mediaType"]) == (base64.b64encode(JPEG).decode(), "image/jpeg")
    assert stored["events"][0]["origin"] == origin
    assert "id" not in kept


async def test_85_the_newest_comes_first(edgex: Any, ask: Any, unique: str) -> None:
    async with bus_of(edgex) as bus:
        for n in range(3):
            body = event_request(unique, "Count", {"valueType": "Int32", "value": str(n)})
            bus.publish(f"edgex/events/device/svc/p/{unique}/Count", codec.encode(body))
        stored = await _stored(edgex, ask, unique, 3)
    assert [event["readings"][0]["value"] for event in stored["events"]] == ["2", "1", "0"]


async def test_85_what_does_not_belong_is_dropped_and_the_next_is_stored(edgex: Any, ask: Any, unique: str) -> None:
    def body(**fields: Any) -> dict[str, Any]:
        return event_request(unique, "Count", {"valueType": "Int32", "value": "1"}, **fields)

    topic = f"edgex/events/device/svc/p/{unique}/Count"
    wrong = [
        (f"edgex/events/device/svc/p/{unique}/Other", codec.encode(body())),
        (f"edgex/events/device/svc/q/{unique}/Count", codec.encode(body())),
        (f"edgex/events/device/svc/p/{unique}-2/Count", codec.encode(body())),
        ("edgex/events/device/Count", codec.encode(body())),
        (f"edgex/events/app/svc/p/{unique}/Count", codec.encode(body())),
        (f"edgex/frames/svc/p/{unique}/Count", codec.encode(body())),
        (topic, codec.encode(body()["event"])),  # not wrapped in an AddEventRequest
        (topic, codec.encode(body(id=""))),
        (topic, codec.encode(body(apiVersion=""))),
        (topic, codec.encode(body(readings=[]))),
        (topic, codec.encode(body()).replace(b'"application/json"', b'"application/json; charset=utf-8"')),
        (
            topic,
            json.dumps({"apiVersion": "v3", "payload": json.dumps(body()), "contentType": "application/json"}).encode(),
        ),
    ]
    async with bus_of(edgex) as bus:
        for where, data in wrong:
            bus.publish(where, data)
        good = body()
        bus.publish(topic, codec.encode(good))
        stored = await _stored(edgex, ask, unique, 1)
        await asyncio.sleep(0.1)
        assert [event["id"] for event in (await _stored(edgex, ask, unique, 1))["events"]] == [good["event"]["id"]]
    assert stored["totalCount"] == 1


async def test_85_escaped_names_in_a_topic_are_the_names_in_the_event(edgex: Any, ask: Any, unique: str) -> None:
    async with bus_of(edgex) as bus:
        body = event_request(f"{unique}/b c", "Count", {"valueType": "Int32", "value": "1"})
        bus.publish(f"edgex/events/device/svc/p/{unique.replace('-', '%2D')}%2Fb%20c/Count", codec.encode(body))
        assert (await _stored(edgex, ask, f"{unique}%2Fb%20c", 1))["totalCount"] == 1


async def test_85_an_event_over_rest_is_passed_on_with_its_own_content_type(edgex: Any, ask: Any, unique: str) -> None:
    body = event_request(unique, "Count", {"valueType": "Int32", "value": "1"})
    url = f"{edgex.data}/api/v3/event/svc/p/{unique}/Count"
    async with bus_of(edgex) as bus, bus.messages(f"edgex/events/core/svc/p/{unique}/#") as events:
        assert await bus.settle(5)
        for kind, data in (("application/json", json.dumps(body).encode()), (CBOR, cbor2.dumps(body))):
            said = await asyncio.to_thread(ask, "POST", url, data=data, kind=kind)
            assert (said.status, said.body["id"]) == (201, body["event"]["id"])
            async with asyncio.timeout(5):
                envelope = codec.decode_envelope((await anext(events)).data)
            assert envelope.content_type == kind
            assert codec.event_of(envelope).id == body["event"]["id"]


async def _stored(edgex: Any, ask: Any, device: str, count: int) -> Any:
    url = f"{edgex.data}/api/v3/event/device/name/{device}"
    async with asyncio.timeout(10):
        while (said := await asyncio.to_thread(ask, "GET", url)).body["totalCount"] < count:
            await asyncio.sleep(0.02)
    return said.body


PLENTY = Limits(1000, 1 << 20)
ALL = Page(0, 1000)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = store._connect(store.IN_MEMORY)
    yield connection
    connection.close()


def event_of(origin: int, device: str = "cam", size: int = 1, **fields: Any) -> dict[str, Any]:
    shared = {"origin": origin, "deviceName": device, "profileName": "p"}
    reading = {"resourceName": "r", "valueType": "String", "value": "x" * size, **shared}
    return {"id": new_id(), "sourceName": "s", "readings": [reading], **shared, **fields}


def origins(db: sqlite3.Connection, which: Which = EVERYTHING) -> list[int]:
    return [event["origin"] for event in events.select_events(db, which, ALL)]


def test_the_oldest_go_when_there_are_too_many(db: sqlite3.Connection) -> None:
    for origin in range(1, 8):
        events.insert(db, event_of(origin), Limits(3, 1 << 20))
    assert origins(db) == [7, 6, 5]
    assert events.count_readings(db) == 3


def test_the_oldest_go_when_they_are_too_big(db: sqlite3.Connection) -> None:
    for origin in range(1, 8):
        events.insert(db, event_of(origin, size=400), Limits(1000, 1000))
    assert origins(db) == [7, 6]


def test_the_newest_stays_whatever_its_size(db: sqlite3.Connection) -> None:
    events.insert(db, event_of(1), Limits(10, 10))
    events.insert(db, event_of(2, size=5000), Limits(10, 10))
    assert origins(db) == [2]


def test_a_limit_made_smaller_takes_effect_with_the_next_event(db: sqlite3.Connection) -> None:
    for origin in range(1, 8):
        events.insert(db, event_of(origin), PLENTY)
    events.insert(db, event_of(8), Limits(2, 1 << 20))
    assert origins(db) == [8, 7]


def test_deleting_frees_its_place(db: sqlite3.Connection) -> None:
    for origin in range(1, 4):
        events.insert(db, event_of(origin, size=300), Limits(10, 1000))
    events.delete_events(db, EVERYTHING)
    for origin in range(4, 7):
        events.insert(db, event_of(origin, size=300), Limits(10, 1000))
    assert origins(db) == [6, 5, 4]


def test_events_are_found_by_device_and_time(db: sqlite3.Connection) -> None:
    for origin in range(1, 6):
        events.insert(db, event_of(origin, device="a" if origin % 2 else "b"), PLENTY)
    assert origins(db, Which("a")) == [5, 3, 1]
    assert origins(db, Which("a", start=2, end=3)) == [3]
    assert events.count_events(db, Which("none")) == 0


def test_what_came_late_but_happened_early_is_listed_where_it_belongs(db: sqlite3.Connection) -> None:
    for origin in (5, 1, 3):
        events.insert(db, event_of(origin), PLENTY)
    assert origins(db) == [5, 3, 1]


def test_a_null_reading_has_all_three_values_null(db: sqlite3.Connection) -> None:
    event = event_of(1)
    del event["readings"][0]["value"]
    events.insert(db, event, PLENTY)
    (reading,) = events.select_readings(db, EVERYTHING, ALL)
    assert (reading["value"], reading["binaryValue"], reading["objectValue"]) == (None, None, None)


def test_what_json_has_no_word_for_comes_back_as_json(db: sqlite3.Connection) -> None:
    event = event_of(1, tags={"a": float("nan")})
    event["readings"][0] |= {"valueType": "Object", "objectValue": {"score": float("inf"), "raw": b"\xff"}}
    events.insert(db, event, PLENTY)
    (found,) = events.select_events(db, EVERYTHING, ALL)
    assert msgspec.json.decode(msgspec.json.encode(found["tags"])) == {"a": None}
    value = msgspec.json.decode(msgspec.json.encode(found["readings"][0]["objectValue"]))
    assert value == {"score": None, "raw": "/w=="}
