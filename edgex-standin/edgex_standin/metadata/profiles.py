"""core-metadata's device profiles: their rules, whole profiles, and changes of their parts.

A change of a part is announced with the whole profile."""

import sqlite3
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire.errors import Conflict, EdgexError, Invalid, Locked, NotFound
from edgex_kit.wire.messages import API
from edgex_kit.wire.values import canonical_type
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.batches import Taken, answer_each, file_of, requests_of
from edgex_standin.core import METADATA, Core
from edgex_standin.documents import Doc, Where
from edgex_standin.keeper import kv
from edgex_standin.metadata import structs
from edgex_standin.metadata.messages import SystemEvents
from edgex_standin.metadata.structs import BASIC_INFO_KEYS
from edgex_standin.shapes import Shape
from edgex_standin.web import answer, correlation_of, json_of, listing, page_of, route

_CHANGES = "StrictDeviceProfileChanges"
Edit = Callable[[Doc], None]
_WHAT = {"deviceResources": "device resource", "deviceCommands": "device command"}


def _check_units(db: sqlite3.Connection, resources: Iterable[Doc]) -> None:
    """Raises Invalid for a unit that is none of core-metadata's, with Writable.UoM.Validation."""
    if not kv.is_on(db, METADATA, "Writable/UoM/Validation"):
        return
    known = {name for unit in units()["units"].values() for name in unit["values"]}
    for resource in resources:
        unit = resource["properties"].get("units")
        if unit and unit not in known:
            raise Invalid(f"DeviceResource {resource['name']} units {unit} is invalid")


def _check_allowed(db: sqlite3.Connection, what: str, flag: str) -> None:
    """Raises Locked with Writable.ProfileChange.`flag`."""
    if kv.is_on(db, METADATA, f"Writable/ProfileChange/{flag}"):
        raise Locked(f"profile {what} is not allowed when {flag} config is enabled")


@cache
def units() -> dict[str, Any]:
    """The units of measure as EdgeX writes them in JSON: names of units in capitals, their fields in small letters."""
    tree = yaml.safe_load((Path(__file__).parent / "units.yaml").read_text())
    named = {name: {key.lower(): value for key, value in unit.items()} for name, unit in tree["Units"].items()}
    return {"source": tree["Source"], "units": named}


def check_profile(profile: Doc) -> None:
    """Raises Invalid for a profile at odds with itself; spells its value types as EdgeX does."""
    for key in ("deviceResources", "deviceCommands"):
        profile[key] = profile[key] or []
    resources = {}
    for resource in profile["deviceResources"]:
        properties = resource["properties"]
        if properties["valueType"] == "Binary" and "W" in properties["readWrite"]:
            raise Invalid(f"write permission not support Binary value type for resource '{resource['name']}'")
        if resource["name"] in resources:
            raise Invalid(f"device resource {resource['name']} is duplicated")
        resources[resource["name"]] = properties["readWrite"]
    _check_commands(profile, resources)
    for resource in profile["deviceResources"]:
        properties = resource["properties"]
        properties["valueType"] = canonical_type(properties["valueType"])


def _check_commands(profile: Doc, access: dict[str, str]) -> None:
    seen = set()
    for command in profile["deviceCommands"]:
        if command["name"] in seen:
            raise Invalid(f"device command {command['name']} is duplicated")
        seen.add(command["name"])
        for operation in command["resourceOperations"]:
            _check_operation(operation["deviceResource"], command["readWrite"], access)


def _check_operation(resource: str, wanted: str, access: dict[str, str]) -> None:
    if resource not in access:
        raise Invalid(f"device command's resource {resource} doesn't match any device resource")
    if access[resource] not in ("RW", "WR") and access[resource] != wanted:
        raise Invalid(f"device command's ReadWrite permission '{wanted}' doesn't align the device resource")


def missing(name: str) -> NotFound:
    return NotFound(f"device profile '{name}' does not exist")


def known_profile(db: sqlite3.Connection, name: str) -> Doc:
    profile = documents.find(db, "deviceprofile", name)
    if profile is None:
        raise NotFound(f"no device profile with name '{name}' found")
    return profile


def with_devices(db: sqlite3.Connection, profile: Doc) -> Doc:
    """The profile with the number of devices that are on it."""
    return {**profile, "linkedDeviceCount": documents.count(db, "device", Where({"profileName": profile["name"]}))}


def services_on(db: sqlite3.Connection, name: str) -> list[str]:
    """The device services that have a device on the profile, each once."""
    devices = documents.select(db, "device", Where({"profileName": name}))
    return list(dict.fromkeys(device["serviceName"] for device in devices))


