"""A picture brought to a model's input size, and the way back for its results.

Resize kinds are those of OpenVINO's `model_info`:
    standard                 stretched to the input
    fit_to_window            ratio kept, at the top left, padded right and below
    fit_to_window_letterbox  ratio kept, centred, padded on two sides
    crop                     the centre of the picture in the input's ratio
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app_inference.vision.image import Image, Size

STANDARD, WINDOW, LETTERBOX, CROP = "standard", "fit_to_window", "fit_to_window_letterbox", "crop"
RESIZE_KINDS = (STANDARD, WINDOW, LETTERBOX, CROP)


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the original picture lies in the model input: `input = original * scale + offset`, a side each."""

    input_size: Size
    original_size: Size
    scale: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)  # pixels of the input; negative where a crop cut

    def boxes_to_original(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 4) xyxy in input pixels to the original's, clamped to it."""
        return self.points_to_original(boxes.reshape(-1, 2)).reshape(-1, 4)

    def points_to_original(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 2) xy in input pixels to the original's, clamped to it."""
        moved = (points - np.asarray(self.offset, np.float32)) / np.asarray(self.scale, np.float32)
        inside = np.minimum(np.maximum(moved, 0), np.asarray(self.original_size, np.float32))
        return inside.astype(np.float32, copy=False)

    def plane_to_original(self, plane: NDArray[Any], nearest: bool, outside: float = 0) -> NDArray[Any]:
        """A map over the whole input, at any scale, to (height, width) of the original.

        Class ids want `nearest`; `outside` fills what a crop never showed to the model.
        """
        flag = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        if self.offset == (0.0, 0.0) and self._fills_input():
            resized: NDArray[Any] = cv2.resize(plane, self.original_size, interpolation=flag)
            return resized
        return cv2.warpAffine(  # type: ignore[no-any-return]
            plane,
            self._plane_from_original(plane.shape[1], plane.shape[0]),
            self.original_size,
            flags=flag | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=outside,
        )

    def _fills_input(self) -> bool:
        (width, height), (across, down) = self.original_size, self.scale
        return (round(width * across), round(height * down)) == self.input_size

    def _plane_from_original(self, width: int, height: int) -> NDArray[np.float64]:
        """The 2x3 matrix from the original's pixel indices to the plane's; index i is the point i + 0.5."""
        unit = np.array([width / self.input_size[0], height / self.input_size[1]])
        scale = unit * self.scale
        shift = unit * self.offset + 0.5 * scale - 0.5
        return np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])


def fit_image(image: Image, size: Size, kind: str, pad: int = 0) -> tuple[NDArray[np.uint8], Fit]:
    """(1, h, w, 3) uint8 BGR of `size` (width, height), and the way back to the original's pixels."""
    if kind == STANDARD:
        return _stretch(image, size)
    if kind == CROP:
        return _crop(image, size)
    return _pad(image, size, pad, centred=kind == LETTERBOX)


def _stretch(image: Image, size: Size) -> tuple[NDArray[np.uint8], Fit]:
    original = (image.width, image.height)
    scale = (size[0] / image.width, size[1] / image.height)
    return _resized(image.pixels, size)[None], Fit(size, original, scale)


def _pad(image: Image, size: Size, pad: int, centred: bool) -> tuple[NDArray[np.uint8], Fit]:
    original = (image.width, image.height)
    ratio = min(size[0] / image.width, size[1] / image.height)
    width, height = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
    free = (size[0] - width, size[1] - height)
    left, top = (free[0] // 2, free[1] // 2) if centred else (0, 0)
    pixels = cv2.copyMakeBorder(
        _resized(image.pixels, (width, height)),
        top, free[1] - top, left, free[0] - left,
        cv2.BORDER_CONSTANT, value=(pad, pad, pad),
    )  # fmt: skip
    scale = (width / image.width, height / image.height)
    return pixels[None], Fit(size, original, scale, (float(left), float(top)))


def _crop(image: Image, size: Size) -> tuple[NDArray[np.uint8], Fit]:
    """Cut in the decoded pixels, which may be fewer than the original's; the scale is the original's."""
    rows, columns = image.pixels.shape[:2]
    ratio = max(size[0] / columns, size[1] / rows)
    width, height = min(columns, round(size[0] / ratio)), min(rows, round(size[1] / ratio))
    left, top = (columns - width) // 2, (rows - height) // 2
    across, down = size[0] / width, size[1] / height
    pixels = _resized(image.pixels[top : top + height, left : left + width], size)
    scale = (across * columns / image.width, down * rows / image.height)
    return pixels[None], Fit(size, (image.width, image.height), scale, (-left * across, -top * down))


def _resized(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """INTER_LINEAR: INTER_AREA costs 6 to 15 times as much, and a reduced decode has averaged already."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return np.ascontiguousarray(pixels)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)  # type: ignore[no-any-return]
