"""The points of the conformance checklist that a core has to meet, by their numbers (contract 11, F)."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import cbor2
from edgex_kit import codec, rest, server
from edgex_kit.bus import Bus, BusSettings, Message, open_bus
from edgex_kit.messages import CBOR, AddEventRequest, Event, EventResponse, Reading, new_id
from edgex_kit.origin import new_origin
from edgex_kit.settings import ServiceSection
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
        kind, body = codec.encode_body(_event_response(name, command))
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


def _event_response(name: str, command: str) -> EventResponse:
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


async def until(holds: Callable[[], Any], wait: float = 20.0) -> Any:
    """The first true value of `holds`."""
    async with asyncio.timeout(wait):
        while not (value := holds()):
            await asyncio.sleep(0.01)
    return value


# -- 81


async def test_81_a_prefix_gives_every_key_below_it_and_no_other(edgex: Any, ask: Any, unique: str) -> None:
    keys = f"{edgex.keeper}/api/v3/kvs/key/{unique}"
    for key in ("a", "a/b", "ab"):
        await asyncio.to_thread(ask, "PUT", f"{keys}/{key}", {"value": key})
    said = await asyncio.to_thread(ask, "GET", f"{keys}/a?keyOnly=true")
    assert said.body["response"] == [f"{unique}/a", f"{unique}/a/b"]


def test_81_an_unknown_key_is_refused_in_keepers_words(edgex: Any, ask: Any, unique: str) -> None:
    said = ask("GET", f"{edgex.keeper}/api/v3/kvs/key/{unique}")
    assert (said.status, said.message) == (404, f"no key starting with '{unique}' found")


def test_81_keys_and_registrations_have_the_capitals_of_go(edgex: Any, ask: Any, unique: str) -> None:
    ask("PUT", f"{edgex.keeper}/api/v3/kvs/key/{unique}", {"value": True})
    pair = ask("GET", f"{edgex.keeper}/api/v3/kvs/key/{unique}").body["response"][0]
    assert list(pair) == ["key", "Created", "Modified", "value"]
    assert base64.b64decode(pair["value"]) == b"true"
    entry = ask("GET", f"{edgex.keeper}/api/v3/registry/serviceId/core-metadata").body["registration"]
    assert entry["HealthCheck"]["path"] == "/api/v3/ping"


async def test_81_every_put_is_announced_also_one_that_changes_nothing(edgex: Any, ask: Any, unique: str) -> None:
    key = f"edgex/v4/{unique}/Writable/LogLevel"
    url = f"{edgex.keeper}/api/v3/kvs/key/{key.replace('/', '%2F')}"
    async with bus_of(edgex) as bus, bus.messages(f"edgex/configs/edgex/v4/{unique}/#") as changes:
        assert await bus.settle(5)
        for _ in range(2):
            await asyncio.to_thread(ask, "PUT", url, {"value": "DEBUG"})
        await asyncio.to_thread(ask, "DELETE", url)
        async with asyncio.timeout(5):
            heard = [await anext(changes) for _ in range(3)]
    assert {message.topic for message in heard} == {f"edgex/configs/{key}"}
    payloads = [codec.decode_envelope(message.data).payload for message in heard]
    assert payloads[0] == payloads[1] == {"key": key, "Created": 0, "Modified": 0, "value": "DEBUG"}
    assert payloads[2] == {"key": key, "Created": 0, "Modified": 0}


# -- 83


async def test_83_a_device_is_stored_only_after_its_service_agreed(edgex: Any, ask: Any, unique: str) -> None:
    topic = f"edgex/system-events/core-metadata/device/add/{unique}/#"
    async with device_service(edgex, ask, unique) as service, service.bus.messages(topic) as events:
        assert await service.bus.settle(5)
        item = await post(edgex, ask, "device", "device", device_of(unique))
        assert item["statusCode"] == 201
        assert service.asked == [unique]
        async with asyncio.timeout(5):
            message = await anext(events)
    details = codec.decode_envelope(message.data).payload["details"]
    assert message.topic.endswith(f"/{unique}/{unique}")
    assert (details["id"], details["name"]) == (item["id"], unique)


async def test_83_a_device_its_service_refuses_is_not_stored(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique, refusal="protocol rtsp needs Address"):
        item = await post(edgex, ask, "device", "device", device_of(unique))
        said = await asyncio.to_thread(ask, "GET", f"{edgex.metadata}/api/v3/device/name/{unique}")
    assert (item["statusCode"], item["message"]) == (
        500,
        f"Device {unique} validation failed: protocol rtsp needs Address",
    )
    assert said.status == 404


async def test_83_a_service_that_is_silent_makes_the_request_time_out(edgex: Any, ask: Any, unique: str) -> None:
    record = {"name": unique, "baseAddress": "http://127.0.0.1:1", "adminState": "UNLOCKED"}
    await post(edgex, ask, "deviceservice", "service", record)
    body = [{"apiVersion": "v3", "device": device_of(unique, profileName="")}]
    said = await asyncio.to_thread(ask, "POST", f"{edgex.metadata}/api/v3/device", body)
    assert (said.status, said.content_type, said.text) == (503, "text/plain", "request timeout")
    assert (await asyncio.to_thread(ask, "GET", f"{edgex.metadata}/api/v3/device/name/{unique}")).status == 404


async def test_83_validation_is_passed_by_when_asked_to(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique, refusal="no") as service:
        item = await post(edgex, ask, "device", "device", device_of(unique), "?bypassValidation=true")
        assert (item["statusCode"], service.asked) == (201, [])


async def test_83_a_device_that_moves_is_announced_to_both_services(edgex: Any, ask: Any, unique: str) -> None:
    other = f"{unique}-2"
    record = {"name": other, "baseAddress": "http://127.0.0.1:1", "adminState": "UNLOCKED"}
    async with device_service(edgex, ask, unique) as service:
        await post(edgex, ask, "deviceservice", "service", record)
        await post(edgex, ask, "device", "device", device_of(unique))
        async with service.bus.messages("edgex/system-events/core-metadata/device/update/#") as events:
            assert await service.bus.settle(5)
            change = [{"apiVersion": "v3", "device": {"name": unique, "serviceName": other}}]
            url = f"{edgex.metadata}/api/v3/device?bypassValidation=true"
            await asyncio.to_thread(ask, "PATCH", url, change)
            async with asyncio.timeout(5):
                owners = [codec.decode_envelope((await anext(events)).data).payload["owner"] for _ in range(2)]
    assert owners == [unique, other]


async def test_83_a_changed_profile_is_announced_to_every_service_on_it(edgex: Any, ask: Any, unique: str) -> None:
    async with device_service(edgex, ask, unique) as service:
        await post(edgex, ask, "device", "device", device_of(unique))
        async with service.bus.messages("edgex/system-events/core-metadata/deviceprofile/update/#") as events:
            assert await service.bus.settle(5)
            body = [{"apiVersion": "v3", "basicinfo": {"name": unique, "description": "new"}}]
            await asyncio.to_thread(ask, "PATCH", f"{edgex.metadata}/api/v3/deviceprofile/basicinfo", body)
            async with asyncio.timeout(5):
                topics = [(await anext(events)).topic for _ in range(2)]
    assert [topic.split("/")[-2:] for topic in topics] == [["core-metadata", unique], [unique, unique]]


# -- 84


def test_84_twenty_are_listed_unless_told_otherwise_and_all_with_minus_one(edgex: Any, ask: Any, unique: str) -> None:
    watchers = [
        {"name": f"{unique}-{n:02}", "serviceName": unique, "identifiers": {"A": "."}, "adminState": "UNLOCKED",
         "discoveredDevice": {"adminState": "UNLOCKED"}}
        for n in range(25)
    ]  # fmt: skip
    body = [{"apiVersion": "v3", "provisionWatcher": watcher} for watcher in watchers]
    assert {item["statusCode"] for item in ask("POST", f"{edgex.metadata}/api/v3/provisionwatcher", body).body} == {201}
    url = f"{edgex.metadata}/api/v3/provisionwatcher/service/name/{unique}"

    def names(query: str) -> list[str]:
        said = ask("GET", f"{url}?{query}").body
        assert said["totalCount"] == 25
        return [watcher["name"] for watcher in said["provisionWatchers"]]

    every = [watcher["name"] for watcher in watchers]
    assert names("") == every[:20]
    assert names("limit=-1") == every
    assert names("offset=20&limit=3") == every[20:23]
    assert names("limit=0") == []
    assert ask("GET", f"{url}?limit=1025").status == 400
    assert ask("GET", f"{url}?offset=-1").status == 400
    assert ask("GET", f"{url}?limit=many").status == 400
    said = ask("GET", f"{url}?offset=26")
    assert (said.status, said.message) == (416, "query objects bounds out of range. length:25 offset:26")


# -- 85


def event_request(name: str, source: str, reading: dict[str, Any], **fields: Any) -> dict[str, Any]:
    origin = new_origin()
    shared = {"deviceName": name, "profileName": "p", "origin": origin}
    readings = [{"resourceName": source, **shared, **reading}]
    event = {"apiVersion": "v3", "id": new_id(), "sourceName": source, **shared, "readings": readings, **fields}
    return {"apiVersion": "v3", "requestId": "", "event": event}


async def test_85_a_frame_in_cbor_is_stored_and_given_back_in_base64(edgex: Any, ask: Any, unique: str) -> None:
    origin = new_origin()
    shared = {"origin": origin, "device_name": unique, "profile_name": "p"}
    reading = Reading(resource_name="Frame", value_type="Binary", binary_value=JPEG, media_type="image/jpeg", **shared)
    event = Event(api_version="v3", id=new_id(), source_name="Frame", readings=(reading,), **shared)
    async with bus_of(edgex) as bus:
        data = codec.encode(AddEventRequest(event=event))
        assert codec.decode_envelope(data).content_type == CBOR
        bus.publish(f"edgex/events/device/svc/p/{unique}/Frame", data)
        stored = await _stored(edgex, ask, unique, 1)
    kept = stored["events"][0]["readings"][0]
    assert (kept["binaryValue"], kept["mediaType"]) == (base64.b64encode(JPEG).decode(), "image/jpeg")
    assert stored["events"][0]["origin"] == origin
    assert "id" not in kept


async def test_85_the_newest_comes_first(edgex: Any, ask: Any, unique: str) -> None:
    async with bus_of(edgex) as bus:
        for n in range(3):
            body = event_request(unique, "Count", {"valueType": "Int32", "value": str(n)})
            bus.publish(f"edgex/events/device/svc/p/{unique}/Count", codec.encode(body))
        stored = await _stored(edgex, ask, unique, 3)
    assert [event["readings"][0]["value"] for event in stored["events"]] == ["2", "1", "0"]


async def test_85_what_does_not_belong_is_dropped_and_the_next_is_stored(edgex: Any, ask: Any, unique: str) -> None:
    def body(**fields: Any) -> dict[str, Any]:
        return event_request(unique, "Count", {"valueType": "Int32", "value": "1"}, **fields)

    topic = f"edgex/events/device/svc/p/{unique}/Count"
    wrong = [
        (f"edgex/events/device/svc/p/{unique}/Other", codec.encode(body())),
        (f"edgex/events/device/svc/q/{unique}/Count", codec.encode(body())),
        (f"edgex/events/device/svc/p/{unique}-2/Count", codec.encode(body())),
        ("edgex/events/device/Count", codec.encode(body())),
        (f"edgex/events/app/svc/p/{unique}/Count", codec.encode(body())),
        (f"edgex/frames/svc/p/{unique}/Count", codec.encode(body())),
        (topic, codec.encode(body()["event"])),  # not wrapped in an AddEventRequest
        (topic, codec.encode(body(id=""))),
        (topic, codec.encode(body(apiVersion=""))),
        (topic, codec.encode(body(readings=[]))),
        (topic, codec.encode(body()).replace(b'"application/json"', b'"application/json; charset=utf-8"')),
        (
            topic,
            json.dumps({"apiVersion": "v3", "payload": json.dumps(body()), "contentType": "application/json"}).encode(),
        ),
    ]
    async with bus_of(edgex) as bus:
        for where, data in wrong:
            bus.publish(where, data)
        good = body()
        bus.publish(topic, codec.encode(good))
        stored = await _stored(edgex, ask, unique, 1)
        await asyncio.sleep(0.1)
        assert [event["id"] for event in (await _stored(edgex, ask, unique, 1))["events"]] == [good["event"]["id"]]
    assert stored["totalCount"] == 1


async def test_85_escaped_names_in_a_topic_are_the_names_in_the_event(edgex: Any, ask: Any, unique: str) -> None:
    async with bus_of(edgex) as bus:
        body = event_request(f"{unique}/b c", "Count", {"valueType": "Int32", "value": "1"})
        bus.publish(f"edgex/events/device/svc/p/{unique.replace('-', '%2D')}%2Fb%20c/Count", codec.encode(body))
        assert (await _stored(edgex, ask, f"{unique}%2Fb%20c", 1))["totalCount"] == 1


async def test_85_an_event_over_rest_is_passed_on_with_its_own_content_type(edgex: Any, ask: Any, unique: str) -> None:
    body = event_request(unique, "Count", {"valueType": "Int32", "value": "1"})
    url = f"{edgex.data}/api/v3/event/svc/p/{unique}/Count"
    async with bus_of(edgex) as bus, bus.messages(f"edgex/events/core/svc/p/{unique}/#") as events:
        assert await bus.settle(5)
        for kind, data in (("application/json", json.dumps(body).encode()), (CBOR, cbor2.dumps(body))):
            said = await asyncio.to_thread(ask, "POST", url, data=data, kind=kind)
            assert (said.status, said.body["id"]) == (201, body["event"]["id"])
            async with asyncio.timeout(5):
                envelope = codec.decode_envelope((await anext(events)).data)
            assert envelope.content_type == kind
            assert codec.event_of(envelope).id == body["event"]["id"]


async def _stored(edgex: Any, ask: Any, device: str, count: int) -> Any:
    url = f"{edgex.data}/api/v3/event/device/name/{device}"
    async with asyncio.timeout(10):
        while (said := await asyncio.to_thread(ask, "GET", url)).body["totalCount"] < count:
            await asyncio.sleep(0.02)
    return said.body


# -- 86


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
                else codec.encode(_event_response(unique, "Frame"), **ids)
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
