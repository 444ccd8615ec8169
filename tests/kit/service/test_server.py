"""An app on a port: names what is in its way, and ends quietly."""

import asyncio
import socket
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import httpx
import pytest
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service.rest import Json, build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire.errors import Unavailable
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

pytestmark = pytest.mark.integration


async def slow(_request: Request) -> Response:
    await asyncio.sleep(5)
    return Json({})


async def endless(_request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"part "
            await asyncio.sleep(0.05)

    return StreamingResponse(parts())


async def test_a_taken_port_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{port}: Address already in use; stop"):
            async with open_server(build_app([], ServiceSection()), "127.0.0.1", port):
                pass


async def test_the_server_ends_with_its_block_quietly_while_requests_are_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = build_app([Route("/slow", slow), Route("/endless", endless)], ServiceSection(request_timeout="0s"))
    async with httpx.AsyncClient(trust_env=False) as http:
        async with open_server(app, "127.0.0.1", 0) as port:
            asking = [asyncio.create_task(http.get(f"http://127.0.0.1:{port}/{path}")) for path in ("slow", "endless")]
            await asyncio.sleep(0.1)
        answer = await asking[0]
        assert (answer.status_code, answer.json()["message"]) == (503, "the service is stopping")
        assert (await asking[1]).text.startswith("part part ")
    assert not [it for it in caplog.records if not it.name.startswith("httpx")]  # the client tells of itself


async def test_the_date_of_an_answer_follows_the_clock() -> None:
    async with (
        open_server(build_app([], ServiceSection()), "127.0.0.1", 0) as port,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        dates = []
        for _ in range(2):
            answer = await http.get(f"http://127.0.0.1:{port}/")
            dates.append(parsedate_to_datetime(answer.headers["date"]))
            await asyncio.sleep(2.1)
    assert dates[1] > dates[0]