class Profiles:
    """The /deviceprofile and /deviceresource routes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        return [  # parts come first: basicinfo/all is no profile called all
            route("GET", "/deviceresource/profile/{profile}/resource/{name}", self.resource),
            route("GET", "/deviceprofile/basicinfo/all", self.heads),
            route("PATCH", "/deviceprofile/basicinfo", self.patch_heads),
            route("PATCH", "/deviceprofile/name/{profile}/tags", self.patch_tags),
            route("POST", "/deviceprofile/resource", self.add_resources),
            route("PATCH", "/deviceprofile/resource", self.patch_resources),
            route("DELETE", "/deviceprofile/name/{profile}/resource/{name}", self.delete_resource),
            route("POST", "/deviceprofile/deviceCommand", self.add_commands),
            route("PATCH", "/deviceprofile/deviceCommand", self.patch_commands),
            route("DELETE", "/deviceprofile/name/{profile}/deviceCommand/{name}", self.delete_command),
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
        """Replace whole profiles: an id or time of creation that is not sent again is lost."""

        await self._core.store.run(lambda db: _check_allowed(db, "change", _CHANGES))

        async def one(taken: Taken) -> str:
            await self._put(request, taken["profile"])
            return ""

        return await answer_each(await self._requests_of(request), 200, one)

    async def upload(self, request: Request) -> Response:
        return answer(201, id=await self._add(request, _profile_of(await _file_of(request))))

    async def upload_again(self, request: Request) -> Response:
        data = await _file_of(request)
        await self._core.store.run(lambda db: _check_allowed(db, "change", _CHANGES))
        await self._put(request, _profile_of(data))
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
        return await requests_of(request, structs.PUT_PROFILE, lambda taken: check_profile(taken["profile"]))

    async def _add(self, request: Request, profile: Doc) -> str:
        stored = await self._core.store.run(lambda db: _insert(db, profile))
        SystemEvents(self._core, correlation_of(request)).profile("add", stored)
        return str(stored["id"])

    async def _put(self, request: Request, profile: Doc) -> None:
        stored, services = await self._core.store.run(lambda db: _replace(db, profile))
        SystemEvents(self._core, correlation_of(request)).profile("update", stored, services)

    async def resource(self, request: Request) -> Response:
        name = name_of(request, "name")
        profile_name = name_of(request, "profile")
        profile = await self._core.store.run(lambda db: known_profile(db, profile_name))
        found = [one for one in profile["deviceResources"] or () if one["name"] == name]
        if not found:
            raise NotFound(f"resource {name} not exists")
        return answer(resource=found[0])

    async def heads(self, request: Request) -> Response:
        page = page_of(request.query_params, self._core.max_results)

        def job(db: sqlite3.Connection) -> tuple[list[Doc], int]:
            profiles, total = documents.page(db, "deviceprofile", Where(labels=page.labels), page)
            whole = [with_devices(db, profile) for profile in profiles]
            return [{key: one[key] for key in BASIC_INFO_KEYS if key in one} for one in whole], total

        return listing("profiles", *await self._core.store.run(job))

    async def patch_heads(self, request: Request) -> Response:
        async def one(taken: Taken) -> str:
            change = taken["basicInfo"]
            known = await self._core.store.run(
                lambda db: documents.by_id_or_name(db, "deviceprofile", change, "device profile")
            )
            given = {key: value for key, value in change.items() if key != "id"}
            await self._edit(request, known["name"], lambda profile: profile.update(given))
            return ""

        return await answer_each(await requests_of(request, structs.UPDATE_BASIC_INFO), 200, one)

    async def patch_tags(self, request: Request) -> Response:
        """Merge tags into the named resources and commands; names that are not there are passed over."""
        body = await json_of(request)
        if not isinstance(body, dict):
            raise EdgexError("json: cannot unmarshal the body into Go value of type requests.DeviceProfileTagsRequest")
        taken = structs.UPDATE_TAGS.take(body)

        def edit(profile: Doc) -> None:
            for key in _WHAT:
                wanted = {one["name"]: one["tags"] for one in taken.get(key) or ()}
                for part in profile[key] or ():
                    if part["name"] in wanted:
                        part["tags"] = _merged(part.get("tags") or {}, wanted[part["name"]])

        await self._edit(request, name_of(request, "profile"), edit)
        return answer()

    async def add_resources(self, request: Request) -> Response:
        return await self._add_parts(request, structs.ADD_RESOURCE, "deviceResources", "resource")

    async def patch_resources(self, request: Request) -> Response:
        return await self._patch_parts(request, structs.UPDATE_RESOURCE, "deviceResources", "resource")

    async def delete_resource(self, request: Request) -> Response:
        return await self._delete_part(request, "deviceResources")

    async def add_commands(self, request: Request) -> Response:
        return await self._add_parts(request, structs.ADD_COMMAND, "deviceCommands", "deviceCommand")

    async def patch_commands(self, request: Request) -> Response:
        return await self._patch_parts(request, structs.UPDATE_COMMAND, "deviceCommands", "deviceCommand")

    async def delete_command(self, request: Request) -> Response:
        return await self._delete_part(request, "deviceCommands")

    async def _add_parts(self, request: Request, shape: Shape, key: str, part: str) -> Response:
        """201 without an id: parts have none."""

        async def one(taken: Taken) -> str:
            def edit(profile: Doc) -> None:
                profile[key] = [*(profile[key] or ()), taken[part]]
                check_profile(profile)

            added = [taken[part]] if key == "deviceResources" else []
            await self._edit(request, taken["profileName"], edit, added=added)
            return ""

        return await answer_each(await requests_of(request, shape), 201, one)

    async def _patch_parts(self, request: Request, shape: Shape, key: str, part: str) -> Response:
        async def one(taken: Taken) -> str:
            await self._edit(
                request,
                taken["profileName"],
                lambda profile: _part_of(profile, key, taken[part]["name"]).update(taken[part]),
            )
            return ""

        return await answer_each(await requests_of(request, shape), 200, one)

    async def _delete_part(self, request: Request, key: str) -> Response:
        profile_name, name = name_of(request, "profile"), name_of(request, "name")

        def edit(profile: Doc) -> None:
            profile[key].remove(_part_of(profile, key, name))
            check_profile(profile)

        await self._edit(request, profile_name, edit, only_unused=True)
        return answer()

    async def _edit(
        self, request: Request, name: str, edit: Edit, *, only_unused: bool = False, added: Iterable[Doc] = ()
    ) -> None:
        """Change a profile and say so; the announcement has the time stamp from before, as Go's."""

        def job(db: sqlite3.Connection) -> tuple[Doc, list[str]]:
            if only_unused:
                _check_allowed(db, "change", _CHANGES)
            if only_unused and documents.count(db, "device", Where({"profileName": name})):
                raise Conflict("fail to update the device profile when associated device exists")
            profile = known_profile(db, name)
            edit(profile)
            _check_units(db, added)
            profile = structs.PROFILE.tidy(profile)
            documents.replace(db, "deviceprofile", name, profile)
            return profile, services_on(db, name)

        profile, services = await self._core.store.run(job)
        SystemEvents(self._core, correlation_of(request)).profile("update", profile, services)


