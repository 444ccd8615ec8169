"""What a frame event says of its picture, whoever sent it and whatever it holds."""

from typing import Any

import pytest
from app_inference.errors import NoPicture
from app_inference.pipeline.frame import Frame, frame_from_event
from edgex_kit.wire.errors import Malformed
from edgex_kit.wire.messages import Event, Reading
from hypothesis import given
from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def reading(**fields: Any) -> Reading:
    known = {"origin": 5, "device_name": "gate", "resource_name": "Frame", "value_type": "Binary"}
    return Reading(**{**known, "binary_value": b"picture", "media_type": "image/jpeg", **fields})


def event(*readings: Reading, tags: dict[str, Any] | None = None, origin: int | float = 5) -> Event:
    names = {"device_name": "gate", "profile_name": "vision-camera", "source_name": "Frame"}
    return Event(api_version="v3", id="event-id", **names, origin=origin, readings=readings or (reading(),), tags=tags)


def test_a_frame_of_device_camera_carries_its_identity_in_tags() -> None:
    tags = {"frameId": "f-1", "seq": 7, "captureOrigin": "1790000000125000001", "width": 640}
    frame = frame_from_event(event(tags=tags))
    assert frame == Frame("gate", "f-1", 7, 1790000000125000001, b"picture", "image/jpeg")


def test_a_picture_of_any_other_service_is_known_by_its_event() -> None:
    frame = frame_from_event(event(origin=1790000000125000001))
    assert (frame.frame_id, frame.seq, frame.capture_ns) == ("event-id", 0, 1790000000125000001)


def test_the_first_picture_among_the_readings_is_taken() -> None:
    count = reading(value_type="Int32", value="3", binary_value=None, media_type="")
    png = reading(binary_value=b"png", media_type="Image/PNG")
    assert frame_from_event(event(count, png, reading())).data == b"png"
    assert frame_from_event(event(count, png)).media_type == "image/png"


def test_an_event_without_a_picture_says_so() -> None:
    count = reading(value_type="Int32", value="3", binary_value=None, media_type="")
    with pytest.raises(NoPicture, match="event 'Frame' of device 'gate' holds no picture"):
        frame_from_event(event(count, reading(media_type="application/pdf")))


def test_a_kind_of_picture_we_cannot_read_is_named() -> None:
    with pytest.raises(Malformed, match=r"of type 'image/svg\+xml', expected one of image/jpeg, image/jpg, image/png"):
        frame_from_event(event(reading(media_type="image/svg+xml")))


@given(ANYTHING, ANYTHING, ANYTHING, st.integers() | st.floats())
def test_tags_may_hold_anything(frame_id: Any, seq: Any, capture: Any, origin: int | float) -> None:
    frame = frame_from_event(event(tags={"frameId": frame_id, "seq": seq, "captureOrigin": capture}, origin=origin))
    assert 0 < len(frame.frame_id) <= 128
    assert 0 <= frame.seq < 2**63
    assert 0 <= frame.capture_ns < 2**63


@pytest.mark.parametrize(("given", "taken"), [("12", 12), (12.0, 12), (" 12 ", 12), ("1e3", 5), ("", 5), (-1, 5)])
def test_a_capture_time_is_read_however_it_is_written(given: Any, taken: int) -> None:
    assert frame_from_event(event(tags={"captureOrigin": given})).capture_ns == taken


@pytest.mark.parametrize(
    ("said", "size"),
    [("1280x720", (1280, 720)), ("0x720", None), ("1280", None), ("123456x1", None), (1280, None), (None, None)],
)
def test_a_camera_says_how_large_its_pictures_could_be(said: object, size: object) -> None:
    assert frame_from_event(event(tags={"fullSize": said})).full_size == size
