"""The REST frame of every EdgeX service: common routes, errors as answers, limits.

Names in paths are matched as they were sent and decoded once, so a device may be called `a/b`:
endpoints take them from `name_of(request, "name")`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgex_kit import API_VERSION, SDK_VERSION, __version__
from edgex_kit.clients.secrets import Secrets
from edgex_kit.config.settings import CorsSection, ServiceSection, Tree
from edgex_kit.wire.codec import convert, decode_body
from edgex_kit.wire.errors import EdgexError, Invalid, Malformed, TooLarge, Unavailable
from edgex_kit.wire.messages import JSON, BaseResponse, SecretRequest
from edgex_kit.wire.redact import redact

log = logging.getLogger(__name__)

CORRELATION = b"x-correlation-id"
PING = "/api/v3/ping"
Guard = Callable[[str], Awaitable[bool]]  # whether a caller's JSON web token is valid


Endpoint = Callable[[Request], Awaitable[Response]]


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
    """An error as every EdgeX service answers it, without the credentials of URLs."""
    body = BaseResponse(api_version=API_VERSION, message=redact(str(error)), status_code=error.status)
    return Json(body, error.status)


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
        Route(PING, ping),
        Route("/api/v3/version", version),
        Route("/api/v3/config", configuration),
        Route("/api/v3/secret", secret, methods=["POST"]),
    ]


def build_app(
    routes: Sequence[BaseRoute],
    settings: ServiceSection,
    timeout_text: str = "request timeout",
    guard: Guard | None = None,
) -> ASGIApp:
    """Routes inside the frame: errors, limits, correlation ids, CORS, and a guard, which lets ping pass."""
    inner = Starlette(
        routes=list(routes),
        exception_handlers={EdgexError: _refused, HTTPException: _not_routed, Exception: _broken},
    )
    inner.router.redirect_slashes = False  # Echo answers 404 to a path with one slash too many
    app: ASGIApp = Guarded(inner, guard) if guard is not None else inner
    if settings.cors.enable_cors:
        app = _with_cors(app, settings.cors)
    return Frame(app, settings.timeout_s, settings.max_request_size, timeout_text)


class Guarded:
    """Lets callers in whose token the guard accepts, and every caller to ping."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != PING:
            shown = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            kind, _, token = shown.partition(" ")
            if kind.lower() != "bearer" or not token.strip() or not await self._guard(token.strip()):
                await Json({"message": "Unauthorized"}, 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


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
        scope = {**scope, "path": scope.get("raw_path", scope["path"].encode()).decode("latin-1")}
        echo = _Echo(send, headers.get(CORRELATION))
        if self._limit_kb:
            size = int(headers.get(b"content-length", b"0") or 0)
            if size > self._limit_kb * 1024:
                await failure(_too_large(self._limit_kb))(scope, receive, echo)
                return
            receive = _Measured(receive, self._limit_kb)
        await self._limited(scope, receive, echo)

    async def _limited(self, scope: Scope, receive: Receive, echo: "_Echo") -> None:
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                echo.limit = limit
                await self._app(scope, receive, echo)
        except TimeoutError:
            if limit.expired():
                await echo.instead(PlainTextResponse(self._timeout_text, 503), scope, receive)
            else:  # the request's own failure, answered with 500 like any other
                log.exception("%s %s failed", scope["method"], scope["path"])
        except asyncio.CancelledError:  # the server is stopping, and this is the outermost of the request's own task
            await echo.instead(failure(Unavailable("the service is stopping")), scope, receive)
        except Exception:  # one request's failure is its own: it was answered with 500, others are served on
            log.exception("%s %s failed", scope["method"], scope["path"])


class _Measured:
    """`receive` that refuses a body which says its size only by being sent."""

    def __init__(self, receive: Receive, limit_kb: int) -> None:
        self._receive = receive
        self._limit_kb = limit_kb
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > self._limit_kb * 1024:
            raise _too_large(self._limit_kb)
        return message


def _too_large(limit_kb: int) -> TooLarge:
    return TooLarge(f"request size exceed Service.MaxRequestSize({limit_kb} KB)")


class _Echo:
    """`send` that returns the caller's correlation id and knows how far the answer is."""

    def __init__(self, send: Send, correlation: bytes | None) -> None:
        self.limit: asyncio.Timeout | None = None  # ends at the answer's first byte: a stream may take longer
        self._send = send
        self._correlation = correlation
        self._begun = self._ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            if self.limit is not None:
                self.limit.reschedule(None)
            if self._correlation:
                message = {**message, "headers": [*message.get("headers", ()), (CORRELATION, self._correlation)]}
        elif not message.get("more_body"):
            self._ended = True
        await self._send(message)

    async def instead(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Answer in the route's place, or end the answer that it has begun."""
        self.limit = None
        if not self._begun:
            await response(scope, receive, self)
        elif not self._ended:
            await self({"type": "http.response.body", "body": b""})


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
