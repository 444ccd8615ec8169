"""The REST door of discovery (contract 6.1)."""

from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire.errors import Unsupported
from edgex_kit.wire.messages import API, BaseResponse, new_id
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from device_camera.discovery import Discovery

_CORRELATION = "x-correlation-id"


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
