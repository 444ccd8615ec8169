"""Recordings of the real services, decoded and written again: the measure of the codec."""

import base64
import json
from typing import Any

import cbor2
import pytest
from edgex_kit.wire import codec
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService, ProvisionWatcher
from edgex_kit.wire.messages import CBOR, AddEventRequest, Envelope, EventResponse, KeyValue, Metric, SystemEvent

from tests.kit.recordings import RECORDED, label, raw

OWNED = {"device": Device, "deviceprofile": DeviceProfile, "deviceservice": DeviceService}
recorded = pytest.mark.parametrize("message", RECORDED, ids=label)


def body_of(envelope: Envelope) -> Any:
    """The payload as the type that our services would decode it to."""
    data = codec.decode_payload(envelope)
    if not isinstance(data, dict):
        return data
    for key, kind in (("details", SystemEvent), ("fields", Metric), ("Created", KeyValue)):
        if key in data:
            return codec.convert(data, kind)
    if "event" in data:
        return codec.convert(data, EventResponse if "statusCode" in data else AddEventRequest)
    return data


def shape(value: Any) -> Any:
    """Keys, their spelling and the types under them; of numbers and texts only the kind counts."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def opened(data: bytes) -> Any:
    """An envelope as plain data, with a base64 payload decoded by its content type.

    Go leaves out empty query parameters; the client that sent some of the requests did not.
    """
    plain = {key: value for key, value in json.loads(data).items() if key != "queryParams" or value}
    if isinstance(plain["payload"], str) and plain["contentType"] == CBOR:
        plain["payload"] = cbor2.loads(base64.b64decode(plain["payload"], validate=True))
    return plain


@recorded
def test_a_recorded_message_is_decoded_and_written_again_alike(message: dict[str, Any]) -> None:
    envelope = codec.decode_envelope(raw(message))
    ids = {"correlation_id": envelope.correlation_id, "request_id": envelope.request_id}
    if envelope.error_code:
        again = codec.encode_error(str(envelope.payload), request_id=envelope.request_id)
    else:
        again = codec.encode(body_of(envelope), query_params=envelope.query_params or None, **ids)
    was, now = opened(raw(message)), opened(again)
    assert shape(now) == shape(was)
    if not envelope.error_code:
        assert {**now, "receivedTopic": ""} == {**was, "receivedTopic": ""}


@recorded
def test_a_recorded_envelope_keeps_its_ids_and_content_type(message: dict[str, Any]) -> None:
    envelope, plain = codec.decode_envelope(raw(message)), json.loads(message["raw"])
    assert envelope.correlation_id == plain["correlationID"]
    assert envelope.request_id == plain["requestID"]
    assert envelope.content_type == plain["contentType"]
    assert envelope.error_code == plain["errorCode"]
    assert (envelope.query_params or {}) == plain.get("queryParams", {})


@pytest.mark.parametrize("message", [it for it in RECORDED if it["topic"].startswith("edgex/events/")], ids=label)
def test_a_recorded_event_is_read_with_all_its_names(message: dict[str, Any]) -> None:
    event = codec.event_of(codec.decode_envelope(raw(message)))
    assert message["topic"].endswith(f"/{event.profile_name}/{event.device_name}/{event.source_name}")
    assert all(isinstance(reading.origin, int) for reading in event.readings)


def test_the_recorded_picture_is_a_jpeg() -> None:
    image = next(it for it in RECORDED if it["topic"].endswith("/Simple-Device01/Image"))
    reading = codec.event_of(codec.decode_envelope(raw(image))).readings[0]
    assert reading.media_type == "image/jpeg"
    assert isinstance(reading.binary_value, bytes)
    assert reading.binary_value.startswith(b"\xff\xd8")


@pytest.mark.parametrize("message", [it for it in RECORDED if "/system-events/" in it["topic"]], ids=label)
def test_the_details_of_a_recorded_system_event_are_what_they_claim_to_be(message: dict[str, Any]) -> None:
    happened = codec.payload_as(codec.decode_envelope(raw(message)), SystemEvent)
    kind: Any = {**OWNED, "provisionwatcher": ProvisionWatcher}[happened.type]
    assert codec.convert(happened.details, kind).name
