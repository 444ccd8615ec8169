"""Encoded pictures to pixels: JPEG or PNG, upright, no more of them than the model needs."""

import struct

import cv2
import numpy as np
import pytest
from app_inference.errors import ImageBroken
from app_inference.vision.image import image_from_bytes, image_from_pixels
from app_inference.vision.resize import fit_image
from edgex_kit.jpeg import Limits
from hypothesis import given
from hypothesis import strategies as st


def picture(width: int, height: int) -> np.ndarray:
    """Left half blue, right half red, so that turning and swapping colours shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 0, 0)
    pixels[:, width // 2 :] = (0, 0, 200)
    return pixels


def encoded(pixels: np.ndarray, kind: str = ".jpg", *how: int) -> bytes:
    return bytes(cv2.imencode(kind, pixels, how)[1].tobytes())


def jpeg(width: int, height: int) -> bytes:
    return encoded(picture(width, height))


def noise(width: int, height: int, blur: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(pixels, (0, 0), blur) if blur else pixels


def by_opencv(data: bytes, flag: int = cv2.IMREAD_COLOR) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flag))


def with_segment(data: bytes, content: bytes) -> bytes:
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


def turned(data: bytes, orientation: int, order: str = "<") -> bytes:
    """With an EXIF segment that has one other tag before the orientation."""
    tags = [struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in ((0x0100, 64), (0x0112, orientation))]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return with_segment(data, b"Exif\0\0" + head + b"".join(tags) + bytes(4))


def test_pixels_are_bgr_and_of_the_original_size() -> None:
    pixels = image_from_bytes(jpeg(64, 48)).pixels
    assert pixels.shape == (48, 64, 3)
    assert pixels[24, 8].argmax() == 0  # blue is the first channel
    assert pixels[24, 56].argmax() == 2


@pytest.mark.parametrize(
    ("size", "needed", "decoded"),
    [
        ((1280, 720), (300, 300), (640, 360)),
        ((1280, 720), (360, 360), (640, 360)),
        ((1280, 720), (361, 361), (1280, 720)),  # half the height would be less
        ((1920, 1080), (256, 256), (480, 270)),
        ((640, 480), (416, 416), (640, 480)),
        ((100, 80), (640, 640), (100, 80)),
        ((1281, 721), (300, 300), (641, 361)),
    ],
)
def test_no_more_is_decoded_than_the_model_needs(
    size: tuple[int, int], needed: tuple[int, int], decoded: tuple[int, int]
) -> None:
    image = image_from_bytes(jpeg(*size), needed)
    assert (image.pixels.shape[1], image.pixels.shape[0]) == decoded
    assert (image.width, image.height) == size


@pytest.mark.parametrize(
    ("size", "decoded"),
    [((1280, 720), (640, 360)), ((720, 1280), (360, 640)), ((1920, 1080), (480, 270)), ((800, 600), (800, 600))],
)
def test_a_model_that_keeps_the_ratio_needs_one_side_only(size: tuple[int, int], decoded: tuple[int, int]) -> None:
    image = image_from_bytes(jpeg(*size), (416, 416), keeps_ratio=True)
    assert (image.pixels.shape[1], image.pixels.shape[0]) == decoded
    _, fit = fit_image(image, (416, 416), "fit_to_window")
    assert max(fit.scale) <= image.pixels.shape[1] / size[0]  # nothing is enlarged


@pytest.mark.parametrize("needed", [None, (50, 50)])
def test_a_turned_picture_is_upright_and_its_size_is_too(needed: tuple[int, int] | None) -> None:
    image = image_from_bytes(turned(jpeg(400, 200), 6), needed)
    assert (image.width, image.height) == (200, 400)
    assert image.pixels.shape[0] == 2 * image.pixels.shape[1]
    assert image.pixels[5, 5].argmax() == 0  # the left is on top now


@pytest.mark.parametrize(
    ("orientation", "decoded"), [(1, (640, 360)), (3, (640, 360)), (6, (720, 1280)), (8, (720, 1280))]
)
def test_the_models_need_is_compared_with_the_upright_picture(orientation: int, decoded: tuple[int, int]) -> None:
    image = image_from_bytes(turned(jpeg(1280, 720), orientation), (640, 360))
    assert (image.pixels.shape[1], image.pixels.shape[0]) == decoded  # half of 720x1280 would have to be enlarged


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_to_the_very_pixels_of_opencv(orientation: int, order: str) -> None:
    data = turned(encoded(noise(100, 60, blur=2)), orientation, order)
    np.testing.assert_array_equal(image_from_bytes(data).pixels, by_opencv(data))


def test_another_app1_segment_does_not_hide_the_orientation() -> None:
    data = with_segment(turned(jpeg(100, 60), 6), b"http://ns.adobe.com/xap/1.0/\0<x/>")
    assert image_from_bytes(data).pixels.shape == (100, 60, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\x89PNG\r\n\x1a\n" + bytes(60),
        b"\xff\xd8" + b"\xff\xe0\x00\x00" * 50,
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x00" + bytes(20),
        jpeg(64, 48)[:200],
        jpeg(640, 480)[:-1000],
        b"not a picture at all",
    ],
    ids=["empty", "start", "start and end", "png", "endless", "no size", "header", "cut off", "text"],
)
@pytest.mark.parametrize("needed", [None, (32, 32)])
def test_what_is_no_whole_picture_is_refused(data: bytes, needed: tuple[int, int] | None) -> None:
    with pytest.raises(ImageBroken):
        image_from_bytes(data, needed)


def test_a_huge_picture_is_refused_before_decoding() -> None:
    data, png = bytearray(jpeg(64, 48)), bytearray(encoded(picture(64, 48), ".png"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65000, 65000)
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    for huge in (data, png):
        with pytest.raises(ImageBroken, match="MaxPixels"):
            image_from_bytes(bytes(huge))
    assert image_from_bytes(jpeg(64, 48), limits=Limits(pixels=64 * 48)).width == 64


def test_damaged_bytes_are_refused_or_decoded_and_nothing_else() -> None:
    random, good = np.random.default_rng(7), jpeg(96, 64)
    for _ in range(300):
        data = bytearray(good)
        for at in random.integers(0, len(data), 12):
            data[at] = random.integers(0, 256)
        try:
            image = image_from_bytes(bytes(data), (32, 32))
        except ImageBroken:
            continue
        assert (image.pixels.ndim, image.pixels.dtype) == (3, np.uint8)


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ImageBroken):
        image_from_bytes(data)


def test_decoded_pixels_are_an_image_of_their_own_size() -> None:
    image = image_from_pixels(picture(64, 48))
    assert (image.width, image.height) == (64, 48)


@pytest.mark.parametrize("sampling", ["411", "420", "422", "444"])
@pytest.mark.parametrize("size", [(640, 480), (641, 479), (17, 33), (1, 1)])
@pytest.mark.parametrize(
    ("by", "flag"), [(1, cv2.IMREAD_COLOR), (2, cv2.IMREAD_REDUCED_COLOR_2), (4, cv2.IMREAD_REDUCED_COLOR_4)]
)
def test_the_pixels_are_the_very_ones_of_opencv(size: tuple[int, int], by: int, flag: int, sampling: str) -> None:
    width, height = size
    how = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
    data = encoded(noise(width, height), ".jpg", *how)
    ours = image_from_bytes(data, (max(1, width // by), max(1, height // by))).pixels
    if ours.shape[0] == -(-height // by):
        assert np.array_equal(ours, by_opencv(data, flag))


def test_a_progressive_or_a_grey_jpeg_is_decoded_as_opencv_does() -> None:
    progressive = encoded(picture(80, 60), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    for data in (progressive, encoded(picture(64, 48)[:, :, 0])):
        assert np.array_equal(image_from_bytes(data).pixels, by_opencv(data))


def test_bytes_between_segments_are_skipped() -> None:
    data = jpeg(64, 48)
    scan = data.index(b"\xff\xda")
    odd = data[:scan] + b"\0\0\0" + data[scan:]
    assert np.array_equal(image_from_bytes(odd).pixels, image_from_bytes(data).pixels)


@pytest.mark.parametrize("needed", [None, (320, 240), (160, 120)])
@pytest.mark.parametrize("tail", [2, 40], ids=["no end marker", "last row cut"])
def test_a_picture_that_lacks_its_very_end_is_used(
    tail: int, needed: tuple[int, int] | None, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(noise(640, 480, blur=5))
    whole, cut = image_from_bytes(data, needed).pixels, image_from_bytes(data[:-tail], needed).pixels
    above = len(whole) - 17  # a row that is coded at once, and one that is smoothed with it
    assert np.array_equal(cut[:above], whole[:above])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("needed", [None, (320, 240), (160, 120)])
@pytest.mark.parametrize("damage", [b"\xff\xd9", b"\xff\xd3", b""], ids=["end marker", "restart marker", "cut off"])
def test_a_picture_that_ends_in_the_middle_is_refused_with_what_is_lost_and_nothing_is_printed(
    damage: bytes, needed: tuple[int, int] | None, orientation: int, capfd: pytest.CaptureFixture[str]
) -> None:
    data = turned(encoded(noise(640, 480, blur=5)), orientation)
    middle = len(data) // 2
    broken = data[:middle] + damage + (data[middle + 2 :] if damage else b"")
    with pytest.raises(ImageBroken, match=r"640x480 .*, (49|50|51)% of it is lost"):
        image_from_bytes(broken, needed)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_of_any_channels_becomes_bgr(channels: int) -> None:
    pixels = image_from_bytes(encoded(np.full((48, 64, channels), 200, np.uint8), ".png")).pixels
    assert pixels.shape == (48, 64, 3)
    assert (pixels == 200).all()


def test_a_png_of_16_bits_is_brought_to_8() -> None:
    pixels = image_from_bytes(encoded(np.full((48, 64, 3), 200 * 257, np.uint16), ".png")).pixels
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 200).max() <= 1


def test_a_png_that_is_cut_off_or_damaged_is_refused_without_a_line_of_libpng(
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = encoded(noise(64, 48), ".png")
    for length in range(8, len(data), 97):
        with pytest.raises(ImageBroken):
            image_from_bytes(data[:length])
    assert capfd.readouterr().err == ""
    with pytest.raises(ImageBroken):
        image_from_bytes(data[:60] + bytes(140) + data[200:])
