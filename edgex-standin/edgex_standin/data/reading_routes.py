"""core-data's readings over REST (contract 8.1)."""

import sqlite3
from dataclasses import replace
from typing import Any

from edgex_kit.wire.errors import Invalid
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from edgex_standin.core import Core
from edgex_standin.data import events
from edgex_standin.data.aggregates import aggregate
from edgex_standin.data.event_routes import which_of
from edgex_standin.data.events import Which, Write
from edgex_standin.data.reading_values import as_text, number_of
from edgex_standin.paging import Page, page_of
from edgex_standin.web import answer, is_true, json_of, listing, route

_RANGE = "/start/{start}/end/{end}"


class Readings:
    """The /reading routes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[BaseRoute]:
        lists = (
            "/reading/all",
            f"/reading{_RANGE}",
            "/reading/resourceName/{resource}",
            f"/reading/resourceName/{{resource}}{_RANGE}",
            "/reading/device/name/{name}",
            f"/reading/device/name/{{name}}{_RANGE}",
            "/reading/device/name/{name}/resourceName/{resource}",
            f"/reading/device/name/{{name}}/resourceName/{{resource}}{_RANGE}",
        )
        counts = ("/reading/count", "/reading/count/device/name/{name}")
        return [
            *(route("GET", path, self.all) for path in lists),
            *(route("GET", path, self.count) for path in counts),
        ]

    async def all(self, request: Request) -> Response:
        which = await _which_of(request)
        page = page_of(request.query_params, self._core.max_results, least_offset=-1)
        function = request.query_params.get("aggregateFunc", "")
        if function:
            found = await self._core.store.run(lambda db: aggregate(db, which, page.from_start(), function))
            return answer(aggregateFunc=function, readings=found)
        return await self._list(which, page, number_of if is_true(request, "numeric") else as_text)

    async def count(self, request: Request) -> Response:
        which = which_of(request)
        return answer(count=await self._core.store.run(lambda db: events.count_readings(db, which)))

    async def _list(self, which: Which, page: Page, write: Write) -> Response:
        def job(db: sqlite3.Connection) -> tuple[list[Any], int]:
            return page.of(
                lambda: events.count_readings(db, which), lambda part: events.select_readings(db, which, part, write)
            )

        return listing("readings", *await self._core.store.run(job))


async def _which_of(request: Request) -> Which:
    """What the path selects; a body may narrow a device and time range down to some resources."""
    which = which_of(request)
    if which.device is None or which.resources or "start" not in request.path_params or not await request.body():
        return which
    body = await json_of(request)
    names = body.get("resourceNames", []) if isinstance(body, dict) else []
    if not isinstance(names, list):
        raise Invalid("query criteria [resourceNames] not in expected format")
    return replace(which, resources=tuple(name for name in names if isinstance(name, str)))
