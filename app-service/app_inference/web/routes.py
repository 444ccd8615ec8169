"""What this service says over REST beside the common routes: status, pictures, a live stream, and the page."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
from edgex_kit.service.rest import Json, name_of
from edgex_kit.wire.errors import NotFound, Unavailable
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app_inference.pipeline.live_view import View
from app_inference.pipeline.results import Answer
from app_inference.web.page import PAGE, PAGE_HEADERS, PICTURE_HEADERS
from app_inference.web.status import Status

LIVE_HZ = 12.0  # pictures a second and camera on the live stream: as many as an eye needs, few enough for a browser


def routes(status: Status, view: View) -> list[BaseRoute]:
    """The visible list; `/` is the page."""

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE, headers=PAGE_HEADERS)

    async def now(_request: Request) -> Response:
        return Json(status.now())

    async def picture(request: Request) -> Response:
        camera = name_of(request, "camera")
        kept = view.picture(camera, request.query_params.get("frameId", ""))
        if kept is None:
            raise NotFound(f"no such picture of camera '{camera}' is kept")
        return Response(kept.data, media_type=kept.media_type, headers=PICTURE_HEADERS)

    async def live(_request: Request) -> Response:
        return StreamingResponse(_events(view), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return [
        Route("/", page),
        Route("/api/v3/vision/status", now),
        Route("/api/v3/vision/picture/{camera}", picture),
        Route("/api/v3/vision/live", live),
    ]


class Closed:
    """A route's app that answers 503 until `is_open`: what it does needs models, and these are still being loaded."""

    def __init__(self, app: ASGIApp, is_open: Callable[[], bool]) -> None:
        self._app = app
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_open():
            raise Unavailable("models are still being loaded; /api/v3/vision/status says how far they have come")
        await self._app(scope, receive, send)


def closed_until(is_open: Callable[[], bool], routes: Sequence[Route]) -> list[BaseRoute]:
    """The same routes, each `Closed` until then."""
    return [Route(it.path, Closed(it.app, is_open), methods=list(it.methods or ())) for it in routes]


class Thinning:
    """At most LIVE_HZ frames a second and camera, evenly spread; all results of one frame go or stay together."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}  # camera -> seconds
        self._chosen: dict[str, str] = {}  # camera -> frame id

    def chooses(self, answer: Answer, now: float) -> bool:
        """Whether to pass on `answer`; `now` in seconds of any clock."""
        camera, period = answer.camera, 1 / LIVE_HZ
        if self._chosen.get(camera) == answer.frame_id:
            return True
        due = self._due.get(camera, now)
        if now < due:
            return False
        # Counted from when it was due and not from now: at 15 frames a second every second one would be lost else.
        self._due[camera] = max(due, now - period) + period
        self._chosen[camera] = answer.frame_id
        return True


async def _events(view: View) -> AsyncIterator[bytes]:
    """Server-sent events, one `result` each: first what is known, so that a camera that has gone is seen as well."""
    thinning, clock = Thinning(), asyncio.get_running_loop().time
    yield b"retry: 1000\n\n" + b"".join(_event(answer) for answer in view.newest())
    async for answer in view.listen():
        if thinning.chooses(answer, clock()):
            yield _event(answer)


def _event(answer: Answer) -> bytes:
    return b"event: result\ndata: " + msgspec.json.encode(answer) + b"\n\n"
