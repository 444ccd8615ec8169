"""An app on a port, served by uvicorn; signals stay with `service.run`.

A service answers its health check whatever clients do: connections are limited, those that wait for a request's headers
are closed when they take too long or when others need their place, and answers that are not read end.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgex_kit.service.ports import bind
from edgex_kit.wire.errors import Unavailable

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
HEADERS_S = 10.0  # seconds from the first byte of a request, or from the connect, to the end of its headers
UNREAD_S = 30.0  # seconds that an answer may wait for its client to read
_RETRY_ACCEPT = 1.0  # seconds without file descriptors before the next attempt
_REPEAT = 60.0  # seconds between log lines of one cause
_TICK = 1.0  # seconds; HTTP's Date has no finer step
_GRACE = 0.7  # seconds that requests have to end when the server stops; uvicorn's own time-out is longer, and loud

Waiting = dict["_Connection", None]
"""Connections without a request, oldest first."""


class _Connection(H11Protocol):
    """One connection; it is in `waiting` while no request of it is being answered."""

    def __init__(self, waiting: Waiting, **parts: Any) -> None:
        super().__init__(**parts)
        self._waiting = waiting
        self._headers_due: asyncio.TimerHandle | None = None
        self._reading_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        self._headers_due = self.loop.call_later(HEADERS_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._waiting.pop(self, None)
            self._cancel()
        elif self._headers_due is None:  # not at each byte: they may drip
            self._headers_due = self.loop.call_later(HEADERS_S, self.transport.abort)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.pop(self, None)
        self._cancel()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_due = self._reading_due or self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading_due is not None:
            self._reading_due.cancel()
            self._reading_due = None

    def _wait(self) -> None:
        self._waiting.pop(self, None)
        self._waiting[self] = None

    def _cancel(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which end a process that still has things to close, and with its own way to
    accept: asyncio's logs a line for each place of the backlog when there are no file descriptors left."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()
        self._waiting: Waiting = {}
        self._accepting: set[asyncio.Task[Any]] = set()
        self._logged = -_REPEAT

    def stop(self) -> None:
        """Stop serving, at once."""
        self.should_exit = True
        self._stopping.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        for sock in sockets or ():
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for sock in sockets or ():
            asyncio.get_running_loop().remove_reader(sock)
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        """uvicorn wakes ten times a second to see whether it is to stop; only its Date header needs that, once."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    def _accept(self, sock: socket.socket) -> None:
        """Take one connection, in the place of the one that waits longest when there are too many."""
        loop = asyncio.get_running_loop()
        try:
            accepted, _ = sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no file descriptors or no memory
            self._log(f"no connection can be accepted: {error.strerror}")
            if not self._close_waiting():
                loop.remove_reader(sock)
                loop.call_later(_RETRY_ACCEPT, self._accept_again, sock)
            return
        if len(self.server_state.connections) >= MAX_CONNECTIONS and not self._close_waiting():
            self._log(f"{MAX_CONNECTIONS} requests are being answered, further connections are closed")
            accepted.close()
            return
        accepted.setblocking(False)
        state = {"config": self.config, "server_state": self.server_state, "app_state": {}}
        serving = loop.connect_accepted_socket(lambda: _Connection(self._waiting, **state), accepted)
        task = loop.create_task(serving)
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    def _accept_again(self, sock: socket.socket) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _close_waiting(self) -> bool:
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return False
        del self._waiting[oldest]
        oldest.transport.abort()
        return True

    def _log(self, text: str) -> None:
        if time.monotonic() - self._logged >= _REPEAT:
            self._logged = time.monotonic()
            log.warning("%s", text)


@contextlib.asynccontextmanager
async def open_server(app: ASGIApp, host: str, port: int) -> AsyncIterator[int]:
    """Serve `app` for the length of the block; yields the port, which matters when `port` is 0."""
    sock = bind(host, port)
    async with serve_on(app, sock):
        yield int(sock.getsockname()[1])


@contextlib.asynccontextmanager
async def serve_on(app: ASGIApp, sock: socket.socket) -> AsyncIterator[None]:
    """Serve `app` on a socket from `ports.bind`, and close it at the end of the block."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server, place = _Server(config), sock.getsockname()
    serving = asyncio.create_task(server.serve(sockets=[sock]), name=f"rest:{place[1]}")
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if serving.done():
            raise Unavailable(f"nothing could be served on {place}") from serving.exception()
        yield
    finally:
        server.stop()
        if requests := set(server.server_state.tasks):
            _, late = await asyncio.wait(requests, timeout=_GRACE)
            for request in late:  # a live picture has no end of its own
                request.cancel()
        await asyncio.wait([serving])
        sock.close()
