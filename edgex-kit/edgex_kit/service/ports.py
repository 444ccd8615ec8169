"""Binding a port: apart from the server, since a service does it before it imports anything else."""

import socket

from edgex_kit.wire.errors import Invalid, Unavailable


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


def own_address() -> str:
    """The address of this machine towards other networks; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
