"""RTSP through FFmpeg, over TCP first; the picture is decoded with the stream, so only its conversion can be spared."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from edgex_kit.wire.errors import Unavailable

from device_camera.clock import Clock
from device_camera.frame import Pixels
from device_camera.sources.factory import Source, SourceOptions, SourceSpec
from device_camera.sources.opencv import capture_from, fps_of, picture_of, size_of
from device_camera.sources.rtsp_probe import fetch_cause

_SECOND = 1_000_000_000  # ns
_USUAL_FPS = 25.0
_MOST_SKIPPED = 5.0  # seconds of stream: FFmpeg looks at no more than that before it gives the first picture


@contextmanager
def open_rtsp(spec: SourceSpec, options: SourceOptions, clock: Clock) -> Iterator[Source]:
    """The stream at an rtsp:// URL. Raises Unavailable: connection refused, authentication failed, ..."""
    url = options.credentials.inserted(spec.location) if options.credentials else spec.location
    limits = {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: round(options.open_timeout * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: round(options.read_timeout * 1000),
        cv2.CAP_PROP_N_THREADS: 1,  # more of them hold back one picture each
    }
    asked = clock.monotonic_ns()
    capture = capture_from(url, cv2.CAP_FFMPEG, limits)
    if capture is None:
        is_late = clock.monotonic_ns() - asked > options.open_timeout * 0.9 * _SECOND
        cause = "timed out" if is_late else fetch_cause(spec, options) or "no video in the stream that can be decoded"
        raise Unavailable(f"{spec}: {cause}")
    try:
        source = RtspSource(spec, options, clock, capture)
        source.skip_old()
        yield source
    finally:
        capture.release()


class RtspSource(Source):
    """Takes every picture the server sends, so that none waits in a buffer and grows old."""

    is_jpeg = False

    def __init__(self, spec: SourceSpec, options: SourceOptions, clock: Clock, capture: cv2.VideoCapture) -> None:
        self._spec = spec
        self._options = options
        self._clock = clock
        self._capture = capture
        self.native_fps = fps_of(capture)
        self.size = size_of(capture)

    def skip_old(self) -> None:
        """Leave out what came while the stream was opened: it would be dated now.

        A picture from a buffer comes at once; the first one that had to be waited for is new.
        """
        interval = _SECOND / (self.native_fps or _USUAL_FPS)
        for _ in range(round(_MOST_SKIPPED * (self.native_fps or _USUAL_FPS))):
            asked = self._clock.monotonic_ns()
            self.grab()
            if self._clock.monotonic_ns() - asked > interval / 4:
                return

    def grab(self) -> bool:
        asked = self._clock.monotonic_ns()
        is_there = self._capture.grab()
        # After its time-out FFmpeg still hands out the picture that was left in the decoder: that one is old.
        if self._clock.monotonic_ns() - asked >= self._options.read_timeout * 0.9 * _SECOND:
            raise Unavailable(f"{self._spec}: no picture for {self._options.read_timeout:g} s")
        if not is_there:
            raise Unavailable(f"{self._spec}: connection closed by the camera")
        return True

    def retrieve(self) -> Pixels:
        return picture_of(self._capture, self._spec)

    def adapt(self, options: SourceOptions) -> bool:
        return options.credentials == self._options.credentials and options.read_timeout == self._options.read_timeout
