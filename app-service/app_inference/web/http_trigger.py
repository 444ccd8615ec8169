"""`Trigger.Type: http`: an event with a picture is posted, and answered with the result event (contract 7.7)."""

import asyncio

from edgex_kit.service.rest import Json, body_of
from edgex_kit.wire import codec
from edgex_kit.wire.errors import EdgexError, Malformed, NotFound
from edgex_kit.wire.messages import AddEventRequest, Event, new_id
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app_inference.pipeline.analysis import Analyst
from app_inference.pipeline.results import event_from


def trigger_route(analyst: Analyst) -> Route:
    """POST /api/v3/trigger, with the plain texts that EdgeX answers where something is wrong."""

    async def trigger(request: Request) -> Response:
        try:
            event = codec.event_from(await body_of(request))
        except Malformed as error:
            return PlainTextResponse(f"unable to decode the event: {error}", 400)
        return await asyncio.to_thread(_answer, analyst, event)

    return Route("/api/v3/trigger", trigger, methods=["POST"])


def _answer(analyst: Analyst, event: Event) -> Response:
    try:
        answer = analyst.answer(event)
    except NotFound as error:
        return PlainTextResponse(str(error), 500)
    except EdgexError as error:
        return PlainTextResponse(str(error), 422)
    return Json(AddEventRequest(request_id=new_id(), event=event_from(answer)))
