"""The frame around every service's REST: common routes, errors, limits, correlation ids."""

import asyncio
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from edgex_kit.clients.secrets import Secrets
from edgex_kit.config.settings import CorsSection, ServiceSection
from edgex_kit.service.rest import Json, body_of, build_app, common_routes, name_of, ready_route
from edgex_kit.service.server import open_server
from edgex_kit.wire import errors
from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.messages import SecretRequest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

KINDS = {it.__name__: it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, EdgexError)}


class StoredHere(Secrets):
    """Secrets that remember what was stored."""

    def __init__(self) -> None:
        super().__init__("device-cam", dict, None)
        self.stored: list[SecretRequest] = []

    async def store(self, request: SecretRequest) -> None:
        self.stored.append(request)


async def named(request: Request) -> Response:
    return Json({"device": name_of(request, "name"), "command": name_of(request, "command")})


async def failing(request: Request) -> Response:
    raise KINDS[request.path_params["kind"]]("rtsp://u:hunter22@cam is not there")


async def broken(_request: Request) -> Response:
    raise ValueError("hunter22")


async def impatient(_request: Request) -> Response:
    async with asyncio.timeout(0.01):
        await asyncio.sleep(1)
    return Json({})


async def slow(_request: Request) -> Response:
    await asyncio.sleep(5)
    return Json({})


