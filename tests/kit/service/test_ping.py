"""What a container's health check exits with."""

import http.server
import threading
from collections.abc import Iterator

import pytest
from edgex_kit.service.ping import main
from edgex_standin.address import free_port

pytestmark = pytest.mark.integration

LOOPBACK = "127.0.0.1"


class Answer(http.server.BaseHTTPRequestHandler):
    """An EdgeX service's ping, and 503 for everything else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/v3/ping" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_service_that_answers_is_healthy(port: int) -> None:
    assert main(["ping", str(port)], {"SERVICE_HOST": LOOPBACK}) == 0


def test_a_path_of_its_own_is_called(port: int) -> None:
    assert main(["ping", str(port), "/nowhere"], {"SERVICE_HOST": LOOPBACK}) == 1


def test_the_environment_says_where_the_service_is(port: int) -> None:
    assert main(["ping", "1"], {"SERVICE_HOST": LOOPBACK, "SERVICE_PORT": str(port)}) == 0


def test_a_service_that_does_not_listen_is_not_healthy() -> None:
    assert main(["ping", str(free_port(LOOPBACK))], {"SERVICE_HOST": LOOPBACK}) == 1


def test_an_answer_that_is_no_success_is_not_healthy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answer, "do_GET", lambda self: self.send_error(503))
    assert main(["ping", str(port)], {"SERVICE_HOST": LOOPBACK}) == 1
