"""The REST frame of a core service: `edgex_kit.service.rest` with the habits of EdgeX's core services.

A core service makes up a correlation id where the request has none, and answers a body it cannot read with 500.
Paging and query parameters of lists, requests in batches (207 answers), uploaded files."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import msgspec
from edgex_kit.config.settings import ServiceSection, Tree
from edgex_kit.service import rest
from edgex_kit.service.rest import Endpoint, Json
from edgex_kit.wire.errors import EdgexError, Invalid, OutOfRange
from edgex_kit.wire.messages import API, new_id
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgex_standin.core import VERSION

_UPLOADS = ("multipart/form-data", "application/x-yaml", "application/yaml", "text/yaml")
_BODY_KB = 64 * 1024  # events of core-data hold pictures of up to 16 MB, three of them in base64
COMMON = ("/api/v3/ping", "/api/v3/version", "/api/v3/config", "/api/v3/secret")


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    """One method of one path; below /api/v3."""
    return Route(f"/api/v3{path}", endpoint, methods=[method])


def app_of(service: str, routes: Sequence[BaseRoute], config: Callable[[], Tree], settings: ServiceSection) -> ASGIApp:
    """A core service's routes, and ping, version and config, inside the frame."""
    app = rest.build_app([*_common(service, config), *routes], settings, media_types=_UPLOADS, body_kb=_BODY_KB)
    return _Correlated(app)


def answer(status: int = 200, **fields: Any) -> Json:
    """A response object; `fields` follow the status."""
    return Json({"apiVersion": API, "statusCode": status, **fields}, status)


def listing(key: str, items: Sequence[Any], total: int) -> Json:
    return Json({"apiVersion": API, "statusCode": 200, "totalCount": total, key: items})


def item(request_id: str, status: int, **fields: Any) -> dict[str, Any]:
    """One item of a 207 answer."""
    head = {"requestId": request_id} if request_id else {}
    return {"apiVersion": API, **head, "statusCode": status, **fields}


def refused(request_id: str, error: EdgexError) -> dict[str, Any]:
    """One refused item of a 207 answer."""
    head = {"requestId": request_id} if request_id else {}
    return {"apiVersion": API, **head, "message": str(error), "statusCode": error.status}


def correlation_of(request: Request) -> str:
    return request.headers["x-correlation-id"]


def is_true(request: Request, key: str) -> bool:
    """A flag that is on for what Go's cast.ToBool takes for true, and off for anything else."""
    return request.query_params.get(key, "") in ("1", "t", "T", "true", "TRUE", "True")


async def json_of(request: Request) -> Any:
    """Plain data of a JSON body. Raises EdgexError (500), as EdgeX 4.0 answers what is no JSON."""
    body = await request.body()
    if not body.strip():
        raise EdgexError("EOF")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EdgexError("unexpected EOF" if "truncated" in str(error) else f"invalid JSON: {error}") from error


def _common(service: str, config: Callable[[], Tree]) -> list[BaseRoute]:
    async def ping(_request: Request) -> Response:
        stamp = time.strftime("%a %b %e %H:%M:%S UTC %Y", time.gmtime())  # Go's UnixDate
        return Json({"apiVersion": API, "timestamp": stamp, "serviceName": service})

    async def version(_request: Request) -> Response:
        return Json({"apiVersion": API, "version": VERSION, "serviceName": service})

    async def configuration(_request: Request) -> Response:
        return Json({"apiVersion": API, "config": config(), "serviceName": service})

    return [route("GET", "/ping", ping), route("GET", "/version", version), route("GET", "/config", configuration)]


@cache
def _canonical(name: bytes) -> bytes:
    """Content-Type, X-Correlation-Id: textproto.CanonicalMIMEHeaderKey."""
    return b"-".join(part.capitalize() for part in name.split(b"-"))


class _Correlated:
    """Gives every request to the core's own routes a correlation id; header names of answers are spelled as in Go."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in COMMON:
            headers = [(key, value) for key, value in scope["headers"] if key != rest.CORRELATION or value]
            if not any(key == rest.CORRELATION for key, _ in headers):
                headers.append((rest.CORRELATION, new_id().encode()))
            scope = {**scope, "headers": headers}

        async def send_as_go(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [(_canonical(key), value) for key, value in message["headers"]]}
            await send(message)

        await self._app(scope, receive, send_as_go)


DEFAULT_LIMIT = 20
MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted; `limit` is never negative."""

    offset: int
    limit: int
    labels: tuple[str, ...] = ()

    def from_start(self) -> "Page":
        """Itself, with an offset of -1 (do not count) as 0."""
        return replace(self, offset=max(self.offset, 0))

    def within(self, total: int) -> "Page":
        """Itself. Raises OutOfRange for an offset behind the end of `total` items, but not where there is nothing."""
        if total and self.limit and self.offset > total:
            raise OutOfRange(f"query objects bounds out of range. length:{total} offset:{self.offset}")
        return self

    def of(self, count: Callable[[], int], select: Callable[["Page"], list[Any]]) -> tuple[list[Any], int]:
        """This part of a list, and the length of the list; 0 when it is not to be counted. Raises OutOfRange."""
        if self.offset < 0:
            return select(self.from_start()), 0
        total = count()
        return select(self.within(total)), total


def page_of(query: Mapping[str, str], most: int, *, least_offset: int = 0) -> Page:
    """The page a query asks for; `limit=-1` is as many as `most`. Raises Invalid with Go's text."""
    offset = integer(query, "offset", 0, least_offset, MAX_INT32)
    limit = integer(query, "limit", min(DEFAULT_LIMIT, most), -1, most)
    labels = tuple(label.strip() for label in query.get("labels", "").split(",") if label.strip())
    return Page(offset, most if limit == -1 else limit, labels)


def integer(query: Mapping[str, str], key: str, default: int, least: int, most: int) -> int:
    """A number out of a query. Raises Invalid with Go's text."""
    text = query.get(key, "")
    if not text:
        return default
    number = parse_integer(f"querystring {key}", text)
    if not least <= number <= most:
        raise Invalid(f"querystring {key}'s value {number} is out of min {least} ~ max {most} range.")
    return number


def time_range(path: Mapping[str, str]) -> tuple[int, int]:
    """`start` and `end` of a path, in nanoseconds. Raises Invalid with Go's text."""
    start, end = (_path_integer(path, key) for key in ("start", "end"))
    if end < start:
        raise Invalid(f"end's value {end} is not allowed to be less than start's value {start}")
    return start, end


def _path_integer(path: Mapping[str, str], key: str) -> int:
    number = parse_integer(f"path param {key}", path[key], "ParseInt")
    if not 0 <= number <= MAX_INT64:
        raise Invalid(f"path param {key}'s value {number} is out of min 0 ~ max {MAX_INT64} range.")
    return number


def parse_integer(what: str, text: str, function: str = "Atoi") -> int:
    """A number out of a text. Raises Invalid as Go's `function` puts it."""
    body = text.strip()
    digits = body.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        cause = f'Error:strconv.{function}: parsing "{body}": invalid syntax'
        raise Invalid(f"failed to parse {what}'s value {text} into integer. {cause}")
    return int(body)


def boolean(query: Mapping[str, str], key: str) -> bool:
    """A flag out of a query, as Go's ParseBool reads it. Raises Invalid."""
    text = query.get(key, "").strip()
    if text in ("", "0", "f", "F", "false", "FALSE", "False"):
        return False
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    raise Invalid(
        f'failed to parse querystring {key} into bool. Error:strconv.ParseBool: parsing "{text}": invalid syntax'
    )
