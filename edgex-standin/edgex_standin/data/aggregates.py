"""`?aggregateFunc=` over readings (contract 8.1): one value for each device, resource and value type."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.values import FLOATS, INTEGERS, NUMBERS

from edgex_standin.data.event_shape import Reading
from edgex_standin.data.events import Which
from edgex_standin.data.reading_values import number_of
from edgex_standin.paging import Page

_FUNCTIONS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "MIN": min,
    "MAX": max,
    "SUM": sum,
    "COUNT": len,
    "AVG": lambda numbers: sum(numbers) / len(numbers),
}


def aggregate(db: sqlite3.Connection, which: Which, page: Page, name: str) -> list[Reading]:
    """Aggregated readings, by device. Part of a store job. Raises Invalid for a function there is not."""
    function = name.upper()
    if function not in _FUNCTIONS:
        raise Invalid("invalid aggregate function specified")
    where, values = which.sql()
    groups: dict[tuple[str, str, str, str], list[Any]] = {}
    query = f"select device, resource, profile, type, value from reading where {where} order by device"  # noqa: S608
    for device, resource, profile, kind, text in db.execute(query, values):
        numbers = groups.setdefault((device, resource, profile, kind), [])
        if kind in NUMBERS and text is not None:
            numbers.append(number_of(text, kind))
    found = list(groups.items())[page.offset : page.offset + page.limit]
    return [_reading(group, function, numbers) for group, numbers in found]


def _reading(group: tuple[str, str, str, str], function: str, numbers: list[Any]) -> Reading:
    """What has no numbers has a count of 0 and otherwise an empty value of its own type."""
    device, resource, profile, kind = group
    head = {"deviceName": device, "resourceName": resource, "profileName": profile}
    if not numbers and function != "COUNT":
        return {**head, "valueType": kind, "value": ""}
    return {**head, "valueType": _type_of(function, kind), "value": _FUNCTIONS[function](numbers)}


def _type_of(function: str, kind: str) -> str:
    """Counts are Uint64, averages Float64, anything else the widest of its family."""
    if function == "COUNT":
        return "Uint64"
    if function == "AVG" or kind in FLOATS:
        return "Float64"
    return "Uint64" if INTEGERS[kind][0] == 0 else "Int64"
