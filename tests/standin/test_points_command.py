"""Points of the conformance checklist that core-command has to meet, by their numbers (contract 11, F)."""

import asyncio
import base64
import contextlib
from typing import Any

from edgex_kit.bus.bus import Bus, Message
from edgex_kit.wire import codec
from edgex_kit.wire.messages import EventResponse, new_id

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
