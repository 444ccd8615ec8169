"""Pictures over HTTP: an MJPEG stream, or one picture a request (a snapshot URL); JPEGs pass through.

Streams of real cameras differ from RFC 2046 in many ways. The delimiter is the line that the camera sends, not the one
its Content-Type announces; a Content-Length is believed only while it agrees with what comes; a stream without
delimiters is divided by the JPEGs' own markers.
"""

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import SplitResult, urljoin, urlsplit

from edgex_kit.jpeg import EOI, SOI, read_header
from edgex_kit.wire.errors import Forbidden, Malformed, Unavailable

from device_camera.errors import cause_from_error
from device_camera.frame import Picture, decode_picture
from device_camera.sources.base import Source, SourceOptions, SourceSpec
from device_camera.sources.connection import Connection, Cuts, Head, connect, time_limit
from device_camera.sources.http_auth import build_authorization, parse_challenges
from device_camera.timing import SECOND, Clock, Pace

_MOST_REQUESTS = 6  # redirects and the answer to one challenge
_REDIRECTS = {301, 302, 303, 307, 308}
_UNSAID_FPS = 1.0  # of a snapshot URL when every frame is requested
_MOST_LOST = 64 * 1024  # bytes without a delimiter or a JPEG at the beginning of a stream
_LONGEST_HEAD = 64 * 1024  # bytes, of a part
_LONGEST_HEADERS = 256 * 1024  # bytes, of a JPEG
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_BLANK = re.compile(rb"\n\r?\n")
# A delimiter is a line of its own, followed by a header, a blank line, a picture or another delimiter.
_DELIMITER = re.compile(
    rb"(?:\A|\r?\n)(--[\x20-\x7e]{0,200}?)[ \t]*\r?\n(?=[A-Za-z][A-Za-z0-9-]*[ \t]*:|\r?\n|\xff\xd8|--)"
)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]{0,200}\r?\n")


@contextmanager
def open_mjpeg(spec: SourceSpec, options: SourceOptions, clock: Clock) -> Iterator[Source]:
    """The stream or the pictures at an http(s) URL.

    Raises Unavailable: connection refused, authentication failed, not MJPEG, ...
    """
    with _answered(spec, options, clock) as (head, connection):
        if not _is_single(head):
            with clock.interruptible(connection.cut):
                yield MjpegSource(spec, options, clock, head, connection)
            return
    yield SnapshotSource(spec, options, clock)


class MjpegSource(Source):
    """Waits for parts; a picture that takes longer than the read time-out means the camera is lost."""

    is_jpeg = True
    native_fps = 0.0
    size = (0, 0)

    def __init__(
        self, spec: SourceSpec, options: SourceOptions, clock: Clock, head: Head, connection: Connection
    ) -> None:
        self._spec = spec
        self._options = options
        self._clock = clock
        self._connection = connection
        self._body = _Body(head)
        self._multipart = Multipart(_boundary(head), options.limits.size)
        self._parts: deque[bytes] = deque()
        self._picture = b""
        connection.wait_at_most(options.read_timeout)

    def grab(self) -> bool:
        deadline, received = self._clock.monotonic_ns() + round(self._options.read_timeout * SECOND), 0
        while not self._parts:
            try:
                data = self._connection.read()
                self._parts.extend(self._multipart.feed(self._body.feed(data)))
            except TimeoutError as error:
                raise Unavailable(f"{self._spec}: {self._silence(received)}") from error
            except OSError as error:
                raise Unavailable(f"{self._spec}: {cause_from_error(error)}") from error
            except Malformed as error:
                raise Unavailable(f"{self._spec}: not MJPEG: {error}") from error
            if not self._parts and (not data or self._multipart.is_over):
                raise Unavailable(f"{self._spec}: connection closed by the camera")
            received += len(data)
            if not self._parts and self._clock.monotonic_ns() > deadline:
                raise Unavailable(f"{self._spec}: {self._silence(received)}")
        self._picture = self._parts.popleft()
        return True

    def retrieve(self) -> bytes:
        return self._picture

    def adapt(self, options: SourceOptions) -> bool:
        if not _is_same_connection(options, self._options):
            return False
        self._options = options
        self._connection.wait_at_most(options.read_timeout)
        return True

    def _silence(self, received: int) -> str:
        more = f", though {received} bytes came" if received else ""
        return f"no picture for {self._options.read_timeout:g} s{more}"


