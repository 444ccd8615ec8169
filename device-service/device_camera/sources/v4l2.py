"""USB and built-in cameras through V4L2; MJPG of the camera passes through."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from edgex_kit.jpeg import DHT, SOS, segments, trimmed
from edgex_kit.wire.errors import EdgexError, Unavailable

from device_camera.frame import Picture, Size, area, is_worth_it
from device_camera.sources.base import Source, SourceOptions, SourceSpec
from device_camera.sources.opencv import capture_from, fps_of, picture_of, size_of
from device_camera.timing import Clock
from device_camera.v4l2.node import check_node, open_node

_MJPG = cv2.VideoWriter.fourcc(*"MJPG")
_SAME_SHAPE = 0.02  # of the ratio of its sides


@contextmanager
def open_v4l2(spec: SourceSpec, options: SourceOptions, _clock: Clock) -> Iterator[Source]:
    """The camera at a /dev node. Raises Unavailable: no such file, permission denied, no camera or in use."""
    check_node(spec.location)
    capture = capture_from(spec.location, cv2.CAP_V4L2, {})
    if capture is None:
        raise Unavailable(f"{spec}: cannot be opened as a camera: another program uses it, or it captures no video")
    try:
        yield V4l2Source(spec, options, capture)
    finally:
        capture.release()


class V4l2Source(Source):
    """Requests MJPG, size and rate; the driver chooses what is nearest to them."""

    def __init__(self, spec: SourceSpec, options: SourceOptions, capture: cv2.VideoCapture) -> None:
        self._spec = spec
        self._options = options
        self._capture = capture
        # The pixel format first: sizes and rates depend on it.
        capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
        self._own = size_of(capture)
        self._modes = _modes_like(self._own, spec) if options.encoding.follows else []
        self.full_size = self._own if self._modes else None
        # Requested; a driver may answer with another, which must not be taken for a request that has changed.
        self._mode = mode_for(options.encoding.needed, self._own, self._modes, self._own)
        _set_size(capture, self._mode if self._modes else options.encoding.size)
        self.is_jpeg = _choose_rate(capture, options)
        self.native_fps = fps_of(capture)
        self.size = size_of(capture)

    def grab(self) -> bool:
        if self._capture.grab():
            return True
        if not Path(self._spec.location).exists():
            raise Unavailable(f"{self._spec}: no such file")
        raise Unavailable(f"{self._spec}: no picture: the camera does not answer")

    def retrieve(self) -> Picture:
        picture = picture_of(self._capture, self._spec)
        if not self.is_jpeg:
            return picture
        return with_huffman_tables(trimmed(picture.tobytes()))

    def adapt(self, options: SourceOptions) -> bool:
        """Another mode means opening anew, a short gap."""
        if _requested_of_it(options) != _requested_of_it(self._options):
            return False
        return not self._modes or mode_for(options.encoding.needed, self._own, self._modes, self._mode) == self._mode


def mode_for(needed: Size | None, own: Size, modes: Sequence[Size], now: Size) -> Size:
    """The smallest of a camera's sizes that reaches `needed`; the one it has `now` where little would be gained.

    `own`, which it has by default, is the largest of them; `modes` are the others.
    """
    if needed is None:
        return own
    enough = [size for size in (own, *modes) if size[0] >= needed[0] and size[1] >= needed[1]]
    best = min(enough, key=area, default=own)
    return now if now in enough and not is_worth_it(best, now) else best


def with_huffman_tables(jpeg: bytes) -> bytes:
    """`jpeg` with the standard Huffman tables if it has none.

    USB cameras leave them out of MJPG ("AVI1" JPEG, OpenDML 1.02); many decoders then refuse the picture.
    """
    for marker, start, _ in segments(jpeg):
        if marker == DHT:
            return jpeg
        if marker == SOS:
            return jpeg[:start] + _standard_tables() + jpeg[start:]
    return jpeg


@functools.cache
def _standard_tables() -> bytes:
    """The tables of T.81 K.3: libjpeg writes them unless it optimises."""
    _, data = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8), [cv2.IMWRITE_JPEG_OPTIMIZE, 0])
    plain = data.tobytes()
    return b"".join(plain[start:end] for marker, start, end in segments(plain) if marker == DHT)


def _modes_like(own: Size, spec: SourceSpec) -> list[Size]:
    """Smaller sizes of the same shape, since another shape shows another part of the scene."""
    with contextlib.suppress(EdgexError), open_node(spec.location) as node:
        sizes = list(node.sizes(node.pixel_format()["PixelFormat"]))
        return [size for size in sizes if 0 < area(size) < area(own) and _is_like(size, own)]
    return []


def _is_like(size: Size, own: Size) -> bool:
    return abs(size[0] * own[1] / (size[1] * own[0]) - 1) < _SAME_SHAPE


def _requested_of_it(options: SourceOptions) -> tuple[Size | None, float, bool]:
    return options.encoding.size, options.capture_fps, options.encoding.follows


def _choose_rate(capture: cv2.VideoCapture, options: SourceOptions) -> bool:
    """Set the requested rate; True when the camera delivers MJPG and OpenCV hands it over as it is."""
    if options.capture_fps:
        capture.set(cv2.CAP_PROP_FPS, options.capture_fps)
    return int(capture.get(cv2.CAP_PROP_FOURCC)) == _MJPG and bool(capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))


def _set_size(capture: cv2.VideoCapture, size: Size | None) -> None:
    for side, wanted in zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), size or (), strict=False):
        if wanted:
            capture.set(side, wanted)
