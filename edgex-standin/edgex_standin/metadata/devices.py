"""core-metadata's devices: their rules, and the /device routes (edgex-go openapi/core-metadata.yaml)."""

import re
import sqlite3

from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire.errors import Conflict, EdgexError, Invalid, NotFound
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.batches import Taken, answer_each, requests_of
from edgex_standin.core import Core
from edgex_standin.documents import Doc, Where
from edgex_standin.metadata import structs
from edgex_standin.metadata.messages import SystemEvents, ask_service
from edgex_standin.metadata.structs import DEVICE
from edgex_standin.shapes import is_uuid
from edgex_standin.web import answer, correlation_of, integer, listing, page_of, route


def _known_device(db: sqlite3.Connection, name: str) -> Doc:
    device = documents.find(db, "device", name)
    if device is None:
        raise NotFound(f"no device with name '{name}' found")
    return device


def _check_new(db: sqlite3.Connection, device: Doc, *, force: bool) -> Doc | None:
    """The device that `device` will replace because it was forced, or None. Raises for what core-metadata refuses."""
    _check_service(db, device["serviceName"])
    _check_profile(db, device)
    known = documents.find(db, "device", device["name"])
    if known is None:
        return None
    if not force:
        raise Conflict(f"device name {device['name']} already exists")
    device.update({key: known[key] for key in ("id", "created", "modified") if not device.get(key)})
    return known


def _changed(db: sqlite3.Connection, change: Doc) -> tuple[Doc, Doc]:
    """A device as it is and as an update makes it; whole lists and maps are replaced."""
    if change.get("serviceName") is not None:
        _check_service(db, change["serviceName"])
    known = documents.by_id_or_name(db, "device", change, "device")
    device = {**known, **{key: value for key, value in change.items() if key != "id"}}
    if device.get("profileName") != known.get("profileName"):
        _drop_strange_auto_events(db, device)
    else:
        _check_profile(db, device)
    return known, DEVICE.tidy(device)


def _insert(db: sqlite3.Connection, device: Doc) -> Doc:
    """Store a new device. Raises Conflict if it, or its id, has come into being meanwhile."""
    if documents.find(db, "device", device["name"]):
        raise Conflict(f"device name {device['name']} already exists")
    if device.get("id") and documents.find_by_id(db, "device", device["id"]):
        raise Conflict(f"device id {device['id']} already exists")
    return documents.insert(db, "device", device["name"], device)


def _delete(db: sqlite3.Connection, name: str) -> Doc:
    device = _known_device(db, name)
    if documents.count(db, "device", Where({"parent": name})):
        raise Conflict("cannot delete device with children")
    documents.delete(db, "device", name)
    return device


def _descendants(db: sqlite3.Connection, parent: str, levels: int, labels: tuple[str, ...]) -> list[Doc]:
    """Children, their children and so on, level by level; `levels` 0 is all."""
    found: list[Doc] = []
    parents, level = [parent], 0
    while parents and (not levels or level < levels):
        below = [child for name in parents for child in documents.select(db, "device", Where({"parent": name}, labels))]
        if any(child["name"] == child["parent"] for child in below):
            raise EdgexError(f"Device {parent} is its own parent, stopping tree query")
        found += below
        parents, level = [child["name"] for child in below], level + 1
    return found


def _check_service(db: sqlite3.Connection, name: str) -> None:
    if documents.find(db, "deviceservice", name) is None:
        raise Invalid(f"device service '{name}' does not exists")


def _check_profile(db: sqlite3.Connection, device: Doc) -> None:
    """Profile, parent and auto events; a device without a profile is taken as it is."""
    profile = _profile_of(db, device)
    for auto_event in (device.get("autoEvents") or ()) if profile else ():
        _check_auto_event(auto_event, device, profile or {})


def _drop_strange_auto_events(db: sqlite3.Connection, device: Doc) -> None:
    """A new profile silently loses the auto events it has no source for (4.0.2)."""
    profile = _profile_of(db, device)
    if profile and device.get("autoEvents"):
        device["autoEvents"] = [one for one in device["autoEvents"] if _is_known_source(one["sourceName"], profile)]


def _profile_of(db: sqlite3.Connection, device: Doc) -> Doc | None:
    name = device.get("profileName")
    if not name:
        return None
    if device["name"] == device.get("parent"):
        raise Invalid("a device cannot be its own parent")
    profile = documents.find(db, "deviceprofile", name)
    if profile is None:
        raise Invalid(f"device profile '{name}' not found during validating device '{device['name']}'")
    return profile


def _check_auto_event(auto_event: Doc, device: Doc, profile: Doc) -> None:
    interval, source = auto_event["interval"], auto_event["sourceName"]
    if interval.endswith("d"):  # the days that EdgeX's own check lets pass are none of Go's durations
        raise Invalid(f"auto event interval '{interval}' not valid in the device '{device['name']}'")
    if not _is_known_source(source, profile):
        raise Invalid(f"auto event source '{source}' cannot be found in the device profile '{profile['name']}'")


def _is_known_source(source: str, profile: Doc) -> bool:
    """Whether it is a command, a resource, or a regular expression for resources. Raises Invalid for a broken one."""
    if any(command["name"] == source for command in profile["deviceCommands"] or ()):
        return True
    try:
        pattern = re.compile(source)
    except re.error as error:
        raise Invalid(f"failed to CompilePOSIX the auto event source name: {source}") from error
    resources = [resource["name"] for resource in profile["deviceResources"] or ()]
    return source in resources or any(pattern.fullmatch(name) for name in resources)


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
        """Check the rules, have the device's service validate it, store it, publish it."""
        events = SystemEvents(self._core, correlation_of(request))
        force = request.query_params.get("force") == "true"
        unasked = force or request.query_params.get("bypassValidation") == "true"

        async def one(taken: Taken) -> str:
            device = taken["device"]
            device["properties"] = device["properties"] or {}
            known = await self._core.store.run(lambda db: _check_new(db, device, force=force))
            if known is not None:
                return await self._replace(device, known, events)
            if not unasked:
                await ask_service(self._core, device)
            stored = await self._core.store.run(lambda db: _insert(db, device))
            events.device("add", stored)
            return str(stored["id"])

        return await answer_each(await requests_of(request, structs.ADD_DEVICE), 201, one)

    async def patch(self, request: Request) -> Response:
        events = SystemEvents(self._core, correlation_of(request))
        unasked = request.query_params.get("bypassValidation") == "true"

        async def one(taken: Taken) -> str:
            known, device = await self._core.store.run(lambda db: _changed(db, taken["device"]))
            if not unasked:
                await ask_service(self._core, device)
            await self._replace(device, known, events)
            return ""

        return await answer_each(await requests_of(request, structs.UPDATE_DEVICE), 200, one)

    async def get(self, request: Request) -> Response:
        name = name_of(request, "name")
        return answer(device=await self._core.store.run(lambda db: _known_device(db, name)))

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
        found = await self._core.store.run(lambda db: _descendants(db, parent, levels, page.labels))
        page.within(len(found))
        return listing("devices", found[page.offset : page.offset + page.limit], len(found))

    async def of_service(self, request: Request) -> Response:
        return await self._listed(request, Where({"serviceName": name_of(request, "name")}))

    async def of_profile(self, request: Request) -> Response:
        return await self._listed(request, Where({"profileName": name_of(request, "name")}))

    async def delete(self, request: Request) -> Response:
        name = name_of(request, "name")
        gone = await self._core.store.run(lambda db: _delete(db, name))
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
    _known_device(db, device["name"])  # it may have been deleted while its service was asked
    documents.replace(db, "device", device["name"], device)
