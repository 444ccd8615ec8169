"""What is no message of EdgeX: refused as malformed, in one line, whatever the bytes are."""

import contextlib
from typing import Any

import msgspec
import pytest
from edgex_kit.wire import codec
from edgex_kit.wire.codec import Encoding
from edgex_kit.wire.errors import Malformed, TooLarge
from edgex_kit.wire.messages import CBOR, JSON, TEXT, AddEventRequest, KeyValue, SystemEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.recordings import RECORDED, raw
from tests.kit.sample_events import a_frame, a_reading, an_event, envelope_with


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


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    read_whole(data)


@given(st.sampled_from(RECORDED), st.data())
@settings(max_examples=300)
def test_a_damaged_message_is_read_or_malformed(message: dict[str, Any], draw: st.DataObject) -> None:
    data = bytearray(raw(message)[:3000])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    read_whole(bytes(data))


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_cbor_message_is_read_or_malformed(draw: st.DataObject) -> None:
    data = bytearray(codec.encode(a_frame(), correlation_id="c", encoding=Encoding(cbor_envelope=True)))
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
