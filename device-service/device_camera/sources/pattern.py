"""A synthetic moving picture with its number in figures and in black and white cells; needs no camera."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl

import cv2
import numpy as np
from edgex_kit.wire.errors import Invalid

from device_camera.frame import Pixels, Size
from device_camera.sources.base import Source, SourceOptions, SourceSpec
from device_camera.timing import Clock, Pace

_BARS = ((192, 192, 192), (0, 192, 192), (192, 192, 0), (0, 192, 0), (192, 0, 192), (0, 0, 192), (192, 0, 0))  # BGR
_CELLS = 32  # bits of the number, most significant first, along the lower edge
_LEAST, _MOST = 64, 7680  # pixels a side
_FASTEST = 240.0  # pictures a second
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the text after `pattern:` requests."""

    size: Size = (640, 480)
    fps: float = 30.0


def parse_pattern(text: str) -> Pattern:
    """`?size=1280x720&fps=30`, each part optional. Raises Invalid."""
    pattern = Pattern()
    pairs = parse_qsl(text.removeprefix("?"), keep_blank_values=True)
    if text not in {"", "?"} and not (text.startswith("?") and pairs):
        raise Invalid(f"pattern:?size=1280x720&fps=30 expected, got 'pattern:{text}'")
    for name, value in pairs:
        match name:
            case "size":
                pattern = Pattern(_parse_size(value), pattern.fps)
            case "fps":
                pattern = Pattern(pattern.size, _parse_fps(value))
            case _:
                raise Invalid(f"pattern: size and fps expected, got {name!r}")
    return pattern


@contextmanager
def open_pattern(spec: SourceSpec, _options: SourceOptions, clock: Clock) -> Iterator[Source]:
    """The test picture; it can always be opened."""
    yield PatternSource(parse_pattern(spec.location), clock)


def number_in(pixels: Pixels) -> int:
    """The number in the cells of a pattern picture, also after JPEG and resizing."""
    height, width = pixels.shape[:2]
    row = pixels[height - max(1, height // 40)].reshape(width, -1).mean(axis=1)
    bits = [row[int((cell + 0.5) * width / _CELLS)] > 127 for cell in range(_CELLS)]
    return int("".join("1" if bit else "0" for bit in bits), 2)


class PatternSource(Source):
    """Colour bars, a ball that crosses them in four seconds, and the number of the picture since opening."""

    is_jpeg = False

    def __init__(self, pattern: Pattern, clock: Clock) -> None:
        self.size = pattern.size
        self.native_fps = pattern.fps
        self._pace = Pace(clock)
        self._number = 0
        self._background = _bars(pattern.size)

    def grab(self) -> bool:
        if not self._pace.wait(lambda: 1 / self.native_fps):
            return False
        self._number += 1
        return True

    def retrieve(self) -> Pixels:
        width, height = self.size
        pixels = self._background.copy()
        phase = (self._number / self.native_fps / 4) % 1
        ball = (int(phase * width), int(height * (0.3 + 0.15 * np.sin(phase * 4 * np.pi))))
        cv2.circle(pixels, ball, max(4, height // 12), (255, 255, 255), -1, cv2.LINE_AA)
        text, scale = str(self._number), height / 240
        thickness = max(1, round(2 * scale))
        cv2.putText(pixels, text, (width // 20, height * 4 // 5), _FONT, scale, (0, 0, 0), thickness * 3, cv2.LINE_AA)
        cv2.putText(pixels, text, (width // 20, height * 4 // 5), _FONT, scale, (255, 255, 255), thickness, cv2.LINE_AA)
        _draw_cells(pixels, self._number)
        return pixels


def _draw_cells(pixels: Pixels, number: int) -> None:
    height, width = pixels.shape[:2]
    top = height - max(2, height // 20)
    for cell in range(_CELLS):
        left, right = cell * width // _CELLS, (cell + 1) * width // _CELLS
        pixels[top:, left:right] = 255 if number >> (_CELLS - 1 - cell) & 1 else 0


def _bars(size: Size) -> Pixels:
    width, height = size
    which = np.arange(width) * len(_BARS) // width
    row = np.array(_BARS, np.uint8)[which]
    return np.ascontiguousarray(np.broadcast_to(row, (height, width, 3)))


def _parse_size(text: str) -> Size:
    width, _, height = text.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise Invalid(f"pattern: size as 1280x720 expected, got {text!r}")
    if not all(_LEAST <= side <= _MOST for side in (int(width), int(height))):
        raise Invalid(f"pattern: size with sides from {_LEAST} to {_MOST} expected, got {text!r}")
    return int(width), int(height)


def _parse_fps(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 0 < fps <= _FASTEST:
        raise Invalid(f"pattern: fps above 0 up to {_FASTEST:g} expected, got {text!r}")
    return fps
