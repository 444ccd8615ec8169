"""A TCP or TLS connection to a camera, with one time limit for all of opening, and HTTP's and RTSP's response heads.

Heads are read tolerantly (RFC 9112, RFC 2326): a line that is no header is skipped.
"""

import contextlib
import ipaddress
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import SplitResult

from edgex_kit.wire.errors import EdgexError, Malformed

from device_camera.sources.base import SourceOptions
from device_camera.timing import Clock

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_TLS = {"https", "rtsps"}
_CHUNK = 64 * 1024  # bytes
_LONGEST_HEAD = 64 * 1024  # bytes
_STATUS = re.compile(r"(HTTP|RTSP)/\d(?:\.\d)? (\d{3})(?: (.*))?$")
_BLANK = re.compile(rb"\r?\n\r?\n")

Cuts = list[Callable[[], None]]
"""What ends a connection from another thread."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of a response."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]  # names in lower case

    def get(self, name: str) -> str:
        """The first header of that name, "" without one."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


def parse_head(data: bytes, protocol: str) -> Head:
    """A response's head. Raises Malformed for one of another protocol."""
    first, *lines = data.decode("latin-1").splitlines() or [""]
    status = _STATUS.match(first)
    if not status or status[1] != protocol:
        raise Malformed(f"not an {protocol} server")
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and headers:  # a folded header goes on
            headers[-1] = headers[-1][0], f"{headers[-1][1]} {line.strip()}"
            continue
        name, colon, value = line.partition(":")
        if colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()):
            headers.append((name.strip().lower(), value.strip()))
    return Head(int(status[2]), (status[3] or "").strip(), tuple(headers))


class Connection:
    """An open connection. One thread sends and reads; any other may cut it."""

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream
        self._rest = b""  # read behind the last head
        self._lock = threading.Lock()  # a TLS connection is not for two threads at once

    def send(self, lines: Iterable[str]) -> None:
        """Send a request of these lines without a body."""
        self.send_bytes("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))

    def send_bytes(self, data: bytes) -> None:
        """Send packets; any thread."""
        with self._lock:
            self._socket.sendall(data)

    def read_head(self, protocol: str) -> Head:
        """The next head; interim ones (1xx) are skipped. Raises Malformed, and OSError when the connection ends."""
        while True:
            data = self._rest
            while not (blank := _BLANK.search(data)):
                if len(data) > _LONGEST_HEAD:
                    raise Malformed(f"a response head of at most {_LONGEST_HEAD} bytes expected")
                if data and not data.startswith((b"HTTP/", b"RTSP/")[: 1 + (protocol == "RTSP")]) and len(data) > 4:
                    raise Malformed(f"not an {protocol} server")
                if not (more := self._socket.recv(_CHUNK)):
                    raise Malformed(f"not an {protocol} server: it closed the connection without an answer")
                data += more
            self._rest = data[blank.end() :]
            head = parse_head(data[: blank.start()], protocol)
            if head.status >= 200:
                return head

    def read(self) -> bytes:
        """What comes next, b"" at the end of the stream."""
        if rest := self._rest:
            self._rest = b""
            return rest
        if not isinstance(self._socket, ssl.SSLSocket):
            return self._socket.recv(_CHUNK)
        if not self._socket.pending() and not select.select([self._socket], [], [], self._socket.gettimeout())[0]:
            raise TimeoutError
        with self._lock:
            return self._socket.recv(_CHUNK)

    def wait_at_most(self, seconds: float) -> None:
        """From now on a read that waits longer raises TimeoutError."""
        self._socket.settimeout(seconds)

    def cut(self) -> None:
        """Any thread: end the connection, so that a read returns at once."""
        _shut_down(self._socket)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def time_limit(seconds: float, clock: Clock) -> Iterator[Cuts]:
    """Calls what is in the list, which ends every wait of the block, after `seconds`. Raises TimeoutError then.

    `clock.interrupt()` of another thread ends it as well.
    """
    cuts: Cuts = []
    is_late = threading.Event()

    def cut() -> None:
        for one in tuple(cuts):
            one()

    def expire() -> None:
        is_late.set()
        cut()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        with clock.interruptible(cut):
            yield cuts
    except (OSError, EdgexError):
        if is_late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def connect(url: SplitResult, options: SourceOptions, cuts: Cuts) -> Connection:
    """A connection to the host of `url`; `cuts` gets what ends it, also while it is made. Raises OSError, Forbidden."""
    host = url.hostname or ""
    options.access.check_host(host)
    port = url.port or _PORTS[url.scheme.lower()]
    last: OSError = socket.gaierror("no address")
    for family, address in _addresses(host, port, options.open_timeout):
        options.access.check_address(host, str(address[0]))
        stream = socket.socket(family, socket.SOCK_STREAM)
        cuts[:] = [partial(_shut_down, stream)]
        try:
            stream.settimeout(options.open_timeout)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            stream.connect(address)
            if url.scheme.lower() in _TLS:
                stream = _tls(options).wrap_socket(stream, server_hostname=url.hostname, do_handshake_on_connect=False)
                cuts[:] = [partial(_shut_down, stream)]
                stream.do_handshake()
        except OSError as error:
            last = error
            stream.close()
        else:
            return Connection(stream)
    raise last


def _addresses(host: str, port: int, seconds: float) -> list[tuple[int, tuple[object, ...]]]:
    """(family, address) of a host. A resolver that does not answer is left behind in its thread after `seconds`."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.partition("%")[0])
        seconds = 0
    found: list[tuple[int, tuple[object, ...]]] = []
    errors: list[OSError] = []

    def resolve() -> None:
        try:
            found.extend((it[0], it[4]) for it in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except UnicodeError:  # empty or too long labels
            errors.append(socket.gaierror("not a host name"))
        except OSError as error:
            errors.append(error)

    if seconds:
        thread = threading.Thread(target=resolve, name=f"resolve-{host[:40]}", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            raise TimeoutError
    else:
        resolve()
    if errors:
        raise errors[0]
    return found


def _shut_down(stream: socket.socket) -> None:
    with contextlib.suppress(
        OSError
    ):  # below the TLS layer, whose own shutdown would interfere with the reading thread
        socket.socket.shutdown(stream, socket.SHUT_RDWR)


def _tls(options: SourceOptions) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not options.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
