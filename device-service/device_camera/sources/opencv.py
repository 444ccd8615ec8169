"""OpenCV's video capture: opens it and keeps its and FFmpeg's own log lines away from ours."""

import os
from collections.abc import Mapping

import cv2
import numpy as np
from edgex_kit.wire.errors import Malformed

from device_camera.frame import Pixels
from device_camera.sources.base import SourceSpec

# FFmpeg would print URLs and its own words to stderr; our errors name the cause. Read once by OpenCV,
# at its first use of FFmpeg; -8 is AV_LOG_QUIET.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# Files must not make FFmpeg open anything else: playlists name URLs.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

_UNLIKELY_FPS = 240.0  # RTSP streams without a rate give their clock's (90000)


def capture_from(location: str, backend: int, settings: Mapping[int, int]) -> cv2.VideoCapture | None:
    """An opened capture, or None: OpenCV gives no reason."""
    flat = [number for pair in settings.items() for number in pair]
    try:
        capture = cv2.VideoCapture(location, backend, flat)
    except cv2.error:
        return None
    if capture.isOpened():
        return capture
    capture.release()
    return None


def fps_of(capture: cv2.VideoCapture) -> float:
    """Pictures a second by the stream's headers; 0 when they are unlikely."""
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps <= _UNLIKELY_FPS else 0.0


def size_of(capture: cv2.VideoCapture) -> tuple[int, int]:
    """(width, height) of its pictures; (0, 0) when it does not know yet."""
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def picture_of(capture: cv2.VideoCapture, spec: SourceSpec) -> Pixels:
    """The picture grabbed last, (height, width, 3) BGR. Raises Malformed when it cannot be decoded."""
    done, pixels = capture.retrieve()
    if not done or pixels is None:
        raise Malformed(f"{spec}: a picture cannot be decoded")
    return np.asarray(pixels, np.uint8)
