"""A core-keeper that a start has to wait for."""

from edgex_kit.clients.keeper import COMMON
from edgex_kit.service.rest import Json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class SlowKeeper:
    """A core-keeper that becomes ready in steps."""

    def __init__(self) -> None:
        self.pings = 0
        self.ready = "false"
        self.common = {f"{COMMON}/all-services/A": "1", f"{COMMON}/device-services/B": "2"}

    async def ping(self, _request: Request) -> Response:
        self.pings += 1
        return Json({"serviceName": "core-keeper"}, 503 if self.pings < 3 else 200)

    async def key(self, request: Request) -> Response:
        prefix = request.path_params["key"].replace("%2F", "/").replace("%2D", "-")
        held = {f"{COMMON}/IsCommonConfigReady": self.ready, **self.common}
        pairs = [{"key": key, "value": value} for key, value in held.items() if key.startswith(prefix)]
        return Json({"response": pairs}, 200 if pairs else 404)

    async def put(self, _request: Request) -> Response:
        return Json({})

    def routes(self) -> list[Route]:
        return [
            Route("/api/v3/ping", self.ping),
            Route("/api/v3/kvs/key/{key}", self.key),
            Route("/api/v3/kvs/key/{key}", self.put, methods=["PUT"]),
        ]
