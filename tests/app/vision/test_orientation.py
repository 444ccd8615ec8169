"""Which way up a picture is."""

import struct

import cv2
import numpy as np
import pytest
from app_inference.errors import ImageBroken
from app_inference.vision.image import decode_jpeg
from app_inference.vision.orientation import UPRIGHT, orientation_of, turned
from hypothesis import given
from hypothesis import strategies as st


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """The content of an APP1 segment with one other tag before the orientation."""
    tags = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 64, 0) + struct.pack(
        f"{order}HHIHH", 0x0112, kind, 1, orientation, 0
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 2)
    return b"Exif\0\0" + head + tags + bytes(4)


def with_segment(data: bytes, content: bytes) -> bytes:
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


def a_jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.GaussianBlur(noise, (9, 9), 0))[1].tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_to_the_very_pixels_that_opencv_gives(orientation: int, order: str) -> None:
    data = with_segment(a_jpeg(), exif(orientation, order))
    assert orientation_of(exif(orientation, order)) == orientation
    np.testing.assert_array_equal(decode_jpeg(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def test_another_kind_of_segment_before_it_does_not_hide_it() -> None:
    data = with_segment(with_segment(a_jpeg(), exif(6)), b"http://ns.adobe.com/xap/1.0/\0<x/>")
    assert decode_jpeg(data).shape == (100, 60, 3)


@pytest.mark.parametrize(
    "segment",
    [
        b"",
        exif(6)[6:],
        exif(6)[:14],
        exif(6)[:-10],
        exif(0),
        exif(9),
        exif(6, kind=4),
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0XX*\0" + exif(6)[10:],
    ],
)
def test_what_cannot_be_read_leaves_the_picture_as_it_is(segment: bytes) -> None:
    assert orientation_of(segment) == UPRIGHT
    pixels = np.zeros((2, 3, 3), np.uint8)
    assert turned(pixels, UPRIGHT) is pixels


@given(st.binary(max_size=80))
def test_any_bytes_are_an_orientation(tail: bytes) -> None:
    assert orientation_of(b"Exif\0\0MM\0*" + tail) in range(1, 9)


def test_a_damaged_turned_picture_is_refused_as_any_other_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    whole = with_segment(a_jpeg(), exif(6))
    with pytest.raises(ImageBroken, match=r"JPEG of 100x60 in \d+ bytes is cut off or damaged, \d+% of it is lost"):
        decode_jpeg(whole[: len(whole) // 2] + b"\xff\xd9")
    assert capfd.readouterr() == ("", "")
