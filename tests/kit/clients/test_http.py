"""Calls to other services: their errors become ours, and what is no EdgeX is said to be none."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from edgex_kit.clients.http import HttpClient, fetch_text
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service.rest import Json, build_app
from edgex_kit.service.server import open_server
from edgex_kit.wire.errors import Conflict, DriverFailed, EdgexError, NotFound, Unavailable, Unreachable
from edgex_standin.address import free_port
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

pytestmark = pytest.mark.integration


async def mirror(request: Request) -> Response:
    return Json(
        {
            "method": request.method,
            "query": str(request.url.query),
            "body": (await request.body()).decode(),
            "type": request.headers["content-type"],
            "correlation": request.headers["x-correlation-id"],
        }
    )


async def status(request: Request) -> Response:
    code = int(request.path_params["code"])
    body = {"apiVersion": "v3", "message": "because", "statusCode": code}
    return Json(body, code) if request.url.query != "text" else PlainTextResponse("because text", code)


async def page(_request: Request) -> Response:
    return Response("<html>router</html>", media_type="text/html")


async def nothing(_request: Request) -> Response:
    return Response(status_code=204)


async def slow(_request: Request) -> Response:
    await asyncio.sleep(1)
    return Json({})


ROUTES = [
    Route("/mirror", mirror, methods=["GET", "PUT"]),
    Route("/status/{code}", status),
    Route("/page", page),
    Route("/nothing", nothing),
    Route("/slow", slow),
]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with open_server(build_app(ROUTES, ServiceSection()), "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def http(url: str) -> AsyncIterator[HttpClient]:
    client = HttpClient(f"{url}/", name="core-metadata", wait=0.3)
    yield client
    client.close()


async def test_a_call_carries_its_body_as_json_and_a_correlation_id(http: HttpClient) -> None:
    answer = await http.call("PUT", "/mirror", body={"a": "é"}, params={"flatten": "true"})
    assert answer["method"] == "PUT"
    assert answer["query"] == "flatten=true"
    assert answer["body"] == '{"a":"é"}'
    assert answer["type"] == "application/json"
    assert len(answer["correlation"]) == 36


@pytest.mark.parametrize(
    ("code", "kind"), [(404, NotFound), (409, Conflict), (500, DriverFailed), (503, Unavailable), (418, DriverFailed)]
)
async def test_a_status_becomes_our_error_with_its_message(http: HttpClient, code: int, kind: type[EdgexError]) -> None:
    with pytest.raises(kind, match=r"^because$"):
        await http.call("GET", f"/status/{code}")
    with pytest.raises(kind, match=r"^because text$"):
        await http.call("GET", f"/status/{code}?text")


async def test_an_empty_answer_is_none(http: HttpClient) -> None:
    assert await http.call("GET", "/nothing") is None


async def test_a_page_is_no_answer_of_an_edgex_service(http: HttpClient) -> None:
    with pytest.raises(Unreachable, match="core-metadata at"):
        await http.call("GET", "/page")


async def test_an_answer_without_what_was_asked_for_is_none(http: HttpClient) -> None:
    assert await http.fetch("/mirror", "method") == "GET"
    with pytest.raises(Unreachable, match="answers without 'device'"):
        await http.fetch("/mirror", "device")


async def test_a_service_that_takes_too_long_is_unreachable(http: HttpClient) -> None:
    with pytest.raises(Unreachable, match=r"core-metadata at .* does not answer: timed out"):
        await http.call("GET", "/slow")


async def test_a_service_that_is_not_there_is_unreachable_and_its_url_shows_no_password() -> None:
    port = free_port("127.0.0.1")
    http = HttpClient(f"http://u:hunter22@127.0.0.1:{port}", name="core-keeper")
    with pytest.raises(Unreachable, match="connection refused") as caught:
        await http.call("GET", "/")
    assert "hunter22" not in str(caught.value)
    http.close()


async def test_many_calls_at_once_share_one_client(http: HttpClient) -> None:
    answers = await asyncio.gather(*(http.call("GET", "/mirror", params={"n": str(n)}) for n in range(20)))
    assert [answer["query"] for answer in answers] == [f"n={n}" for n in range(20)]


async def test_a_text_from_elsewhere_comes_through_the_proxy_of_the_environment_and_no_netrc_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    (tmp_path / ".netrc").write_text("machine files.example login me password hunter22\n")
    proxy = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "gateway.invalid")
    client = HttpClient("http://files.example.invalid", name="core-metadata", wait=1)
    async with proxy:
        assert await asyncio.to_thread(fetch_text, "http://files.example/devices.yaml", 5) == "hello"
        with pytest.raises(Unreachable, match=r"gateway\.invalid"):
            await asyncio.to_thread(fetch_text, "http://gateway.invalid/devices.yaml", 5)
        with pytest.raises(Unreachable):
            await client.call("GET", "/api/v3/ping")
    client.close()
    assert [it.splitlines()[0] for it in asked] == ["GET http://files.example/devices.yaml HTTP/1.1"]
    assert "authorization" not in asked[0].lower()


async def test_no_proxy_of_the_environment_is_asked_for_a_service_or_this_machine(
    http: HttpClient, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port('127.0.0.1')}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert await http.fetch("/mirror", "method") == "GET"
    assert await asyncio.to_thread(fetch_text, f"{url}/page", 1) == "<html>router</html>"


async def test_the_authorities_of_the_environment_are_trusted_and_no_others(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    place = url.replace("http:", "https:")
    with pytest.raises(Unreachable, match=r"does not answer: .*ca\.pem"):
        await asyncio.to_thread(fetch_text, f"{place}/page", 1)
    client = HttpClient(place, name="core-metadata", wait=1)
    with pytest.raises(Unreachable, match=r"core-metadata at .* does not answer: .*ca\.pem"):
        await client.call("GET", "/page")
    client.close()


async def test_a_text_is_fetched_or_the_trouble_is_named(url: str) -> None:
    assert await asyncio.to_thread(fetch_text, f"{url}/page", 1) == "<html>router</html>"
    with pytest.raises(NotFound, match="/nope: 404"):
        await asyncio.to_thread(fetch_text, f"{url}/nope", 1)
    with pytest.raises(Unreachable):
        await asyncio.to_thread(fetch_text, f"http://127.0.0.1:{free_port('127.0.0.1')}/", 1)
