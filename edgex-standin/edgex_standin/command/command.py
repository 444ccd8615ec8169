"""core-command over REST; over the bus it is `command_bus`.

Device services are called on threads of their own, so that a slow device delays nobody else."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import requests
from edgex_kit.clients.http import open_session
from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed, Unavailable, error_from_status
from edgex_kit.wire.messages import CBOR, JSON, new_id
from edgex_kit.wire.topics import escape_name
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.core import COMMAND, Core
from edgex_standin.documents import EVERYTHING, Doc
from edgex_standin.metadata.services import known_service
from edgex_standin.web import Page, answer, listing, page_of, route


def commands_of(device: str, profile: Doc, url: str) -> list[dict[str, Any]]:
    """Device commands, then the resources no command is named after; without what is hidden."""
    commands, resources = profile.get("deviceCommands") or (), profile.get("deviceResources") or ()
    kinds = {one["name"]: one["properties"]["valueType"] for one in resources}
    found = {}
    for command in commands:
        if not command["isHidden"]:
            used = [operation["deviceResource"] for operation in command["resourceOperations"]]
            found[command["name"]] = _command(device, command["name"], command["readWrite"], used, kinds, url)
    for resource in resources:
        name = resource["name"]
        if not resource["isHidden"] and name not in found:
            found[name] = _command(device, name, resource["properties"]["readWrite"], [name], kinds, url)
    return list(found.values())


def _command(device: str, name: str, access: str, used: list[str], kinds: dict[str, str], url: str) -> dict[str, Any]:
    get, put = ({"get": True} if "R" in access else {}), ({"set": True} if "W" in access else {})
    path = f"/api/v3/device/name/{device}/{name}"  # as it is called, not as it is escaped: Go's way
    parameters = [{"resourceName": resource, "valueType": kinds[resource]} for resource in used if resource in kinds]
    return {"name": name, **get, **put, "path": path, "url": url, "parameters": parameters}


AT_ONCE = 16  # commands on their way
GRACE = 0.5  # seconds, so that the limit of the HTTP request itself comes first


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device service said."""

    status: int
    content_type: str
    body: bytes


class Relay:
    """Made by `open_relay`."""

    def __init__(self, threads: ThreadPoolExecutor, wait: float) -> None:
        self._threads = threads
        self._wait = wait + GRACE
        self._local = threading.local()  # a requests session belongs to one thread

    async def call(self, method: str, url: str, query: str, body: bytes | None = None) -> Answer:
        """The answer, whatever its status. Raises Unavailable without one."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._call, method, f"{url}?{query}" if query else url, body)

    def _call(self, method: str, url: str, body: bytes | None) -> Answer:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = open_session()
        headers = {"X-Correlation-ID": new_id(), "Content-Type": JSON}  # a new id: core-command does not pass it on
        try:
            answer = session.request(method, url, data=body, headers=headers, timeout=self._wait)
        except (requests.RequestException, ValueError) as error:  # ValueError: a baseAddress that is no URL
            raise Unavailable("failed to send a http request") from error
        return Answer(answer.status_code, answer.headers.get("Content-Type", ""), answer.content)


@contextlib.contextmanager
def open_relay(wait: float) -> Iterator[Relay]:
    """A relay for the length of the block; a command has `wait` seconds."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="relay") as threads:
        yield Relay(threads, wait)


