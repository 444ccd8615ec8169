"""MJPEG over HTTP: each JPEG part passes through as the camera made it."""

import http.client
import socket
import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult, urljoin, urlsplit

from edgex_kit.wire.errors import Malformed, Unavailable

from device_camera.clock import Clock
from device_camera.sources.factory import Source, SourceOptions, SourceSpec, cause_from_error
from device_camera.sources.http_auth import build_authorization, parse_challenges
from device_camera.sources.multipart import Multipart

_CHUNK = 64 * 1024  # bytes
_MOST_REQUESTS = 6  # redirects and the answer to one challenge
_SECOND = 1_000_000_000  # ns


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
        deadline = self._clock.monotonic_ns() + round(self._options.read_timeout * _SECOND)
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
