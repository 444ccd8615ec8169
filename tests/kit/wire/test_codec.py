"""Every form EdgeX 4.0 puts on the bus, decoded and written; what is no message is malformed."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pybase64
import pytest
from edgex_kit.wire import codec
from edgex_kit.wire.codec import Encoding
from edgex_kit.wire.devices import Device, DeviceProfile, DeviceService, ProvisionWatcher
from edgex_kit.wire.errors import Malformed, TooLarge
from edgex_kit.wire.messages import (
    CBOR,
    JSON,
    TEXT,
    AddEventRequest,
    Envelope,
    Event,
    EventResponse,
    KeyValue,
    Metric,
    Reading,
    SystemEvent,
)
from hypothesis import given, settings
from hypothesis import strategies as st

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "wire" / "bus.json").read_text())


def label(message: dict[str, Any]) -> str:
    return "/".join(part for part in message["topic"].split("/")[1:5] if "-" not in part or len(part) < 30)


def raw(message: dict[str, Any]) -> bytes:
    return str(message["raw"]).encode()


def an_event(*readings: Reading, tags: dict[str, Any] | None = None) -> AddEventRequest:
    event = Event(
        api_version="v3",
        id="8f1f2c3a-0000-4000-8000-000000000001",
        device_name="cam-1",
        profile_name="cam-p",
        source_name="status",
        origin=1795332391463325606,
        readings=readings or (a_reading(value="2.15e+01"),),
        tags=tags,
    )
    return AddEventRequest(request_id="3f5e2c3a-0000-4000-8000-000000000002", event=event)


def a_reading(value_type: str = "Float32", **fields: Any) -> Reading:
    return Reading(
        origin=1795332391463325606,
        device_name="cam-1",
        resource_name="temp",
        profile_name="cam-p",
        value_type=value_type,
        **fields,
    )


def a_frame(size: int = 3) -> AddEventRequest:
    return an_event(a_reading("Binary", binary_value=b"\xff\xd8\xff" * (size // 3), media_type="image/jpeg"))


def envelope_with(payload: Any, content_type: str = JSON, **others: Any) -> bytes:
    return json.dumps({"apiVersion": "v3", "payload": payload, "contentType": content_type, **others}).encode()


ENCODINGS = [Encoding(*flags) for flags in ((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1))]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("request_", [an_event(), a_frame(), a_frame(3000)], ids=["json", "small frame", "frame"])
def test_an_event_arrives_whole_in_every_encoding(request_: AddEventRequest, encoding: Encoding) -> None:
    data = codec.encode(request_, correlation_id="c", encoding=encoding)
    envelope = codec.decode_envelope(data)
    assert envelope.correlation_id == "c"
    assert codec.payload_as(envelope, AddEventRequest) == request_


def test_every_key_is_there_in_gos_order_and_query_parameters_only_when_there_are_some() -> None:
    keys = ["apiVersion", "receivedTopic", "correlationID", "requestID", "errorCode", "payload", "contentType"]
    assert list(json.loads(codec.encode(None))) == keys
    assert list(json.loads(codec.encode(a_frame()))) == keys
    assert list(json.loads(codec.encode(None, query_params={"ds-pushevent": "true"}))) == [*keys, "queryParams"]
    assert list(json.loads(codec.encode(None, query_params={}))) == keys


def test_an_event_with_a_binary_reading_is_base64_of_cbor_with_padding() -> None:
    plain = json.loads(codec.encode(a_frame()))
    assert plain["contentType"] == "application/cbor"
    inner = cbor2.loads(base64.b64decode(plain["payload"], validate=True))
    assert inner["event"]["readings"][0]["binaryValue"] == b"\xff\xd8\xff"
    assert len(plain["payload"]) % 4 == 0


def test_cbor_maps_are_definite_and_begin_as_gos_do() -> None:
    response = EventResponse(api_version="v3", status_code=200, event=a_frame().event)
    kind, body = codec.encode_body(response)
    assert kind == CBOR
    assert body.startswith(b"\xa3\x6aapiVersion\x62v3\x6astatusCode\x18\xc8\x65event\xa7")


def test_json_is_base64_when_that_is_asked_for_and_nothing_stays_null() -> None:
    encoding = Encoding(base64_json=True)
    plain = json.loads(codec.encode({"gain": "1"}, encoding=encoding))
    assert json.loads(base64.b64decode(plain["payload"], validate=True)) == {"gain": "1"}
    assert plain["contentType"] == JSON
    assert json.loads(codec.encode(None, encoding=encoding))["payload"] is None


def test_the_encoding_follows_the_environment_of_gos_messaging_module() -> None:
    names = ("EDGEX_MSG_CBOR_ENCODE", "EDGEX_ENCODE_ALL_EVENTS_CBOR", "EDGEX_MSG_BASE64_PAYLOAD")
    assert Encoding.from_environment(dict.fromkeys(names, "true")) == Encoding(
        cbor_envelope=True, cbor_events=True, base64_json=True
    )
    assert Encoding.from_environment({}) == Encoding()
    assert Encoding.from_environment({names[0]: "TRUE", names[1]: "1"}) == Encoding(cbor_envelope=True)


@pytest.mark.parametrize("encoding", [Encoding(), Encoding(cbor_envelope=True)], ids=["json", "cbor"])
def test_an_error_is_plain_text_with_a_new_correlation_id(encoding: Encoding) -> None:
    one, two = (codec.decode_envelope(codec.encode_error("no!", request_id="r", encoding=encoding)) for _ in "12")
    assert (one.error_code, one.content_type, one.payload, one.request_id) == (1, TEXT, "no!", "r")
    assert one.correlation_id != two.correlation_id


def test_a_fresh_correlation_id_is_given_when_none_is_named() -> None:
    one, two = (codec.decode_envelope(codec.encode(None)) for _ in "12")
    assert one.correlation_id != two.correlation_id
    assert codec.decode_envelope(codec.encode(None, correlation_id="")).correlation_id == ""


def inline() -> Any:
    return msgspec.to_builtins(an_event())


@pytest.mark.parametrize(
    "data",
    [
        envelope_with(inline()),
        envelope_with(inline(), apiVersion=""),
        envelope_with(inline(), contentType="application/json; charset=utf-8"),
        envelope_with(inline(), unknown={"a": 1}),
        envelope_with(base64.b64encode(json.dumps(inline()).encode()).decode()),
        envelope_with(base64.b64encode(cbor2.dumps(inline())).decode(), CBOR),
        envelope_with(base64.b64encode(cbor2.dumps(inline())).decode(), "application/cbor;x=1"),
        json.dumps({"PAYLOAD": inline(), "ContentType": JSON}).encode(),
        json.dumps({"payload": base64.b64encode(cbor2.dumps(inline())).decode(), "contenttype": CBOR}).encode(),
        json.dumps({"payload": inline()}, indent=2).encode(),
        cbor2.dumps({"payload": inline(), "contentType": CBOR}),
        cbor2.dumps({"Payload": cbor2.dumps(inline()), "contentType": CBOR}),
        cbor2.dumps({"payload": base64.b64encode(json.dumps(inline()).encode()).decode()}),
    ],
)
def test_every_form_of_a_payload_is_read(data: bytes) -> None:
    assert codec.payload_as(codec.decode_envelope(data), AddEventRequest) == an_event()


def test_null_is_what_is_not_there() -> None:
    envelope = codec.decode_envelope(b'{"correlationID":null,"requestID":"r","errorCode":null,"queryParams":null}')
    assert (envelope.correlation_id, envelope.request_id, envelope.error_code) == ("", "r", 0)
    assert not envelope.query_params


def test_the_ids_are_read_in_any_case() -> None:
    envelope = codec.decode_envelope(b'{"correlationId":"c","RequestID":"r","payload":null}')
    assert (envelope.correlation_id, envelope.request_id) == ("c", "r")


def test_a_bare_event_is_read_as_well_as_a_wrapped_one() -> None:
    event = an_event().event
    assert codec.event_of(codec.decode_envelope(codec.encode(event))) == event
    assert codec.event_of(codec.decode_envelope(codec.encode(an_event()))) == event


def test_binary_values_are_read_from_base64_in_json_and_from_bytes_in_cbor() -> None:
    value = {**msgspec.to_builtins(a_reading("Binary")), "binaryValue": "/9j/", "mediaType": "image/jpeg"}
    event = {**msgspec.to_builtins(an_event().event), "readings": [value]}
    assert codec.event_from({"event": event}).readings[0].binary_value == b"\xff\xd8\xff"
    event["readings"] = [{**value, "binaryValue": b"\xff\xd8\xff"}]
    assert codec.event_from(event).readings[0].binary_value == b"\xff\xd8\xff"


@pytest.mark.parametrize("value", ["1", 1, 1.5, True, None])
def test_a_value_may_be_text_number_boolean_or_null(value: Any) -> None:
    fields = {**msgspec.to_builtins(an_event().event)}
    fields["readings"] = [{**msgspec.to_builtins(a_reading()), "value": value}]
    assert codec.event_from(fields).readings[0].value == value


def test_an_origin_that_lost_digits_is_read_and_a_whole_one_keeps_them() -> None:
    fields = {**msgspec.to_builtins(an_event().event), "origin": 1.795332391463325e18}
    assert codec.event_from(fields).origin == 1.795332391463325e18
    data = codec.encode(an_event())
    assert codec.event_of(codec.decode_envelope(data)).origin == 1795332391463325606


def test_a_null_reading_stays_null_on_the_way() -> None:
    null = a_reading(value=None, binary_value=None, object_value=None)
    again = codec.event_of(codec.decode_envelope(codec.encode(an_event(null)))).readings[0]
    assert (again.value, again.binary_value, again.object_value) == (None, None, None)


def test_only_the_envelopes_own_payload_is_taken_for_it() -> None:
    long = "A" * 400
    data = json.dumps({"queryParams": {"payload": long}, "payload": ""}, separators=(",", ":")).encode()
    envelope = codec.decode_envelope(data)
    assert envelope.payload == ""
    assert envelope.query_params == {"payload": long}
    nested = json.dumps({"payload": {"payload": long}}, separators=(",", ":")).encode()
    assert codec.decode_envelope(nested).payload == {"payload": long}


def test_an_http_body_is_cbor_only_with_a_binary_reading() -> None:
    response = EventResponse(api_version="v3", status_code=200, event=an_event().event)
    kind, body = codec.encode_body(response)
    assert kind == JSON
    assert codec.convert(codec.decode_body(kind, body), EventResponse) == response
    response = EventResponse(api_version="v3", status_code=200, event=a_frame().event)
    kind, body = codec.encode_body(response)
    assert kind == CBOR
    assert codec.convert(codec.decode_body(kind, body), EventResponse) == response


def test_a_payload_stays_a_view_of_the_message_until_it_is_read() -> None:
    data = codec.encode(a_frame(200_001))
    payload = codec.decode_envelope(data).payload
    assert isinstance(payload, memoryview)
    assert payload.obj is data


@pytest.mark.parametrize("cbor", [False, True])
def test_an_envelope_is_passed_on_as_it_is(*, cbor: bool) -> None:
    envelope = Envelope(correlation_id="c", request_id="r", payload={"a": 1}, received_topic="edgex/x")
    assert codec.decode_envelope(codec.encode_envelope(envelope, cbor=cbor)) == envelope


def reading_of(picture: bytes) -> Reading:
    return Reading(
        id="r",
        origin=1,
        device_name="cam-1",
        resource_name="Frame",
        profile_name="p",
        value_type="Binary",
        binary_value=picture,
        media_type="image/jpeg",
    )


def request_of(*pictures: bytes, device: str = "cam-1") -> AddEventRequest:
    event = Event(
        api_version="v3",
        id="e",
        device_name=device,
        profile_name="p",
        source_name="Frame",
        origin=1,
        readings=tuple(map(reading_of, pictures)),
        tags={"seq": 1},
    )
    return AddEventRequest(request_id="q", event=event)


def cbor_in_one_go(request: AddEventRequest) -> bytes:
    return cbor2.dumps(msgspec.to_builtins(request, builtin_types=(bytes,)))


@pytest.mark.parametrize("size", [1, 1023, *range(1024, 1031), 65_535, 65_536, 120_001])
@pytest.mark.parametrize("device", ["c", "ca", "cam"])
def test_a_picture_of_any_size_behind_a_head_of_any_size_is_cbor_to_the_byte(size: int, device: str) -> None:
    request = request_of((b"\xff\xd8\x00" * size)[:size], device=device)
    payload = json.loads(codec.encode(request))["payload"]
    assert pybase64.b64decode(payload, validate=True) == cbor_in_one_go(request)


def test_only_the_piece_that_holds_the_picture_is_large() -> None:
    parts = codec.encode_parts(request_of(b"\xff\xd8" * 50_000))
    assert len(parts) == 5
    assert [len(part) > 2000 for part in parts] == [False, False, True, False, False]


def test_the_limit_counts_all_pieces() -> None:
    request = request_of(b"\xff\xd8" * 5000)
    size = len(codec.encode(request, correlation_id="c"))
    codec.encode_parts(request, correlation_id="c", limit_kb=size // 1024 + 1)
    with pytest.raises(TooLarge, match=f"it has {size} bytes"):
        codec.encode_parts(request, correlation_id="c", limit_kb=size // 1024)


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


@pytest.mark.parametrize("message", [it for it in RECORDED if it["topic"].startswith("edgex/events/")], ids=label)
def test_a_recorded_event_is_read_with_all_its_names(message: dict[str, Any]) -> None:
    event = codec.event_of(codec.decode_envelope(raw(message)))
    assert message["topic"].endswith(f"/{event.profile_name}/{event.device_name}/{event.source_name}")
    assert all(isinstance(reading.origin, int) for reading in event.readings)


@pytest.mark.parametrize("message", [it for it in RECORDED if "/system-events/" in it["topic"]], ids=label)
def test_the_details_of_a_recorded_system_event_are_what_they_claim_to_be(message: dict[str, Any]) -> None:
    happened = codec.payload_as(codec.decode_envelope(raw(message)), SystemEvent)
    kind: Any = {**OWNED, "provisionwatcher": ProvisionWatcher}[happened.type]
    assert codec.convert(happened.details, kind).name


@pytest.mark.parametrize(
    ("payload", "content_type", "cause"),
    [
        ('{"a": 1}', JSON, "base64"),
        ("bm8=", JSON, "base64 of application/json"),
        ("/w==", CBOR, "base64 of application/cbor"),
        ("bm8", JSON, "base64"),
        ("e3!0=", JSON, "base64"),
        ("e30=\n", JSON, "base64"),
        ("plain", TEXT, "unsupported content type 'text/plain'"),
        ("é", JSON, "base64"),
    ],
)
def test_text_that_is_no_base64_of_its_type_is_malformed(payload: str, content_type: str, cause: str) -> None:
    with pytest.raises(Malformed, match=cause):
        codec.decode_payload(codec.decode_envelope(envelope_with(payload, content_type)))


def test_a_wrong_field_is_named_with_its_path() -> None:
    fields = msgspec.to_builtins(an_event().event)
    reading = {**msgspec.to_builtins(a_reading()), "origin": "x"}
    with pytest.raises(Malformed, match=r"no Event: .*readings\[0\].origin"):
        codec.event_from({**fields, "readings": [reading]})
    with pytest.raises(Malformed, match="deviceName"):
        codec.event_from({key: value for key, value in fields.items() if key != "deviceName"})


def test_a_message_over_the_limit_is_refused_with_gos_words() -> None:
    with pytest.raises(TooLarge, match=r"message size exceed limit\(1 KB\)"):
        codec.encode(a_frame(3000), limit_kb=1)
    assert codec.encode(a_frame(3000), limit_kb=0)
    size = len(codec.encode(a_frame(3000), correlation_id=""))
    assert size > 4096
    assert codec.encode(a_frame(3000), correlation_id="", limit_kb=size // 1024 + 1)


@given(st.sampled_from([JSON, CBOR, "", "text/html"]), st.binary(max_size=60))
def test_any_bytes_are_an_http_body_or_malformed(content_type: str, data: bytes) -> None:
    with contextlib.suppress(Malformed):
        codec.decode_body(content_type, data)


@given(st.sampled_from(RECORDED), st.data())
@settings(max_examples=300)
def test_a_damaged_message_is_read_or_malformed(message: dict[str, Any], draw: st.DataObject) -> None:
    data = bytearray(raw(message)[:3000])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    read_whole(bytes(data))


def read_whole(data: bytes) -> None:
    for kind in (AddEventRequest, SystemEvent, KeyValue):
        with contextlib.suppress(Malformed):
            codec.payload_as(codec.decode_envelope(data), kind)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"hello",
        b"{",
        b"{}trailing",
        b'{"errorCode":"one"}',
        b"{" + b'"a":{' * 5000,
        b"\xa1" * 5000,
        b"\xbb\x00\x00\x00\x10\x00\x00\x00\x00",
        b'{"payload":"' + b"A" * 300,
        b'{"payload":"' + b"A" * 300 + b'\xff"}',
    ],
)
def test_what_is_no_envelope_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode_payload(codec.decode_envelope(data))


def test_the_error_about_a_malformed_message_is_one_short_line() -> None:
    with pytest.raises(Malformed) as caught:
        codec.decode_envelope(b'{"payload":' + b"x" * 10_000)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.fault(21)
def test_names_that_a_later_edgex_leaves_out_of_events_may_be_missing() -> None:
    """go-mod-core-contracts after 4.0: profileName and sourceName of events and profileName of readings."""
    reading = {"origin": 1, "deviceName": "cam", "resourceName": "r", "valueType": "Int32", "value": "1"}
    event = codec.event_from({"apiVersion": "v3", "id": "1", "deviceName": "cam", "origin": 1, "readings": [reading]})
    assert (event.profile_name, event.source_name, event.readings[0].profile_name) == ("", "", "")
