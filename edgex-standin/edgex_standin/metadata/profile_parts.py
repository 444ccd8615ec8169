"""Changes inside a device profile: its head, tags, resources and commands. Each is announced with the whole profile."""

import sqlite3
from collections.abc import Callable
from typing import Any

from edgex_kit.service.rest import name_of
from edgex_kit.wire.errors import Conflict, EdgexError, NotFound
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin import documents
from edgex_standin.batches import Taken, answer_each, requests_of
from edgex_standin.core import Core
from edgex_standin.documents import Doc, Where
from edgex_standin.metadata import shapes as metadata_shapes
from edgex_standin.metadata.profile_rules import check_profile, known_profile, services_on, with_devices
from edgex_standin.metadata.shapes import BASIC_INFO_KEYS
from edgex_standin.paging import page_of
from edgex_standin.shapes import Shape
from edgex_standin.system_events import SystemEvents
from edgex_standin.web import answer, correlation_of, json_of, listing, route

Edit = Callable[[Doc], None]
_WHAT = {"deviceResources": "device resource", "deviceCommands": "device command"}


class ProfileParts:
    """The /deviceprofile routes for parts, and /deviceresource."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        return [
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
        ]

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

        return await answer_each(await requests_of(request, metadata_shapes.UPDATE_BASIC_INFO), 200, one)

    async def patch_tags(self, request: Request) -> Response:
        """Merge tags into the named resources and commands; names that are not there are passed over."""
        body = await json_of(request)
        if not isinstance(body, dict):
            raise EdgexError("json: cannot unmarshal the body into Go value of type requests.DeviceProfileTagsRequest")
        taken = metadata_shapes.UPDATE_TAGS.take(body)

        def edit(profile: Doc) -> None:
            for key in _WHAT:
                wanted = {one["name"]: one["tags"] for one in taken.get(key) or ()}
                for part in profile[key] or ():
                    if part["name"] in wanted:
                        part["tags"] = _merged(part.get("tags") or {}, wanted[part["name"]])

        await self._edit(request, name_of(request, "profile"), edit)
        return answer()

    async def add_resources(self, request: Request) -> Response:
        return await self._add(request, metadata_shapes.ADD_RESOURCE, "deviceResources", "resource")

    async def patch_resources(self, request: Request) -> Response:
        return await self._patch(request, metadata_shapes.UPDATE_RESOURCE, "deviceResources", "resource")

    async def delete_resource(self, request: Request) -> Response:
        return await self._delete(request, "deviceResources")

    async def add_commands(self, request: Request) -> Response:
        return await self._add(request, metadata_shapes.ADD_COMMAND, "deviceCommands", "deviceCommand")

    async def patch_commands(self, request: Request) -> Response:
        return await self._patch(request, metadata_shapes.UPDATE_COMMAND, "deviceCommands", "deviceCommand")

    async def delete_command(self, request: Request) -> Response:
        return await self._delete(request, "deviceCommands")

    async def _add(self, request: Request, shape: Shape, key: str, part: str) -> Response:
        """201 without an id: parts have none."""

        async def one(taken: Taken) -> str:
            def edit(profile: Doc) -> None:
                profile[key] = [*(profile[key] or ()), taken[part]]
                check_profile(profile)

            await self._edit(request, taken["profileName"], edit)
            return ""

        return await answer_each(await requests_of(request, shape), 201, one)

    async def _patch(self, request: Request, shape: Shape, key: str, part: str) -> Response:
        async def one(taken: Taken) -> str:
            await self._edit(
                request,
                taken["profileName"],
                lambda profile: _part_of(profile, key, taken[part]["name"]).update(taken[part]),
            )
            return ""

        return await answer_each(await requests_of(request, shape), 200, one)

    async def _delete(self, request: Request, key: str) -> Response:
        profile_name, name = name_of(request, "profile"), name_of(request, "name")

        def edit(profile: Doc) -> None:
            profile[key].remove(_part_of(profile, key, name))
            check_profile(profile)

        await self._edit(request, profile_name, edit, only_unused=True)
        return answer()

    async def _edit(self, request: Request, name: str, edit: Edit, *, only_unused: bool = False) -> None:
        """Change a profile and say so; the announcement has the time stamp from before, as Go's."""

        def job(db: sqlite3.Connection) -> tuple[Doc, list[str]]:
            if only_unused and documents.count(db, "device", Where({"profileName": name})):
                raise Conflict("fail to update the device profile when associated device exists")
            profile = known_profile(db, name)
            edit(profile)
            profile = metadata_shapes.PROFILE.tidy(profile)
            documents.replace(db, "deviceprofile", name, profile)
            return profile, services_on(db, name)

        profile, services = await self._core.store.run(job)
        SystemEvents(self._core, correlation_of(request)).profile("update", profile, services)


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
