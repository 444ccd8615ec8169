"""core-metadata's device profiles, whole; their parts are in `metadata_profile_parts`."""

import sqlite3
from typing import Any

import yaml
from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire.errors import Conflict, Invalid
from edgex_kit.wire.messages import API
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.batches import Taken, answer_each, requests_of
from edgex_standin.core import Core
from edgex_standin.documents import Doc, Where
from edgex_standin.metadata import profile_rules
from edgex_standin.metadata import shapes as metadata_shapes
from edgex_standin.metadata.profile_rules import check_profile, known_profile, services_on, with_devices
from edgex_standin.paging import page_of
from edgex_standin.system_events import SystemEvents
from edgex_standin.uploads import file_of
from edgex_standin.web import answer, correlation_of, listing, route


class Profiles:
    """The /deviceprofile routes for whole profiles."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/deviceprofile", self.add),
            route("PUT", "/deviceprofile", self.put),
            route("POST", "/deviceprofile/uploadfile", self.upload),
            route("PUT", "/deviceprofile/uploadfile", self.upload_again),
            route("GET", "/deviceprofile/all", self.all),
            route("GET", "/deviceprofile/name/{name}", self.get),
            route("DELETE", "/deviceprofile/name/{name}", self.delete),
            route("GET", "/deviceprofile/model/{model}", self.by_make),
            route("GET", "/deviceprofile/manufacturer/{manufacturer}", self.by_make),
            route("GET", "/deviceprofile/manufacturer/{manufacturer}/model/{model}", self.by_make),
        ]

    async def add(self, request: Request) -> Response:
        async def one(taken: Taken) -> str:
            return await self._add(request, taken["profile"])

        return await answer_each(await self._requests_of(request), 201, one)

    async def put(self, request: Request) -> Response:
        """Replace whole profiles: an id or time of creation that is not sent again is gone (contract 3.4)."""

        async def one(taken: Taken) -> str:
            await self._put(request, taken["profile"])
            return ""

        return await answer_each(await self._requests_of(request), 200, one)

    async def upload(self, request: Request) -> Response:
        return answer(201, id=await self._add(request, await _uploaded(request)))

    async def upload_again(self, request: Request) -> Response:
        await self._put(request, await _uploaded(request))
        return answer()

    async def get(self, request: Request) -> Response:
        name = name_of(request, "name")
        return answer(profile=await self._core.store.run(lambda db: with_devices(db, known_profile(db, name))))

    async def all(self, request: Request) -> Response:
        page = page_of(request.query_params, self._core.max_results)

        def job(db: sqlite3.Connection) -> tuple[list[Doc], int]:
            profiles, total = documents.page(db, "deviceprofile", Where(labels=page.labels), page)
            return [with_devices(db, profile) for profile in profiles], total

        return listing("profiles", *await self._core.store.run(job))

    async def by_make(self, request: Request) -> Json:
        """By manufacturer, model, or both; Go does not count the devices here."""
        page = page_of(request.query_params, self._core.max_results)
        where = Where({key: name_of(request, key) for key in request.path_params})
        items, total = await self._core.store.run(lambda db: documents.page(db, "deviceprofile", where, page))
        return listing("profiles", items, total)

    async def delete(self, request: Request) -> Response:
        name = name_of(request, "name")
        gone = await self._core.store.run(lambda db: _delete(db, name))
        SystemEvents(self._core, correlation_of(request)).profile("delete", gone)
        return answer()

    async def _requests_of(self, request: Request) -> list[Taken]:
        return await requests_of(request, metadata_shapes.PUT_PROFILE, lambda taken: check_profile(taken["profile"]))

    async def _add(self, request: Request, profile: Doc) -> str:
        stored = await self._core.store.run(lambda db: _insert(db, profile))
        SystemEvents(self._core, correlation_of(request)).profile("add", stored)
        return str(stored["id"])

    async def _put(self, request: Request, profile: Doc) -> None:
        stored, services = await self._core.store.run(lambda db: _replace(db, profile))
        SystemEvents(self._core, correlation_of(request)).profile("update", stored, services)


async def _uploaded(request: Request) -> Doc:
    """The profile in the multipart field `file`, YAML."""
    data = file_of(request.headers.get("content-type", ""), await request.body(), "file")
    if data is None:
        raise Invalid("missing yaml file")
    try:
        tree: Any = yaml.safe_load(data)
        profile = metadata_shapes.PROFILE.take(tree or None, lax=True)
        check_profile(profile)
    except (yaml.YAMLError, Invalid) as error:
        raise Invalid("*dtos.DeviceProfile yaml decoding failed") from error
    return profile


def _insert(db: sqlite3.Connection, profile: Doc) -> Doc:
    name = profile["name"]
    if documents.find(db, "deviceprofile", name):
        raise Conflict(f"device profile name {name} already exists")
    fresh = {key: value for key, value in profile.items() if key not in ("created", "modified")}
    return documents.insert(db, "deviceprofile", name, {**fresh, "linkedDeviceCount": 0, "apiVersion": API})


def _replace(db: sqlite3.Connection, profile: Doc) -> tuple[Doc, list[str]]:
    name = profile["name"]
    if documents.find(db, "deviceprofile", name) is None:
        raise profile_rules.missing(name)
    whole = {**profile, "linkedDeviceCount": 0, "apiVersion": API}
    return documents.replace(db, "deviceprofile", name, whole), services_on(db, name)


def _delete(db: sqlite3.Connection, name: str) -> Doc:
    profile = known_profile(db, name)
    if documents.count(db, "device", Where({"profileName": name})):
        raise Conflict("fail to delete the device profile when associated device exists")
    if documents.count(db, "provisionwatcher", Where({"discoveredDevice.profileName": name})):
        raise Conflict("fail to delete the device profile when associated provisionWatcher exists")
    documents.delete(db, "deviceprofile", name)
    return profile
