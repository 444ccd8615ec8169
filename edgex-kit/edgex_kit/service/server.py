"""An app on a port, served by uvicorn; signals stay with `service.run`."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from edgex_kit.service.ports import bind
from edgex_kit.wire.errors import Unavailable

_TICK = 1.0  # seconds; HTTP's Date has no finer step
_GRACE = 0.7  # seconds that requests have to end when the server stops; uvicorn's own time-out is longer, and loud


class _Guest(uvicorn.Server):
    """uvicorn without its signal handlers, which end a process that still has things to close."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Stop serving, at once."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """uvicorn wakes ten times a second to see whether it is to stop; only its Date header needs that, once."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


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
        app, lifespan="off", log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    server = _Guest(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]), name=f"rest:{sock.getsockname()[1]}")
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if serving.done():
            raise Unavailable(f"nothing could be served on {sock.getsockname()}") from serving.exception()
        yield
    finally:
        server.stop()
        if requests := set(server.server_state.tasks):
            _, late = await asyncio.wait(requests, timeout=_GRACE)
            for request in late:  # a live picture has no end of its own
                request.cancel()
        await asyncio.wait([serving])
        sock.close()
