"""A device service as the core sees one, and the records of its device."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from edgex_kit.bus.bus import Bus, Message, open_bus
from edgex_kit.bus.connection import BusSettings
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service import rest, server
from edgex_kit.service.clock import new_origin
from edgex_kit.wire import codec
from edgex_kit.wire.messages import Event, EventResponse, Reading, new_id
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


@dataclass(frozen=True, slots=True)
class Service:
    """A device service as the core sees one."""

    name: str
    bus: Bus
    asked: list[str]  # devices it was asked about


@contextlib.asynccontextmanager
async def bus_of(edgex: Any) -> AsyncIterator[Bus]:
    async with open_bus(BusSettings(edgex.broker.host, edgex.broker.port)) as bus:
        assert await bus.settle(5)
        yield bus


@contextlib.asynccontextmanager
async def device_service(edgex: Any, ask: Any, name: str, refusal: str = "") -> AsyncIterator[Service]:
    """Answers validation requests, has one Binary and one Float32 resource, and reads them over HTTP."""
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        command = request.path_params["command"]
        if request.method == "PUT":
            return rest.Json({"apiVersion": "v3", "statusCode": 200})
        if request.query_params.get("ds-returnevent") == "false":
            return Response()
        kind, body = codec.encode_body(event_response(name, command))
        return Response(body, media_type=kind)

    def validate(message: Message) -> None:
        request = codec.decode_envelope(message.data)
        asked.append(request.payload["device"]["name"])
        topic = f"edgex/response/{name}/{request.request_id}"
        ids = {"correlation_id": request.correlation_id, "request_id": request.request_id}
        bus.publish(
            topic, codec.encode_error(refusal, request_id=request.request_id) if refusal else codec.encode(None, **ids)
        )

    app = rest.build_app(
        [Route("/api/v3/device/name/{name}/{command}", answer, methods=["GET", "PUT"])], ServiceSection()
    )
    async with bus_of(edgex) as bus, server.open_server(app, "127.0.0.1", 0) as port:
        bus.subscribe(f"edgex/{name}/validate/device", validate)
        assert await bus.settle(5)
        record = {"name": name, "baseAddress": f"http://127.0.0.1:{port}", "adminState": "UNLOCKED"}
        await post(edgex, ask, "deviceservice", "service", record)
        resources = [
            {"name": "Frame", "properties": {"valueType": "Binary", "readWrite": "R", "mediaType": "image/jpeg"}},
            {"name": "Gain", "properties": {"valueType": "Float32", "readWrite": "RW"}},
        ]
        await post(edgex, ask, "deviceprofile", "profile", {"name": name, "deviceResources": resources})
        yield Service(name, bus, asked)


def event_response(name: str, command: str) -> EventResponse:
    shared = {"origin": new_origin(), "device_name": name, "profile_name": name}
    if command == "Frame":
        reading = Reading(
            resource_name=command, value_type="Binary", binary_value=JPEG, media_type="image/jpeg", **shared
        )
    else:
        reading = Reading(resource_name=command, value_type="Float32", value="1e+00", **shared)
    event = Event(api_version="v3", id=new_id(), source_name=command, readings=(reading,), **shared)
    return EventResponse(api_version="v3", status_code=200, event=event)


def device_of(service: str, **fields: Any) -> dict[str, Any]:
    states = {"adminState": "UNLOCKED", "operatingState": "UP"}
    return {"name": service, "serviceName": service, "profileName": service, "protocols": {"p": {}}, **states, **fields}


async def post(edgex: Any, ask: Any, kind: str, key: str, doc: dict[str, Any], query: str = "") -> dict[str, Any]:
    url = f"{edgex.metadata}/api/v3/{kind}{query}"
    said = await asyncio.to_thread(ask, "POST", url, [{"apiVersion": "v3", key: doc}])
    assert said.status == 207, said.text
    item: dict[str, Any] = said.body[0]
    return item
