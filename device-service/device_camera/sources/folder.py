"""A folder of pictures shown in turn, at the frames a second requested; JPEG files pass through byte for byte."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgex_kit.jpeg import SOI, check_size
from edgex_kit.wire.errors import Forbidden, Malformed, Unavailable

from device_camera.errors import cause_from_error
from device_camera.frame import Picture, decode_picture
from device_camera.sources.base import Source, SourceEnded, SourceOptions, SourceSpec, check_regular
from device_camera.timing import Clock, Pace

_JPEG = {".jpg", ".jpeg", ".jpe"}
_OTHER = {".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
_UNSAID_FPS = 1.0  # when every frame is requested, which is no rate


def is_picture(path: Path) -> bool:
    """True for a single picture by its name."""
    return path.suffix.lower() in _JPEG | _OTHER


@contextmanager
def open_folder(spec: SourceSpec, options: SourceOptions, clock: Clock) -> Iterator[Source]:
    """The pictures at `spec`. Raises Unavailable: no such file, permission denied, no pictures in it."""
    yield FolderSource(spec, options, clock)


class FolderSource(Source):
    """Lists the folder at each round, in the order of names, numbers by value: 2.jpg before 10.jpg."""

    size = (0, 0)  # each picture may have its own

    def __init__(self, spec: SourceSpec, options: SourceOptions, clock: Clock) -> None:
        self._spec = spec
        self._path = Path(spec.location)
        self._pace = Pace(clock)
        self._at = -1
        self.adapt(options)
        self._pictures = self._list()
        self.is_jpeg = all(picture.suffix.lower() in _JPEG for picture in self._pictures)

    def grab(self) -> bool:
        return self._pace.wait(self._advance)

    def retrieve(self) -> Picture:
        picture = self._pictures[self._at]
        try:
            self._access.check_path(picture)
            check_size(check_regular(picture).st_size, 0, 0, self._limits)
            data = picture.read_bytes()
        except Forbidden as error:
            raise Malformed(str(error)) from error
        except FileNotFoundError as error:
            if not self._path.exists():
                raise Unavailable(f"{self._spec}: no such file") from error
            raise Malformed(f"{picture}: removed before it was shown") from error
        except OSError as error:
            raise Unavailable(f"{picture}: {cause_from_error(error)}") from error
        try:
            return data if data.startswith(SOI) else decode_picture(data, self._limits)
        except Malformed as error:
            raise Malformed(f"{picture}: {error}") from error

    def adapt(self, options: SourceOptions) -> bool:
        self._loop, self._limits, self._access = options.loop, options.limits, options.access
        self.native_fps = options.fps or _UNSAID_FPS
        return True

    def _advance(self) -> float:
        """Go to the next picture; at the end list the folder again. Seconds after the one before."""
        self._at += 1
        if self._at == len(self._pictures):
            if not self._loop:
                raise SourceEnded(f"{self._spec}: end of the pictures")
            self._pictures = self._list()
            self._at = 0
        return 1 / self.native_fps

    def _list(self) -> list[Path]:
        try:
            self._access.check_path(self._path)
            if not self._path.is_dir():
                check_regular(self._path)
                return [self._path]
            found = [
                it for it in self._path.iterdir() if is_picture(it) and it.is_file() and not it.name.startswith(".")
            ]
        except Forbidden as error:
            raise Unavailable(str(error)) from error
        except OSError as error:
            raise Unavailable(f"{self._spec}: {cause_from_error(error)}") from error
        if not found:
            raise Unavailable(f"{self._spec}: no pictures in it (JPEG, PNG, BMP, TIFF or WebP)")
        return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key that reads runs of digits as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
