"""Addresses, free ports, and waiting for a listener."""

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgex_kit.wire.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def free_port(host: str) -> int:
    """A port that is not in use at this moment."""
    with socket.socket(family_of(host)) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def refuse_if_taken(address: Address, remedy: str) -> None:
    """Raise Unavailable, naming the port and the remedy, when something listens there already."""
    with socket.socket(family_of(address.host)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address.host, address.port))
        except OSError as error:
            raise Unavailable(f"cannot listen on {address}: {error.strerror}; {remedy}") from error


def wait_until_it_listens(address: Address, is_alive: Callable[[], bool], wait: float) -> None:
    """Block until the port answers. Raises Unavailable after `wait` seconds, or when the server has ended."""
    deadline = time.monotonic() + wait
    while is_alive() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), 0.5):
            return
        time.sleep(0.02)
    raise Unavailable(f"nothing came up on {address}")
