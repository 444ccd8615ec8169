"""RTSP through FFmpeg, over TCP first; every picture is decoded, so a dropped one spares only its conversion.

FFmpeg only says that opening failed, so the server is then asked for the cause.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import cv2
from edgex_kit.wire.errors import Malformed, Unavailable

from device_camera.errors import cause_from_error
from device_camera.frame import Pixels
from device_camera.sources.base import Source, SourceOptions, SourceSpec
from device_camera.sources.http_auth import build_authorization, parse_challenges
from device_camera.sources.opencv import capture_from, fps_of, picture_of, size_of
from device_camera.timing import SECOND, Clock

_USUAL_FPS = 25.0
_MOST_SKIPPED = 5.0  # seconds of stream: FFmpeg analyses no more than that before it gives the first picture
_PORT = 554
_PATIENCE = 3.0  # seconds; the stream was already waited for
_LONGEST_HEAD = 64 * 1024  # bytes
_STATUS = re.compile(r"RTSP/\d\.\d (\d{3}) ?(.*)")


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
        is_late = clock.monotonic_ns() - asked > options.open_timeout * 0.9 * SECOND
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
        interval = SECOND / (self.native_fps or _USUAL_FPS)
        for _ in range(round(_MOST_SKIPPED * (self.native_fps or _USUAL_FPS))):
            asked = self._clock.monotonic_ns()
            self.grab()
            if self._clock.monotonic_ns() - asked > interval / 4:
                return

    def grab(self) -> bool:
        asked = self._clock.monotonic_ns()
        is_there = self._capture.grab()
        # After its time-out FFmpeg still hands out the picture that was left in the decoder: that one is old.
        if self._clock.monotonic_ns() - asked >= self._options.read_timeout * 0.9 * SECOND:
            raise Unavailable(f"{self._spec}: no picture for {self._options.read_timeout:g} s")
        if not is_there:
            raise Unavailable(f"{self._spec}: connection closed by the camera")
        return True

    def retrieve(self) -> Pixels:
        return picture_of(self._capture, self._spec)

    def adapt(self, options: SourceOptions) -> bool:
        return options.credentials == self._options.credentials and options.read_timeout == self._options.read_timeout


@dataclass(frozen=True, slots=True)
class Answer:
    """Status line and challenges of an RTSP response."""

    status: int
    reason: str
    challenges: list[str]


def fetch_cause(spec: SourceSpec, options: SourceOptions) -> str:
    """Why the server refuses the stream; "" when it answers that it does not. Blocking."""
    try:
        answer = _describe(spec, options)
    except Malformed as error:
        return str(error)
    except UnicodeError:  # a host that cannot be a name: empty or too long labels
        return "host not found"
    except OSError as error:
        return cause_from_error(error)
    if answer.status in {401, 403}:
        hint = "" if options.credentials else ": it asks for a user, none is given"
        return f"authentication failed (RTSP {answer.status}){hint}"
    if answer.status == 404:
        return "no such stream (RTSP 404)"
    return f"RTSP {answer.status} {answer.reason}".rstrip() if answer.status >= 400 else ""


def parse_answer(head: bytes) -> Answer:
    """The head of an RTSP response. Raises Malformed when it is none."""
    first, *lines = head.decode("latin-1").splitlines() or [""]
    status = _STATUS.match(first)
    if not status:
        raise Malformed(f"not an RTSP server: it answers {first[:40]!r}")
    pairs = (line.partition(":") for line in lines)
    challenges = [value.strip() for name, _, value in pairs if name.strip().lower() == "www-authenticate"]
    return Answer(int(status[1]), status[2].strip(), challenges)


def _describe(spec: SourceSpec, options: SourceOptions) -> Answer:
    """DESCRIBE the stream, and once more with an answer to the challenge."""
    answer = _ask(spec, None)
    if answer.status != 401 or options.credentials is None:
        return answer
    offers = parse_challenges(answer.challenges)
    authorization = build_authorization(offers, "DESCRIBE", spec.location, options.credentials)
    return answer if authorization is None else _ask(spec, authorization)


def _ask(spec: SourceSpec, authorization: str | None) -> Answer:
    parts = urlsplit(spec.location)
    request = [
        f"DESCRIBE {spec.location} RTSP/1.0",
        "CSeq: 1",
        "Accept: application/sdp",
        "User-Agent: edgex-device-camera",
    ]
    if authorization:
        request.append(f"Authorization: {authorization}")
    with socket.create_connection((parts.hostname or "", parts.port or _PORT), _PATIENCE) as connection:
        connection.sendall("\r\n".join([*request, "", ""]).encode())
        return parse_answer(_head(connection))


def _head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
        data = connection.recv(4096)
        if not data:
            break
        head += data
    if not head:
        raise Malformed("not an RTSP server: it closed the connection without an answer")
    return head
