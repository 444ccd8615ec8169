"""A video file played at its own speed, once or over and over, until the file is removed or replaced."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
from edgex_kit.jpeg import check_size
from edgex_kit.wire.errors import Forbidden, Malformed, Unavailable

from device_camera.errors import cause_from_error
from device_camera.frame import Pixels
from device_camera.sources.base import Source, SourceEnded, SourceOptions, SourceSpec, check_regular
from device_camera.sources.opencv import capture_from, fps_of, picture_of, size_of
from device_camera.timing import SECOND, Clock, Pace

_UNSAID_FPS = 25.0  # a file without a rate
_LONGEST_STEP = 10.0  # seconds; a larger gap between two time stamps is a broken one
_TEXT = cv2.VideoWriter.fourcc(*"ansi")  # FFmpeg plays text files as the screen of a terminal
_CHECK_EVERY = SECOND  # ns between two checks that the file is still there


@contextmanager
def open_file(spec: SourceSpec, options: SourceOptions, clock: Clock) -> Iterator[Source]:
    """The video at `spec`. Raises Unavailable: no such file, permission denied, not a picture or video."""
    source = FileSource(spec, options, clock)
    try:
        yield source
    finally:
        source.close()


class FileSource(Source):
    """Pictures come when their time stamps say; a loop opens the file again, since not every format seeks well."""

    is_jpeg = False

    def __init__(self, spec: SourceSpec, options: SourceOptions, clock: Clock) -> None:
        self._spec = spec
        self._path = Path(spec.location).absolute()
        self._limits, self._access = options.limits, options.access
        self._loop = options.loop
        self._clock = clock
        self._pace = Pace(clock)
        self._checked_ns = clock.monotonic_ns()
        self._identity = self._file_identity()
        self._capture = self._open()
        self.native_fps = fps_of(self._capture) or _UNSAID_FPS
        self.size = size_of(self._capture)

    def grab(self) -> bool:
        self._check_now_and_then()
        return self._pace.wait(self._next)

    def retrieve(self) -> Pixels:
        return picture_of(self._capture, self._spec)

    def adapt(self, options: SourceOptions) -> bool:
        self._loop = options.loop
        return True

    def close(self) -> None:
        self._capture.release()

    def _next(self) -> float:
        """Grab the next picture, from the start again at the end; seconds after the one before."""
        before = self._time()
        if self._capture.grab():
            step = self._time() - before
            return step if 0 < step < _LONGEST_STEP else 1 / self.native_fps
        if not self._loop:
            raise SourceEnded(f"{self._spec}: end of file")
        self._capture.release()
        self._identity = self._file_identity()
        self._capture = self._open()
        if not self._capture.grab():
            raise Unavailable(f"{self._spec}: not a picture or video")
        return 1 / self.native_fps

    def _time(self) -> float:
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _open(self) -> cv2.VideoCapture:
        # One decoding thread: more of them only read ahead, which a paced file never needs.
        capture = capture_from(f"file:{self._path}", cv2.CAP_FFMPEG, {cv2.CAP_PROP_N_THREADS: 1})
        if capture is None or int(capture.get(cv2.CAP_PROP_FOURCC)) == _TEXT:
            raise Unavailable(f"{self._spec}: not a picture or video")
        try:
            check_size(0, *size_of(capture), self._limits)
        except Malformed as error:
            capture.release()
            raise Unavailable(f"{self._spec}: {error}") from error
        return capture

    def _check_now_and_then(self) -> None:
        """An open file outlives its name: without this check a removed video would play on."""
        now = self._clock.monotonic_ns()
        if now - self._checked_ns >= _CHECK_EVERY:
            self._checked_ns = now
            if self._file_identity() != self._identity:
                raise Unavailable(f"{self._spec}: the file was replaced")

    def _file_identity(self) -> tuple[int, int]:
        """Device and inode of the file. Raises Unavailable when there is none, or none that can be read."""
        try:
            self._access.check_path(self._path)
            found = check_regular(self._path)
        except Forbidden as error:
            raise Unavailable(str(error)) from error
        except OSError as error:
            raise Unavailable(f"{self._spec}: {cause_from_error(error)}") from error
        return found.st_dev, found.st_ino
