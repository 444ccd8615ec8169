"""The REST frame of every EdgeX service: common routes, errors as answers, limits, callers.

Names in paths are matched as they were sent and decoded once, so a device may be called `a/b`:
endpoints take them from `name_of(request, "name")`.
"""

import asyncio
import collections
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple
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
from edgex_kit.wire.errors import EdgexError, Forbidden, Invalid, Malformed, TooLarge, Unavailable, UnsupportedMedia
from edgex_kit.wire.messages import CBOR, JSON, BaseResponse, SecretRequest
from edgex_kit.wire.redact import redact

log = logging.getLogger(__name__)

CORRELATION = b"x-correlation-id"
PING, READY = "/api/v3/ping", "/api/v3/vision/ready"
BODY_KB = 1024  # of a body where Service.MaxRequestSize is 0
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_TOKENS_A_SECOND, _TOKENS_KEPT, _TOKEN_S = (
    10,
    1000,
    10.0,
)  # new tokens that the guard is asked for; seconds of an answer
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


def ready_route(service: str, waiting_for: Callable[[], Sequence[str]]) -> Route:
    """`GET /api/v3/vision/ready`: 200 when `waiting_for` names nothing, else 503 with what the service waits for."""

    async def ready(_request: Request) -> Response:
        missing = list(waiting_for())
        body = {"apiVersion": API_VERSION, "serviceName": service, "ready": not missing, "waitingFor": missing}
        return Json(body, 503 if missing else 200)

    return Route(READY, ready)


def build_app(
    routes: Sequence[BaseRoute],
    settings: ServiceSection,
    timeout_text: str = "request timeout",
    guard: Guard | None = None,
    *,
    media_types: Sequence[str] = (),
    body_kb: int = BODY_KB,
    large: Mapping[str, int] | None = None,
) -> ASGIApp:
    """Routes inside the frame: errors, limits, who may call, correlation ids, CORS, and a guard, which lets ping pass.

    Bodies are JSON or CBOR, or of `media_types`. Where Service.MaxRequestSize is 0, they have at most `body_kb` KB, and
    on the paths of `large` as many as it says.
    """
    inner = Starlette(
        routes=list(routes),
        exception_handlers={EdgexError: _refused, HTTPException: _not_routed, Exception: _broken},
    )
    inner.router.redirect_slashes = False  # Echo answers 404 to a path with one slash too many
    app: ASGIApp = Guarded(inner, guard) if guard is not None else inner
    if settings.cors.enable_cors:
        app = _with_cors(app, settings.cors)
    own = settings.max_request_size
    limits = BodyLimits(own or body_kb, {} if own else dict(large or {}))
    callers = None if guard is not None else Callers(settings)
    return Frame(app, settings.timeout_s, timeout_text, limits, frozenset((JSON, CBOR, *media_types)), callers)


