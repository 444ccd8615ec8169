"""A relay of HTTP that writes down who asked what, and with which token."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import requests

from tests.conformance.peers import WAIT


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that went to core-keeper."""

    method: str
    path: str
    authorization: str


class Relay(http.server.ThreadingHTTPServer):
    """Passes everything on to `target` and remembers it."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = target
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Passing(http.server.BaseHTTPRequestHandler):
    server: Relay

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(Asked(self.command, self.path, self.headers.get("Authorization", "")))
        answer = requests.request(self.command, self.server.target + self.path, data=body, timeout=WAIT)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815 - as http.server calls them

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def open_relay(target: str) -> Iterator[Relay]:
    with Relay(target) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
