"""Request bodies of the core services: JSON arrays that are answered one by one in a 207, and uploaded files."""

from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import HTTP
from typing import Any

from edgex_kit.service.rest import Json
from edgex_kit.wire.errors import EdgexError, Invalid
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


def file_of(content_type: str, body: bytes, field: str) -> bytes | None:
    """The bytes of `field`; None where it is missing. Raises Invalid for a body of another kind."""
    form = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=HTTP)
    if not isinstance(form, EmailMessage) or not form.is_multipart():
        raise Invalid(f"a multipart/form-data body was expected, not '{content_type}'")
    for part in form.iter_parts():
        if part.get_param("name", header="content-disposition") == field:
            data = part.get_payload(decode=True)
            return data if isinstance(data, bytes) else None
    return None
