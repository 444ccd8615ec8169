"""core-data's events and readings over REST (edgex-go openapi/core-data.yaml)."""

import base64
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Invalid, Malformed, NotFound, TooLarge
from edgex_kit.wire.messages import API, CBOR, Envelope
from edgex_kit.wire.values import FLOATS, INTEGERS, NUMBERS
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin.core import Core
from edgex_standin.data import events
from edgex_standin.data.events import Limits, Which, Write
from edgex_standin.data.values import Reading, as_text, number_of, take_event
from edgex_standin.shapes import is_uuid
from edgex_standin.web import Page, answer, correlation_of, is_true, json_of, listing, page_of, route, time_range

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


log = logging.getLogger(__name__)

MAX_EVENT_KB = 25_000  # core-data's MaxEventSize
_ADDRESS = ("serviceName", "profileName", "deviceName", "sourceName")


class Events:
    """The /event routes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._limits = Limits(core.keep_events, core.keep_bytes)

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/event/{serviceName}/{profileName}/{deviceName}/{sourceName}", self.add),
            route("GET", "/event/all", self.all),
            route("GET", "/event/count", self.count),
            route("GET", "/event/count/device/name/{name}", self.count),
            route("GET", "/event/device/name/{name}", self.all),
            route("DELETE", "/event/device/name/{name}", self.delete_of_device),
            route("GET", "/event/id/{id}", self.get),
            route("DELETE", "/event/id/{id}", self.delete),
            route("GET", "/event/start/{start}/end/{end}", self.all),
            route("DELETE", "/event/age/{age}", self.delete_old),
            route("GET", "/standin/deviceinfo/count", self.count_device_info),
        ]

    async def add(self, request: Request) -> Response:
        """Publish, then check the names, then store: core-data's order."""
        if int(request.headers.get("content-length") or 0) > MAX_EVENT_KB * 1024:
            raise TooLarge(f"request size exceed {MAX_EVENT_KB} KB")
        body = await _body_of(request)
        event, request_id = take_event(body)
        await self._republish(request, body)
        for key in _ADDRESS[1:]:
            if event[key] != name_of(request, key):
                raise Invalid(f"event's {key} {event[key]} mismatches {name_of(request, key)}")
        await self._core.store.run(lambda db: events.insert(db, event, self._limits))
        head = {"requestId": request_id} if request_id else {}
        return Json({"apiVersion": API, **head, "statusCode": 201, "id": event["id"]}, 201)

    async def all(self, request: Request) -> Response:
        """Of all devices or one, of all times or a range."""
        which = which_of(request)
        write = number_of if is_true(request, "numeric") else as_text
        page = page_of(request.query_params, self._core.max_results, least_offset=-1)

        def job(db: sqlite3.Connection) -> tuple[list[Any], int]:
            return page.of(
                lambda: events.count_events(db, which), lambda part: events.select_events(db, which, part, write)
            )

        return listing("events", *await self._core.store.run(job))

    async def count(self, request: Request) -> Response:
        which = which_of(request)
        return answer(count=await self._core.store.run(lambda db: events.count_events(db, which)))

    async def count_device_info(self, _request: Request) -> Response:
        """Of the stand-in alone: the rows that core-data would have in its table device_info."""
        return answer(count=await self._core.store.run(events.count_device_info))

    async def get(self, request: Request) -> Response:
        ident = _id_of(request, "fail to parse id as an UUID")
        event = await self._core.store.run(lambda db: events.find_event(db, ident))
        if event is None:
            raise NotFound(f"no event with id '{ident}' found")
        return answer(event=event)

    async def delete(self, request: Request) -> Response:
        ident = _id_of(request, "Failed to parse ID as an UUID")

        def job(db: sqlite3.Connection) -> None:
            if events.find_event(db, ident) is None:
                raise NotFound(f"no event with id '{ident}' found")
            events.delete_event(db, ident)

        await self._core.store.run(job)
        return answer()

    async def delete_of_device(self, request: Request) -> Response:
        which = which_of(request)
        if not (which.device or "").strip():
            raise Invalid("blank device name is not allowed")
        await self._core.store.run(lambda db: events.delete_events(db, which))
        return answer(202)

    async def delete_old(self, request: Request) -> Response:
        """Events older than so many nanoseconds."""
        age = request.path_params["age"]
        if not age.isascii() or not age.isdigit():
            raise Invalid("age format parsing failed")
        before = Which(end=max(time.time_ns() - int(age), 0))
        await self._core.store.run(lambda db: events.delete_events(db, before))
        return answer(202)

    async def _republish(self, request: Request, body: Any) -> None:
        """On events/core, with the content type of the request, whatever it is, as core-data does."""
        kind = request.headers.get("content-type", "")
        payload = base64.b64encode(await request.body()).decode() if kind == CBOR else body
        envelope = Envelope(correlation_id=correlation_of(request), payload=payload, content_type=kind)
        topics = self._core.topics
        topic = topics.join("events", "core", *(topics.name(name_of(request, key)) for key in _ADDRESS))
        if self._core.bus.publish(topic, msgspec.json.encode(envelope)) is None:
            log.warning("an event of '%s' was not passed on: no message broker", name_of(request, "deviceName"))


