"""device_camera.frame: picture -> Frame."""

import struct
import time

import cv2
import numpy as np
import pytest
from device_camera.frame import (
    Encoding,
    Moment,
    Pixels,
    Size,
    decode_picture,
    encode_jpeg,
    frame_from_picture,
)
from device_camera.sources.pattern import number_in
from edgex_kit.jpeg import read_header
from edgex_kit.wire.errors import Invalid, Malformed

TAKEN = Moment(seq=7, unix_ns=1_700_000_000_123_456_789, mono_ns=42)


def test_a_jpeg_passes_through_byte_for_byte(pictures: list[Pixels]) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding(quality=93)) + b"trailer of the camera's maker"
    frame = frame_from_picture(jpeg, Encoding(quality=10), TAKEN)
    assert frame.jpeg is jpeg
    assert (frame.width, frame.height) == (320, 240)


def test_every_frame_has_an_id_of_its_own(pictures: list[Pixels]) -> None:
    assert len({frame_from_picture(pictures[0], Encoding(), TAKEN).frame_id for _ in range(100)}) == 100


def test_pixels_are_encoded_and_show_the_same_picture(pictures: list[Pixels]) -> None:
    frame = frame_from_picture(pictures[2], Encoding(), TAKEN)
    shown = decode_picture(frame.jpeg)
    assert np.abs(shown.astype(int) - pictures[2]).mean() < 6
    assert number_in(shown) == 3


def test_grey_pixels_are_encoded() -> None:
    frame = frame_from_picture(np.full((48, 64), 77, np.uint8), Encoding(), TAKEN)
    assert (frame.width, frame.height) == (64, 48)


