"""Binding a port: apart from the server, since a service does it before it imports anything else."""

import asyncio
import errno
import socket
import time

from edgex_kit.wire.errors import Invalid, Unavailable


async def bind_within(host: str, port: int, wait: float) -> socket.socket:
    """`bind`, tried again for `wait` seconds while nobody listens there: a connection that has used the port as its
    own holds it for a while after its end (TIME-WAIT). Raises as `bind`."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return bind(host, port)
        except Unavailable as error:
            is_held = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if not is_held or time.monotonic() >= deadline or await asyncio.to_thread(_is_served, host, port):
                raise
        await asyncio.sleep(0.5)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Unavailable naming the port and what to do, Invalid for a number that is no port."""
    if not 0 <= port <= 65535:
        raise Invalid(f"a port from 0 to 65535 expected, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(100)
    except OSError as error:
        sock.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what uses it or change the port"
        ) from error
    return sock


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("", 0)) as sock:
        return int(sock.getsockname()[1])


def _is_served(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def own_address() -> str:
    """The address of this machine towards other networks; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