class Guarded:
    """Lets callers in whose token the guard accepts, and every caller to ping and readiness.

    The guard is asked once for a token and then again after a while; unknown tokens may not make it call the secret
    store more than some times a second.
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard
        self._known: dict[bytes, tuple[bool, float]] = {}  # digest of a token -> the answer, and when it ends
        self._asked: collections.deque[float] = collections.deque(maxlen=_TOKENS_A_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in (PING, READY):
            shown = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            kind, _, token = shown.partition(" ")
            if kind.lower() != "bearer" or not token.strip() or not await self._is_valid(token.strip()):
                await Json({"message": "Unauthorized"}, 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _is_valid(self, token: str) -> bool:
        digest, now = hashlib.sha256(token.encode()).digest(), time.monotonic()
        is_valid, ends = self._known.get(digest, (False, 0.0))
        if now < ends:
            return is_valid
        if len(self._asked) == _TOKENS_A_SECOND and now - self._asked[0] < 1.0:
            return False
        self._asked.append(now)
        is_valid = await self._guard(token)
        if len(self._known) >= _TOKENS_KEPT:
            del self._known[next(iter(self._known))]
        self._known[digest] = is_valid, time.monotonic() + _TOKEN_S
        return is_valid


class Callers:
    """Which names a request may call us by, and which web pages may send one.

    A browser sends what any page asks it to, also to this machine: a foreign page is known by its Origin, and one whose
    name was pointed at our address (DNS rebinding) by the Host header.
    """

    def __init__(self, settings: ServiceSection) -> None:
        own = {"localhost", "127.0.0.1", "::1", settings.host, settings.server_bind_addr}
        self._hosts = {it.lower() for it in (*own, *_listed(settings.allowed_hosts)) if it}
        self._origins = set(_listed(settings.cors.allowed_origin)) if settings.cors.enable_cors else set()

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raises Forbidden."""
        host = headers.get(b"host", b"").decode("latin-1")
        name = _host_name(host)
        here = (scope.get("server") or ("",))[0]  # the address of this connection
        if host and "*" not in self._hosts and name not in self._hosts and name != here:
            raise Forbidden(f"Host '{host}' is none of this service's names; Service.AllowedHosts can allow it")
        origin = headers.get(b"origin", b"").decode("latin-1")
        is_own = origin.partition("://")[2] == host
        if origin and not is_own and origin not in self._origins and "*" not in self._origins:
            raise Forbidden(f"a page of '{origin}' may not call this service; Service.CORSConfiguration can allow it")
        is_foreign = headers.get(b"sec-fetch-site") == b"cross-site" and headers.get(b"sec-fetch-mode") != b"navigate"
        if is_foreign and not origin:
            raise Forbidden("a page of another site may not call this service")


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")


class BodyLimits(NamedTuple):
    """KB that a body may have."""

    kb: int
    large: Mapping[str, int]

    def of(self, path: str) -> int:
        return self.large.get(path, self.kb)


class Frame:
    """What happens around every request, whichever route it takes."""

    def __init__(
        self,
        app: ASGIApp,
        timeout_s: float,
        timeout_text: str,
        limits: BodyLimits,
        media_types: frozenset[str],
        callers: Callers | None,
    ) -> None:
        self._app = app
        self._timeout_s = timeout_s or None
        self._timeout_text = timeout_text
        self._limits = limits
        self._media_types = media_types
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        correlation = _clean(headers.get(CORRELATION, b""))
        others = [it for it in scope["headers"] if it[0] != CORRELATION]
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        scope = {**scope, "path": path, "headers": [*others, (CORRELATION, correlation)] if correlation else others}
        echo, limit_kb = _Echo(send, correlation), self._limits.of(path)
        try:
            self._check(scope, headers, limit_kb)
        except EdgexError as error:
            await failure(error)(scope, receive, echo)
            return
        await self._limited(scope, _Measured(receive, limit_kb), echo)

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes], limit_kb: int) -> None:
        """Raises the error to answer before the body is read."""
        if self._callers is not None:
            self._callers.check(scope, headers)
        length = headers.get(b"content-length", b"")
        if length and b"transfer-encoding" in headers:  # RFC 9112, 6.3: two lengths hide a request in another
            raise Invalid("a request has Content-Length or Transfer-Encoding, not both")
        if length.isdigit() and int(length[:20]) > limit_kb * 1024:
            raise _too_large(limit_kb)
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        has_body = length.strip(b"0") != b"" or b"transfer-encoding" in headers
        if has_body and scope["method"] in _WRITES and kind and kind not in self._media_types:
            raise UnsupportedMedia(f"a body of '{kind}' is not read; send Content-Type: {JSON}")

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


def _clean(correlation: bytes) -> bytes:
    """A correlation id as it may be logged and sent on: printable ASCII, of at most 128 characters."""
    return bytes(it for it in correlation[:128] if 0x21 <= it <= 0x7E)


class _Measured:
    """`receive` that refuses a body larger than the limit while it is sent."""

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

    def __init__(self, send: Send, correlation: bytes) -> None:
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
    return CORSMiddleware(
        app,
        allow_origins=_listed(cors.allowed_origin),
        allow_methods=_listed(cors.allowed_methods),
        allow_headers=_listed(cors.allowed_headers),
        allow_credentials=cors.allow_credentials,
        expose_headers=_listed(cors.expose_headers),
        max_age=cors.max_age,
    )


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
