"""The REST frame of every EdgeX service (contract 5): common routes, one table from errors to answers, limits, and
uvicorn as a guest that leaves signals to our main.

Names in paths are matched as they were sent and decoded once (contract 1.6), so a device may be called `a/b`:
endpoints take them from `name_of(request, "name")`.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgex_kit import API_VERSION, SDK_VERSION, __version__
from edgex_kit.codec import convert, decode_body
from edgex_kit.errors import EdgexError, Invalid, Malformed, Unavailable
from edgex_kit.messages import JSON, BaseResponse, SecretRequest
from edgex_kit.secrets import Secrets
from edgex_kit.settings import CorsSection, ServiceSection, Tree

log = logging.getLogger(__name__)

CORRELATION = b"x-correlation-id"


class Json(Response):
    """Any message or plain data as JSON."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


def name_of(request: Request, key: str) -> str:
    """A name out of the path, decoded."""
    return unquote(request.path_params[key])


async def body_of(request: Request) -> Any:
    """Plain data of the body. Raises Malformed."""
    return decode_body(request.headers.get("content-type", JSON), await request.body())


def failure(error: EdgexError) -> Json:
    """An error as every EdgeX service answers it."""
    return Json(BaseResponse(api_version=API_VERSION, message=str(error), status_code=error.status), error.status)


def common_routes(service: str, config: Callable[[], Tree], secrets: Secrets) -> list[BaseRoute]:
    """ping, version, config and secret."""

    async def ping(_request: Request) -> Response:
        stamp = time.strftime("%a %b %e %H:%M:%S UTC %Y", time.gmtime())  # Go's UnixDate
        return Json({"apiVersion": API_VERSION, "timestamp": stamp, "serviceName": service})

    async def version(_request: Request) -> Response:
        body = {"apiVersion": API_VERSION, "version": __version__, "serviceName": service, "sdk_version": SDK_VERSION}
        return Json(body)

    async def configuration(_request: Request) -> Response:
        return Json({"apiVersion": API_VERSION, "config": config(), "serviceName": service})

    async def secret(request: Request) -> Response:
        try:
            wanted = convert(await body_of(request), SecretRequest)
        except Malformed as error:  # its text could quote the secret
            raise Invalid("the body is no SecretRequest") from error
        await secrets.store(wanted)
        answer = BaseResponse(api_version=API_VERSION, request_id=wanted.request_id, status_code=201)
        return Json(answer, 201)

    return [
        Route("/api/v3/ping", ping),
        Route("/api/v3/version", version),
        Route("/api/v3/config", configuration),
        Route("/api/v3/secret", secret, methods=["POST"]),
    ]


def build_app(routes: Sequence[BaseRoute], settings: ServiceSection, timeout_text: str = "request timeout") -> ASGIApp:
    """Routes inside the frame: errors, limits, correlation ids, CORS."""
    app: ASGIApp = Starlette(
        routes=list(routes),
        exception_handlers={EdgexError: _refused, HTTPException: _not_routed, Exception: _broken},
    )
    if settings.cors.enable_cors:
        app = _with_cors(app, settings.cors)
    return Frame(app, settings.timeout_s, settings.max_request_size, timeout_text)


class Frame:
    """What happens around every request, whichever route it takes."""

    def __init__(self, app: ASGIApp, timeout_s: float, limit_kb: int, timeout_text: str) -> None:
        self._app = app
        self._timeout_s = timeout_s or None
        self._limit_kb = limit_kb
        self._timeout_text = timeout_text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        scope["path"] = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        echo = _Echo(send, headers.get(CORRELATION))
        if self._limit_kb and int(headers.get(b"content-length", b"0") or 0) > self._limit_kb * 1024:
            text = f"request size exceed Service.MaxRequestSize({self._limit_kb} KB)"
            body = BaseResponse(api_version=API_VERSION, message=text, status_code=413)
            await Json(body, 413)(scope, receive, echo)
            return
        await self._limited(scope, receive, echo)

    async def _limited(self, scope: Scope, receive: Receive, echo: "_Echo") -> None:
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                echo.on_start = lambda: limit.reschedule(None)  # a stream that has begun may go on
                await self._app(scope, receive, echo)
        except TimeoutError:
            if echo.started:
                raise
            echo.on_start = lambda: None  # the limit has passed, there is nothing left to lift
            await PlainTextResponse(self._timeout_text, 503)(scope, receive, echo)
        except Exception:  # one request's failure is its own: it was answered with 500, others are served on
            log.exception("%s %s failed", scope["method"], scope["path"])


class _Echo:
    """`send` that gives the caller's correlation id back and knows whether the answer has begun."""

    def __init__(self, send: Send, correlation: bytes | None) -> None:
        self.started = False
        self.on_start: Callable[[], None] = lambda: None
        self._send = send
        self._correlation = correlation

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.on_start()
            if self._correlation:
                message = {**message, "headers": [*message.get("headers", ()), (CORRELATION, self._correlation)]}
        await self._send(message)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, EdgexError)
    return failure(error)


async def _not_routed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Json({"message": error.detail}, error.status_code, error.headers)


async def _broken(_request: Request, error: Exception) -> Response:
    body = BaseResponse(api_version=API_VERSION, message=f"internal error: {type(error).__name__}", status_code=500)
    return Json(body, 500)


def _with_cors(app: ASGIApp, cors: CorsSection) -> ASGIApp:
    def listed(text: str) -> list[str]:
        return [item.strip() for item in text.split(",") if item.strip()]

    return CORSMiddleware(
        app,
        allow_origins=listed(cors.allowed_origin),
        allow_methods=listed(cors.allowed_methods),
        allow_headers=listed(cors.allowed_headers),
        allow_credentials=cors.allow_credentials,
        expose_headers=listed(cors.expose_headers),
        max_age=cors.max_age,
    )


class _Guest(uvicorn.Server):
    """uvicorn that leaves signals to our main; its own way kills a process that still has things to close."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Unavailable naming the port and what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what uses it or change the port"
        ) from error
    return sock


@contextlib.asynccontextmanager
async def open_server(app: ASGIApp, host: str, port: int) -> AsyncIterator[int]:
    """Serve `app` for the length of the block; yields the port, which matters when `port` is 0."""
    sock = bind(host, port)
    async with serve_on(app, sock):
        yield int(sock.getsockname()[1])


@contextlib.asynccontextmanager
async def serve_on(app: ASGIApp, sock: socket.socket) -> AsyncIterator[None]:
    """Serve `app` on a socket from `bind`, and close it at the end of the block."""
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    server = _Guest(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]), name=f"rest:{sock.getsockname()[1]}")
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await serving
        sock.close()


Endpoint = Callable[[Request], Awaitable[Response]]
