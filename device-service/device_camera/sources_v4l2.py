"""USB and built-in cameras through V4L2; one that makes MJPG itself has its pictures passed through."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
from edgex_kit.errors import Unavailable

from device_camera.frames import Picture
from device_camera.jpeg import jpeg_end, with_huffman_tables
from device_camera.sources import Source, SourceOptions, SourceSpec, cause_from_error
from device_camera.sources_opencv import capture_from, fps_of, picture_of, size_of

_MJPG = cv2.VideoWriter.fourcc(*"MJPG")


@contextmanager
def open_v4l2(spec: SourceSpec, options: SourceOptions) -> Iterator[Source]:
    """The camera at a /dev node. Raises Unavailable: no such file, permission denied, no camera or in use."""
    _check_node(spec)
    capture = capture_from(spec.location, cv2.CAP_V4L2, {})
    if capture is None:
        raise Unavailable(f"{spec}: cannot be opened as a camera: another program uses it, or it captures no video")
    try:
        yield V4l2Source(spec, options, capture)
    finally:
        capture.release()


class V4l2Source(Source):
    """Asks for MJPG, size and rate; the camera answers with what it has nearest to them."""

    def __init__(self, spec: SourceSpec, options: SourceOptions, capture: cv2.VideoCapture) -> None:
        self._spec = spec
        self._options = options
        self._capture = capture
        self.is_jpeg = _choose_format(capture, options)
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
        buffer = picture.tobytes()
        return with_huffman_tables(buffer[: jpeg_end(buffer)])

    def adapt(self, options: SourceOptions) -> bool:
        return (options.size, options.capture_fps) == (self._options.size, self._options.capture_fps)


def _choose_format(capture: cv2.VideoCapture, options: SourceOptions) -> bool:
    """Set what is asked for; True when the camera delivers MJPG and OpenCV hands it over as it is."""
    # The pixel format first: sizes and rates depend on it.
    capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
    for side, wanted in zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), options.size or (), strict=False):
        if wanted:
            capture.set(side, wanted)
    if options.capture_fps:
        capture.set(cv2.CAP_PROP_FPS, options.capture_fps)
    return int(capture.get(cv2.CAP_PROP_FOURCC)) == _MJPG and bool(capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))


def _check_node(spec: SourceSpec) -> None:
    """Raise Unavailable when there is no camera node that we may use."""
    node = Path(spec.location)
    try:
        mode = node.stat().st_mode
    except OSError as error:
        raise Unavailable(f"{spec}: {cause_from_error(error)}") from error
    if not stat.S_ISCHR(mode):
        raise Unavailable(f"{spec}: not a camera: a V4L2 node such as /dev/video0 expected")
    if not os.access(node, os.R_OK | os.W_OK):
        raise Unavailable(f"{spec}: permission denied: is this user in the group of the node (usually video)?")
