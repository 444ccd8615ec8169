"""A place to listen at, taken before anything else is done: apart from the server, which takes its time to import."""

import socket

from edgex_kit.wire.errors import Invalid, Unavailable


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Unavailable naming the port and what to do, Invalid for what is no port."""
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
