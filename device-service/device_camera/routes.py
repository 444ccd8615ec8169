"""The REST door: device commands and discovery (contract 6.1-6.3). It parses and formats, no more."""

from edgex_kit import codec
from edgex_kit.errors import Invalid, Malformed, Unsupported
from edgex_kit.messages import API, BaseResponse, EventResponse, new_id
from edgex_kit.rest import Json, body_of, name_of
from edgex_kit.service import Service
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from device_camera.commands import Commands
from device_camera.config import CameraService
from device_camera.discovery import Discovery
from device_camera.publishing import Outbox

_CORRELATION = "x-correlation-id"


def command_routes(service: Service[CameraService], commands: Commands, outbox: Outbox) -> list[BaseRoute]:
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
        event = await commands.write(name_of(request, "name"), name_of(request, "command"), body)
        if event is not None:
            outbox.send(event, request.headers.get(_CORRELATION))
        return Json(BaseResponse(api_version=API, status_code=200))

    path = "/api/v3/device/name/{name}/{command}"
    return [Route(path, get, methods=["GET"]), Route(path, put, methods=["PUT"])]


async def _values(request: Request) -> dict[str, object]:
    """The resources and values of a PUT; an empty body leaves all to the defaults. Raises Invalid."""
    if not await request.body():
        return {}
    try:
        body = await body_of(request)
    except Malformed as error:
        raise Invalid(f"failed to parse request body -> {error}") from error
    if not isinstance(body, dict):
        raise Invalid(f"failed to parse request body -> an object of resources and values expected, not {body!r:.80}")
    return body


def discovery_routes(discovery: Discovery) -> list[BaseRoute]:
    """Discovery on request; profiles are not scanned, because every camera has the same."""

    async def trigger(request: Request) -> Response:
        request_id = request.headers.get(_CORRELATION) or new_id()
        discovery.trigger(request_id)
        return _accepted(request_id, "Device Discovery is triggered.", 202)

    async def stop(request: Request) -> Response:
        request_id = name_of(request, "id") if "id" in request.path_params else ""
        discovery.stop(request_id)
        return _accepted(request_id, "", 200)

    async def scan(_request: Request) -> Response:
        raise Unsupported("Profile scan is not implemented")

    return [
        Route("/api/v3/discovery", trigger, methods=["POST"]),
        Route("/api/v3/discovery", stop, methods=["DELETE"]),
        Route("/api/v3/discovery/requestId/{id}", stop, methods=["DELETE"]),
        Route("/api/v3/profilescan", scan, methods=["POST"]),
        Route("/api/v3/profilescan/device/name/{name}", scan, methods=["DELETE"]),
    ]


def _accepted(request_id: str, message: str, status: int) -> Response:
    answer = BaseResponse(api_version=API, request_id=request_id, message=message, status_code=status)
    return Json(answer, status)
