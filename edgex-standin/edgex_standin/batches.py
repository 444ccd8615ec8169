"""Requests that come as a JSON array and are answered one by one in a 207 (contract 2.11)."""

from collections.abc import Awaitable, Callable
from typing import Any

from edgex_kit.service.rest import Json
from edgex_kit.wire.errors import EdgexError
from starlette.requests import Request
from starlette.responses import Response

from edgex_standin.shapes import Shape
from edgex_standin.web import item, json_of, refused

Taken = dict[str, Any]
Check = Callable[[Taken], None]
_GO_NAMES: dict[type, str] = {dict: "object", str: "string", int: "number", float: "number", bool: "bool"}


async def requests_of(request: Request, shape: Shape, check: Check | None = None) -> list[Taken]:
    """All requests of the body. One that breaks a rule refuses the whole body with Invalid; no array is a 500."""
    body = await json_of(request)
    if body is None:
        return []
    if not isinstance(body, list):
        kind = _GO_NAMES.get(type(body), "value")
        raise EdgexError(f"json: cannot unmarshal {kind} into Go value of type []requests.{shape.go}")
    taken = [shape.take(one) for one in body]
    for one in taken if check else ():
        assert check is not None
        check(one)
    return taken


async def answer_each(requests: list[Taken], status: int, act: Callable[[Taken], Awaitable[str]]) -> Response:
    """Do `act` for each request in order; an id it gives back is written, what it raises is that item's own answer."""
    answers = []
    for one in requests:
        request_id = one["requestId"]
        try:
            ident = await act(one)
            answers.append(item(request_id, status, **({"id": ident} if ident else {})))
        except EdgexError as error:
            answers.append(refused(request_id, error))
    return Json(answers or None, 207)
