"""Cameras on a network, for the tests of what opens them: over HTTP and over RTSP, and servers that are none."""

import contextlib
import http.server
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"  # the one that Debian's gi belongs to
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class HttpCamera:
    """A real HTTP server whose answer to GET is the test's own function."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    answer(self)
                except OSError:
                    return  # the client left
                finally:
                    camera.requests += 1

            def log_message(self, *_: object) -> None:
                return

        self.requests = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def url(self, path: str = "/video") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class RtspCamera:
    """A real RTSP server in a process of its own, to be killed and started again on the same port."""

    def __init__(self, *login: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._login = login
        self.start()

    def url(self, path: str = "/live") -> str:
        return f"rtsp://127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        command = [SYSTEM_PYTHON, str(script), str(self.port), *self._login]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def has_rtsp_server() -> bool:
    """Whether this machine has what an RtspCamera runs on."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('GstRtsp', '1.0')"
    command = [SYSTEM_PYTHON, "-c", probe]
    return Path(SYSTEM_PYTHON).exists() and not subprocess.run(command, stderr=subprocess.DEVNULL).returncode


@contextlib.contextmanager
def raw_camera(*pieces: bytes, pause: float = 0.0) -> Iterator[str]:
    """The URL of an HTTP camera that sends these bytes after each request, with a pause between, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.recv(4096)
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(pause)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/video"
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


_SDP = """v=0\r
o=- 0 0 IN IP4 127.0.0.1\r
s=x\r
t=0 0\r
m=video 0 RTP/AVP 96\r
a=rtpmap:96 H264/90000\r
a=control:track1\r
"""
STAGES = ["accept", "OPTIONS", "DESCRIBE", "SETUP", "PLAY", "packets", "SYN"]


@contextlib.contextmanager
def dead_rtsp_camera(stage: str) -> Iterator[str]:
    """The URL of a camera that answers nothing from `stage` on: SYN is dropped, or a request, or no packets come."""
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0 if stage == "SYN" else 20))
        url = f"rtsp://127.0.0.1:{listening.getsockname()[1]}/live"
        if stage == "SYN":
            for _ in range(4):  # a full queue makes the kernel drop further connections
                client = opened.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(listening.getsockname())
        else:
            threading.Thread(target=_accept_rtsp, args=(listening, stage), daemon=True).start()
        yield url
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _accept_rtsp(listening: socket.socket, stage: str) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_answer_rtsp, args=(connection, stage), daemon=True).start()


def _answer_rtsp(connection: socket.socket, stage: str) -> None:
    """Answer requests until the one that is named; then read on in silence."""
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(4096):
            method = data.split(b" ", 1)[0].decode("latin-1")
            if stage in ("accept", method):
                stage = "accept"
                continue
            cseq = next(line for line in data.decode("latin-1").split("\r\n") if line.lower().startswith("cseq"))
            head = ["RTSP/1.0 200 OK", cseq, "Session: 1"]
            body = _SDP if method == "DESCRIBE" else ""
            match method:
                case "OPTIONS":
                    head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
                case "DESCRIBE":
                    head += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
                case "SETUP":
                    head.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            connection.sendall(("\r\n".join([*head, "", ""]) + body).encode())


@contextlib.contextmanager
def answering(data: bytes) -> Iterator[int]:
    """The port of a server that answers the first request with `data`; one request has to come within the block."""
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
