"""Events and readings in the store, newest first, within limits of number and bytes. Calls are parts of store jobs.

Readings refer to their event by its id, which is not unique, as in core-data 4.0: an event sent twice is stored twice,
each time with the readings of both.
"""

import base64
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.messages import API

from edgex_standin.core import DATA
from edgex_standin.data.values import Event, Reading, as_text, scalar_of
from edgex_standin.documents import encode_json
from edgex_standin.keeper import kv
from edgex_standin.web import Page

log = logging.getLogger(__name__)

MAX_ORIGIN = 2**63 - 1
MANY_DEVICE_INFO = 500  # sets of device, profile, source and tags; each time so many more are logged
Write = Callable[[str, str], Any]  # how a value's text is given back: text and type to JSON
_READING = "origin, device, resource, profile, type, units, tags, value, binary, media, object"


@dataclass(frozen=True, slots=True)
class Which:
    """Events or readings that are asked for; `resources` means readings only. Times are nanoseconds, both included."""

    device: str | None = None
    resources: tuple[str, ...] = ()
    start: int = 0
    end: int = MAX_ORIGIN

    def sql(self) -> tuple[str, list[Any]]:
        clauses = ["origin between ? and ?"]
        values: list[Any] = [self.start, self.end]
        if self.device is not None:
            clauses.append("device = ?")
            values.append(self.device)
        if self.resources:
            clauses.append(f"resource in ({', '.join('?' * len(self.resources))})")
            values += self.resources
        return " and ".join(clauses), values


