"""The REST frame of a core service: what `edgex_kit.service.rest` has, and the core's own habits (contract 2.11 and 5).

A core service makes up a correlation id where the request has none, and answers a body it cannot read with 500.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from edgex_kit.config.settings import ServiceSection, Tree
from edgex_kit.service import rest
from edgex_kit.service.rest import Endpoint, Json
from edgex_kit.wire.errors import EdgexError
from edgex_kit.wire.messages import API, new_id
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from edgex_standin.core import VERSION

COMMON = ("/api/v3/ping", "/api/v3/version", "/api/v3/config", "/api/v3/secret")


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    """One method of one path; below /api/v3."""
    return Route(f"/api/v3{path}", endpoint, methods=[method])


def app_of(service: str, routes: Sequence[BaseRoute], config: Callable[[], Tree], settings: ServiceSection) -> ASGIApp:
    """A core service's routes, and ping, version and config, inside the frame."""
    return _Correlated(rest.build_app([*_common(service, config), *routes], settings))


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


class _Correlated:
    """Gives every request to the core's own routes a correlation id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in COMMON:
            headers = [(key, value) for key, value in scope["headers"] if key != rest.CORRELATION or value]
            if not any(key == rest.CORRELATION for key, _ in headers):
                headers.append((rest.CORRELATION, new_id().encode()))
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)
