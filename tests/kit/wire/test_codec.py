"""Every form EdgeX 4.0 puts on the bus, decoded and written."""

import base64
import json
import tracemalloc
from typing import Any

import cbor2
import msgspec
import pytest
from edgex_kit.wire import codec
from edgex_kit.wire.codec import Encoding
from edgex_kit.wire.messages import CBOR, JSON, TEXT, AddEventRequest, Envelope, EventResponse

from tests.kit.sample_events import a_frame, a_reading, an_event, envelope_with

ENCODINGS = [Encoding(*flags) for flags in ((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1))]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("request_", [an_event(), a_frame(), a_frame(3000)], ids=["json", "small frame", "frame"])
def test_an_event_arrives_whole_in_every_encoding(request_: AddEventRequest, encoding: Encoding) -> None:
    data = codec.encode(request_, correlation_id="c", encoding=encoding)
    envelope = codec.decode_envelope(data)
    assert envelope.correlation_id == "c"
    assert codec.payload_as(envelope, AddEventRequest) == request_


def test_json_is_inline_with_exactly_application_json() -> None:
    plain = json.loads(codec.encode(an_event()))
    assert isinstance(plain["payload"], dict)
    assert plain["contentType"] == "application/json"


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


def test_all_events_are_cbor_when_that_is_asked_for() -> None:
    plain = json.loads(codec.encode(an_event(), encoding=Encoding(cbor_events=True)))
    assert plain["contentType"] == CBOR
    assert json.loads(codec.encode({"gain": "1"}, encoding=Encoding(cbor_events=True)))["payload"] == {"gain": "1"}


def test_json_is_base64_when_that_is_asked_for_and_nothing_stays_null() -> None:
    encoding = Encoding(base64_json=True)
    plain = json.loads(codec.encode({"gain": "1"}, encoding=encoding))
    assert json.loads(base64.b64decode(plain["payload"], validate=True)) == {"gain": "1"}
    assert plain["contentType"] == JSON
    assert json.loads(codec.encode(None, encoding=encoding))["payload"] is None


def test_the_whole_envelope_is_one_cbor_map_when_that_is_asked_for() -> None:
    data = codec.encode(a_frame(), correlation_id="c", encoding=Encoding(cbor_envelope=True))
    plain = cbor2.loads(data)
    assert plain["contentType"] == CBOR
    assert plain["payload"]["event"]["readings"][0]["binaryValue"] == b"\xff\xd8\xff"
    assert list(plain) == list(json.loads(codec.encode(None)))


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


def test_a_frame_is_decoded_without_needless_copies() -> None:
    data = codec.encode(a_frame(200_001))
    tracemalloc.start()
    try:
        event = codec.event_of(codec.decode_envelope(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(event.readings[0].binary_value or b"") == 200_001
    assert peak < 3 * 200_001


def test_a_payload_stays_a_view_of_the_message_until_it_is_read() -> None:
    data = codec.encode(a_frame(200_001))
    tracemalloc.start()
    try:
        envelope = codec.decode_envelope(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(envelope.payload, memoryview)
    assert peak < 20_000


def test_a_frame_is_encoded_without_needless_copies() -> None:
    frame = a_frame(200_001)
    tracemalloc.start()
    try:
        data = codec.encode(frame)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(data)


@pytest.mark.parametrize("cbor", [False, True])
def test_an_envelope_is_passed_on_as_it_is(*, cbor: bool) -> None:
    envelope = Envelope(correlation_id="c", request_id="r", payload={"a": 1}, received_topic="edgex/x")
    assert codec.decode_envelope(codec.encode_envelope(envelope, cbor=cbor)) == envelope
