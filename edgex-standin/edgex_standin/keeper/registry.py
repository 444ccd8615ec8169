"""core-keeper's registry: who is there, where, and whether it answers (contract 4.4)."""

import sqlite3
from typing import Any

from edgex_kit.service.rest import name_of
from edgex_kit.wire.errors import Conflict, Invalid, NotFound
from edgex_kit.wire.messages import JSON
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.core import KEEPER, Core
from edgex_standin.documents import Doc
from edgex_standin.keeper.health import HealthChecks
from edgex_standin.paging import boolean
from edgex_standin.shapes import Field, Shape
from edgex_standin.web import answer, json_of, listing, route

_STATES = ("UP", "DOWN", "UNKNOWN", "HALT")

_HEALTH_CHECK = Shape(
    "HealthCheck",
    (
        Field("Interval", "string", "required,edgex-dto-duration"),
        Field("Path", "string", "required"),
        Field("Type", "string", "required"),
    ),
)
_REGISTRATION = Shape(
    "Registration",
    (
        Field("ServiceId", "string", "required"),
        Field("Status", "string", "", "always"),
        Field("Host", "string", "required"),
        Field("Port", "int", "required"),
        Field("HealthCheck", _HEALTH_CHECK, "", "always"),
    ),
)
_REQUEST = Shape(
    "AddRegistrationRequest",
    (
        Field("BaseRequest.Versionable.ApiVersion", "string", "required"),
        Field("Registration", _REGISTRATION, "", "always"),
    ),
)


class Registry:
    """The registry's routes."""

    def __init__(self, core: Core, checks: HealthChecks) -> None:
        self._core = core
        self._checks = checks

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/registry", self.add),
            route("PUT", "/registry", self.update),
            route("GET", "/registry/all", self.all),
            route("GET", "/registry/serviceId/{id}", self.get),
            route("DELETE", "/registry/serviceId/{id}", self.delete),
        ]

    async def add(self, request: Request) -> Response:
        entry = _entry_of(await json_of(request))
        await self._core.store.run(lambda db: _insert(db, entry))
        self._checks.follow(entry)
        return answer(201, serviceName=entry["serviceId"])

    async def update(self, request: Request) -> Response:
        """A new place, or HALT: the service has gone on purpose."""
        entry = _entry_of(await json_of(request))
        await self._core.store.run(lambda db: _replace(db, entry))
        self._checks.forget(entry["serviceId"])
        if entry["status"] != "HALT":
            self._checks.follow(entry)
        return Response(status_code=204, media_type=JSON)

    async def get(self, request: Request) -> Response:
        name = name_of(request, "id")
        entry = await self._core.store.run(lambda db: documents.find(db, "registration", name))
        if entry is None:
            raise NotFound("registration not found by serviceId")
        return answer(registration=_written(entry))

    async def all(self, request: Request) -> Response:
        halted_too = boolean(request.query_params, "deregistered")
        entries = await self._core.store.run(lambda db: documents.select(db, "registration"))
        shown = [_written(entry) for entry in entries if halted_too or entry["status"] != "HALT"]
        return listing("registrations", shown, len(shown))

    async def delete(self, request: Request) -> Response:
        name = name_of(request, "id")
        await self._core.store.run(lambda db: _delete(db, name))
        self._checks.forget(name)
        return Response(status_code=204, media_type=JSON)


async def register_ourselves(core: Core) -> None:
    """Our own services but core-keeper, which is where the others look; UP because they serve in this process."""
    for name, place in core.places.items():
        if name != KEEPER:
            check = {"interval": core.service.health_check_interval, "path": "/api/v3/ping", "type": "http"}
            entry = {"serviceId": name, "status": "UP", "host": place.host, "port": place.port, "HealthCheck": check}
            await core.store.run(lambda db, entry=entry: _upsert(db, entry))  # type: ignore[misc]


def _entry_of(body: Any) -> Doc:
    """A registration, checked. Raises Invalid."""
    entry: Doc = _REQUEST.take(body)["registration"]
    entry["HealthCheck"] = entry.pop("healthCheck")
    if entry["status"] not in _STATES:
        entry["status"] = "UNKNOWN"
    return entry


def _insert(db: sqlite3.Connection, entry: Doc) -> None:
    name = entry["serviceId"]
    if documents.find(db, "registration", name):
        raise Conflict(f"registry with service id '{name}' already exists")
    documents.insert(db, "registration", name, entry)


def _replace(db: sqlite3.Connection, entry: Doc) -> None:
    name = entry["serviceId"]
    known = documents.find(db, "registration", name)
    if known is None:
        raise _missing(name)
    documents.replace(db, "registration", name, {**known, **entry})


def _upsert(db: sqlite3.Connection, entry: Doc) -> None:
    if documents.find(db, "registration", entry["serviceId"]):
        _replace(db, entry)
    else:
        _insert(db, entry)


def _delete(db: sqlite3.Connection, name: str) -> None:
    if not name:
        raise Invalid("serviceId is empty")
    if documents.find(db, "registration", name) is None:
        raise _missing(name)
    documents.delete(db, "registration", name)


def _missing(name: str) -> NotFound:
    return NotFound(f"service id '{name}' not found from registry table")


def _written(entry: Doc) -> Doc:
    """Registrations have no id on the wire."""
    return {key: value for key, value in entry.items() if key != "id"}
