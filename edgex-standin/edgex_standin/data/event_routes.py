"""core-data's events over REST (contract 8.1)."""

import base64
import logging
import sqlite3
import time
from typing import Any

import msgspec
from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Invalid, Malformed, NotFound, TooLarge
from edgex_kit.wire.messages import API, CBOR, Envelope
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin.core import Core
from edgex_standin.data import events
from edgex_standin.data.event_shape import take_event
from edgex_standin.data.events import Limits, Which
from edgex_standin.data.reading_values import as_text, number_of
from edgex_standin.paging import page_of, time_range
from edgex_standin.rules import is_uuid
from edgex_standin.web import answer, correlation_of, is_true, json_of, listing, route

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
        ]

    async def add(self, request: Request) -> Response:
        """Publish, then check the names, then store: in this order, as core-data does."""
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
        """Of everybody or of one device, of all times or of some."""
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
        """On events/core, with the request's own content type, whatever it is (contract 8.1)."""
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
