"""Points of the conformance checklist that core-data has to meet, by their numbers (contract 11, F)."""

import asyncio
import base64
import json
from typing import Any

import cbor2
from edgex_kit.service.clock import new_origin
from edgex_kit.wire import codec
from edgex_kit.wire.messages import CBOR, AddEventRequest, Event, Reading, new_id

from tests.standin.device_services import JPEG, bus_of


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
