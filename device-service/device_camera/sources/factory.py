"""The text of `Camera.Source` chooses the kind of source, and every source is opened here.

v4l2:/dev/video0, /dev/video0     USB camera            rtsp://host/path     network camera
http(s)://host/path               MJPEG                 file:x.mp4, x.mp4    video file
a folder, a picture file          pictures in turn      pattern:?fps=30      synthetic test picture
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgex_kit.wire.errors import Invalid
from edgex_kit.wire.redact import redact

from device_camera.sources.base import Kind, Source, SourceOptions, SourceSpec
from device_camera.sources.file import open_file
from device_camera.sources.folder import is_picture, open_folder
from device_camera.sources.mjpeg import open_mjpeg
from device_camera.sources.pattern import open_pattern, parse_pattern
from device_camera.sources.rtsp import open_rtsp
from device_camera.sources.v4l2 import open_v4l2
from device_camera.timing import Clock

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")
_V4L2_NODE = re.compile(r"/dev/(video\d+$|v4l/)")
_OPENERS: dict[Kind, Callable[[SourceSpec, SourceOptions, Clock], AbstractContextManager[Source]]] = {
    Kind.PATTERN: open_pattern,
    Kind.HTTP: open_mjpeg,
    Kind.RTSP: open_rtsp,
    Kind.V4L2: open_v4l2,
    Kind.PATH: open_file,
}
_SCHEMES = {"v4l2", "rtsp", "rtsps", "http", "https", "file", "pattern"}
_FORMS = "v4l2:/dev/video0, rtsp://..., http(s)://..., a video file, a folder of pictures or pattern:"


def parse_source(text: str) -> SourceSpec:
    """The source a text means. Raises Invalid for an unknown kind and for credentials in a URL."""
    text = text.strip()
    scheme, _, rest = text.partition(":") if _SCHEME.match(text) else ("", "", text)
    if scheme.lower() not in _SCHEMES and "://" not in text and Path(text).suffix:
        scheme = ""  # a file whose name has a colon
    match scheme.lower():
        case "":
            return SourceSpec(Kind.V4L2 if _V4L2_NODE.match(text) else Kind.PATH, _filled(text, ""))
        case "v4l2":
            return SourceSpec(Kind.V4L2, _filled(rest, "v4l2:"))
        case "rtsp" | "rtsps":
            return SourceSpec(Kind.RTSP, _checked_url(text))
        case "http" | "https":
            return SourceSpec(Kind.HTTP, _checked_url(text))
        case "file":
            return SourceSpec(Kind.PATH, _filled(_path_from_file_url(rest), "file:"))
        case "pattern":
            parse_pattern(rest)
            return SourceSpec(Kind.PATTERN, rest)
    raise Invalid(f"a source such as {_FORMS} expected, got {redact(text)!r}")


def open_source(spec: SourceSpec, options: SourceOptions, clock: Clock) -> AbstractContextManager[Source]:
    """Open a camera. Entering raises Unavailable with the source and the true cause."""
    if spec.kind is Kind.PATH and (Path(spec.location).is_dir() or is_picture(Path(spec.location))):
        return open_folder(spec, options, clock)
    return _OPENERS[spec.kind](spec, options, clock)


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