class SnapshotSource(Source):
    """Requests a picture as often as frames are published."""

    is_jpeg = True
    size = (0, 0)

    def __init__(self, spec: SourceSpec, options: SourceOptions, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._pace = Pace(clock)
        self._options = options
        self._data = b""
        self.adapt(options)

    def grab(self) -> bool:
        if not self._pace.wait(lambda: 1 / self.native_fps):
            return False
        limit = self._options.limits.size
        with _answered(self._spec, self._options, self._clock) as (head, connection):
            data, body = bytearray(), _Body(head)
            while not body.is_over and (more := connection.read()):
                data += body.feed(more)
                if len(data) > limit:
                    raise Unavailable(f"{self._spec}: a picture of at most {limit >> 10} KB expected (Images.MaxSize)")
        self._data = bytes(data)
        return True

    def retrieve(self) -> Picture:
        return self._data if self._data.startswith(SOI) else decode_picture(self._data, self._options.limits)

    def adapt(self, options: SourceOptions) -> bool:
        self.native_fps = options.fps or _UNSAID_FPS
        is_same, self._options = _is_same_connection(options, self._options), options
        return is_same


class Multipart:
    """Divides a stream into parts; feed it what arrives. It keeps at most one part that is not whole yet."""

    def __init__(self, boundary: str, largest: int) -> None:
        self.is_over = False  # the closing delimiter came
        self._boundary = boundary.encode("latin-1", "replace")  # as announced, only for cameras without dashes
        self._largest = largest
        self._buffer = bytearray()
        self._delimiter = b""  # as the camera sends it; b"" until the first one came, and in a stream without
        self._is_raw = False  # JPEGs without delimiters
        self._is_in_part = False
        self._length: int | None = None  # of the part, as announced
        self._is_length_right = False  # the last one agreed with the delimiter behind it
        self._searched = 0  # bytes of the buffer known to hold no end of a part

    def feed(self, data: bytes) -> list[bytes]:
        """The parts that are whole now. Raises Malformed when the stream is none."""
        self._buffer += data
        parts = []
        while not self.is_over and (self._is_in_part or self._enter()):
            part = self._next_jpeg() if self._is_raw else self._next_part()
            if part is None:
                break
            self._is_in_part, self._searched = self._is_raw, 0
            if part := _trimmed(part):
                parts.append(part)
        if len(self._buffer) > self._largest + _LONGEST_HEAD:
            raise Malformed(f"a picture of at most {self._largest >> 10} KB expected (Images.MaxSize)")
        return parts

    def _enter(self) -> bool:
        """Skip to a delimiter and behind the head of its part; False when more bytes are needed."""
        if not self._delimiter and not self._recognise():
            return False
        if self._is_raw:
            return True
        start = self._find_delimiter()
        if start is None:
            del self._buffer[: max(0, len(self._buffer) - len(self._delimiter) - 64)]  # padding behind a part
            self._searched = 0
            return False
        behind, is_closing = start[1], start[2]
        if is_closing:
            self.is_over = True
            return False
        while self._buffer.startswith(self._delimiter, behind):  # some send it twice
            end = self._buffer.find(b"\n", behind)
            if end < 0:
                return False
            behind = end + 1
        return self._skip_head(behind)

    def _recognise(self) -> bool:
        """Learn the delimiter from the first line that is one, or that there is none."""
        if self._buffer.lstrip(b"\r\n").startswith(SOI):
            self._is_raw = self._is_in_part = True
            return True
        if found := _DELIMITER.search(self._buffer):
            self._delimiter = bytes(found[1])
            return True
        bare = self._boundary and re.search(rb"(?:\A|\r?\n)" + re.escape(self._boundary) + rb"\r?\n", self._buffer)
        if bare:
            self._delimiter = self._boundary
            return True
        if len(self._buffer) > _MOST_LOST:
            raise Malformed(f"neither a delimiter line (--...) nor a JPEG (FF D8) within the first {_MOST_LOST} bytes")
        return False

    def _skip_head(self, behind: int) -> bool:
        head_end = behind
        if not self._buffer.startswith(SOI, behind):
            # The line end of the delimiter belongs to the search: there may be no headers at all.
            blank = _BLANK.search(self._buffer, behind - 1, behind + _LONGEST_HEAD)
            if blank is None:
                if len(self._buffer) > behind + _LONGEST_HEAD:
                    raise Malformed(f"part headers of at most {_LONGEST_HEAD} bytes expected")
                return False
            head_end = blank.end()
        length = _LENGTH.search(bytes(self._buffer[behind:head_end]))
        self._length = int(length[1]) if length and int(length[1]) <= self._largest else None
        del self._buffer[:head_end]
        self._is_in_part, self._searched = True, 0
        return True

    def _next_part(self) -> bytes | None:
        """The part whose head was read, once it is whole."""
        length = self._length
        if length is not None and len(self._buffer) >= length:
            part = bytes(self._buffer[:length])
            if self._is_length_right or part.rstrip(b"\r\n").endswith(EOI):
                del self._buffer[:length]
                return part
        found = self._find_delimiter()
        if found is None:
            return None
        part = bytes(self._buffer[: found[0]])
        self._is_length_right = length == len(part)
        del self._buffer[: found[0]]
        return part

    def _next_jpeg(self) -> bytes | None:
        """The next JPEG of a stream without delimiters."""
        del self._buffer[: max(0, self._buffer.find(SOI))]
        try:
            scan = read_header(bytes(self._buffer[:_LONGEST_HEADERS])).scan
        except Malformed:
            return None  # its headers are not whole yet
        end = self._buffer.find(EOI, max(scan, self._searched))
        self._searched = max(0, len(self._buffer) - 1)
        if end < 0:
            return None
        jpeg = bytes(self._buffer[: end + len(EOI)])
        del self._buffer[: end + len(EOI)]
        return jpeg

    def _find_delimiter(self) -> tuple[int, int, bool] | None:
        """(end of the part before the next delimiter, position behind its line, whether it is the closing one)."""
        while (at := self._buffer.find(self._delimiter, self._searched)) >= 0:
            line_end = self._buffer.find(b"\n", at, at + len(self._delimiter) + 64)
            if line_end < 0 and len(self._buffer) < at + len(self._delimiter) + 64:
                self._searched = at
                return None
            tail = bytes(self._buffer[at + len(self._delimiter) : max(line_end, 0)]).strip()
            before = at - 1 if self._buffer[max(0, at - 1) : at] == b"\n" else at
            is_line = at == 0 or before < at or self._buffer.endswith(EOI, 0, at)
            if line_end >= 0 and is_line and tail in (b"", b"--"):
                if before < at and self._buffer[max(0, before - 1) : before] == b"\r":
                    before -= 1
                return before, line_end + 1, tail == b"--"
            self._searched = at + 1
        self._searched = max(0, len(self._buffer) - len(self._delimiter))
        return None


class _Body:
    """Undoes the transfer coding of a response (RFC 9112, section 7)."""

    def __init__(self, head: Head) -> None:
        self.is_over = False
        self._is_chunked = "chunked" in head.get("transfer-encoding").lower()
        self._buffer = b""
        self._left = 0  # bytes of the chunk
        length = head.get("content-length")
        is_counted = length.isdigit() and not self._is_chunked and not head.get("content-type").startswith("multipart/")
        self._remaining = int(length) if is_counted else None

    def feed(self, data: bytes) -> bytes:
        """The content of `data`. Raises Malformed for a broken coding."""
        if not self._is_chunked:
            if self._remaining is not None:
                data = data[: self._remaining]
                self._remaining -= len(data)
                self.is_over = not self._remaining
            return data
        self._buffer += data
        content = bytearray()
        while self._buffer and not self.is_over:
            if self._left:
                content += self._buffer[: self._left]
                taken = min(self._left, len(self._buffer))
                self._buffer, self._left = self._buffer[taken:], self._left - taken
                continue
            line = _CHUNK_SIZE.match(self._buffer.lstrip(b"\r\n"))
            if line is None:
                if len(self._buffer) > 300:
                    raise Malformed("the size of a chunk expected (Transfer-Encoding: chunked)")
                break
            self._buffer = self._buffer.lstrip(b"\r\n")[line.end() :]
            self._left = int(line[1], 16)
            self.is_over = not self._left
        return bytes(content)


@contextmanager
def _answered(spec: SourceSpec, options: SourceOptions, clock: Clock) -> Iterator[tuple[Head, Connection]]:
    """The response to GET, after redirects and one challenge. Raises Unavailable with the cause."""
    with contextlib.ExitStack() as opened:
        try:
            with time_limit(options.open_timeout, clock) as cuts:
                head, connection = _request(spec, options, cuts)
                opened.callback(connection.close)
                _check(spec, head)
        except OSError as error:
            raise Unavailable(f"{spec}: {cause_from_error(error)}") from error
        except (Malformed, Forbidden) as error:
            raise Unavailable(f"{spec}: {error}") from error
        yield head, connection


def _request(spec: SourceSpec, options: SourceOptions, cuts: Cuts) -> tuple[Head, Connection]:
    """Follow redirects and answer one challenge; user and password go to the host of the URL only."""
    url, authorization = spec.location, ""
    home = urlsplit(url)
    for _ in range(_MOST_REQUESTS):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unavailable(f"{spec}: redirected to another protocol, http or https expected")
        connection = connect(parts, options, cuts)
        with contextlib.ExitStack() as unless_answered:
            unless_answered.callback(connection.close)
            connection.send(_lines(parts, authorization))
            head = connection.read_head("HTTP")
            if head.status in _REDIRECTS and (location := head.get("location")):
                url, authorization = urljoin(url, location), ""
            elif head.status == HTTPStatus.UNAUTHORIZED and not authorization:
                authorization = _authorization(spec, options, head, parts, home)
            else:
                unless_answered.pop_all()
                return head, connection
    raise Unavailable(f"{spec}: more than {_MOST_REQUESTS} redirects")


def _lines(parts: SplitResult, authorization: str) -> list[str]:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    lines = [
        f"GET {_target(parts)} HTTP/1.1",
        f"Host: {host}:{parts.port}" if parts.port else f"Host: {host}",
        "User-Agent: edgex-device-camera",
        "Accept: multipart/x-mixed-replace, image/jpeg, */*;q=0.1",
        "Connection: close",
    ]
    return [*lines, f"Authorization: {authorization}"] if authorization else lines


def _authorization(spec: SourceSpec, options: SourceOptions, head: Head, parts: SplitResult, home: SplitResult) -> str:
    if options.credentials is None:
        raise Unavailable(f"{spec}: authentication failed: it asks for a user, none is given")
    if _origin(parts) != _origin(home):
        where = f"{parts.scheme}://{parts.netloc}"
        raise Unavailable(f"{spec}: authentication failed: redirected to {where}, which gets no password")
    challenges = parse_challenges(head.all("www-authenticate"))
    authorization = build_authorization(challenges, "GET", _target(parts), options.credentials)
    if authorization is None:
        offers = ", ".join(str(challenge) for challenge in challenges) or "nothing"
        raise Unavailable(f"{spec}: authentication failed: Basic or Digest expected, it offers {offers}")
    return authorization


def _check(spec: SourceSpec, head: Head) -> None:
    if head.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise Unavailable(f"{spec}: authentication failed (HTTP {head.status})")
    if head.status != HTTPStatus.OK:
        raise Unavailable(f"{spec}: HTTP {head.status} {_phrase(head.status)}".rstrip())
    kind = _content_type(head)
    if kind.startswith(("text/", "audio/")) or kind in ("application/json", "application/xml"):
        raise Unavailable(f"{spec}: not MJPEG: multipart/x-mixed-replace or image/jpeg expected, {kind} came")


def _phrase(status: int) -> str:
    """The standard's words, not the server's, which may be anything."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""


def _content_type(head: Head) -> str:
    return head.get("content-type").partition(";")[0].strip().lower()


def _is_single(head: Head) -> bool:
    """Whether the response is one picture, not a stream of them."""
    return _content_type(head).startswith("image/") and (
        head.get("content-length").isdigit() or "chunked" in head.get("transfer-encoding").lower()
    )


def _boundary(head: Head) -> str:
    found = re.search(r'boundary\s*=\s*(?:"([^"]*)"|([^;]*))', head.get("content-type"), re.IGNORECASE)
    return (found[1] or found[2] or "").strip() if found else ""


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _is_same_connection(options: SourceOptions, other: SourceOptions) -> bool:
    return (options.credentials, options.verify_tls) == (other.credentials, other.verify_tls)


def _trimmed(part: bytes) -> bytes:
    """Without the line ends around a picture."""
    start = part.lstrip(b"\r\n")
    part = start if start.startswith(SOI) else part
    end = part.rstrip(b"\r\n")
    return end if end.endswith(EOI) else part