async def _file_of(request: Request) -> bytes:
    data = file_of(request.headers.get("content-type", ""), await request.body(), "file")
    if data is None:
        raise Invalid("missing yaml file")
    return data


def _profile_of(data: bytes) -> Doc:
    """A profile in YAML. Raises Invalid."""
    try:
        tree: Any = yaml.safe_load(data)
        profile = structs.PROFILE.take(tree or None, lax=True)
        check_profile(profile)
    except (yaml.YAMLError, Invalid) as error:
        raise Invalid("*dtos.DeviceProfile yaml decoding failed") from error
    return profile


def _insert(db: sqlite3.Connection, profile: Doc) -> Doc:
    name = profile["name"]
    _check_units(db, profile["deviceResources"])
    if documents.find(db, "deviceprofile", name):
        raise Conflict(f"device profile name {name} already exists")
    fresh = {key: value for key, value in profile.items() if key not in ("created", "modified")}
    return documents.insert(db, "deviceprofile", name, {**fresh, "linkedDeviceCount": 0, "apiVersion": API})


def _replace(db: sqlite3.Connection, profile: Doc) -> tuple[Doc, list[str]]:
    name = profile["name"]
    _check_units(db, profile["deviceResources"])
    if documents.find(db, "deviceprofile", name) is None:
        raise missing(name)
    whole = {**profile, "linkedDeviceCount": 0, "apiVersion": API}
    return documents.replace(db, "deviceprofile", name, whole), services_on(db, name)


def _delete(db: sqlite3.Connection, name: str) -> Doc:
    _check_allowed(db, "deletion", "StrictDeviceProfileDeletes")
    profile = known_profile(db, name)
    if documents.count(db, "device", Where({"profileName": name})):
        raise Conflict("fail to delete the device profile when associated device exists")
    if documents.count(db, "provisionwatcher", Where({"discoveredDevice.profileName": name})):
        raise Conflict("fail to delete the device profile when associated provisionWatcher exists")
    documents.delete(db, "deviceprofile", name)
    return profile


def _part_of(profile: Doc, key: str, name: str) -> Doc:
    found: list[Doc] = [part for part in profile[key] or () if part["name"] == name]
    if not found:
        raise NotFound(f"{_WHAT[key]} not found")
    return found[0]


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Deep: maps into maps, anything else replaces."""
    merged = dict(old)
    for key, value in new.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
