"""core-metadata's devices (contract 3.1, 3.3)."""

import sqlite3

from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire.errors import EdgexError, NotFound
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.batches import Taken, answer_each, requests_of
from edgex_standin.core import Core
from edgex_standin.documents import Doc, Where
from edgex_standin.metadata import device_rules
from edgex_standin.metadata import shapes as metadata_shapes
from edgex_standin.metadata.validation import ask_service
from edgex_standin.paging import integer, page_of
from edgex_standin.rules import is_uuid
from edgex_standin.system_events import SystemEvents
from edgex_standin.web import answer, correlation_of, listing, route


class Devices:
    """The /device routes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/device", self.add),
            route("PATCH", "/device", self.patch),
            route("GET", "/device/all", self.all),
            route("GET", "/device/check/name/{name}", self.check),
            route("GET", "/device/id/{id}", self.by_id),
            route("GET", "/device/name/{name}", self.get),
            route("DELETE", "/device/name/{name}", self.delete),
            route("GET", "/device/service/name/{name}", self.of_service),
            route("GET", "/device/profile/name/{name}", self.of_profile),
        ]

    async def add(self, request: Request) -> Response:
        """Rules first, then the device's service is asked, then it is stored, then everybody hears of it."""
        events = SystemEvents(self._core, correlation_of(request))
        force = request.query_params.get("force") == "true"
        unasked = force or request.query_params.get("bypassValidation") == "true"

        async def one(taken: Taken) -> str:
            device = taken["device"]
            device["properties"] = device["properties"] or {}
            known = await self._core.store.run(lambda db: device_rules.check_new(db, device, force=force))
            if known is not None:
                return await self._replace(device, known, events)
            if not unasked:
                await ask_service(self._core, device)
            stored = await self._core.store.run(lambda db: device_rules.insert(db, device))
            events.device("add", stored)
            return str(stored["id"])

        return await answer_each(await requests_of(request, metadata_shapes.ADD_DEVICE), 201, one)

    async def patch(self, request: Request) -> Response:
        events = SystemEvents(self._core, correlation_of(request))
        unasked = request.query_params.get("bypassValidation") == "true"

        async def one(taken: Taken) -> str:
            known, device = await self._core.store.run(lambda db: device_rules.changed(db, taken["device"]))
            if not unasked:
                await ask_service(self._core, device)
            await self._replace(device, known, events)
            return ""

        return await answer_each(await requests_of(request, metadata_shapes.UPDATE_DEVICE), 200, one)

    async def get(self, request: Request) -> Response:
        name = name_of(request, "name")
        return answer(device=await self._core.store.run(lambda db: device_rules.known_device(db, name)))

    async def by_id(self, request: Request) -> Response:
        ident = name_of(request, "id")
        if not is_uuid(ident):  # PostgreSQL's complaint, as it comes through
            raise EdgexError("failed to scan row to device model")
        device = await self._core.store.run(lambda db: documents.find_by_id(db, "device", ident))
        if device is None:
            raise NotFound(f"no device with id '{ident}' found")
        return answer(device=device)

    async def check(self, request: Request) -> Response:
        name = name_of(request, "name")
        status = 200 if await self._core.store.run(lambda db: documents.find(db, "device", name)) else 404
        return answer(status)

    async def all(self, request: Request) -> Response:
        page = page_of(request.query_params, self._core.max_results)
        parent = request.query_params.get("descendantsOf", "")
        if not parent:
            return await self._listed(request, Where(labels=page.labels))
        levels = integer(request.query_params, "maxLevels", 0, 0, 2**31 - 1)
        found = await self._core.store.run(lambda db: device_rules.descendants(db, parent, levels, page.labels))
        page.within(len(found))
        return listing("devices", found[page.offset : page.offset + page.limit], len(found))

    async def of_service(self, request: Request) -> Response:
        return await self._listed(request, Where({"serviceName": name_of(request, "name")}))

    async def of_profile(self, request: Request) -> Response:
        return await self._listed(request, Where({"profileName": name_of(request, "name")}))

    async def delete(self, request: Request) -> Response:
        name = name_of(request, "name")
        gone = await self._core.store.run(lambda db: device_rules.delete(db, name))
        SystemEvents(self._core, correlation_of(request)).device("delete", gone)
        return answer()

    async def _listed(self, request: Request, where: Where) -> Json:
        page = page_of(request.query_params, self._core.max_results)
        items, total = await self._core.store.run(lambda db: documents.page(db, "device", where, page))
        return listing("devices", items, total)

    async def _replace(self, device: Doc, known: Doc, events: SystemEvents) -> str:
        """Store the newer version; a device that moves to another service is announced to both."""
        await self._core.store.run(lambda db: _store(db, device))
        if device["serviceName"] != known["serviceName"]:
            events.device("update", device, known["serviceName"])
        events.device("update", device)
        return str(device["id"])


def _store(db: sqlite3.Connection, device: Doc) -> None:
    device_rules.known_device(db, device["name"])  # it may have been deleted while its service was asked
    documents.replace(db, "device", device["name"], device)
