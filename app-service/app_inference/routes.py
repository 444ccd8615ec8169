"""What this service says over REST beside the common routes: status, pictures, a live stream, and the page."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import msgspec
from edgex_kit import API_VERSION, __version__
from edgex_kit.errors import NotFound
from edgex_kit.metrics import Counter, Metrics
from edgex_kit.origin import new_origin
from edgex_kit.rest import Json, name_of
from edgex_kit.service import Service
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from app_inference.models import Models
from app_inference.page import PAGE, PAGE_HEADERS, PICTURE_HEADERS
from app_inference.pipeline_states import pipeline_states
from app_inference.pipelines import Plan
from app_inference.results import Answer
from app_inference.settings import AppSettings
from app_inference.tally import REPLACED
from app_inference.updates.reported import Reported
from app_inference.view import View

LIVE_HZ = 12.0  # pictures a second and camera on the live stream: as many as an eye needs, few enough for a browser


def routes(
    service: Service[AppSettings],
    view: View,
    models: Models,
    plan: Callable[[], Plan],
    report: Callable[[], Reported],
) -> list[BaseRoute]:
    """The visible list; `/` is the page."""
    started = time.monotonic()

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE, headers=PAGE_HEADERS)

    async def status(_request: Request) -> Response:
        broker = service.settings.message_bus
        counts = counts_by_camera(service.metrics)
        return Json(
            {
                "apiVersion": API_VERSION,
                "serviceName": service.name,
                "version": __version__,
                "origin": str(new_origin()),  # this clock's now, for ages that do not depend on the reader's clock
                "uptimeSeconds": round(time.monotonic() - started, 1),
                "broker": f"{broker.host}:{broker.port}",
                "isBrokerConnected": service.bus.is_connected,
                "resultsWaiting": service.metrics.gauge("ResultsWaiting").value,
                "resultsDropped": service.metrics.counter("ResultsDropped").value,
                "dropped": counts[""].dropped,  # of no camera we could name
                "cameras": [{**row, **msgspec.to_builtins(counts[row["name"]])} for row in view.status()],
                "models": [{**row, "inferenceMs": view.inference_ms(row)} for row in models.status()],
                "updates": report(),
                "pipelines": msgspec.to_builtins(plan().sections),
                "pipelineStates": pipeline_states(plan(), models),
            }
        )

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
        Route("/api/v3/vision/status", status),
        Route("/api/v3/vision/picture/{camera}", picture),
        Route("/api/v3/vision/live", live),
    ]


class Counts(msgspec.Struct, rename="camel"):
    """What became of a camera's frames."""

    frames_received: int = 0
    frames_analysed: int = 0
    frames_replaced: int = 0
    dropped: dict[str, int] = {}  # by reason, replaced ones among them


def counts_by_camera(metrics: Metrics) -> defaultdict[str, Counts]:
    """The tally by camera; "" is where nobody could tell the camera."""
    cameras: defaultdict[str, Counts] = defaultdict(Counts)
    for it in metrics:
        if not isinstance(it, Counter):
            continue
        counts = cameras[it.tags.get("camera", "")]
        if it.name == "FramesDropped":
            counts.dropped[it.tags["reason"]] = int(it.value)
        elif it.name == "FramesReceived":
            counts.frames_received = int(it.value)
        elif it.name == "FramesAnalysed":
            counts.frames_analysed = int(it.value)
    for counts in cameras.values():
        counts.frames_replaced = counts.dropped.get(REPLACED, 0)
    return cameras


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
