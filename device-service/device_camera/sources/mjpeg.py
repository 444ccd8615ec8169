"""MJPEG over HTTP: each JPEG part of the multipart/x-mixed-replace response passes through as the camera made it.

Cameras differ from RFC 2046 in three ways that are accepted here: the boundary parameter already has its dashes,
there is no Content-Length, there are no part headers at all.
"""

import http.client
import re
import socket
import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult, urljoin, urlsplit

from edgex_kit.wire.errors import Malformed, Unavailable

from device_camera.errors import cause_from_error
from device_camera.sources.base import Source, SourceOptions, SourceSpec
from device_camera.sources.http_auth import build_authorization, parse_challenges
from device_camera.timing import SECOND, Clock

_CHUNK = 64 * 1024  # bytes
_MOST_REQUESTS = 6  # redirects and the answer to one challenge
_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)
_BLANK = re.compile(rb"\r?\n\r?\n")
_LONGEST_HEAD = 16 * 1024  # bytes
LARGEST_PART = 64 * 1024 * 1024  # bytes


@contextmanager
def open_mjpeg(spec: SourceSpec, options: SourceOptions, clock: Clock) -> Iterator[Source]:
    """The stream at an http(s) URL. Raises Unavailable: connection refused, authentication failed, no MJPEG, ..."""
    connection = Connection(spec, options)
    try:
        yield MjpegSource(spec, options, clock, connection)
    finally:
        connection.close()


