"""Where pictures come from: one interface, and the text of `Camera.Source` that chooses the kind.

v4l2:/dev/video0, /dev/video0     USB camera            rtsp://host/path     network camera
http(s)://host/path               MJPEG                 file:x.mp4, x.mp4    video file
a folder, a picture file          pictures in turn      pattern:?fps=30      synthetic test picture
"""

import re
import socket
import ssl
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from edgex_kit.wire.errors import Invalid, Unavailable
from edgex_kit.wire.redact import redact

from device_camera.clock import Clock
from device_camera.frame import Picture, Size

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")
_V4L2_NODE = re.compile(r"/dev/(video\d+$|v4l/)")
_FORMS = "v4l2:/dev/video0, rtsp://..., http(s)://..., a video file, a folder of pictures or pattern:"
_CAUSES: dict[type[OSError], str] = {
    FileNotFoundError: "no such file",
    PermissionError: "permission denied",
    ConnectionRefusedError: "connection refused",
    TimeoutError: "timed out",
    socket.gaierror: "host not found",
}


class Source(Protocol):
    """An open camera. One thread grabs and retrieves; `interrupt` may come from any other."""

    native_fps: float  # pictures a second the source says it makes; 0 when it does not know
    size: Size  # of its pictures; (0, 0) until it is known
    is_jpeg: bool  # retrieve() gives the camera's own JPEG
    full_size: Size | None = None  # that it has unasked; None: it cannot be asked for others

    def grab(self) -> bool:
        """Wait for the next picture and take it, undecoded where that is possible.

        False: woken before one came, call again. Raises Unavailable when the source is lost, SourceEnded at its end.
        """

    def retrieve(self) -> Picture:
        """The picture grabbed last. Raises Malformed when that one is damaged."""

    def adapt(self, options: "SourceOptions") -> bool:
        """Go on with other options; False when that needs opening anew."""
        return True

    def interrupt(self) -> None:
        """Make a grab that waits for something else than the clock come back soon."""
        return


class SourceEnded(Unavailable):
    """A source that is played once has come to its end."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a camera asks for; never part of a source's text."""

    user: str
    password: str = field(repr=False)

    def inserted(self, url: str) -> str:
        """`url` with the credentials, percent-encoded: only for the one call that opens it."""
        parts = urlsplit(url)
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What a source may be asked for; each kind takes what concerns it."""

    fps: float = 5.0  # a folder's pictures a second
    capture_fps: float = 0.0  # asked of a V4L2 camera; 0: as it likes
    size: Size | None = None  # asked of a V4L2 camera; None: as it likes
    follows: bool = False  # a V4L2 camera is asked for its smallest mode that reaches `needed`
    needed: Size | None = None
    loop: bool = True  # files and folders: begin again at the end
    credentials: Credentials | None = None
    open_timeout: float = 10.0  # seconds until the first answer
    read_timeout: float = 10.0  # seconds until the next whole picture
    verify_tls: bool = True  # https: the certificate must be trusted


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


def parse_source(text: str) -> SourceSpec:
    """The source a text means. Raises Invalid for an unknown kind and for credentials in a URL."""
    text = text.strip()
    scheme, _, rest = text.partition(":") if _SCHEME.match(text) else ("", "", text)
    match scheme.lower():
        case "":
            return _spec_from_path(text)
        case "v4l2":
            return SourceSpec(Kind.V4L2, _filled(rest, "v4l2:"))
        case "rtsp":
            return SourceSpec(Kind.RTSP, _checked_url(text))
        case "http" | "https":
            return SourceSpec(Kind.HTTP, _checked_url(text))
        case "file":
            return SourceSpec(Kind.PATH, _filled(_path_from_file_url(rest), "file:"))
        case "pattern":
            from device_camera.sources.pattern import parse_pattern

            parse_pattern(rest)
            return SourceSpec(Kind.PATTERN, rest)
    raise Invalid(f"a source such as {_FORMS} expected, got {redact(text)!r}")


def open_source(spec: SourceSpec, options: SourceOptions, clock: Clock) -> AbstractContextManager[Source]:
    """Open a camera. Entering raises Unavailable with the source and the true cause."""
    match spec.kind:
        case Kind.PATTERN:
            from device_camera.sources.pattern import open_pattern

            return open_pattern(spec, clock)
        case Kind.PATH:
            return _open_path(spec, options, clock)
        case Kind.HTTP:
            from device_camera.sources.mjpeg import open_mjpeg

            return open_mjpeg(spec, options, clock)
        case Kind.RTSP:
            from device_camera.sources.rtsp import open_rtsp

            return open_rtsp(spec, options, clock)
        case Kind.V4L2:
            from device_camera.sources.v4l2 import open_v4l2

            return open_v4l2(spec, options)


def cause_from_error(error: OSError) -> str:
    """The plain words for why a file or a connection did not open."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    for kind, words in _CAUSES.items():
        if isinstance(error, kind):
            return words
    return (error.strerror or str(error) or type(error).__name__).lower()


def _open_path(spec: SourceSpec, options: SourceOptions, clock: Clock) -> AbstractContextManager[Source]:
    """A folder or a single picture is shown in turn; every other file is a video."""
    from device_camera.sources.folder import is_picture, open_folder

    path = Path(spec.location)
    if path.is_dir() or is_picture(path):
        return open_folder(spec, options, clock)
    from device_camera.sources.file import open_file

    return open_file(spec, options, clock)


def _spec_from_path(text: str) -> SourceSpec:
    if _V4L2_NODE.match(text):
        return SourceSpec(Kind.V4L2, text)
    return SourceSpec(Kind.PATH, _filled(text, ""))


def _path_from_file_url(rest: str) -> str:
    """file:a/b stays as it is written; file:///a/b is a URL (RFC 8089) and percent-decoded."""
    if not rest.startswith("//"):
        return rest
    host, slash, path = rest[2:].partition("/")
    if host not in {"", "localhost"}:
        raise Invalid(f"file:///path of this machine expected, got a file of host {host!r}")
    return unquote(slash + path)


def _filled(location: str, scheme: str) -> str:
    if not location:
        raise Invalid(f"a source such as {_FORMS} expected, got nothing after {scheme!r}")
    if "\0" in location:
        raise Invalid("a source without NUL characters expected")
    return location


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Invalid(f"a URL such as rtsp://host:554/path expected, got {redact(url)!r}: {error}") from error
    if "@" in parts.netloc:
        raise Invalid(f"{redact(url)}: user and password belong into a secret (SecretName), not into the URL")
    if not host or any(sign <= " " for sign in url):
        raise Invalid(f"a URL with a host and without blanks expected, got {redact(url)!r}")
    return url