EVERYTHING = Which()


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept, counted from the newest."""

    events: int
    bytes: int


def insert(db: sqlite3.Connection, event: Event, limits: Limits) -> None:
    """Store an event, and delete the oldest ones beyond the limits; nothing with Writable.PersistData false."""
    if not kv.is_on(db, DATA, "Writable/PersistData", default=True):
        return
    readings = event["readings"]
    _count_device_info(db, event)
    size = sum(_size_of(reading) for reading in readings)
    row = (event["id"], event["deviceName"], event["profileName"], event["sourceName"], event["origin"])
    db.execute(
        "insert into event (id, device, profile, source, origin, tags, bytes) values (?, ?, ?, ?, ?, ?, ?)",
        (*row, _json(event.get("tags")), size),
    )
    db.executemany(
        f"insert into reading (event_id, {_READING}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        [(event["id"], *_row_of(reading)) for reading in readings],
    )
    _prune(db, limits)


def _count_device_info(db: sqlite3.Connection, event: Event) -> None:
    """core-data keeps a row and a cache entry for each (device, profile, source, tags), and never deletes one.

    Tags that differ from event to event fill its database and slow it down until it does not start any more.
    """
    row = (event["deviceName"], event["profileName"], event["sourceName"], _json(event.get("tags")) or "")
    if not db.execute("insert or ignore into device_info values (?, ?, ?, ?)", row).rowcount:
        return
    count = count_device_info(db)
    if count % MANY_DEVICE_INFO == 0:
        log.warning(
            "%d different sets of device, profile, source and tags so far, the newest of source '%s' of device '%s'; "
            "core-data keeps each for ever, so tags must not differ from event to event",
            count, event["sourceName"], event["deviceName"],
        )  # fmt: skip


def count_device_info(db: sqlite3.Connection) -> int:
    """How many different sets of device, profile, source and tags were ever stored."""
    return int(db.execute("select count(*) from device_info").fetchone()[0])


def select_events(db: sqlite3.Connection, which: Which, page: Page, write: Write = as_text) -> list[Event]:
    where, values = which.sql()
    query = f"select id, device, profile, source, origin, tags from event where {where} order by origin desc, seq desc"  # noqa: S608
    rows = db.execute(f"{query} limit ? offset ?", (*values, page.limit, page.offset)).fetchall()
    return [_event_of(db, row, write) for row in rows]


def find_event(db: sqlite3.Connection, ident: str) -> Event | None:
    query = "select id, device, profile, source, origin, tags from event where id = ? order by seq desc"
    rows = db.execute(query, (ident,)).fetchall()
    if len(rows) > 1:
        raise EdgexError("failed to scan row to event model")  # what core-data says of an event that was sent twice
    row = rows[0] if rows else None
    return _event_of(db, row, scalar_of) if row else None  # here core-data writes numbers unasked


def select_readings(db: sqlite3.Connection, which: Which, page: Page, write: Write = as_text) -> list[Reading]:
    where, values = which.sql()
    query = f"select {_READING} from reading where {where} order by origin desc, seq limit ? offset ?"  # noqa: S608
    return [_reading_of(row, write) for row in db.execute(query, (*values, page.limit, page.offset))]


def count_events(db: sqlite3.Connection, which: Which = EVERYTHING) -> int:
    where, values = which.sql()
    return int(db.execute(f"select count(*) from event where {where}", values).fetchone()[0])  # noqa: S608


def count_readings(db: sqlite3.Connection, which: Which = EVERYTHING) -> int:
    where, values = which.sql()
    return int(db.execute(f"select count(*) from reading where {where}", values).fetchone()[0])  # noqa: S608


def delete_event(db: sqlite3.Connection, ident: str) -> None:
    db.execute("delete from reading where event_id = ?", (ident,))
    db.execute("delete from event where id = ?", (ident,))


def delete_events(db: sqlite3.Connection, which: Which) -> None:
    where, values = which.sql()
    db.execute(f"delete from reading where event_id in (select id from event where {where})", values)  # noqa: S608
    db.execute(f"delete from event where {where}", values)  # noqa: S608


def _prune(db: sqlite3.Connection, limits: Limits) -> None:
    """The oldest arrivals go; the newest stays whatever its size."""
    count, size = db.execute("select events, bytes from event_total").fetchone()
    while count > 1 and (count > limits.events or size > limits.bytes):
        seq, ident, freed = db.execute("select seq, id, bytes from event order by seq limit 1").fetchone()
        db.execute("delete from event where seq = ?", (seq,))
        db.execute("delete from reading where event_id = ?", (ident,))
        count, size = count - 1, size - freed


def _size_of(reading: Reading) -> int:
    data = reading.get("binaryValue")
    return (
        len(data)
        if data is not None
        else len(reading.get("value") or "") + len(_json(reading.get("objectValue")) or "")
    )


def _row_of(reading: Reading) -> tuple[Any, ...]:
    return (
        reading["origin"],
        reading["deviceName"],
        reading["resourceName"],
        reading["profileName"],
        reading["valueType"],
        reading.get("units"),
        _json(reading.get("tags")),
        reading.get("value"),
        reading.get("binaryValue"),
        reading.get("mediaType"),
        _json(reading.get("objectValue")),
    )


def _event_of(db: sqlite3.Connection, row: tuple[Any, ...], write: Write) -> Event:
    ident, device, profile, source, origin, tags = row
    query = f"select {_READING} from reading where event_id = ? order by seq"  # noqa: S608
    event = {"apiVersion": API, "id": ident, "deviceName": device, "profileName": profile, "sourceName": source}
    readings = [_reading_of(one, write) for one in db.execute(query, (ident,))]
    return {**event, "origin": origin, "readings": readings, **({"tags": msgspec.Raw(tags.encode())} if tags else {})}


def _reading_of(row: tuple[Any, ...], write: Write) -> Reading:
    """A reading as core-data gives it back: without its id."""
    origin, device, resource, profile, kind, units, tags, value, binary, media, document = row
    reading = {"origin": origin, "deviceName": device, "resourceName": resource, "profileName": profile}
    reading["valueType"] = kind
    if units:
        reading["units"] = units
    if tags:
        reading["tags"] = msgspec.Raw(tags.encode())
    if binary is not None:
        data = {"binaryValue": base64.b64encode(binary).decode()} if binary else {}
        return {**reading, **data, **({"mediaType": media} if media else {})}
    if document is not None:
        return {**reading, "objectValue": msgspec.Raw(document.encode())}
    if value is not None:
        return {**reading, "value": write(value, kind)}
    return {**reading, "value": None, "binaryValue": None, "objectValue": None}


def _json(value: Any) -> str | None:
    return None if value is None else encode_json(value)
