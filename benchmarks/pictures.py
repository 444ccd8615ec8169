"""The frames that are measured: pictures as cameras send them, and as heavy.

A JPEG's cost goes with its bytes, so these are made to weigh what photographs weigh at quality 80. Noise whose strength
falls with its frequency, as it does in every photograph, costs a decoder what a photograph of that weight costs.
"""

from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Size: TypeAlias = tuple[int, int]

QUALITY = 80
VGA, HD, FULL_HD = (640, 480), (1280, 720), (1920, 1080)
FITTED = (534, 300)  # 720p as small as a model of 300x300 can use it
KINDS = 4  # different pictures, which take turns

# How fast strength falls with frequency, so that a picture weighs 53, 123 and 231 KB.
_FALL = {VGA: 1.593, HD: 1.573, FULL_HD: 1.634}


def name_of(size: Size) -> str:
    """Such as 720p."""
    return f"720p sent as {size[0]}x{size[1]}" if size == FITTED else f"{size[1]}p"


@cache
def jpegs(size: Size) -> tuple[bytes, ...]:
    """KINDS pictures of `size`; the noise has no seam, so that moving it makes another picture of equal weight."""
    picture = pixels(size)
    return tuple(encode(np.roll(picture, step * 97, axis=(0, 1))) for step in range(KINDS))


@cache
def pixels(size: Size) -> NDArray[np.uint8]:
    """(h, w, 3) BGR: light with more contrast than colours."""
    if size == FITTED:
        return np.asarray(cv2.resize(pixels(HD), size, interpolation=cv2.INTER_AREA), np.uint8)
    chance = np.random.default_rng(size[0])
    planes = [128 + contrast * _noise(size, _FALL[size], chance) for contrast in (50, 8, 8)]
    return np.asarray(cv2.cvtColor(np.stack(planes, 2).clip(0, 255).astype(np.uint8), cv2.COLOR_YCrCb2BGR), np.uint8)


def encode(picture: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """As JPEG."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].data)


def _noise(size: Size, fall: float, chance: np.random.Generator) -> NDArray[np.float64]:
    """(h, w), mean 0, deviation 1."""
    width, height = size
    frequency = np.hypot(np.fft.rfftfreq(width)[None], np.fft.fftfreq(height)[:, None])
    spectrum = np.fft.rfft2(chance.normal(size=(height, width))) * (frequency + 1 / width) ** -fall
    plane = np.fft.irfft2(spectrum, (height, width))
    return plane / plane.std()
