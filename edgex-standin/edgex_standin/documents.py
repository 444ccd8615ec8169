"""Named things as JSON documents: devices, profiles, services, watchers, registrations. Calls are parts of store jobs.

Oldest first, as EdgeX lists them.
"""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from edgex_kit.wire.errors import Invalid, NotFound
from edgex_kit.wire.messages import new_id

from edgex_standin.web import Page

Kind = Literal["device", "deviceprofile", "deviceservice", "provisionwatcher", "registration"]
Doc = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Where:
    """What a document must have: fields by dotted path, and all of the labels."""

    equal: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def sql(self, kind: Kind) -> tuple[str, list[str]]:
        clauses, values = ["kind = ?"], [str(kind)]
        for path, value in self.equal.items():
            clauses.append("json_extract(doc, ?) = ?")
            values += [f"$.{path}", value]
        for label in self.labels:
            clauses.append("exists (select 1 from json_each(doc, '$.labels') where value = ?)")
            values.append(label)
        return " and ".join(clauses), values


EVERYTHING = Where()


def now_ms() -> int:
    """Milliseconds, as EdgeX stamps `created` and `modified`."""
    return time.time_ns() // 1_000_000


def encode_json(value: Any) -> str:
    """JSON for the store: what JSON has no word for, such as NaN or a date of YAML, becomes null or text."""
    return msgspec.json.encode(value).decode()


def find(db: sqlite3.Connection, kind: Kind, name: str) -> Doc | None:
    row = db.execute("select doc from document where kind = ? and name = ?", (kind, name)).fetchone()
    return msgspec.json.decode(row[0]) if row else None


def find_by_id(db: sqlite3.Connection, kind: Kind, ident: str) -> Doc | None:
    row = db.execute("select doc from document where kind = ? and id = ?", (kind, ident)).fetchone()
    return msgspec.json.decode(row[0]) if row else None


def insert(db: sqlite3.Connection, kind: Kind, name: str, doc: Doc) -> Doc:
    """Store a new document with id and times, which come first in it; an id it brings is kept."""
    stamp = now_ms()
    stored = {"created": stamp, "modified": stamp, "id": doc.get("id") or new_id()}
    stored |= {key: value for key, value in doc.items() if key not in stored}
    row = (kind, name, stored["id"], stamp, encode_json(stored))
    db.execute("insert into document (kind, name, id, created, doc) values (?, ?, ?, ?, ?)", row)
    return stored


def replace(db: sqlite3.Connection, kind: Kind, name: str, doc: Doc) -> Doc:
    """Store a newer version of a document under its name, stamped."""
    stored = {**doc, "modified": now_ms()}
    db.execute("update document set doc = ? where kind = ? and name = ?", (encode_json(stored), kind, name))
    return stored


def delete(db: sqlite3.Connection, kind: Kind, name: str) -> None:
    db.execute("delete from document where kind = ? and name = ?", (kind, name))


def count(db: sqlite3.Connection, kind: Kind, where: Where = EVERYTHING) -> int:
    clause, values = where.sql(kind)
    return int(db.execute(f"select count(*) from document where {clause}", values).fetchone()[0])  # noqa: S608


def select(
    db: sqlite3.Connection, kind: Kind, where: Where = EVERYTHING, offset: int = 0, limit: int = -1
) -> list[Doc]:
    """Documents from `offset`, at most `limit` unless that is -1."""
    clause, values = where.sql(kind)
    query = f"select doc from document where {clause} order by created, rowid limit ? offset ?"  # noqa: S608
    return _docs(db.execute(query, (*values, limit, offset)))


def page(db: sqlite3.Connection, kind: Kind, where: Where, part: Page) -> tuple[list[Doc], int]:
    """One page and the number of all. Raises OutOfRange for a page behind the end."""
    total = count(db, kind, where)
    part.within(total)
    return select(db, kind, where, part.offset, part.limit), total


def by_id_or_name(db: sqlite3.Connection, kind: Kind, change: Doc, called: str) -> Doc:
    """The document an update means: by its id if it gives one, else by its name; `called` is what Go calls it.

    Raises NotFound, and Invalid when both are given and do not belong together.
    """
    ident, name = change.get("id"), change.get("name")
    known = find_by_id(db, kind, ident) if ident else find(db, kind, name or "")
    if known is None:
        what = f"id '{ident}'" if ident else f"name '{name}'"
        raise NotFound(f"no {called} with {what} found")
    if name is not None and name != known["name"]:
        raise Invalid(
            f"{called} name '{name}' not match the exsting '{known['name']}' "
        )  # Go's spelling  # codespell:ignore exsting
    return known


def _docs(rows: Iterable[tuple[str]]) -> list[Doc]:
    return [msgspec.json.decode(row[0]) for row in rows]
