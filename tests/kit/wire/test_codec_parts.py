"""A picture goes out in a piece of its own, and what is read is what CBOR and base64 in one go would have made."""

import json

import cbor2
import msgspec
import pybase64
import pytest
from edgex_kit.wire import codec
from edgex_kit.wire.codec import Encoding
from edgex_kit.wire.errors import TooLarge
from edgex_kit.wire.messages import AddEventRequest, Event, Reading


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


def test_an_event_of_two_pictures_is_whole() -> None:
    request = request_of(b"\xff" * 5000, b"\xd8" * 5000)
    payload = json.loads(codec.encode(request))["payload"]
    assert pybase64.b64decode(payload, validate=True) == cbor_in_one_go(request)


@pytest.mark.parametrize("encoding", [Encoding(), Encoding(cbor_envelope=True), Encoding(base64_json=True)], ids=str)
def test_the_pieces_make_a_message_that_says_what_was_given(encoding: Encoding) -> None:
    request = request_of(b"\xff\xd8" * 5000)
    parts = codec.encode_parts(request, correlation_id="c", encoding=encoding)
    envelope = codec.decode_envelope(b"".join(parts))
    assert envelope.correlation_id == "c"
    assert codec.payload_as(envelope, AddEventRequest) == request


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
