"""Stands between FFmpeg and a camera that FFmpeg cannot speak to: TLS with a checked certificate, Digest beyond MD5.

FFmpeg connects to a port of this machine, without credentials. Its requests go to the camera with the answer to the
camera's challenge (RFC 7616); everything else passes as it is, interleaved packets (RFC 2326, 10.12) included.
"""

import contextlib
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from edgex_kit.wire.errors import Malformed

from device_camera.sources.base import SourceOptions, SourceSpec
from device_camera.sources.connection import Connection, parse_head
from device_camera.sources.http_auth import Challenge, build_authorization, parse_challenges

_CHUNK = 64 * 1024  # bytes
_MOST = 1024 * 1024  # bytes of a message
_REQUEST = re.compile(r"([A-Z_]+) (\S+) RTSP/1\.\d$")
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,7})", re.IGNORECASE | re.MULTILINE)


class _Messages:
    """Divides a stream into requests or responses and interleaved packets."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """(whether it is packets, bytes) of everything that is whole now. Raises Malformed."""
        buffer = self._buffer + data
        while buffer:
            packets = 0
            while buffer[packets : packets + 1] == b"$" and len(buffer) >= packets + 4:
                size = 4 + int.from_bytes(buffer[packets + 2 : packets + 4])
                if len(buffer) < packets + size:
                    break
                packets += size
            if packets:
                yield True, buffer[:packets]
                buffer = buffer[packets:]
                continue
            end = -1 if buffer.startswith(b"$") else self._message_end(buffer)
            if end < 0:
                break
            yield False, buffer[:end]
            buffer = buffer[end:]
        if len(buffer) > _MOST:
            raise Malformed("an RTSP message without an end")
        self._buffer = buffer

    @staticmethod
    def _message_end(buffer: bytes) -> int:
        blank = buffer.find(b"\r\n\r\n")
        if blank < 0:
            return -1
        length = _LENGTH.search(buffer, 0, blank + 2)
        end = blank + 4 + (int(length[1]) if length else 0)
        return end if len(buffer) >= end else -1


class _Relay:
    """One connection of FFmpeg, one of the camera."""

    def __init__(self, spec: SourceSpec, options: SourceOptions, camera: Connection) -> None:
        self._login = options.credentials
        self._camera = camera
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1)
        parts = urlsplit(spec.location)
        self._remote = f"{parts.scheme}://{parts.netloc}"
        # The token keeps other programs of this machine out.
        self._local = f"rtsp://127.0.0.1:{self._listening.getsockname()[1]}/{secrets.token_hex(16)}"
        self.url = self._local + spec.location[len(self._remote) :]
        self._challenges: list[Challenge] = []
        self._request: list[str] = []  # the last one that was sent
        self._is_answered = False  # the challenge of that request
        self._lock = threading.Lock()
        self._client: socket.socket | None = None
        self._is_known = False  # it has named the token

    def run(self) -> None:
        """Serve FFmpeg until one of the two connections ends."""
        with contextlib.suppress(OSError, Malformed):
            self._client, _ = self._listening.accept()
            self._listening.close()
            back = threading.Thread(target=self._pass_back, args=(self._client,), daemon=True)
            back.start()
            messages = _Messages()
            while data := self._client.recv(_CHUNK):
                for is_packets, message in messages.feed(data):
                    if is_packets:
                        self._camera.send_bytes(message)
                    else:
                        self._send_request(message)
        self.close()

    def close(self) -> None:
        """Any thread: end both connections."""
        self._camera.cut()
        for one in (self._listening, self._client):
            if one:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _pass_back(self, client: socket.socket) -> None:
        messages = _Messages()
        with contextlib.suppress(OSError, Malformed):
            while data := self._camera.read():
                for is_packets, message in messages.feed(data):
                    if is_packets or not self._is_challenge(message):
                        client.sendall(message)
        self.close()

    def _send_request(self, message: bytes) -> None:
        first, *headers = message.decode("latin-1").rstrip("\r\n").split("\r\n")
        request = _REQUEST.match(first)
        if not request:
            raise Malformed("a request expected")
        method, url = request[1], request[2]
        self._is_known = self._is_known or url.startswith(self._local)
        if not self._is_known:
            raise Malformed("a request without the token")
        url = url.replace(self._local, self._remote, 1)
        with self._lock:
            self._request, self._is_answered = [f"{method} {url} RTSP/1.0", *headers], False
            self._send()

    def _send(self) -> None:
        method, url, _ = self._request[0].split(" ")
        answer = build_authorization(self._challenges, method, url, self._login) if self._login else None
        self._camera.send([*self._request, f"Authorization: {answer}"] if answer else self._request)

    def _is_challenge(self, response: bytes) -> bool:
        """Whether this is a challenge, which is answered here."""
        if not response.startswith(b"RTSP/"):
            return False
        head = parse_head(response.partition(b"\r\n\r\n")[0], "RTSP")
        with self._lock:
            if head.status != 401 or not self._login or self._is_answered:
                return False
            self._challenges = parse_challenges(head.all("www-authenticate"))
            self._is_answered = True
            self._send()
            return True


@contextmanager
def open_relay(spec: SourceSpec, options: SourceOptions, camera: Connection) -> Iterator[str]:
    """The URL that FFmpeg opens instead, for the length of the block."""
    relay = _Relay(spec, options, camera)
    thread = threading.Thread(target=relay.run, name="rtsp-relay", daemon=True)
    thread.start()
    try:
        yield relay.url
    finally:
        relay.close()
        thread.join(1)
