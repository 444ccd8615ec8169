"""Which way up a picture is, as its EXIF data says, and turning it upright."""

import struct
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

UPRIGHT = 1
_FIRST_SIDEWAYS = 5  # to 8

_HEAD = b"Exif\0\0"
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}  # what TIFF begins with says the order of its bytes
_TAG, _SHORT = 0x0112, 3  # Orientation, 16 bits (EXIF 2.3, 4.6.4)
_ENTRY = 12  # bytes of a tag, its type, count and value

_TURNS: dict[int, Callable[[Pixels], object]] = {
    2: lambda it: cv2.flip(it, 1),
    3: lambda it: cv2.rotate(it, cv2.ROTATE_180),
    4: lambda it: cv2.flip(it, 0),
    5: cv2.transpose,
    6: lambda it: cv2.rotate(it, cv2.ROTATE_90_CLOCKWISE),
    7: lambda it: cv2.flip(cv2.transpose(it), -1),
    8: lambda it: cv2.rotate(it, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def orientation_of(segment: bytes) -> int:
    """1 to 8 from the content of an APP1 segment; UPRIGHT where it says nothing, or nothing that can be read."""
    tiff = segment.removeprefix(_HEAD)
    order = _ORDERS.get(tiff[:4])
    if order is None or len(tiff) == len(segment):
        return UPRIGHT
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        entries = (struct.unpack_from(f"{order}HHIH", tiff, at + 2 + _ENTRY * it) for it in range(count))
        said = next((value for tag, kind, _, value in entries if (tag, kind) == (_TAG, _SHORT)), UPRIGHT)
    except struct.error:  # it points behind its end
        return UPRIGHT
    return said if said in _TURNS else UPRIGHT


def is_sideways(orientation: int) -> bool:
    """Whether turning swaps width and height."""
    return orientation >= _FIRST_SIDEWAYS


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """(h, w, 3) as a person would hold it."""
    turn = _TURNS.get(orientation)
    return np.asarray(turn(pixels), np.uint8) if turn else pixels
