"""The key-value pairs of core-keeper. Calls are parts of store jobs. Values are text."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from edgex_kit.wire.errors import Invalid, NotFound

from edgex_standin.documents import now_ms

_ALLOWED = re.compile(r"[a-zA-Z0-9\-_~;=./%]+")


@dataclass(frozen=True, slots=True)
class Pair:
    """A stored key; times in milliseconds."""

    key: str
    value: str
    created: int
    modified: int


def check_key(key: str) -> str:
    """`key` itself. Raises Invalid for one core-keeper refuses."""
    if not _ALLOWED.fullmatch(key):
        raise Invalid("key only allows characters between a to z, A to Z, 0 to 9, or one of -_ ~;=./%")
    return key


def find(db: sqlite3.Connection, prefix: str) -> list[Pair]:
    """`prefix` itself and every key below it."""
    rows = db.execute(
        "select key, value, created, modified from kv where key = ? or substr(key, 1, ?) = ? order by rowid",
        (prefix, len(prefix) + 1, prefix + "/"),
    )
    return [Pair(*row) for row in rows]


def is_on(db: sqlite3.Connection, service: str, path: str, *, default: bool = False) -> bool:
    """A flag of a core service's configuration as it is in core-keeper now; `path` is below the service's key."""
    row = db.execute("select value from kv where key = ?", (f"edgex/v4/{service}/{path}",)).fetchone()
    return default if row is None else row[0].lower() == "true"


def put(db: sqlite3.Connection, key: str, text: str) -> None:
    stamp = now_ms()
    db.execute(
        "insert into kv (key, value, created, modified) values (?, ?, ?, ?) "
        "on conflict (key) do update set value = excluded.value, modified = excluded.modified",
        (key, text, stamp, stamp),
    )


def put_flat(db: sqlite3.Connection, key: str, value: Any) -> list[str]:
    """One key for each leaf of `value`; the keys that were written."""
    pairs = list(flatten(key, value))
    for leaf, text in pairs:
        put(db, leaf, text)
    return [leaf for leaf, _ in pairs]


def delete(db: sqlite3.Connection, key: str, *, with_children: bool) -> list[str] | None:
    """Delete `key`, and the keys below it if `with_children`. Raises NotFound.

    None when it has children that stay: the key is deleted all the same, and core-keeper answers a conflict.
    """
    found = [pair.key for pair in find(db, key)]
    if not found:
        raise NotFound(f"key '{key}' not found")
    going = found if with_children else [key]
    db.executemany("delete from kv where key = ?", [(one,) for one in going])
    return found if with_children or found == [key] else None


def flatten(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Leaves with their text; empty maps and nulls vanish, and a list becomes "", as in core-keeper 4.0."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from flatten(f"{key}/{name.strip('/')}", below)
    elif isinstance(value, list):
        yield key, ""
    elif value is not None:
        yield key, text_of(value)


def text_of(value: Any) -> str:
    """A value as core-keeper stores it under one key: scalars as text, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(repr(value)).normalize(), "f")
    text = msgspec.json.encode(value, order="sorted").decode()
    for char in "<>&":  # Go's JSON is made for web pages
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
