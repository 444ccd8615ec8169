"""Device commands over REST (device-sdk-go v4, openapi/device-sdk.yaml)."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgex_kit.device.commands import Commands, correlation
from edgex_kit.device.driver import Host
from edgex_kit.device.events import Outbox
from edgex_kit.service.rest import Json, body_of, name_of
from edgex_kit.wire import codec
from edgex_kit.wire.errors import Invalid, Malformed
from edgex_kit.wire.messages import API, BaseResponse, EventResponse

_CORRELATION = "x-correlation-id"


def command_routes(service: Host, commands: Commands, outbox: Outbox) -> list[Route]:
    """GET and PUT of /api/v3/device/name/{name}/{command}."""

    async def get(request: Request) -> Response:
        query = request.query_params
        name, command = name_of(request, "name"), name_of(request, "command")
        event = await commands.read(name, command, regex=query.get("ds-regexcmd") != "false")
        if query.get("ds-pushevent") == "true":
            outbox.send(event, request.headers.get(_CORRELATION))
        if query.get("ds-returnevent", "true") != "true":
            return Response()
        answer = EventResponse(api_version=API, status_code=200, event=event)
        kind, body = codec.encode_body(answer, service.encoding)
        return Response(body, media_type=kind)

    async def put(request: Request) -> Response:
        body = await _values(request)
        correlation.set(request.headers.get(_CORRELATION, ""))
        event = await commands.write(name_of(request, "name"), name_of(request, "command"), body)
        if event is not None:
            outbox.send(event, request.headers.get(_CORRELATION))
        return Json(BaseResponse(api_version=API, status_code=200))

    path = "/api/v3/device/name/{name}/{command}"
    return [Route(path, get, methods=["GET"]), Route(path, put, methods=["PUT"])]


async def _values(request: Request) -> dict[str, object]:
    """The resources and values of a PUT; an empty body uses the defaults. Raises Invalid."""
    if not await request.body():
        return {}
    try:
        body = await body_of(request)
    except Malformed as error:
        raise Invalid(f"failed to parse request body -> {error}") from error
    if not isinstance(body, dict):
        raise Invalid(f"failed to parse request body -> an object of resources and values expected, not {body!r:.80}")
    return body
