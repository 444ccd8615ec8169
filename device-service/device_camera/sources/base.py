"""The interface of a source of pictures, and what it is given: a source's specification and its options."""

import os
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from edgex_kit.jpeg import LIMITS, Limits
from edgex_kit.wire.errors import Invalid, Unavailable
from edgex_kit.wire.redact import redact

from device_camera.frame import Encoding, Picture, Size
from device_camera.sources.access import UNRESTRICTED, Access


class Kind(StrEnum):
    V4L2 = "v4l2"
    RTSP = "rtsp"
    HTTP = "http"
    PATH = "file"
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A parsed `Camera.Source`: the kind and what is specific to it (a node, URL, path or query)."""

    kind: Kind
    location: str

    def __str__(self) -> str:
        """For people: never a secret."""
        return redact(self.location if self.kind is not Kind.PATTERN else f"pattern:{self.location}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password of a camera; never part of a source's text."""

    user: str
    password: str = field(repr=False)

    def inserted(self, url: str) -> str:
        """`url` with the credentials, percent-encoded: only for the one call that opens it."""
        parts = urlsplit(url)
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is opened; each kind takes what concerns it."""

    fps: float = 5.0  # frames published a second, 0: every captured one; a folder shows that many pictures a second
    capture_fps: float = 0.0  # requested of a V4L2 camera; 0: as it likes
    encoding: Encoding = field(default_factory=Encoding)  # a V4L2 camera is switched to a mode of its size
    loop: bool = True  # files and folders begin again at the end
    credentials: Credentials | None = None
    open_timeout: float = 10.0  # seconds until the first answer
    read_timeout: float = 10.0  # seconds without a picture, then the camera is lost
    verify_tls: bool = True  # https: the certificate must be trusted
    limits: Limits = LIMITS  # of one picture, checked before it is read or decoded
    access: Access = UNRESTRICTED  # which hosts and files may be opened

    def __post_init__(self) -> None:
        if not (0 <= self.fps <= 1000 and 0 <= self.capture_fps <= 1000):
            raise Invalid(f"frames a second from 0 to 1000 expected, got {self.fps:g} and {self.capture_fps:g}")
        if not (0 < self.open_timeout <= 300 and 0 < self.read_timeout <= 300):
            limits = f"{self.open_timeout:g} and {self.read_timeout:g}"
            raise Invalid(f"time-outs above 0 up to 300 s expected, got {limits}")


class Source(Protocol):
    """An open camera, used by one thread. What blocks it beside the clock is `Clock.interruptible`."""

    native_fps: float  # pictures a second; 0 when it is not known
    size: Size  # of its pictures; (0, 0) until it is known
    is_jpeg: bool  # retrieve() returns the camera's own JPEG
    full_size: Size | None = None  # of its largest mode; None: it has no modes to choose from

    def grab(self) -> bool:
        """Wait for the next picture and take it, undecoded where that is possible.

        False: woken before one came, call again. Raises Unavailable when the source is lost, SourceEnded at its end.
        """

    def retrieve(self) -> Picture:
        """The picture grabbed last. Raises Malformed when that one is damaged."""

    def adapt(self, options: SourceOptions) -> bool:
        """Go on with other options; False when the source has to be opened anew for them."""
        return True


def check_regular(path: Path) -> os.stat_result:
    """The status of a regular file that can be read. Raises OSError for anything else, such as a pipe, which blocks."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(None, "not a regular file")
    if not os.access(path, os.R_OK):
        raise PermissionError
    return found


class SourceEnded(Unavailable):
    """A source that is played once has come to its end."""
