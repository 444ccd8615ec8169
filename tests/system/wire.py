"""A TCP relay that a test can break: what is between a service and its peer fails as networks and peers do."""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["pass", "silent", "refuse", "reset", "garbage", "error", "slow"]
CHUNK = 1 << 16
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"


class Wire:
    """Listens on a port of its own and passes on to `target`, unless its mode says otherwise.

    silent: connections are accepted and held, nothing is passed. refuse, reset: closed at once, the latter with RST.
    garbage, error: answered with random bytes, with HTTP 500. slow: 2 KB a second in each direction.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self._mode: Mode = "pass"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    def set(self, mode: Mode) -> None:
        """From now on; connections that are open are closed, except to make the peer silent or slow."""
        self._mode = mode
        if mode not in ("silent", "slow"):
            self.cut()

    def cut(self) -> None:
        """Close every connection."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            _close(connection)

    def close(self) -> None:
        _close(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            match self._mode:
                case "refuse":
                    near.close()
                case "reset":
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    near.close()
                case "garbage" | "error":
                    self._start(self._answer, near, os.urandom(500) if self._mode == "garbage" else ERROR)
                case _:
                    try:
                        far = socket.create_connection(self.target, timeout=5)
                    except OSError:
                        near.close()
                        continue
                    far.settimeout(None)
                    self._start(self._pump, near, far)
                    self._start(self._pump, far, near)

    def _start(self, function: object, *sockets: object) -> None:
        with self._lock:
            self._open.update(it for it in sockets if isinstance(it, socket.socket))
            thread = threading.Thread(target=function, args=sockets, daemon=True)  # type: ignore[arg-type]
            self._threads = [*(it for it in self._threads if it.is_alive()), thread]
        thread.start()

    def _answer(self, near: socket.socket, text: bytes) -> None:
        with contextlib.suppress(OSError):
            near.recv(CHUNK)
            near.sendall(text)
        _close(near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2048 if self._mode == "slow" else CHUNK):
                while self._mode == "silent":
                    time.sleep(0.05)
                    with self._lock:
                        if source not in self._open:
                            return
                if self._mode == "slow":
                    time.sleep(len(data) / 2048)
                sink.sendall(data)
        _close(source)
        _close(sink)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def open_wire(target: tuple[str, int]) -> Iterator[Wire]:
    wire = Wire(target)
    try:
        yield wire
    finally:
        wire.close()