class Connection:
    """An answered request: the body of the response, and a way to end it from another thread."""

    def __init__(self, spec: SourceSpec, options: SourceOptions) -> None:
        self._spec = spec
        self._options = options
        self._open: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None
        try:
            self.response = self._answered(spec.location)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Unavailable(f"{spec}: {_cause(error)}") from error
        except Unavailable:
            self.close()
            raise
        if self._socket:
            self._socket.settimeout(options.read_timeout)

    def cut(self) -> None:
        """Any thread: end the connection, so that a read comes back at once."""
        if self._socket:
            with suppress(OSError):
                # Past the TLS layer, whose own shutdown would fight with the reading thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        for part in (self._response, self._open, self._socket):
            if part:
                part.close()
        self._response = self._open = self._socket = None

    def _answered(self, url: str) -> http.client.HTTPResponse:
        """Follow redirects and answer one challenge."""
        home, authorization = urlsplit(url), None
        for _ in range(_MOST_REQUESTS):
            parts = urlsplit(url)
            response = self._request(parts, authorization)
            if response.status in {301, 302, 303, 307, 308} and (location := response.headers["Location"]):
                url, authorization = urljoin(url, location), None
            elif response.status == http.client.UNAUTHORIZED and authorization is None:
                authorization = self._authorization(response, parts, home)
            else:
                return self._checked(response)
        raise Unavailable(f"{self._spec}: more than {_MOST_REQUESTS} redirects")

    def _request(self, parts: SplitResult, authorization: str | None) -> http.client.HTTPResponse:
        self.close()
        self._open = self._connection(parts)
        self._open.connect()
        self._socket = self._open.sock
        headers = {"User-Agent": "edgex-device-camera", "Accept": "multipart/x-mixed-replace, */*;q=0.1"}
        if authorization:
            headers["Authorization"] = authorization
        self._open.request("GET", _target(parts), headers=headers)
        self._response = self._open.getresponse()
        return self._response

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, seconds = parts.hostname or "", self._options.open_timeout
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=seconds)
        if parts.scheme != "https":
            raise Unavailable(f"{self._spec}: redirected to {parts.scheme}, http or https expected")
        context = ssl.create_default_context()
        if not self._options.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)

    def _authorization(self, response: http.client.HTTPResponse, parts: SplitResult, home: SplitResult) -> str:
        login = self._options.credentials
        if login is None:
            raise Unavailable(f"{self._spec}: authentication failed: it asks for a user, none is given")
        if parts.hostname != home.hostname:
            raise Unavailable(
                f"{self._spec}: authentication failed: redirected to {parts.hostname}, which gets no password"
            )
        challenges = parse_challenges(response.headers.get_all("WWW-Authenticate", []))
        authorization = build_authorization(challenges, "GET", _target(parts), login)
        if authorization is None:
            raise Unavailable(f"{self._spec}: authentication failed: Basic or Digest expected, it offers neither")
        return authorization

    def _checked(self, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        if response.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            raise Unavailable(f"{self._spec}: authentication failed (HTTP {response.status})")
        if response.status != http.client.OK:
            raise Unavailable(f"{self._spec}: HTTP {response.status} {response.reason}")
        kind = response.headers.get_content_type()
        if not kind.startswith("multipart/") or not response.headers.get_boundary():
            raise Unavailable(f"{self._spec}: not MJPEG: multipart/x-mixed-replace expected, {kind} came")
        return response


class MjpegSource(Source):
    """Waits for parts; a picture that takes longer than the read time-out means the camera is lost."""

    is_jpeg = True
    native_fps = 0.0
    size = (0, 0)

    def __init__(self, spec: SourceSpec, options: SourceOptions, clock: Clock, connection: Connection) -> None:
        self._spec = spec
        self._options = options
        self._clock = clock
        self._connection = connection
        self._multipart = Multipart(connection.response.headers.get_boundary() or "")
        self._parts: deque[bytes] = deque()
        self._picture = b""

    def grab(self) -> bool:
        deadline = self._clock.monotonic_ns() + round(self._options.read_timeout * SECOND)
        while not self._parts:
            self._parts.extend(self._read())
            if not self._parts and self._clock.monotonic_ns() > deadline:
                raise Unavailable(f"{self._spec}: no picture for {self._options.read_timeout:g} s")
        self._picture = self._parts.popleft()
        return True

    def retrieve(self) -> bytes:
        return self._picture

    def adapt(self, options: SourceOptions) -> bool:
        if (options.credentials, options.verify_tls) != (self._options.credentials, self._options.verify_tls):
            return False
        self._options = options
        return True

    def interrupt(self) -> None:
        self._connection.cut()

    def _read(self) -> list[bytes]:
        try:
            data = self._connection.response.read1(_CHUNK)
            parts = self._multipart.feed(data)
        except TimeoutError as error:
            raise Unavailable(f"{self._spec}: no picture for {self._options.read_timeout:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(f"{self._spec}: {_cause(error)}") from error
        except Malformed as error:
            raise Unavailable(f"{self._spec}: not MJPEG: {error}") from error
        if not parts and (not data or self._multipart.is_over):
            raise Unavailable(f"{self._spec}: connection closed by the camera")
        return parts


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return cause_from_error(error)
    return f"not an HTTP answer: {type(error).__name__}"


class Multipart:
    """Feed it what arrives; it keeps no more than one part that is not whole yet."""

    def __init__(self, boundary: str, largest: int = LARGEST_PART) -> None:
        self.is_over = False  # the closing boundary came
        self._delimiter = (boundary if boundary.startswith("--") else f"--{boundary}").encode()
        self._largest = largest
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer known to hold no delimiter
        self._is_in_part = False
        self._left: int | None = None  # bytes the part has, when it says so

    def feed(self, data: bytes) -> list[bytes]:
        """The parts that are whole now. Raises Malformed when the stream is none."""
        self._buffer += data
        parts = []
        while not self.is_over:
            if not self._is_in_part and not self._enter():
                break
            part = self._cut()
            if part is None:
                break
            self._is_in_part = False
            self._searched = 0
            if part:
                parts.append(part)
        return parts

    def _enter(self) -> bool:
        """Skip to a delimiter and read the head of its part; False when more bytes are needed."""
        start = self._find_delimiter()
        if start < 0:
            if len(self._buffer) > self._largest:
                raise Malformed(f"boundary {self._delimiter!r} expected, {len(self._buffer)} bytes without it came")
            return False
        behind = start + len(self._delimiter)
        if self._buffer[behind : behind + 2] == b"--":
            self.is_over = True
            return False
        head = _BLANK.search(self._buffer, behind, behind + _LONGEST_HEAD)
        if head is None:
            if len(self._buffer) > behind + _LONGEST_HEAD:
                raise Malformed(f"part headers of at most {_LONGEST_HEAD} bytes expected")
            return False
        length = _LENGTH.search(self._buffer, behind, head.end())
        self._left = int(length[1]) if length else None
        if self._left is not None and self._left > self._largest:
            raise Malformed(f"a part of at most {self._largest} bytes expected, {self._left} announced")
        del self._buffer[: head.end()]
        self._is_in_part = True
        self._searched = 0
        return True

    def _cut(self) -> bytes | None:
        """The part whose head was read, once it is whole."""
        if self._left is not None:
            return self._take(self._left) if len(self._buffer) >= self._left else None
        end = self._find_delimiter()
        if end >= 0:
            part = self._take(end)
            return part.removesuffix(b"--").removesuffix(b"\n").removesuffix(b"\r")
        if len(self._buffer) > self._largest:
            raise Malformed(f"a part of at most {self._largest} bytes expected, {len(self._buffer)} without end came")
        return None

    def _find_delimiter(self) -> int:
        """Where the next delimiter begins, or -1; what was searched once is not searched again."""
        found = self._buffer.find(self._delimiter, self._searched)
        if found < 0:
            self._searched = max(0, len(self._buffer) - len(self._delimiter))
        return found

    def _take(self, count: int) -> bytes:
        part = bytes(self._buffer[:count])
        del self._buffer[:count]
        return part
