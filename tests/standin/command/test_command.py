"""core-command: the checklist points it has to meet, over REST and the bus."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from edgex_kit.bus.bus import Bus, Message
from edgex_kit.config.settings import ServiceSection
from edgex_kit.service import rest, server
from edgex_kit.wire import codec
from edgex_kit.wire.messages import EventResponse, new_id
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.standin.device_services import JPEG, device_of, device_service, event_response, post


async def test_86_a_picture_read_through_core_command_is_json(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique):
        await post(edgex, ask, "device", "device", device_of(unique))
        said = await asyncio.to_thread(ask, "GET", f"{edgex.command}/api/v3/device/name/{unique}/Frame")
    assert (said.status, said.content_type) == (200, "application/json")
    assert base64.b64decode(said.body["event"]["readings"][0]["binaryValue"]) == JPEG


async def test_86_commands_are_relayed_with_their_query_and_body(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique):
        await post(edgex, ask, "device", "device", device_of(unique))
        url = f"{edgex.command}/api/v3/device/name/{unique}/Gain"
        nothing = await asyncio.to_thread(ask, "GET", f"{url}?ds-returnevent=false")
        written = await asyncio.to_thread(ask, "PUT", url, {"Gain": "2"})
        unknown = await asyncio.to_thread(ask, "GET", f"{edgex.command}/api/v3/device/name/{unique}-no/Gain")
    assert (nothing.status, nothing.text) == (200, "")
    assert (written.status, written.body) == (200, {"apiVersion": "v3", "statusCode": 200})
    assert unknown.message == f"request failed, status code: 404, err: no device with name '{unique}-no' found"


async def test_86_a_service_that_is_away_is_503(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique):
        await post(edgex, ask, "device", "device", device_of(unique))
    said = await asyncio.to_thread(ask, "GET", f"{edgex.command}/api/v3/device/name/{unique}/Gain")
    assert (said.status, said.message) == (503, "failed to send a http request")


async def test_86_a_command_on_the_bus_goes_to_the_service_and_its_answer_back(
    edgex: Any, ask: Any, unique: str
) -> None:
    """Also an answer in CBOR, and a refusal, come back as they were."""
    seen: list[Any] = []
    async with device_service(edgex, ask, unique) as service:
        await post(edgex, ask, "device", "device", device_of(unique))

        def answer(message: Message) -> None:
            request = codec.decode_envelope(message.data)
            seen.append(request)
            ids = {"correlation_id": request.correlation_id, "request_id": request.request_id}
            refused = message.topic.endswith("/set")
            data = (
                codec.encode_error("no such gain", request_id=request.request_id)
                if refused
                else codec.encode(event_response(unique, "Frame"), **ids)
            )
            service.bus.publish(f"edgex/response/{unique}/{request.request_id}", data)

        service.bus.subscribe(f"edgex/device/command/request/{unique}/#", answer)
        assert await service.bus.settle(5)
        got = await _request(service.bus, f"core/command/request/{unique}/Frame/get", None, {"ds-pushevent": "false"})
        put = await _request(service.bus, f"core/command/request/{unique}/Gain/set", {"Gain": "99"})
        wrong = await _request(service.bus, f"core/command/request/{unique}/Gain/take", None)
        nobody = await _request(service.bus, f"core/command/request/{unique}-no/Gain/get", None)
        flag = await _request(service.bus, f"core/command/request/{unique}/Gain/get", None, {"ds-pushevent": "maybe"})
    assert codec.payload_as(got, EventResponse).event.readings[0].binary_value == JPEG
    assert (seen[0].query_params, seen[1].payload) == ({"ds-pushevent": "false"}, {"Gain": "99"})
    assert (put.error_code, put.payload) == (1, "no such gain")
    assert wrong.payload == "unknown request method: take, only 'get' or 'set' is allowed"
    assert (nobody.error_code, f"{unique}-no" in nobody.payload) == (1, True)
    assert flag.payload == "invalid query parameter, ds-pushevent has to be 'true' or 'false'"
    assert len(seen) == 2


async def test_86_a_silent_service_gets_no_answer_made_up_for_it(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique) as service:
        await post(edgex, ask, "device", "device", device_of(unique))
        request_id = new_id()
        async with service.bus.messages(f"edgex/response/core-command/{request_id}") as answers:
            assert await service.bus.settle(5)
            data = codec.encode(None, request_id=request_id)
            service.bus.publish(f"edgex/core/command/request/{unique}/Gain/get", data)
            heard = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.5):  # the core waits 2 s for the service
                    heard.append(await anext(answers))
        assert heard == []
        query = await _request(service.bus, f"core/commandquery/request/{unique}", None)  # and it goes on
    assert query.payload["deviceCoreCommand"]["deviceName"] == unique


async def test_86_queries_on_the_bus_say_what_devices_can_do(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique) as service:
        await post(edgex, ask, "device", "device", device_of(unique))
        one = await _request(service.bus, f"core/commandquery/request/{unique}", None)
        every = await _request(service.bus, "core/commandquery/request/all", None, {"offset": "0", "limit": "-1"})
        none = await _request(service.bus, f"core/commandquery/request/{unique}-no", None)
    commands = {command["name"]: command for command in one.payload["deviceCoreCommand"]["coreCommands"]}
    assert commands["Gain"] == {
        "name": "Gain", "get": True, "set": True, "path": f"/api/v3/device/name/{unique}/Gain", "url": edgex.command,
        "parameters": [{"resourceName": "Gain", "valueType": "Float32"}],
    }  # fmt: skip
    assert "set" not in commands["Frame"]
    assert unique in [device["deviceName"] for device in every.payload["deviceCoreCommands"]]
    assert (none.error_code, none.content_type) == (1, "text/plain")


async def _request(bus: Bus, topic: str, payload: Any, query: dict[str, str] | None = None) -> Any:
    """The answer's envelope, refusal or not."""
    request_id = new_id()
    async with bus.messages(f"edgex/response/core-command/{request_id}") as answers:
        assert await bus.settle(5)
        bus.publish(f"edgex/{topic}", codec.encode(payload, request_id=request_id, query_params=query))
        async with asyncio.timeout(5):
            return codec.decode_envelope((await anext(answers)).data)


