"""core-metadata's device services."""

import sqlite3

from edgex_kit.service.rest import name_of
from edgex_kit.wire.errors import Conflict, NotFound
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.batches import Taken, answer_each, requests_of
from edgex_standin.core import Core
from edgex_standin.documents import Doc, Where
from edgex_standin.metadata import structs
from edgex_standin.metadata.messages import SystemEvents
from edgex_standin.web import answer, correlation_of, listing, page_of, route


class DeviceServices:
    """The /deviceservice routes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/deviceservice", self.add),
            route("PATCH", "/deviceservice", self.patch),
            route("GET", "/deviceservice/all", self.all),
            route("GET", "/deviceservice/name/{name}", self.get),
            route("DELETE", "/deviceservice/name/{name}", self.delete),
        ]

    async def add(self, request: Request) -> Response:
        events = SystemEvents(self._core, correlation_of(request))

        async def one(taken: Taken) -> str:
            service = taken["service"]
            service["properties"] = service["properties"] or {}
            stored = await self._core.store.run(lambda db: _insert(db, service))
            events.service("add", service)  # as it was sent: without id and times
            return str(stored["id"])

        return await answer_each(await requests_of(request, structs.ADD_SERVICE), 201, one)

    async def patch(self, request: Request) -> Response:
        events = SystemEvents(self._core, correlation_of(request))

        async def one(taken: Taken) -> str:
            events.service("update", await self._core.store.run(lambda db: _patch(db, taken["service"])))
            return ""

        return await answer_each(await requests_of(request, structs.UPDATE_SERVICE), 200, one)

    async def get(self, request: Request) -> Response:
        name = name_of(request, "name")
        return answer(service=await self._core.store.run(lambda db: known_service(db, name)))

    async def all(self, request: Request) -> Response:
        page = page_of(request.query_params, self._core.max_results)
        items, total = await self._core.store.run(
            lambda db: documents.page(db, "deviceservice", Where(labels=page.labels), page)
        )
        return listing("services", items, total)

    async def delete(self, request: Request) -> Response:
        name = name_of(request, "name")
        gone = await self._core.store.run(lambda db: _delete(db, name))
        SystemEvents(self._core, correlation_of(request)).service("delete", gone)
        return answer()


def known_service(db: sqlite3.Connection, name: str) -> Doc:
    service = documents.find(db, "deviceservice", name)
    if service is None:
        raise NotFound(f"no device service with name '{name}' found")
    return service


def _insert(db: sqlite3.Connection, service: Doc) -> Doc:
    name = service["name"]
    if documents.find(db, "deviceservice", name):
        raise Conflict(f"device service name {name} already exists")
    return documents.insert(db, "deviceservice", name, service)


def _patch(db: sqlite3.Connection, change: Doc) -> Doc:
    """The changed record, with the time stamp it had before: that is what Go announces."""
    service = documents.by_id_or_name(db, "deviceservice", change, "device service")
    changed = structs.SERVICE.tidy({**service, **{key: value for key, value in change.items() if key != "id"}})
    documents.replace(db, "deviceservice", service["name"], changed)
    return changed


def _delete(db: sqlite3.Connection, name: str) -> Doc:
    service = known_service(db, name)
    theirs = Where({"serviceName": name})
    if documents.count(db, "device", theirs):
        raise Conflict("fail to delete the device service when associated device exists")
    if documents.count(db, "provisionwatcher", theirs):
        raise Conflict("fail to delete the device service when associated provisionWatcher exists")
    documents.delete(db, "deviceservice", name)
    return service