def which_of(request: Request) -> Which:
    """What a path selects: device, resource, time range."""
    names = {key: name_of(request, key) for key in ("name", "resource") if key in request.path_params}
    start, end = time_range(request.path_params) if "start" in request.path_params else (0, events.MAX_ORIGIN)
    resources = (names["resource"],) if "resource" in names else ()
    return Which(names.get("name"), resources, start, end)


async def _body_of(request: Request) -> Any:
    if request.headers.get("content-type", "").lower() != CBOR:
        return await json_of(request)
    try:
        return codec.decode_body(CBOR, await request.body())
    except Malformed as error:
        raise Invalid("*requests.AddEventRequest cbor decoding failed") from error


def _id_of(request: Request, refusal: str) -> str:
    ident = name_of(request, "id")
    if not is_uuid(ident):
        raise Invalid(refusal)
    return ident


_RANGE = "/start/{start}/end/{end}"


class Readings:
    """The /reading routes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        lists = (
            "/reading/all",
            f"/reading{_RANGE}",
            "/reading/resourceName/{resource}",
            f"/reading/resourceName/{{resource}}{_RANGE}",
            "/reading/device/name/{name}",
            f"/reading/device/name/{{name}}{_RANGE}",
            "/reading/device/name/{name}/resourceName/{resource}",
            f"/reading/device/name/{{name}}/resourceName/{{resource}}{_RANGE}",
        )
        counts = ("/reading/count", "/reading/count/device/name/{name}")
        return [
            *(route("GET", path, self.all) for path in lists),
            *(route("GET", path, self.count) for path in counts),
        ]

    async def all(self, request: Request) -> Response:
        which = await _which_of(request)
        page = page_of(request.query_params, self._core.max_results, least_offset=-1)
        function = request.query_params.get("aggregateFunc", "")
        if function:
            found = await self._core.store.run(lambda db: aggregate(db, which, page.from_start(), function))
            return answer(aggregateFunc=function, readings=found)
        return await self._list(which, page, number_of if is_true(request, "numeric") else as_text)

    async def count(self, request: Request) -> Response:
        which = which_of(request)
        return answer(count=await self._core.store.run(lambda db: events.count_readings(db, which)))

    async def _list(self, which: Which, page: Page, write: Write) -> Response:
        def job(db: sqlite3.Connection) -> tuple[list[Any], int]:
            return page.of(
                lambda: events.count_readings(db, which), lambda part: events.select_readings(db, which, part, write)
            )

        return listing("readings", *await self._core.store.run(job))


async def _which_of(request: Request) -> Which:
    """What the path selects; a body may narrow a device and time range down to some resources."""
    which = which_of(request)
    if which.device is None or which.resources or "start" not in request.path_params or not await request.body():
        return which
    body = await json_of(request)
    names = body.get("resourceNames", []) if isinstance(body, dict) else []
    if not isinstance(names, list):
        raise Invalid("query criteria [resourceNames] not in expected format")
    return replace(which, resources=tuple(name for name in names if isinstance(name, str)))
