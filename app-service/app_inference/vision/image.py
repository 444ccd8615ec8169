"""JPEG bytes to pixels, decoding no more of the picture than the model will look at."""

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from app_inference.errors import ImageBroken
from app_inference.vision.orientation import UPRIGHT, is_sideways, orientation_of, turned

Size = tuple[int, int]  # width, height

# 8K is 33 million. A header may claim four billion, and the decoder would ask for the memory.
MAX_PIXELS = 100_000_000

# Only these scales have a fast path in libjpeg-turbo; 3/8 or 5/8 cost more than the whole picture.
_REDUCED = {4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2, 1: cv2.IMREAD_COLOR}

_BLOCK = 16  # rows that a JPEG codes at once, at the most
_NO_DATA = 128

_SOI, _SOS, _EOI, _TEM, _APP1 = 0xD8, 0xDA, 0xD9, 0x01, 0xE1
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH = frozenset({_TEM, *range(0xD0, 0xD8)})


@dataclass(frozen=True, slots=True)
class Image:
    """One picture, decoded; `pixels` may be smaller than the picture the camera took."""

    pixels: NDArray[np.uint8]  # (h, w, 3) BGR
    width: int  # of the original picture
    height: int


def image_from_pixels(pixels: NDArray[np.uint8]) -> Image:
    """A picture that was decoded in full."""
    return Image(pixels, width=pixels.shape[1], height=pixels.shape[0])


def image_from_jpeg(data: bytes | memoryview, needed: Size | None = None, keeps_ratio: bool = False) -> Image:
    """Decode `data` for a model input as `decode_jpeg` does; raises ImageBroken."""
    header = _header(data)
    width, height = header.size
    pixels = _decoded(data, header, needed, keeps_ratio)
    if _is_turned(pixels, width, height):
        width, height = height, width
    return Image(pixels, width, height)


def decode_jpeg(data: bytes | memoryview, needed: Size | None = None, keeps_ratio: bool = False) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 BGR, upright as its EXIF orientation says; raises ImageBroken.

    With `needed` (width, height) it comes at 1/2 or 1/4 of its size when both sides still reach that; when one side
    does, if the model `keeps_ratio`: the other is padded, and lies smaller in the input than the input is.
    """
    return _decoded(data, _header(data), needed, keeps_ratio)


def jpeg_size(data: bytes | memoryview) -> Size:
    """(width, height) from the header, nothing decoded; raises ImageBroken. EXIF orientation is not applied."""
    return _header(data).size


class _Header(NamedTuple):
    """What a JPEG says before its picture begins."""

    size: Size  # as coded
    orientation: int  # of EXIF

    @property
    def upright(self) -> Size:
        """Once it is turned, as models see it."""
        width, height = self.size
        return (height, width) if is_sideways(self.orientation) else (width, height)


def _decoded(data: bytes | memoryview, header: _Header, needed: Size | None, keeps_ratio: bool) -> NDArray[np.uint8]:
    """simplejpeg gives the very pixels that OpenCV gives, sooner, and prints nothing about a damaged one."""
    width, height = header.size
    if width * height > MAX_PIXELS:
        raise ImageBroken(f"JPEG of {width}x{height} is larger than {MAX_PIXELS // 1_000_000} megapixels")
    by = _reduction(header.upright, needed, keeps_ratio)
    with contextlib.suppress(ValueError):  # a JPEG of a rarer kind
        return turned(_as_coded(data, header.size, by), header.orientation)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[by])
    if pixels is None:
        raise ImageBroken(f"JPEG of {width}x{height} in {len(data)} bytes is cut off or damaged")
    return pixels  # type: ignore[no-any-return]


def _as_coded(data: bytes | memoryview, size: Size, by: int) -> NDArray[np.uint8]:
    """At 1/`by` of its size. Raises ValueError for what simplejpeg cannot read, ImageBroken where much is lost.

    Many a camera leaves out the end marker or spoils the last row of each picture, and these are worth a look.
    """
    width, height = size
    least = {"min_height": -(-height // by), "min_width": -(-width // by)}
    try:
        return simplejpeg.decode_jpeg(data, "BGR", **least)  # type: ignore[no-any-return]
    except ValueError as fault:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "BGR", **least, strict=False)
        lost = _lost_rows(pixels)
        if lost * by > _BLOCK:
            share = lost / len(pixels)
            text = f"JPEG of {width}x{height} in {len(data)} bytes is cut off or damaged, {share:.0%} of it is lost"
            raise ImageBroken(f"{text}: {fault}") from fault
        return pixels


def _lost_rows(pixels: NDArray[np.uint8]) -> int:
    """Rows at the bottom for which there was no data: libjpeg leaves them at the middle of the range."""
    is_grey = (pixels == _NO_DATA).all(axis=(1, 2))[::-1]
    return len(pixels) if is_grey.all() else int(is_grey.argmin())


def _header(data: bytes | memoryview) -> _Header:
    view = memoryview(data).cast("B")
    if len(view) < 4 or view[0] != 0xFF or view[1] != _SOI:
        raise ImageBroken(f"expected a JPEG, got {len(view)} bytes that start with {bytes(view[:4]).hex(' ')!r}")
    at, orientation = 2, UPRIGHT
    while at + 9 <= len(view) and view[at] == 0xFF:
        marker = view[at + 1]
        if marker in _START_OF_FRAME:
            return _Header(_checked_size(view[at + 5 : at + 9]), orientation)
        if marker in (_SOS, _EOI):
            break
        length = _segment_length(view, at, marker)
        if marker == _APP1 and orientation == UPRIGHT:
            orientation = orientation_of(bytes(view[at + 4 : at + length]))
        at += length
    raise ImageBroken(f"JPEG of {len(view)} bytes has no frame header")


def _segment_length(view: memoryview, at: int, marker: int) -> int:
    if marker == 0xFF:  # a fill byte: ITU-T T.81 B.1.1.2 allows any number before a marker
        return 1
    if marker in _WITHOUT_LENGTH:
        return 2
    return 2 + max(2, int.from_bytes(view[at + 2 : at + 4], "big"))


def _checked_size(field: memoryview) -> Size:
    height, width = int.from_bytes(field[:2], "big"), int.from_bytes(field[2:], "big")
    if not width or not height:
        raise ImageBroken(f"JPEG says it is {width}x{height}")
    return width, height


@lru_cache(1000)  # a camera's pictures have one size
def _reduction(size: Size, needed: Size | None, keeps_ratio: bool) -> int:
    if needed is None:
        return 1
    enough = any if keeps_ratio else all
    reach = [side // want for side, want in zip(size, needed, strict=True)]
    return next((by for by in (4, 2) if enough(side >= by for side in reach)), 1)


def _is_turned(pixels: NDArray[np.uint8], width: int, height: int) -> bool:
    """Whether EXIF orientation swapped the sides: a landscape header over portrait pixels, or the reverse."""
    return (width > height) == (pixels.shape[1] < pixels.shape[0]) and width != height
