"""What this service says over REST beside the common routes: status, pictures, a live stream, and the page."""

import asyncio
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import msgspec
from edgex_kit import API_VERSION, __version__
from edgex_kit.errors import NotFound
from edgex_kit.metrics import Counter
from edgex_kit.rest import Json, name_of
from edgex_kit.service import Service
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from app_inference.models import Models
from app_inference.settings import AppSettings
from app_inference.view import View

LIVE_HZ = 12.0  # results a second and camera on the live stream: more than an eye can follow, little for a browser


def routes(service: Service[AppSettings], view: View, models: Models) -> list[BaseRoute]:
    """The visible list; `/` is the page."""
    started = time.monotonic()

    async def page(_request: Request) -> Response:
        return HTMLResponse(_PAGE)

    async def status(_request: Request) -> Response:
        return Json(
            {
                "apiVersion": API_VERSION,
                "serviceName": service.name,
                "version": __version__,
                "uptimeSeconds": round(time.monotonic() - started, 1),
                "isBrokerConnected": service.bus.is_connected,
                "cameras": [{**row, "dropped": drops(service, row["name"])} for row in view.status()],
                "models": models.status(),
                "pipelines": msgspec.to_builtins(service.settings.writable.pipelines),
            }
        )

    async def picture(request: Request) -> Response:
        camera = name_of(request, "camera")
        kept = view.picture(camera, request.query_params.get("frameId", ""))
        if kept is None:
            raise NotFound(f"no such picture of camera '{camera}' is kept")
        media_type, data = kept
        return Response(data, media_type=media_type, headers={"Cache-Control": "no-store"})

    async def live(_request: Request) -> Response:
        return StreamingResponse(_events(view), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return [
        Route("/", page),
        Route("/api/v3/vision/status", status),
        Route("/api/v3/vision/picture/{camera}", picture),
        Route("/api/v3/vision/live", live),
    ]


def drops(service: Service[AppSettings], camera: str) -> dict[str, int]:
    """Dropped frames of a camera by reason."""
    counted = (it for it in service.metrics if isinstance(it, Counter) and it.name == "FramesDropped")
    return {it.tags["reason"]: it.value for it in counted if it.tags.get("camera") == camera}


async def _events(view: View) -> AsyncIterator[bytes]:
    """Server-sent events: one `result` each, at most LIVE_HZ a camera and model."""
    last: dict[tuple[str, str], float] = {}
    yield b"retry: 1000\n\n"
    async for answer in view.listen():
        key, now = (answer.camera, answer.model.name), asyncio.get_running_loop().time()
        if now - last.get(key, 0.0) >= 1 / LIVE_HZ:
            last[key] = now
            yield b"event: result\ndata: " + msgspec.json.encode(answer) + b"\n\n"


_PAGE: Any = files("app_inference").joinpath("page.html").read_text(encoding="utf-8")
