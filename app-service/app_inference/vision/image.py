"""Encoded pictures to pixels, decoding no more of a JPEG than the model needs."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import simplejpeg
from edgex_kit.jpeg import BLOCK_ROWS, LIMITS, JpegHeader, Limits, check_limits, check_size, read_header
from edgex_kit.wire.errors import Malformed
from numpy.typing import NDArray

from app_inference.errors import ImageBroken

Size = tuple[int, int]  # width, height
Pixels = NDArray[np.uint8]

# Only these scales have a fast path in libjpeg-turbo; 3/8 or 5/8 cost more than the whole picture.
_REDUCED = {4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2, 1: cv2.IMREAD_COLOR}
_NO_DATA = 128  # libjpeg leaves rows without data at the middle of the range
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"

# EXIF orientation -> what turns the picture upright
_TURNS: dict[int, Callable[[Pixels], object]] = {
    2: lambda it: cv2.flip(it, 1),
    3: lambda it: cv2.rotate(it, cv2.ROTATE_180),
    4: lambda it: cv2.flip(it, 0),
    5: cv2.transpose,
    6: lambda it: cv2.rotate(it, cv2.ROTATE_90_CLOCKWISE),
    7: lambda it: cv2.flip(cv2.transpose(it), -1),
    8: lambda it: cv2.rotate(it, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


@dataclass(frozen=True, slots=True)
class Image:
    """One picture, decoded and upright; `pixels` may be smaller than the picture the camera took."""

    pixels: Pixels  # (h, w, 3) BGR
    width: int  # of the original picture
    height: int


def image_from_pixels(pixels: Pixels) -> Image:
    """A picture that was decoded in full."""
    return Image(pixels, width=pixels.shape[1], height=pixels.shape[0])


def image_from_bytes(
    data: bytes, needed: Size | None = None, keeps_ratio: bool = False, limits: Limits = LIMITS
) -> Image:
    """Decode a JPEG or PNG, upright as its EXIF orientation says; raises ImageBroken.

    With `needed` (width, height) a JPEG comes at 1/2 or 1/4 of its size when both sides still reach that; when one side
    does, if the model `keeps_ratio`: the other is padded, and lies smaller in the input than the input is. The first
    bytes tell the format: senders are not always right about the media type.
    """
    try:
        if data.startswith(_PNG):
            return _image_from_png(data, limits)
        header = read_header(data)
        check_limits(data, header, limits)
    except ImageBroken:
        raise
    except Malformed as error:
        raise ImageBroken(str(error)) from error
    pixels = _decoded(data, header, _reduction(header.upright_size, needed, keeps_ratio))
    width, height = header.width, header.height
    if (width > height) == (pixels.shape[1] < pixels.shape[0]) and width != height:  # turned, by whichever decoder
        width, height = height, width
    return Image(pixels, width, height)


def _image_from_png(data: bytes, limits: Limits) -> Image:
    """In 8 bits a colour, without its transparency."""
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    check_size(len(data), width, height, limits)
    # libpng would report what is cut off on stderr, once a frame.
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data.endswith(_PNG_END) else None
    if pixels is None:
        raise ImageBroken(f"PNG of {width}x{height} in {len(data)} bytes is cut off or damaged")
    return image_from_pixels(pixels)


def _decoded(data: bytes, header: JpegHeader, by: int) -> Pixels:
    """At 1/`by` of its size. simplejpeg gives the pixels that OpenCV gives, faster, and prints nothing on damage."""
    with contextlib.suppress(ValueError):  # a JPEG of a rarer kind
        pixels = _as_coded(data, header, by)
        turn = _TURNS.get(header.orientation)
        return np.asarray(turn(pixels), np.uint8) if turn else pixels
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[by])
    if decoded is None:
        raise ImageBroken(f"JPEG of {header.width}x{header.height} in {len(data)} bytes is cut off or damaged")
    return decoded  # type: ignore[no-any-return]


def _as_coded(data: bytes, header: JpegHeader, by: int) -> Pixels:
    """Raises ValueError for what simplejpeg cannot read, ImageBroken where more than BLOCK_ROWS are lost.

    Many cameras leave out the end marker or damage the last row of each picture; these are used.
    """
    least = {"min_height": -(-header.height // by), "min_width": -(-header.width // by)}
    try:
        return simplejpeg.decode_jpeg(data, "BGR", **least)  # type: ignore[no-any-return]
    except ValueError as fault:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "BGR", **least, strict=False)
        lost = _lost_rows(pixels)
        if lost * by > BLOCK_ROWS:
            what = f"JPEG of {header.width}x{header.height} in {len(data)} bytes is cut off or damaged"
            raise ImageBroken(f"{what}, {lost / len(pixels):.0%} of it is lost: {fault}") from fault
        return pixels


def _lost_rows(pixels: Pixels) -> int:
    """Rows at the bottom for which there was no data."""
    is_grey = (pixels == _NO_DATA).all(axis=(1, 2))[::-1]
    return len(pixels) if is_grey.all() else int(is_grey.argmin())


@lru_cache(1000)  # a camera's pictures have one size
def _reduction(size: Size, needed: Size | None, keeps_ratio: bool) -> int:
    if needed is None:
        return 1
    enough = any if keeps_ratio else all
    reach = [side // want for side, want in zip(size, needed, strict=True)]
    return next((by for by in (4, 2) if enough(side >= by for side in reach)), 1)
