"""A server of another kind than was asked for: it answers once, and leaves."""

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def answering(data: bytes) -> Iterator[int]:
    """The port where the first to ask is told `data`, whatever it asks; somebody has to ask within the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(data)

        thread = threading.Thread(target=speak)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join()
