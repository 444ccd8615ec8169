"""An app on a port: names what is in its way, and ends quietly."""

import asyncio
import contextlib
import resource
import socket
import struct
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import httpx
import pytest
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service import server
from edgex_kit.service.ports import bind, bind_within
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


# -- what clients do


async def ping(port: int) -> int:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(f"http://127.0.0.1:{port}/api/v3/ping", timeout=5)).status_code


async def fine(_request: Request) -> Response:
    return Json({})


APP = build_app([Route("/api/v3/ping", fine), Route("/endless", endless)], ServiceSection(request_timeout="0s"))


@pytest.mark.fault(12)
async def test_half_requests_leave_room_for_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 20)
    async with open_server(APP, "127.0.0.1", 0) as port:
        half = []
        for number in range(100):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /api/v3/ping HTTP/1.1\r\nX: " if number % 2 else b"")
            half.append(writer)
        assert await ping(port) == 200
        for writer in half:
            writer.close()


@pytest.mark.fault(12)
@pytest.mark.parametrize("begin", [b"", b"GET /api/v3/ping HTTP/1.1\r\n"])
async def test_headers_that_drip_end_the_connection(monkeypatch: pytest.MonkeyPatch, begin: bytes) -> None:
    monkeypatch.setattr(server, "HEADERS_S", 0.3)
    async with open_server(APP, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/v3/ping HTTP/1.1\r\nHost: localhost\r\n\r\n" + begin)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(8):
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b"X-Drip: 1\r\n" if begin else b"")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(100), 0.05)
        writer.close()


@pytest.mark.fault(12)
async def test_a_stream_that_nobody_reads_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_S", 0.3)

    async def flood(_request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield bytes(100_000)
                await asyncio.sleep(0)  # as every real stream does: the server learns that the client is gone

        return StreamingResponse(parts())

    app = build_app([Route("/flood", flood)], ServiceSection(request_timeout="0s"))
    async with open_server(app, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(3)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):  # of an endless stream
            with contextlib.suppress(ConnectionError):
                while await reader.read(1 << 20):
                    pass
        writer.close()


@pytest.mark.fault(12)
async def test_without_file_descriptors_one_line_is_logged_and_the_server_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with open_server(APP, "127.0.0.1", 0) as port:
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        await asyncio.sleep(0.2)
        waiting = [socket.socket() for _ in range(20)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(it.fileno() for it in waiting) + 1, hard))
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            await asyncio.sleep(2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for client in (*clients, *waiting):
                client.close()
        assert len([it for it in caplog.records if not it.name.startswith("httpx")]) == 1
        await asyncio.sleep(1)
        assert await ping(port) == 200


@pytest.mark.fault(19)
async def test_a_port_that_a_connection_still_holds_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as peer, socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME-WAIT after its end
        holder.bind(("127.0.0.1", 0))
        holder.connect(peer.getsockname())
        port = holder.getsockname()[1]
        with pytest.raises(Unavailable):
            bind("127.0.0.1", port)
        asyncio.get_running_loop().call_later(0.7, holder.close)
        (await bind_within("127.0.0.1", port, 10)).close()


async def test_a_port_that_somebody_serves_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable):
        async with asyncio.timeout(5):
            await bind_within(*taken.getsockname(), 30)