async def stream(_request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"part "
            await asyncio.sleep(0.1)

    return StreamingResponse(parts())


async def echo(request: Request) -> Response:
    return Json(await body_of(request))


ROUTES = [
    Route("/api/v3/device/name/{name}/{command}", named),
    Route("/fail/{kind}", failing),
    Route("/broken", broken),
    Route("/impatient", impatient),
    Route("/slow", slow),
    Route("/stream", stream),
    Route("/echo", echo, methods=["POST"]),
]


@pytest.fixture
def secrets() -> StoredHere:
    return StoredHere()


@pytest.fixture
def settings() -> ServiceSection:
    return ServiceSection(request_timeout="200ms", max_request_size=1)


@pytest.fixture
async def http(secrets: StoredHere, settings: ServiceSection) -> AsyncIterator[httpx.AsyncClient]:
    common = common_routes("device-cam", lambda: {"Service": {"Port": "1"}}, secrets)
    app = build_app([*common, *ROUTES], settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


# -- common routes


async def test_ping_answers_with_a_unix_date_and_the_services_name(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/v3/ping")
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert (body["apiVersion"], body["serviceName"]) == ("v3", "device-cam")
    assert re.fullmatch(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d UTC \d{4}", body["timestamp"])


async def test_version_names_the_sdk_too(http: httpx.AsyncClient) -> None:
    body = (await http.get("/api/v3/version")).json()
    assert set(body) == {"apiVersion", "version", "serviceName", "sdk_version"}
    assert body["sdk_version"].startswith("4.")


async def test_a_secret_is_stored_and_answered_with_201(http: httpx.AsyncClient, secrets: StoredHere) -> None:
    body = {
        "apiVersion": "v3",
        "requestId": "8f1f2c3a-0000-4000-8000-000000000001",
        "secretName": "cam",
        "secretData": [{"key": "password", "value": "hunter22"}],
    }
    answer = await http.post("/api/v3/secret", json=body)
    assert answer.status_code == 201
    assert answer.json() == {"apiVersion": "v3", "requestId": body["requestId"], "statusCode": 201}
    assert secrets.stored[0].secret_data[0].value == "hunter22"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"secretName":"cam","secretData":[{"key":"p","value":1234567}]}'])
async def test_a_body_that_is_no_secret_is_refused_and_not_quoted(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/api/v3/secret", content=body)
    assert answer.status_code == 400
    assert answer.json() == {"apiVersion": "v3", "message": "the body is no SecretRequest", "statusCode": 400}


# -- names


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("cam-1", "cam-1"),
        ("cam%2D1", "cam-1"),
        ("a%2Fb%20c%2B", "a/b c+"),
        ("a%252Fb", "a%2Fb"),
        ("%C3%BC", "ü"),
        ("100%25", "100%"),
    ],
)
@pytest.mark.integration
async def test_a_name_in_a_path_is_decoded_once(settings: ServiceSection, path: str, device: str) -> None:
    async with open_server(build_app(ROUTES, settings), "127.0.0.1", 0) as port:
        status, body = await raw_get(port, f"/api/v3/device/name/{path}/Frame?ds-pushevent=true")
    assert status == 200
    assert body == Json({"device": device, "command": "Frame"}).body


async def raw_get(port: int, path: str) -> tuple[int, bytes]:
    """A request whose path no client has touched."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), bytes(body)


# -- errors


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_every_error_is_answered_with_its_status_and_without_credentials(
    http: httpx.AsyncClient, kind: str
) -> None:
    answer = await http.get(f"/fail/{kind}")
    status = KINDS[kind].status
    assert answer.status_code == status
    assert answer.json() == {"apiVersion": "v3", "message": "rtsp://***@cam is not there", "statusCode": status}


async def test_an_unknown_path_is_answered_as_echo_answers_it(http: httpx.AsyncClient) -> None:
    for path in ("/nope", "/api/v3/ping/", "/api/v3/device/name/x"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})


async def test_a_wrong_method_is_answered_as_echo_answers_it(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/v3/ping")
    assert (answer.status_code, answer.json()) == (405, {"message": "Method Not Allowed"})


async def test_a_bug_is_answered_with_500_and_the_service_goes_on(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await http.get("/broken")
    assert answer.status_code == 500
    assert answer.json() == {"apiVersion": "v3", "message": "internal error: ValueError", "statusCode": 500}
    assert "GET /broken failed" in caplog.text
    assert (await http.get("/api/v3/ping")).status_code == 200


async def test_a_handlers_own_timeout_is_its_bug_and_not_the_requests_limit(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await http.get("/impatient")
    assert answer.status_code == 500
    assert "GET /impatient failed" in caplog.text


@pytest.mark.parametrize("body", [b"{", b'{"a":', b"\xff"])
async def test_a_body_that_is_no_json_is_a_bad_request(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/echo", content=body)
    assert answer.status_code == 400
    assert answer.json()["statusCode"] == 400


# -- limits


async def test_a_request_that_takes_too_long_is_answered_with_503_text(http: httpx.AsyncClient) -> None:
    answer = await http.get("/slow")
    assert (answer.status_code, answer.text) == (503, "request timeout")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_a_stream_that_has_begun_may_take_longer(http: httpx.AsyncClient) -> None:
    answer = await http.get("/stream")
    assert (answer.status_code, answer.text) == (200, "part " * 4)


async def test_no_limit_is_no_limit() -> None:
    async def patient(_request: Request) -> Response:
        await asyncio.sleep(0.05)
        return Json({})

    app = build_app([Route("/patient", patient), ROUTES[-1]], ServiceSection(request_timeout="0s"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        assert (await http.get("/patient")).status_code == 200
        assert (await http.post("/echo", json={"a": "x" * 9000})).status_code == 200


async def test_a_body_over_the_limit_is_answered_with_413(http: httpx.AsyncClient) -> None:
    too_large = {
        "apiVersion": "v3",
        "message": "request size exceed Service.MaxRequestSize(1 KB)",
        "statusCode": 413,
    }
    answer = await http.post("/echo", json={"a": "x" * 1024})
    assert (answer.status_code, answer.json()) == (413, too_large)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 500

    answer = await http.post("/echo", content=chunks())
    assert (answer.status_code, answer.json()) == (413, too_large)
    assert (await http.post("/echo", json={"a": "x" * 1000})).status_code == 200


# -- headers


@pytest.mark.parametrize("path", ["/api/v3/ping", "/fail/NotFound", "/nope", "/slow", "/broken"])
async def test_the_callers_correlation_id_comes_back(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers={"X-Correlation-ID": "abc"})
    assert answer.headers["x-correlation-id"] == "abc"


async def test_other_origins_are_let_in_only_when_that_is_configured(http: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://ui", "Access-Control-Request-Method": "GET"}
    assert "access-control-allow-origin" not in (await http.options("/api/v3/ping", headers=asked)).headers
    cors = CorsSection(enable_cors=True, allowed_origin="https://ui")
    app = build_app(common_routes("cam", dict, StoredHere()), ServiceSection(cors=cors))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as open_http:
        answer = await open_http.options("/api/v3/ping", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://ui"
        answer = await open_http.get("/api/v3/ping", headers={"Origin": "https://ui"})
        assert answer.headers["access-control-allow-origin"] == "https://ui"


# -- callers


async def status(
    settings: ServiceSection, method: str = "GET", path: str = "/api/v3/ping", content: bytes = b"", **headers: str
) -> int:
    """The answer's status; underscores in names of `headers` are dashes."""
    app = build_app([*common_routes("cam", dict, StoredHere()), *ROUTES], settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:59985") as http:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await http.request(method, path, content=content or None, headers=named)).status_code


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:59985", 200),
        ("LOCALHOST.", 200),
        ("127.0.0.1", 200),
        ("[::1]:59985", 200),
        ("edgex-cam:1", 200),
        ("gate.lan", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example:59985", 403),
        ("localhost@evil.example", 403),
        ("10.9.9.9", 403),
        ("[fe80::1]", 403),
    ],
)
async def test_only_our_own_names_are_served(host: str, expected: int) -> None:
    settings = ServiceSection(host="edgex-cam", allowed_hosts="gate.lan, other.lan")
    for path in ("/api/v3/ping", "/api/v3/version", "/api/v3/device/name/a/b"):
        assert await status(settings, path=path, Host=host) == expected
    assert await status(ServiceSection(allowed_hosts="*"), Host=host) == 200


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "http://localhost:59985"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
async def test_a_foreign_page_is_refused_whatever_it_sends(headers: dict[str, str], expected: int) -> None:
    settings = ServiceSection(port=59985)
    for method, path in (("GET", "/api/v3/ping"), ("POST", "/echo")):
        content = b"{}" if method == "POST" else b""
        assert await status(settings, method, path, content, **headers) == expected


@pytest.mark.fault(32)
@pytest.mark.parametrize("path", ["/api/v3/secret", "/echo"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_a_body_that_a_page_may_send_unasked_is_not_read(path: str, kind: str) -> None:
    assert await status(ServiceSection(), "POST", path, b"{}", Content_Type=kind) == 415
    assert await status(ServiceSection(), "POST", "/echo", b"{}", Content_Type="application/json; charset=utf-8") == 200


@pytest.mark.fault(35)
async def test_two_lengths_of_a_body_are_refused() -> None:
    assert (
        await status(ServiceSection(), "POST", "/echo", b"{}", Transfer_Encoding="chunked", Content_Length="2") == 400
    )


@pytest.mark.fault(35)
async def test_a_correlation_id_comes_back_without_what_could_forge_a_line(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/v3/ping", headers={"X-Correlation-ID": "a\tb c" + "d" * 200})
    assert answer.headers["x-correlation-id"] == "abc" + "d" * 123


@pytest.mark.fault(12)
async def test_a_body_has_at_most_a_megabyte_unless_its_route_takes_more() -> None:
    app = build_app(ROUTES, ServiceSection(), large={"/api/v3/trigger": 4096})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        assert (await http.post("/echo", json={"a": "x" * 1_000_000})).status_code == 200
        assert (await http.post("/echo", json={"a": "x" * 1_100_000})).status_code == 413
        assert (await http.post("/api/v3/trigger", json={"a": "x" * 1_100_000})).status_code == 404


@pytest.mark.fault(35)
async def test_many_unknown_tokens_ask_the_guard_a_few_times_and_known_ones_once() -> None:
    asked: list[str] = []

    async def guard(token: str) -> bool:
        asked.append(token)
        return token == "good"

    app = build_app(common_routes("cam", dict, StoredHere()), ServiceSection(), guard=guard)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:

        async def version(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return (await http.get("/api/v3/version", headers=headers)).status_code

        assert [await version("good") for _ in range(5)] == [200] * 5
        assert {await version(f"bad-{number}") for number in range(50)} == {401}
        assert await version("good") == 200
    assert asked.count("good") == 1
    assert len(asked) <= 20


@pytest.mark.fault(28)
async def test_a_service_is_ready_once_it_waits_for_nothing() -> None:
    missing = ["the message broker"]
    app = build_app([ready_route("cam", lambda: missing)], ServiceSection())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        answer = await http.get("/api/v3/vision/ready")
        assert (answer.status_code, answer.json()["waitingFor"]) == (503, missing)
        missing.clear()
        assert (await http.get("/api/v3/vision/ready")).json()["ready"] is True
