"""core-keeper's registry: which services exist, where, and whether they answer.

core-keeper polls each service: every half interval until it is UP for the first time, then every interval; a 2xx status
is UP, anything else DOWN."""

import asyncio
import contextlib
import logging
import sqlite3
import ssl
from collections.abc import AsyncIterator
from typing import Any

from edgex_kit.service.rest import name_of
from edgex_kit.supervision import Causes
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.errors import Conflict, Invalid, NotFound, Unavailable
from edgex_kit.wire.messages import JSON
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.address import Address
from edgex_standin.core import KEEPER, Core
from edgex_standin.documents import Doc
from edgex_standin.shapes import Field, Shape
from edgex_standin.web import answer, boolean, json_of, listing, route

log = logging.getLogger(__name__)

SHORTEST = 0.1  # seconds between two checks, whatever a registration says


class HealthChecks:
    """One task for each service that is followed; made by `open_health_checks`."""

    def __init__(self, core: Core, tasks: asyncio.TaskGroup) -> None:
        self._core = core
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}

    def follow(self, entry: Doc) -> None:
        """Check `entry`'s service from now on."""
        name = entry["serviceId"]
        self.forget(name)
        self._running[name] = self._tasks.create_task(self._check_for_ever(entry), name=f"health:{name}")

    def forget(self, name: str) -> None:
        task = self._running.pop(name, None)
        if task is not None:
            task.cancel()

    def forget_all(self) -> None:
        for name in list(self._running):
            self.forget(name)

    async def _check_for_ever(self, entry: Doc) -> None:
        interval = max(parse_duration(entry["HealthCheck"]["interval"]), 2 * SHORTEST)
        pause, last, causes = interval / 2, entry["status"], Causes()
        while True:
            await asyncio.sleep(pause)
            status = "UP" if await _answers(entry, self._core.service.timeout_s or None) else "DOWN"
            if status != last:
                log.info("%s is %s", entry["serviceId"], status)
                last = status
            try:
                await self._core.store.run(lambda db, status=status: _note(db, entry, status))  # type: ignore[misc]
            except Unavailable as error:  # the next check writes it
                if causes.is_new(error):
                    log.warning("the status of %s was not kept: %s", entry["serviceId"], error)
            else:
                causes.clear()
            if status == "UP":
                pause = interval


@contextlib.asynccontextmanager
async def open_health_checks(core: Core) -> AsyncIterator[HealthChecks]:
    """Checks of all registered services, and of those that register, for the length of the block."""
    async with asyncio.TaskGroup() as tasks:
        checks = HealthChecks(core, tasks)
        for entry in await core.store.run(lambda db: documents.select(db, "registration")):
            if entry["status"] != "HALT":
                checks.follow(entry)
        try:
            yield checks
        finally:
            checks.forget_all()


async def _answers(entry: Doc, wait: float | None) -> bool:
    """Whether a GET of the service's health path gives a 2xx status."""
    check, place = entry["HealthCheck"], Address(entry["host"], entry["port"])
    if check["type"] not in ("http", "https"):
        return False
    try:
        async with asyncio.timeout(wait):
            return 200 <= await _status_of(place, check["path"], check["type"] == "https") < 300
    except (OSError, ValueError, IndexError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def _status_of(place: Address, path: str, tls: bool) -> int:
    """The status of one GET; the body is left unread."""
    secure = ssl.create_default_context() if tls else None
    reader, writer = await asyncio.open_connection(place.host, place.port, ssl=secure)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the other side may have closed first
            await writer.wait_closed()


def _note(db: sqlite3.Connection, entry: Doc, status: str) -> None:
    """Store what a check found, unless the service has moved or was deleted meanwhile."""
    known = documents.find(db, "registration", entry["serviceId"])
    if known and known["status"] != "HALT" and (known["host"], known["port"]) == (entry["host"], entry["port"]):
        documents.replace(db, "registration", entry["serviceId"], {**known, "status": status})


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
        """A new address, or HALT: the service was stopped on purpose."""
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
    """Register our own services but core-keeper; they are UP because they run in this process."""
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
