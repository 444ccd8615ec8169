"""JPEG bytes to pixels."""

import struct

import cv2
import numpy as np
import pytest
from app_inference.errors import ImageBroken
from app_inference.vision import image as images
from app_inference.vision.image import decode_jpeg, image_from_jpeg, image_from_pixels, jpeg_size
from app_inference.vision.resize import fit_image


def picture(width: int, height: int) -> np.ndarray:
    """Left half blue, right half red, so that turning and swapping colours shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 0, 0)
    pixels[:, width // 2 :] = (0, 0, 200)
    return pixels


def jpeg(width: int, height: int) -> bytes:
    return cv2.imencode(".jpg", picture(width, height), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def with_orientation(data: bytes, orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def test_the_size_is_read_without_decoding() -> None:
    data = jpeg(321, 123)
    assert jpeg_size(data) == (321, 123)
    header = data[: data.index(b"\xff\xda")]
    assert jpeg_size(memoryview(header)) == (321, 123)


def test_the_size_is_found_behind_segments_and_fill_bytes() -> None:
    data = jpeg(64, 48)
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 9) + b"\xff\xc0 a trap"
    assert jpeg_size(data[:2] + b"\xff\xff\xff" + comment[1:] + data[2:]) == (64, 48)


def test_a_progressive_jpeg_has_a_size() -> None:
    data = cv2.imencode(".jpg", picture(80, 60), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert jpeg_size(data) == (80, 60)


def test_pixels_are_bgr_and_of_the_original_size() -> None:
    pixels = decode_jpeg(jpeg(64, 48))
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
    ],
)
def test_no_more_is_decoded_than_the_model_needs(
    size: tuple[int, int], needed: tuple[int, int], decoded: tuple[int, int]
) -> None:
    image = image_from_jpeg(jpeg(*size), needed)
    assert (image.pixels.shape[1], image.pixels.shape[0]) == decoded
    assert (image.width, image.height) == size


@pytest.mark.parametrize(
    ("size", "decoded"),
    [((1280, 720), (640, 360)), ((720, 1280), (360, 640)), ((1920, 1080), (480, 270)), ((800, 600), (800, 600))],
)
def test_a_model_that_keeps_the_ratio_needs_one_side_only(size: tuple[int, int], decoded: tuple[int, int]) -> None:
    image = image_from_jpeg(jpeg(*size), (416, 416), keeps_ratio=True)
    assert (image.pixels.shape[1], image.pixels.shape[0]) == decoded
    _, fit = fit_image(image, (416, 416), "fit_to_window")
    assert max(fit.scale) <= image.pixels.shape[1] / size[0]  # nothing is blown up


def test_odd_sides_keep_their_original_size() -> None:
    image = image_from_jpeg(jpeg(1281, 721), (300, 300))
    assert image.pixels.shape == (361, 641, 3)
    assert (image.width, image.height) == (1281, 721)


@pytest.mark.parametrize("needed", [None, (50, 50)])
def test_a_turned_picture_is_upright_and_its_size_is_too(needed: tuple[int, int] | None) -> None:
    image = image_from_jpeg(with_orientation(jpeg(400, 200), 6), needed)
    assert (image.width, image.height) == (200, 400)
    assert image.pixels.shape[0] == 2 * image.pixels.shape[1]
    assert image.pixels[5, 5].argmax() == 0  # what was left is on top


@pytest.mark.parametrize(
    ("orientation", "decoded"), [(1, (640, 360)), (3, (640, 360)), (6, (720, 1280)), (8, (720, 1280))]
)
def test_what_the_model_needs_is_held_against_the_picture_as_it_is_once_turned(
    orientation: int, decoded: tuple[int, int]
) -> None:
    image = image_from_jpeg(with_orientation(jpeg(1280, 720), orientation), (640, 360))
    assert (image.pixels.shape[1], image.pixels.shape[0]) == decoded  # half of 720x1280 would have to be enlarged


def test_a_grey_jpeg_has_three_channels() -> None:
    data = cv2.imencode(".jpg", np.full((30, 40), 90, np.uint8))[1].tobytes()
    assert decode_jpeg(data).shape == (30, 40, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\x89PNG\r\n\x1a\n" + bytes(60),
        b"\xff\xd8" + b"\xff\xe0\x00\x00" * 50,
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x00" + bytes(20),
        jpeg(64, 48)[:200],
        jpeg(640, 480)[:-1000],
        b"not a picture at all",
    ],
    ids=["empty", "one byte", "start", "start and end", "png", "endless", "no size", "header", "cut off", "text"],
)
def test_what_is_no_whole_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(ImageBroken):
        decode_jpeg(data)
    with pytest.raises(ImageBroken):
        image_from_jpeg(data, (32, 32))


def test_the_refusal_says_what_came() -> None:
    with pytest.raises(ImageBroken, match=r"expected a JPEG, got 8 bytes that start with '89 50 4e 47'"):
        jpeg_size(b"\x89PNG\r\n\x1a\n")


def test_a_header_that_claims_a_huge_picture_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(jpeg(64, 48))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(ImageBroken, match="65000x65000 is larger than"):
        decode_jpeg(bytes(data))
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 48)
    assert decode_jpeg(jpeg(64, 48)).shape == (48, 64, 3)


def test_random_bytes_never_do_more_than_be_refused() -> None:
    random = np.random.default_rng(7)
    good = jpeg(96, 64)
    for _ in range(300):
        data = bytearray(good)
        for at in random.integers(0, len(data), 12):
            data[at] = random.integers(0, 256)
        try:
            image = image_from_jpeg(bytes(data), (32, 32))
        except ImageBroken:
            continue
        assert image.pixels.ndim == 3
        assert image.pixels.dtype == np.uint8


def test_a_decoded_picture_is_an_image_of_its_own_size() -> None:
    image = image_from_pixels(picture(64, 48))
    assert (image.width, image.height) == (64, 48)


@pytest.mark.parametrize("sampling", ["411", "420", "422", "444"])
@pytest.mark.parametrize("size", [(640, 480), (641, 479), (17, 33), (1, 1)])
@pytest.mark.parametrize(
    ("by", "flag"), [(1, cv2.IMREAD_COLOR), (2, cv2.IMREAD_REDUCED_COLOR_2), (4, cv2.IMREAD_REDUCED_COLOR_4)]
)
def test_the_pixels_are_the_very_ones_that_opencv_gives(
    size: tuple[int, int], by: int, flag: int, sampling: str
) -> None:
    width, height = size
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    how = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")]
    data = cv2.imencode(".jpg", noise, how)[1].tobytes()
    ours = decode_jpeg(data, (max(1, width // by), max(1, height // by)))
    if ours.shape[0] == -(-height // by):
        assert np.array_equal(ours, cv2.imdecode(np.frombuffer(data, np.uint8), flag))


def test_a_grey_jpeg_becomes_bgr_as_opencv_makes_it() -> None:
    data = cv2.imencode(".jpg", picture(64, 48)[:, :, 0])[1].tobytes()
    assert np.array_equal(decode_jpeg(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def test_a_jpeg_with_bytes_between_its_segments_is_left_to_opencv() -> None:
    data = jpeg(64, 48)
    scan = data.index(b"\xff\xda")
    odd = data[:scan] + b"\0\0\0" + data[scan:]
    assert np.array_equal(decode_jpeg(odd), decode_jpeg(data))


def scene(width: int = 640, height: int = 480) -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 5))[1].tobytes()


@pytest.mark.parametrize("needed", [None, (320, 240), (160, 120)])
@pytest.mark.parametrize("tail", [2, 40], ids=["no end marker", "last row cut"])
def test_a_picture_that_lacks_its_very_end_is_looked_at(
    tail: int, needed: tuple[int, int] | None, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = decode_jpeg(scene(), needed)
    cut = decode_jpeg(scene()[:-tail], needed)
    above = len(whole) - 17  # a row that is coded at once, and one that is smoothed with it
    assert np.array_equal(cut[:above], whole[:above])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("needed", [None, (320, 240), (160, 120)])
@pytest.mark.parametrize("damage", [b"\xff\xd9", b"\xff\xd3", b""], ids=["end marker", "restart marker", "cut off"])
def test_a_picture_that_ends_in_the_middle_is_refused_with_what_is_lost_and_nothing_is_printed(
    damage: bytes, needed: tuple[int, int] | None, capfd: pytest.CaptureFixture[str]
) -> None:
    data = scene()
    middle = len(data) // 2
    broken = data[:middle] + damage + (data[middle + 2 :] if damage else b"")
    with pytest.raises(ImageBroken, match=r"640x480 in \d+ bytes is cut off or damaged, (49|50|51)% of it is lost: "):
        decode_jpeg(broken, needed)
    assert capfd.readouterr().err == ""
