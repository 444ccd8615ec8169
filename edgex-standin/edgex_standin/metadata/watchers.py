"""core-metadata's provision watchers."""

import sqlite3

from edgex_kit.service.rest import Json, name_of
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


class Watchers:
    """The /provisionwatcher routes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/provisionwatcher", self.add),
            route("PATCH", "/provisionwatcher", self.patch),
            route("GET", "/provisionwatcher/all", self.all),
            route("GET", "/provisionwatcher/name/{name}", self.get),
            route("DELETE", "/provisionwatcher/name/{name}", self.delete),
            route("GET", "/provisionwatcher/service/name/{name}", self.of_service),
            route("GET", "/provisionwatcher/profile/name/{name}", self.of_profile),
        ]

    async def add(self, request: Request) -> Response:
        events = SystemEvents(self._core, correlation_of(request))

        async def one(taken: Taken) -> str:
            watcher = taken["provisionWatcher"]
            found = watcher["discoveredDevice"]
            found["properties"] = found["properties"] or {}
            stored = await self._core.store.run(lambda db: _insert(db, watcher))
            events.watcher("add", watcher)  # as it was sent: without id and times
            return str(stored["id"])

        return await answer_each(await requests_of(request, structs.ADD_WATCHER), 201, one)

    async def patch(self, request: Request) -> Response:
        events = SystemEvents(self._core, correlation_of(request))

        async def one(taken: Taken) -> str:
            known, watcher = await self._core.store.run(lambda db: _patch(db, taken["provisionWatcher"]))
            if watcher["serviceName"] != known["serviceName"]:
                events.watcher("update", watcher, known["serviceName"])
            events.watcher("update", watcher)
            return ""

        return await answer_each(await requests_of(request, structs.UPDATE_WATCHER), 200, one)

    async def get(self, request: Request) -> Response:
        name = name_of(request, "name")
        return answer(provisionWatcher=await self._core.store.run(lambda db: _known(db, name)))

    async def all(self, request: Request) -> Response:
        page = page_of(request.query_params, self._core.max_results)
        return await self._listed(request, Where(labels=page.labels))

    async def of_service(self, request: Request) -> Response:
        return await self._listed(request, Where({"serviceName": name_of(request, "name")}))

    async def of_profile(self, request: Request) -> Response:
        return await self._listed(request, Where({"discoveredDevice.profileName": name_of(request, "name")}))

    async def delete(self, request: Request) -> Response:
        name = name_of(request, "name")
        gone = await self._core.store.run(lambda db: _delete(db, name))
        SystemEvents(self._core, correlation_of(request)).watcher("delete", gone)
        return answer()

    async def _listed(self, request: Request, where: Where) -> Json:
        page = page_of(request.query_params, self._core.max_results)
        items, total = await self._core.store.run(lambda db: documents.page(db, "provisionwatcher", where, page))
        return listing("provisionWatchers", items, total)


def _known(db: sqlite3.Connection, name: str) -> Doc:
    watcher = documents.find(db, "provisionwatcher", name)
    if watcher is None:
        raise NotFound(f"no provision watcher with name '{name}' found")
    return watcher


def _insert(db: sqlite3.Connection, watcher: Doc) -> Doc:
    name, profile = watcher["name"], watcher["discoveredDevice"]["profileName"]
    if profile and documents.find(db, "deviceprofile", profile) is None:
        raise NotFound(f"device profile '{profile}' does not exists")
    if documents.find(db, "provisionwatcher", name):
        raise Conflict(f"provision watcher name {name} already exists")
    return documents.insert(db, "provisionwatcher", name, watcher)


def _patch(db: sqlite3.Connection, change: Doc) -> tuple[Doc, Doc]:
    known = documents.by_id_or_name(db, "provisionwatcher", change, "provision watcher")
    watcher = {**known, **{key: value for key, value in change.items() if key != "id"}}
    watcher["discoveredDevice"] = {**known["discoveredDevice"], **change.get("discoveredDevice", {})}
    watcher = structs.WATCHER.tidy(watcher)
    documents.replace(db, "provisionwatcher", known["name"], watcher)
    return known, watcher


def _delete(db: sqlite3.Connection, name: str) -> Doc:
    watcher = _known(db, name)
    documents.delete(db, "provisionwatcher", name)
    return watcher