@contextlib.asynccontextmanager
async def odd_device_service(edgex: Any, ask: Any, name: str, seen: list[Any]) -> AsyncIterator[None]:
    """One whose commands are `slow`, `plain` (text), `cbor` (none at all), or anything, which is said back."""

    async def answer(request: Request) -> Response:
        command = request.path_params["command"]
        seen.append((request.method, request.url.path, request.url.query, await request.body()))
        if command == "slow":
            await asyncio.sleep(3)
        if command == "plain":
            return PlainTextResponse("request timeout", 503)
        if command == "cbor":
            return Response(b"\xff", media_type="application/cbor")
        return rest.Json({"apiVersion": "v3", "statusCode": 200})

    section = ServiceSection(request_timeout="0s")
    app = rest.build_app([Route("/api/v3/device/name/{name}/{command}", answer, methods=["GET", "PUT"])], section)
    async with server.open_server(app, "127.0.0.1", 0) as port:
        record = {"name": name, "baseAddress": f"http://127.0.0.1:{port}", "adminState": "UNLOCKED"}
        await _post(edgex, ask, "deviceservice", {"service": record})
        states = {"adminState": "UNLOCKED", "operatingState": "UP"}
        device = {"name": f"{name}/a b", "serviceName": name, "protocols": {}, **states}
        await _post(edgex, ask, "device?bypassValidation=true", {"device": device})
        yield


async def _post(edgex: Any, ask: Any, path: str, item: dict[str, Any]) -> None:
    said = await asyncio.to_thread(ask, "POST", f"{edgex.metadata}/api/v3/{path}", [{"apiVersion": "v3", **item}])
    assert said.body[0]["statusCode"] == 201, said.text


async def test_a_slow_device_ends_in_503_and_delays_nobody(edgex: Any, ask: Any, unique: str) -> None:
    async with odd_device_service(edgex, ask, unique, []):
        url = f"{edgex.command}/api/v3/device/name/{unique}%2Fa%20b"
        slow = [asyncio.create_task(asyncio.to_thread(ask, "GET", f"{url}/slow")) for _ in range(3)]
        await asyncio.sleep(0.2)
        started = time.monotonic()
        assert (await asyncio.to_thread(ask, "GET", f"{url}/quick")).status == 200
        assert time.monotonic() - started < 1.5
        assert {(said.status, said.text) for said in await asyncio.gather(*slow)} == {(503, "request timeout")}


async def test_names_query_and_body_arrive_as_they_were_meant(edgex: Any, ask: Any, unique: str) -> None:
    seen: list[Any] = []
    async with odd_device_service(edgex, ask, unique, seen):
        url = f"{edgex.command}/api/v3/device/name/{unique}%2Fa%20b/x.y"
        await asyncio.to_thread(ask, "PUT", f"{url}?b=2&a=1%202&ds-pushevent=false", {"v": [1]})
    assert seen == [("PUT", f"/api/v3/device/name/{unique}%2Fa%20b/x.y", "a=1+2&b=2&ds-pushevent=false", b'{"v":[1]}')]


async def test_a_refusal_that_is_no_json_is_passed_on_as_text(edgex: Any, ask: Any, unique: str) -> None:
    async with odd_device_service(edgex, ask, unique, []):
        url = f"{edgex.command}/api/v3/device/name/{unique}%2Fa%20b/plain"
        for method, body in (("GET", None), ("PUT", {})):
            said = await asyncio.to_thread(ask, method, url, body)
            assert (said.status, said.message) == (503, "request failed, status code: 503, err: request timeout")


async def test_an_answer_that_cannot_be_read_is_said_to_be_so(edgex: Any, ask: Any, unique: str) -> None:
    async with odd_device_service(edgex, ask, unique, []):
        said = await asyncio.to_thread(ask, "GET", f"{edgex.command}/api/v3/device/name/{unique}%2Fa%20b/cbor")
    assert (said.status, said.message) == (400, "failed to decode the cbor response")
