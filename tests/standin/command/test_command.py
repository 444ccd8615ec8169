"""core-command's relay where the device service is slow or strange."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from edgex_kit.config.settings import ServiceSection
from edgex_kit.service import rest, server
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


@contextlib.asynccontextmanager
async def device_service(edgex: Any, ask: Any, name: str, seen: list[Any]) -> AsyncIterator[None]:
    """One whose commands are `slow`, `plain` (text), `cbor` (none at all), or anything, which is said back."""

    async def answer(request: Request) -> Response:
        command = request.path_params["command"]
        seen.append((request.method, request.url.path, request.url.query, await request.body()))
        if command == "slow":
            await asyncio.sleep(3)
        if command == "plain":
            return PlainTextResponse("request timeout", 503)
        if command == "cbor":
            return Response(b"\xff", media_type="application/cbor")
        return rest.Json({"apiVersion": "v3", "statusCode": 200})

    section = ServiceSection(request_timeout="0s")
    app = rest.build_app([Route("/api/v3/device/name/{name}/{command}", answer, methods=["GET", "PUT"])], section)
    async with server.open_server(app, "127.0.0.1", 0) as port:
        record = {"name": name, "baseAddress": f"http://127.0.0.1:{port}", "adminState": "UNLOCKED"}
        await _post(edgex, ask, "deviceservice", {"service": record})
        states = {"adminState": "UNLOCKED", "operatingState": "UP"}
        device = {"name": f"{name}/a b", "serviceName": name, "protocols": {}, **states}
        await _post(edgex, ask, "device?bypassValidation=true", {"device": device})
        yield


async def _post(edgex: Any, ask: Any, path: str, item: dict[str, Any]) -> None:
    said = await asyncio.to_thread(ask, "POST", f"{edgex.metadata}/api/v3/{path}", [{"apiVersion": "v3", **item}])
    assert said.body[0]["statusCode"] == 201, said.text


async def test_a_slow_device_ends_in_503_and_delays_nobody(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique, []):
        url = f"{edgex.command}/api/v3/device/name/{unique}%2Fa%20b"
        slow = [asyncio.create_task(asyncio.to_thread(ask, "GET", f"{url}/slow")) for _ in range(3)]
        await asyncio.sleep(0.2)
        started = time.monotonic()
        assert (await asyncio.to_thread(ask, "GET", f"{url}/quick")).status == 200
        assert time.monotonic() - started < 1.5
        assert {(said.status, said.text) for said in await asyncio.gather(*slow)} == {(503, "request timeout")}


async def test_names_query_and_body_arrive_as_they_were_meant(edgex: Any, ask: Any, unique: str) -> None:
    seen: list[Any] = []
    async with device_service(edgex, ask, unique, seen):
        url = f"{edgex.command}/api/v3/device/name/{unique}%2Fa%20b/x.y"
        await asyncio.to_thread(ask, "PUT", f"{url}?b=2&a=1%202&ds-pushevent=false", {"v": [1]})
    assert seen == [("PUT", f"/api/v3/device/name/{unique}%2Fa%20b/x.y", "a=1+2&b=2&ds-pushevent=false", b'{"v":[1]}')]


async def test_a_refusal_that_is_no_json_is_passed_on_as_text(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique, []):
        url = f"{edgex.command}/api/v3/device/name/{unique}%2Fa%20b/plain"
        for method, body in (("GET", None), ("PUT", {})):
            said = await asyncio.to_thread(ask, method, url, body)
            assert (said.status, said.message) == (503, "request failed, status code: 503, err: request timeout")


async def test_an_answer_that_cannot_be_read_is_said_to_be_so(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique, []):
        said = await asyncio.to_thread(ask, "GET", f"{edgex.command}/api/v3/device/name/{unique}%2Fa%20b/cbor")
    assert (said.status, said.message) == (400, "failed to decode the cbor response")
