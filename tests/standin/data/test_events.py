import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from edgex_kit.wire.messages import new_id
from edgex_standin import store
from edgex_standin.data import events
from edgex_standin.data.events import EVERYTHING, Limits, Which
from edgex_standin.web import Page

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