class Commands:
    """The /device routes of core-command."""

    def __init__(self, core: Core, relay: Relay) -> None:
        self._core = core
        self._relay = relay

    def routes(self) -> list[BaseRoute]:
        return [
            route("GET", "/device/all", self.all),
            route("GET", "/device/name/{name}", self.of_device),
            route("GET", "/device/name/{name}/{command}", self.read),
            route("PUT", "/device/name/{name}/{command}", self.write),
        ]

    async def all(self, request: Request) -> Response:
        page = page_of(request.query_params, self._core.max_results)
        items, total = await self._core.store.run(lambda db: commands_of_all(db, page, self._url))
        return listing("deviceCoreCommands", items, total)

    async def of_device(self, request: Request) -> Response:
        name = name_of(request, "name")
        return answer(deviceCoreCommand=await self._core.store.run(lambda db: commands_of_one(db, name, self._url)))

    async def read(self, request: Request) -> Response:
        """A reading, always as JSON; nothing when the event was not wanted back."""
        for key, default in (("ds-returnevent", "true"), ("ds-pushevent", "false")):
            given = request.query_params.get(key, default)
            if given not in ("true", "false"):
                raise Invalid(f"invalid query parameter, {given} has to be true or false")
        said = await self._ask(request, None)
        if said.status > 207:
            text = said.body.decode(errors="replace")
            raise error_from_status(said.status, f"request failed, status code: {said.status}, err: {text}")
        if not said.body:
            return Response()
        if said.content_type == CBOR:
            return Json(_decoded(said))
        return Response(said.body, media_type=JSON)

    async def write(self, request: Request) -> Response:
        try:
            settings = codec.decode_body(JSON, await request.body())
        except Malformed as error:
            raise Invalid("failed to parse request body") from error
        if not isinstance(settings, dict):
            raise Invalid("failed to parse request body")
        said = await self._ask(request, codec.encode_json(settings))
        if said.status > 207:
            raise error_from_status(said.status, f"request failed, status code: {said.status}, err: {_message(said)}")
        return Response(said.body, said.status, media_type=JSON)

    async def _ask(self, request: Request, body: bytes | None) -> Answer:
        device, command = name_of(request, "name"), name_of(request, "command")
        base = await self._core.store.run(lambda db: _service_of(db, device)["baseAddress"])
        escape = escape_name if self._core.topics.escape else lambda name: quote(name, safe="")
        url = f"{base.rstrip('/')}/api/v3/device/name/{escape(device)}/{escape(command)}"
        query = urlencode(sorted(parse_qsl(request.url.query, keep_blank_values=True)))
        return await self._relay.call(request.method, url, query, body)

    @property
    def _url(self) -> str:
        return self._core.places[COMMAND].url


def commands_of_all(db: sqlite3.Connection, page: Page, url: str) -> tuple[list[Doc], int]:
    """One page of the devices with what they can do; those without a profile are counted and left out."""
    devices, total = documents.page(db, "device", EVERYTHING, page)
    return [_commands_of(db, device, url) for device in devices if device.get("profileName")], total


def commands_of_one(db: sqlite3.Connection, name: str, url: str) -> Doc:
    """What a device can do. Raises EdgexError with the text that core-command passes on from core-metadata."""
    device = device_of(db, name)
    if not device.get("profileName"):
        raise _from_metadata("Not Found")
    return _commands_of(db, device, url)


def device_of(db: sqlite3.Connection, name: str) -> Doc:
    device = documents.find(db, "device", name)
    if device is None:
        raise _from_metadata(f"no device with name '{name}' found")
    return device


def _service_of(db: sqlite3.Connection, device: str) -> Doc:
    return known_service(db, device_of(db, device)["serviceName"])


def _commands_of(db: sqlite3.Connection, device: Doc, url: str) -> Doc:
    profile = documents.find(db, "deviceprofile", device["profileName"]) or {}
    commands = commands_of(device["name"], profile, url)
    head: dict[str, Any] = {"deviceName": device["name"], "profileName": device["profileName"]}
    return {**head, "coreCommands": commands} if commands else head


def _from_metadata(text: str) -> EdgexError:
    """core-command asks core-metadata over REST and says so in every refusal."""
    return error_from_status(404, f"request failed, status code: 404, err: {text}")


def _decoded(said: Answer) -> Any:
    try:
        return codec.decode_body(CBOR, said.body)
    except Malformed as error:
        raise Invalid("failed to decode the cbor response") from error


def _message(said: Answer) -> str:
    """The message of a refusal, or all of it where there is none."""
    try:
        return str(codec.decode_body(JSON, said.body)["message"])
    except (Malformed, KeyError, TypeError):
        return said.body.decode(errors="replace")
