"""Frames are JPEG or PNG; their first bytes say which."""

import cv2
import numpy as np
import pytest
from app_inference.errors import ImageBroken
from app_inference.vision import formats
from app_inference.vision.formats import image_from_bytes
from hypothesis import given
from hypothesis import strategies as st


def encoded(kind: str, pixels: np.ndarray | None = None) -> bytes:
    picture = np.full((48, 64, 3), (10, 120, 240), np.uint8) if pixels is None else pixels
    return bytes(cv2.imencode(kind, picture)[1].tobytes())


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_either_kind_is_decoded(kind: str) -> None:
    image = image_from_bytes(encoded(kind))
    assert (image.width, image.height, image.pixels.shape) == (64, 48, (48, 64, 3))
    assert np.abs(image.pixels.astype(int) - (10, 120, 240)).max() <= 4


@pytest.mark.parametrize("channels", [1, 4])
def test_a_png_without_colour_or_with_transparency_is_a_picture_too(channels: int) -> None:
    image = image_from_bytes(encoded(".png", np.full((48, 64, channels), 200, np.uint8)))
    assert image.pixels.shape == (48, 64, 3)
    assert (image.pixels == 200).all()


def test_a_png_of_16_bits_is_brought_to_8() -> None:
    image = image_from_bytes(encoded(".png", np.full((48, 64, 3), 200 * 257, np.uint16)))
    assert image.pixels.dtype == np.uint8
    assert np.abs(image.pixels.astype(int) - 200).max() <= 1


def test_a_png_that_is_cut_off_is_refused_without_a_line_of_libpng_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(".png")
    for length in range(8, len(data)):
        with pytest.raises(ImageBroken, match="PNG of"):
            image_from_bytes(data[:length])
    assert capfd.readouterr().err == ""


def test_a_png_that_claims_to_be_huge_is_refused_before_memory_is_asked_for() -> None:
    data = bytearray(encoded(".png"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(ImageBroken, match="PNG of 60000x60000 is larger than 100 megapixels"):
        image_from_bytes(bytes(data))


def test_a_damaged_png_is_refused() -> None:
    data = bytearray(encoded(".png", np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)))
    data[60:200] = bytes(140)
    with pytest.raises(ImageBroken, match="cut off or damaged"):
        image_from_bytes(bytes(data))


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ImageBroken):
        formats.image_from_bytes(data)
