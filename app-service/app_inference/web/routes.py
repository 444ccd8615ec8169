"""REST beside the common routes: the page, status, pictures, the live stream, and the HTTP trigger."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import msgspec
from edgex_kit.service.rest import Json, body_of, name_of
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Malformed, NotFound, Unavailable
from edgex_kit.wire.messages import AddEventRequest, Event, new_id
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app_inference.pipeline.analysis import FrameAnalyser
from app_inference.pipeline.live_view import LiveView
from app_inference.pipeline.results import FrameResult, event_from
from app_inference.web.page import PAGE, PAGE_HEADERS, PICTURE_HEADERS
from app_inference.web.status import Status

MOST_LIVE = 64  # live streams at once
LIVE_PING = 15.0  # seconds without a result, then the stream sends a comment: a client that is gone is found by it
LIVE_HZ = 12.0  # frames a second and camera on the live stream: smooth to a person, few enough for a browser


def routes(status: Status, view: LiveView) -> list[BaseRoute]:
    """The routes that need no model."""

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

    streams = LiveStreams(view)

    async def live(_request: Request) -> Response:
        streams.check()
        return StreamingResponse(
            streams.events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return [
        Route("/", page),
        Route("/api/v3/vision/status", now),
        Route("/api/v3/vision/picture/{camera}", picture),
        Route("/api/v3/vision/live", live),
    ]


def trigger_route(analyser: FrameAnalyser) -> Route:
    """POST /api/v3/trigger: an event with a picture in, the event of its result out.

    Errors are plain text, as in EdgeX's app-functions-sdk-go (internal/trigger/http/rest.go).
    """

    async def trigger(request: Request) -> Response:
        try:
            event = codec.event_from(await body_of(request))
        except Malformed as error:
            return PlainTextResponse(f"unable to decode the event: {error}", 400)
        return await asyncio.to_thread(_trigger_response, analyser, event)

    return Route("/api/v3/trigger", trigger, methods=["POST"])


def _trigger_response(analyser: FrameAnalyser, event: Event) -> Response:
    try:
        result = analyser.result_of(event)
    except NotFound as error:
        return PlainTextResponse(str(error), 500)
    except EdgexError as error:
        return PlainTextResponse(str(error), 422)
    return Json(AddEventRequest(request_id=new_id(), event=event_from(result)))


@dataclass(frozen=True, slots=True)
class Closed:
    """The app of a route that answers 503 until the models are loaded."""

    app: ASGIApp
    is_loaded: Callable[[], bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.is_loaded():
            raise Unavailable("models are still being loaded; /api/v3/vision/status shows the progress")
        await self.app(scope, receive, send)


def closed_until(is_loaded: Callable[[], bool], routes: Sequence[Route]) -> list[BaseRoute]:
    """The same routes, each `Closed` until then."""
    return [Route(it.path, Closed(it.app, is_loaded), methods=list(it.methods or ())) for it in routes]


class Thinning:
    """Chooses at most LIVE_HZ frames a second and camera, evenly spread; all results of one frame or none."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}  # camera -> seconds
        self._chosen: dict[str, str] = {}  # camera -> frame id

    def chooses(self, answer: FrameResult, now: float) -> bool:
        """Whether to send `answer`; `now` in seconds of any clock."""
        camera, period = answer.camera, 1 / LIVE_HZ
        if self._chosen.get(camera) == answer.frame_id:
            return True
        due = self._due.get(camera, now)
        if now < due:
            return False
        # From the due time, not from now: otherwise every second frame of 15 a second would be dropped.
        self._due[camera] = max(due, now - period) + period
        self._chosen[camera] = answer.frame_id
        return True


class LiveStreams:
    """Results as server-sent events, for MOST_LIVE clients at once."""

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._open = 0

    def check(self) -> None:
        """Raises Unavailable when no more clients are served."""
        if self._open >= MOST_LIVE:
            raise Unavailable(f"{MOST_LIVE} live streams are open already")

    async def events(self) -> AsyncIterator[bytes]:
        """One `result` each: first the newest result of every camera, then each new one."""
        thinning, clock = Thinning(), asyncio.get_running_loop().time
        self._open += 1
        try:
            yield b"retry: 1000\n\n" + b"".join(_event(result) for result in self._view.newest())
            async for result in self._view.listen(LIVE_PING):
                if result is None:
                    yield b": ping\n\n"
                elif thinning.chooses(result, clock()):
                    yield _event(result)
        finally:
            self._open -= 1


def _event(result: FrameResult) -> bytes:
    return b"event: result\ndata: " + msgspec.json.encode(result) + b"\n\n"
