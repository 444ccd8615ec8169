"""A picture brought to a model's input, and the way back."""

import numpy as np
import pytest
from app_inference.vision.image import Image, image_from_pixels
from app_inference.vision.resize import RESIZE_KINDS, Fit, fit_image

SIZES = [(640, 480), (480, 640), (416, 416), (333, 77), (77, 333), (50, 40)]


def with_square(width: int, height: int, box: tuple[int, int, int, int]) -> Image:
    """Black, with one white box."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return image_from_pixels(pixels)


def box_of(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)


@pytest.mark.parametrize("kind", RESIZE_KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_a_box_in_the_input_comes_back_to_its_place(kind: str, size: tuple[int, int]) -> None:
    width, height = size
    middle_x, middle_y, reach = width // 2, height // 2, min(size) // 5
    box = (middle_x - reach, middle_y - reach, middle_x + reach, middle_y + reach)
    pixels, fit = fit_image(with_square(*size, box), (416, 320), kind)
    assert pixels.shape == (1, 320, 416, 3)
    assert pixels.dtype == np.uint8
    back = fit.boxes_to_original(box_of(pixels[0, :, :, 0] > 127)[None])[0]
    tolerance = 1 + max(1 / fit.scale[0], 1 / fit.scale[1])
    assert np.abs(back - box).max() <= tolerance


@pytest.mark.parametrize("kind", RESIZE_KINDS)
def test_a_reduced_decode_still_comes_back_to_the_original(kind: str) -> None:
    whole = with_square(1280, 720, (600, 300, 700, 400))
    half = Image(np.ascontiguousarray(whole.pixels[::2, ::2]), 1280, 720)
    pixels, fit = fit_image(half, (300, 300), kind)
    back = fit.boxes_to_original(box_of(pixels[0, :, :, 0] > 127)[None])[0]
    assert np.abs(back - (600, 300, 700, 400)).max() <= 1 + 1 / fit.scale[0]


@pytest.mark.parametrize("kind", RESIZE_KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_a_plane_over_the_input_lies_over_the_original_again(kind: str, size: tuple[int, int]) -> None:
    width, height = size
    reach = min(size) // 5
    box = (width // 2 - reach, height // 2 - reach, width // 2 + reach, height // 2 + reach)
    pixels, fit = fit_image(with_square(*size, box), (416, 320), kind)
    plane = (pixels[0, ::2, ::2, 0] > 127).astype(np.uint8)  # at half the input's scale
    back = fit.plane_to_original(plane, nearest=True)
    assert back.shape == (height, width)
    tolerance = 1 + 2 * max(1 / fit.scale[0], 1 / fit.scale[1])
    assert np.abs(box_of(back) - box).max() <= tolerance


def test_what_a_crop_cut_away_is_outside() -> None:
    _, fit = fit_image(image_from_pixels(np.zeros((100, 300, 3), np.uint8)), (50, 50), "crop")
    back = fit.plane_to_original(np.ones((50, 50), np.uint8), nearest=True, outside=255)
    assert (back[:, :95] == 255).all()
    assert (back[:, 105:195] == 1).all()
    assert (back[:, 205:] == 255).all()


def test_boxes_are_clamped_to_the_original() -> None:
    fit = Fit((100, 100), (200, 50), (0.5, 2.0))
    boxes = fit.boxes_to_original(np.array([[-10, -10, 500, 500]], np.float32))
    assert boxes.tolist() == [[0, 0, 200, 50]]
    assert boxes.dtype == np.float32


def test_no_box_is_no_box() -> None:
    assert Fit((10, 10), (20, 20), (0.5, 0.5)).boxes_to_original(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_padding_has_the_value_asked_for_and_lies_where_the_kind_says() -> None:
    white = image_from_pixels(np.full((100, 200, 3), 255, np.uint8))
    window, _ = fit_image(white, (64, 64), "fit_to_window", pad=114)
    letterbox, fit = fit_image(white, (64, 64), "fit_to_window_letterbox", pad=7)
    assert (window[0, :32] == 255).all()
    assert (window[0, 32:] == 114).all()
    assert (letterbox[0, :16] == 7).all()
    assert (letterbox[0, 16:48] == 255).all()
    assert (letterbox[0, 48:] == 7).all()
    assert fit.offset == (0, 16)


def test_a_picture_of_the_right_size_is_passed_as_it_is() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    for kind in RESIZE_KINDS:
        fitted, fit = fit_image(image_from_pixels(pixels), (64, 64), kind)
        assert (fitted[0] == pixels).all()
        assert fit.scale == (1.0, 1.0)


@pytest.mark.parametrize("kind", RESIZE_KINDS)
def test_a_sliver_of_a_picture_survives(kind: str) -> None:
    pixels, fit = fit_image(image_from_pixels(np.zeros((1, 4000, 3), np.uint8)), (32, 32), kind)
    assert pixels.shape == (1, 32, 32, 3)
    assert np.isfinite(fit.boxes_to_original(np.array([[0, 0, 32, 32]], np.float32))).all()
