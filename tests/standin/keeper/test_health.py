"""core-keeper asks services how they are: UP, DOWN, UP again, HALT, moved."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service import rest, server
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Patient:
    """A service whose health can be set, and which counts how often it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[float] = []

    async def answer(self, _request: Request) -> Response:
        self.asked.append(time.monotonic())
        return Response(status_code=self.status)


@contextlib.asynccontextmanager
async def patient() -> AsyncIterator[tuple[Patient, int]]:
    one = Patient()
    app = rest.build_app([Route("/health", one.answer)], ServiceSection())
    async with server.open_server(app, "127.0.0.1", 0) as port:
        yield one, port


def entry_of(name: str, port: int, interval: str = "400ms", **fields: Any) -> dict[str, Any]:
    check = {"interval": interval, "path": "/health", "type": "http"}
    entry = {"serviceId": name, "host": "127.0.0.1", "port": port, "healthCheck": check, **fields}
    return {"apiVersion": "v3", "registration": entry}


async def becomes(edgex: Any, ask: Any, name: str, status: str) -> None:
    async with asyncio.timeout(5):
        while await status_of(edgex, ask, name) != status:
            await asyncio.sleep(0.02)


async def status_of(edgex: Any, ask: Any, name: str) -> str:
    said = await asyncio.to_thread(ask, "GET", f"{edgex.keeper}/api/v3/registry/serviceId/{name}")
    return str(said.body["registration"]["status"])


async def test_a_service_is_unknown_until_it_was_asked_and_then_as_it_answers(
    edgex: Any, ask: Any, unique: str
) -> None:
    async with patient() as (one, port):
        url = f"{edgex.keeper}/api/v3/registry"
        started = time.monotonic()
        assert (await asyncio.to_thread(ask, "POST", url, entry_of(unique, port, "1s"))).status == 201
        assert await status_of(edgex, ask, unique) == "UNKNOWN"
        await becomes(edgex, ask, unique, "UP")
        one.status = 500
        await becomes(edgex, ask, unique, "DOWN")
        first, second = one.asked[0] - started, one.asked[1] - one.asked[0]
        assert (first > 0.4, second > 0.8, first < second) == (True, True, True)  # half an interval, then whole ones
        one.status = 204
        await becomes(edgex, ask, unique, "UP")


async def test_a_service_that_left_is_not_asked_any_more_and_hidden(edgex: Any, ask: Any, unique: str) -> None:
    async with patient() as (one, port):
        url = f"{edgex.keeper}/api/v3/registry"
        await asyncio.to_thread(ask, "POST", url, entry_of(unique, port))
        await becomes(edgex, ask, unique, "UP")
        assert (await asyncio.to_thread(ask, "PUT", url, entry_of(unique, port, status="HALT"))).status == 204
        asked = len(one.asked)
        await asyncio.sleep(0.6)
        assert len(one.asked) <= asked + 1  # one may have been on its way
        assert await status_of(edgex, ask, unique) == "HALT"
        shown = (await asyncio.to_thread(ask, "GET", f"{url}/all")).body["registrations"]
        every = (await asyncio.to_thread(ask, "GET", f"{url}/all?deregistered=true")).body["registrations"]
        assert unique not in [entry["serviceId"] for entry in shown]
        assert unique in [entry["serviceId"] for entry in every]


async def test_a_service_that_moved_is_asked_where_it_is_now(edgex: Any, ask: Any, unique: str) -> None:
    async with patient() as (_old, before), patient() as (new, after):
        url = f"{edgex.keeper}/api/v3/registry"
        await asyncio.to_thread(ask, "POST", url, entry_of(unique, before))
        await asyncio.to_thread(ask, "PUT", url, entry_of(unique, after))
        await becomes(edgex, ask, unique, "UP")
        assert new.asked


@pytest.mark.parametrize("kind", ["http", "https", "nonsense"])
async def test_nobody_at_home_is_down(edgex: Any, ask: Any, unique: str, kind: str) -> None:
    body = entry_of(unique, 9)
    body["registration"]["healthCheck"]["type"] = kind
    await asyncio.to_thread(ask, "POST", f"{edgex.keeper}/api/v3/registry", body)
    await becomes(edgex, ask, unique, "DOWN")


async def test_the_core_itself_is_up_from_the_start(edgex: Any, ask: Any) -> None:
    for name in ("core-metadata", "core-data", "core-command"):
        assert await status_of(edgex, ask, name) == "UP"