def test_less_quality_is_less_bytes(pictures: list[Pixels]) -> None:
    sizes = [len(encode_jpeg(pictures[0], Encoding(quality=quality))) for quality in (10, 50, 80, 95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 2


@pytest.mark.parametrize(("chroma", "factors"), [("4:4:4", 0x11), ("4:2:2", 0x21), ("4:2:0", 0x22), ("4:1:1", 0x41)])
def test_chroma_is_what_was_asked_for(chroma: str, factors: int, pictures: list[Pixels]) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding(chroma=chroma))
    start = jpeg.index(b"\xff\xc0")  # frame header; byte 11 holds the sampling factors of the first component
    assert jpeg[start + 11] == factors


@pytest.mark.parametrize(
    ("asked", "given"),
    [((160, 120), (160, 120)), ((0, 120), (160, 120)), ((80, 0), (80, 60)), ((640, 100), (640, 100))],
)
@pytest.mark.parametrize("is_jpeg", [False, True])
def test_another_size_is_made(
    asked: tuple[int, int], given: tuple[int, int], is_jpeg: bool, pictures: list[Pixels]
) -> None:
    picture = encode_jpeg(pictures[4], Encoding()) if is_jpeg else pictures[4]
    frame = frame_from_picture(picture, Encoding(size=asked), TAKEN)
    assert (frame.width, frame.height) == given == read_header(frame.jpeg).upright_size
    assert number_in(decode_picture(frame.jpeg)) == 5


def test_a_jpeg_in_the_size_asked_for_passes_through(pictures: list[Pixels]) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    assert frame_from_picture(jpeg, Encoding(size=(320, 240)), TAKEN).jpeg is jpeg
    assert frame_from_picture(jpeg, Encoding(size=(320, 0)), TAKEN).jpeg is jpeg


@pytest.mark.parametrize("picture", [b"", b"no picture", np.zeros((0, 0, 3), np.uint8), np.zeros((4, 4, 2), np.uint8)])
def test_what_is_no_picture_is_malformed(picture: bytes | Pixels) -> None:
    with pytest.raises(Malformed):
        frame_from_picture(picture, Encoding(), TAKEN)


@pytest.mark.fault(23)
def test_a_jpeg_without_its_end_marker_is_completed_and_one_without_its_rows_cannot_be_resized(
    pictures: list[Pixels],
) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    assert frame_from_picture(jpeg[:-2], Encoding(), TAKEN).jpeg == jpeg
    with pytest.raises(Malformed):
        frame_from_picture(jpeg[: len(jpeg) // 2], Encoding(size=(160, 120)), TAKEN)


def test_a_damaged_jpeg_that_is_made_another_size_is_malformed_and_libjpeg_prints_nothing(
    pictures: list[Pixels], capfd: pytest.CaptureFixture[str]
) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    half = len(jpeg) // 2
    damaged = jpeg[:half] + b"\xff\xd9" + jpeg[half + 2 :]
    with pytest.raises(Malformed, match=r"a whole JPEG expected, \d+ bytes came that are damaged: .*premature end"):
        frame_from_picture(damaged, Encoding(size=(160, 120)), TAKEN)
    assert capfd.readouterr().err == ""


def test_a_jpeg_whose_last_rows_are_spoilt_is_made_another_size_in_silence(
    pictures: list[Pixels], capfd: pytest.CaptureFixture[str]
) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    frame = frame_from_picture(jpeg[:-6] + jpeg[-2:], Encoding(size=(160, 120)), TAKEN)
    assert number_in(decode_picture(frame.jpeg)) == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("lost", [0, 6], ids=["whole", "without its last bytes"])
def test_a_jpeg_that_lies_on_its_side_stands_upright_when_it_is_made_another_size(
    pictures: list[Pixels], lost: int
) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    jpeg = jpeg[: -lost - 2] + jpeg[-2:]
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + jpeg[2:]
    frame = frame_from_picture(turned, Encoding(size=(120, 160)), TAKEN)
    assert (
        np.abs(decode_picture(frame.jpeg).astype(int) - cv2.resize(cv2.rotate(pictures[0], 0), (120, 160))).mean() < 12
    )


@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_bytes_that_cannot_be_decoded_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_picture(data)


@pytest.mark.parametrize(
    "wrong",
    [{"quality": 0}, {"quality": 101}, {"chroma": "4:2"}, {"size": (0, 0)}, {"size": (-1, 5)}, {"size": (70_000, 5)}],
)
def test_an_impossible_encoding_is_invalid(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="expected"):
        Encoding(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "needed", "size"),
    [
        ((1280, 720), (534, 300), (534, 300)),
        ((1280, 720), (300, 300), (534, 300)),
        ((1280, 720), (416, 234), (416, 234)),
        ((1280, 720), (415, 10), (416, 234)),
        ((640, 480), (300, 300), (400, 300)),
        ((720, 1280), (300, 300), (300, 534)),
        ((1280, 720), (534, 400), (712, 400)),
        ((1280, 720), (1200, 10), (1280, 720)),  # not worth it
        ((1280, 720), (4000, 3000), (1280, 720)),  # never more than there is
        ((1280, 720), None, (1280, 720)),
    ],
)
def test_a_size_that_follows_is_the_smallest_of_the_pictures_shape_that_is_enough(
    own: Size, needed: Size | None, size: Size
) -> None:
    pixels = np.zeros((own[1], own[0], 3), np.uint8)
    frame = frame_from_picture(pixels, Encoding(follows=True, needed=needed), TAKEN)
    assert (frame.width, frame.height) == read_header(frame.jpeg).upright_size == size
    assert frame.full_size == own, "subscribers learn that they can request a size"


def test_a_jpeg_passes_through_whoever_needs_less(pictures: list[Pixels]) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    follows = Encoding(follows=True, needed=(32, 24))
    frame = frame_from_picture(jpeg, follows, TAKEN)
    assert frame.jpeg is jpeg
    assert frame.full_size is None, "no size can be requested"
    assert frame_from_picture(jpeg, follows, TAKEN, full_size=(640, 480)).full_size == (640, 480)


def test_what_is_too_fine_for_a_small_picture_becomes_grey_and_no_pattern() -> None:
    stripes = np.where(np.indices((720, 1280)).sum(0) % 4 < 2, 255, 0).astype(np.uint8)
    small = decode_picture(frame_from_picture(stripes, Encoding(size=(200, 112)), TAKEN).jpeg)
    assert abs(float(small.mean()) - 127.5) < 2
    assert small.std() < 8


def png_of(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0" + bytes(40)


TIFF = b"II*\0\x08\0\0\0" + struct.pack("<HHHIIHHII", 2, 256, 4, 1, 60_000, 257, 4, 1, 60_000) + bytes(40)
BOMBS = {
    "png": png_of(60_000, 60_000),
    "bmp": b"BM" + bytes(16) + struct.pack("<ii", 60_000, -60_000) + bytes(40),
    "tiff": TIFF,
    "webp": b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + b"\xff\xff\x00" * 2 + bytes(40),
    "pnm": b"P6\n# a comment\n60000 60000\n255\n" + bytes(40),
}


@pytest.mark.fault(3)
@pytest.mark.parametrize("kind", BOMBS)
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(kind: str) -> None:
    with pytest.raises(Malformed, match="MaxPixels"):
        decode_picture(BOMBS[kind])


@pytest.mark.fault(3)
@pytest.mark.parametrize("size", [None, (320, 240)])
def test_a_jpeg_over_a_limit_is_refused_in_milliseconds(size: Size | None, pictures: list[Pixels]) -> None:
    jpeg = bytearray(encode_jpeg(pictures[0], Encoding()))
    header = jpeg.index(b"\xff\xc0")
    jpeg[header + 5 : header + 9] = struct.pack(">HH", 20_000, 20_000)
    scans = cv2.imencode(".jpg", pictures[0], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    many = scans[:-2] + scans[scans.rindex(b"\xff\xda") : -2] * 400 + scans[-2:]
    began = time.monotonic()
    for bomb, limit in ((bytes(jpeg), "MaxPixels"), (many, "MaxScans")):
        with pytest.raises(Malformed, match=limit):
            frame_from_picture(bomb, Encoding(size=size), TAKEN)
    assert time.monotonic() - began < 0.1


@pytest.mark.fault(23)
def test_a_jpeg_on_its_side_has_its_upright_size_in_the_frame(pictures: list[Pixels]) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + jpeg[2:]
    frame = frame_from_picture(turned, Encoding(), TAKEN)
    assert (frame.width, frame.height) == (240, 320)
    assert frame.jpeg is turned
