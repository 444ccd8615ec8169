"""device_camera.sources.rtsp and rtsp: against a real RTSP server, and against servers that are none."""

import contextlib
import hashlib
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from device_camera.sources.base import Credentials, Source, SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.sources.rtsp import probe
from device_camera.timing import ThreadClock
from edgex_kit.wire.errors import Unavailable

from tests.device.network_cameras import RtspCamera, answering

pytestmark = pytest.mark.integration

StartCamera = Callable[..., RtspCamera]
LOGIN = ("us@er", "p@ss:w/rd? %41#")


def cause(url: str, **options: object) -> str:
    """What is said when the camera at `url` does not open."""
    spec = parse_source(url)
    wanted = SourceOptions(**{"open_timeout": 5, "read_timeout": 1, **options})  # type: ignore[arg-type]
    with pytest.raises(Unavailable) as caught, open_source(spec, wanted, ThreadClock()):
        pass
    prefix, said = f"{spec}: ", str(caught.value)
    assert said.startswith(prefix)
    return said.removeprefix(prefix)


def play(source: Source, count: int) -> None:
    for _ in range(count):
        source.grab()


def test_a_stream_is_played_and_tells_its_facts(rtsp_camera: StartCamera) -> None:
    with open_source(parse_source(rtsp_camera().url()), SourceOptions(), ThreadClock()) as source:
        assert (source.native_fps, source.size, source.is_jpeg) == (15, (320, 240), False)
        for _ in range(5):
            assert source.grab()
        assert np.asarray(source.retrieve()).shape == (240, 320, 3)


def test_pictures_from_before_it_was_open_are_left_out(rtsp_camera: StartCamera) -> None:
    with open_source(parse_source(rtsp_camera().url()), SourceOptions(), ThreadClock()) as source:
        began = time.monotonic()
        for _ in range(15):
            source.grab()
        assert time.monotonic() - began > 0.7  # a second of a live stream; out of a buffer they come at once


def test_a_password_of_odd_signs_opens_the_stream(rtsp_camera: StartCamera) -> None:
    camera = rtsp_camera(*LOGIN)
    options = SourceOptions(credentials=Credentials(*LOGIN))
    with open_source(parse_source(camera.url()), options, ThreadClock()) as source:
        assert source.grab()


def test_a_wrong_password_is_told_from_a_missing_one_and_from_a_missing_stream(rtsp_camera: StartCamera) -> None:
    camera = rtsp_camera(*LOGIN)
    wrong, right = Credentials(LOGIN[0], "hunter2"), Credentials(*LOGIN)
    assert cause(camera.url(), credentials=wrong) == "authentication failed (RTSP 401)"
    assert cause(camera.url()) == "authentication failed (RTSP 401): it asks for a user, none is given"
    assert cause(camera.url("/nothing"), credentials=right) == "no such stream (RTSP 404)"


@contextlib.contextmanager
def standing_before(
    camera: RtspCamera, *, login: Credentials | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The port of a server before `camera` that wants Digest with SHA-256, or TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=pass_on, args=(client,), daemon=True).start()

        def pass_on(client: socket.socket) -> None:
            with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
                client = opened.enter_context(tls.wrap_socket(client, server_side=True) if tls else client)
                back = opened.enter_context(socket.create_connection(("127.0.0.1", camera.port)))
                pump(client, back, login)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)


def pump(client: socket.socket, camera: socket.socket, login: Credentials | None) -> None:
    """Pass everything on, in one thread: a TLS connection is not for two at once."""
    while True:
        is_pending = isinstance(client, ssl.SSLSocket) and client.pending()
        readable = [client] if is_pending else select.select([client, camera], [], [])[0]
        for one in readable:
            if not (data := one.recv(65536)):
                return
            is_request = one is client and not data.startswith(b"$")
            if login and is_request and not is_right(data.decode("latin-1"), login):
                client.sendall(challenge(data))
            else:
                (camera if one is client else client).sendall(data)


def challenge(request: bytes) -> bytes:
    cseq = re.search(rb"CSeq: (\d+)", request)
    assert cseq
    offer = b'WWW-Authenticate: Digest realm="cam", nonce="n0nce", qop="auth", algorithm=SHA-256'
    return b"RTSP/1.0 401 Unauthorized\r\nCSeq: %s\r\n%s\r\n\r\n" % (cseq[1], offer)


def is_right(request: str, login: Credentials) -> bool:
    """A server's own check of a Digest answer (RFC 7616, qop=auth, SHA-256)."""
    method, url, _ = request.split(" ", 2)
    line = re.search(r"Authorization: Digest (.*)", request)
    given = dict(re.findall(r'(\w+)="?([^",\r]+)', line[1])) if line else {}

    def h(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    who, what = h(f"{login.user}:cam:{login.password}"), h(f"{method}:{url}")
    return given.get("response") == h(f"{who}:n0nce:{given.get('nc')}:{given.get('cnonce')}:auth:{what}")


@pytest.mark.fault(23)
def test_a_camera_that_wants_digest_with_sha_256_is_played(rtsp_camera: StartCamera) -> None:
    login = Credentials("user", "secret")
    with standing_before(rtsp_camera(), login=login) as port:
        url = f"rtsp://127.0.0.1:{port}/live"
        with open_source(parse_source(url), SourceOptions(credentials=login), ThreadClock()) as source:
            play(source, 20)
            assert np.asarray(source.retrieve()).shape == (240, 320, 3)
        assert "authentication failed" in cause(url, credentials=Credentials("user", "wrong"))


@pytest.mark.fault(23)
def test_a_camera_behind_tls_is_played_only_with_a_trusted_certificate(
    rtsp_camera: StartCamera, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run([*command, "-subj", "/CN=localhost", "-days", "2"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with standing_before(rtsp_camera(), tls=context) as port:
        url = f"rtsps://127.0.0.1:{port}/live"
        assert "certificate not trusted" in cause(url)
        with open_source(parse_source(url), SourceOptions(verify_tls=False), ThreadClock()) as source:
            play(source, 20)
            assert np.asarray(source.retrieve()).shape == (240, 320, 3)


def test_a_server_that_falls_silent_is_lost_after_the_read_timeout(rtsp_camera: StartCamera) -> None:
    camera = rtsp_camera()
    options = SourceOptions(read_timeout=1)
    with open_source(parse_source(camera.url()), options, ThreadClock()) as source:
        source.grab()
        os.kill(camera.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no picture for 1 s"):
            play(source, 100)
        assert 0.9 < time.monotonic() - began < 3
        camera.process.kill()


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert cause(f"rtsp://127.0.0.1:{nobody.getsockname()[1]}/live") == "connection refused"


def test_a_server_that_never_answers_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert cause(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live", open_timeout=1) == "timed out"
        assert time.monotonic() - began < 3


def test_a_host_without_an_address_is_not_found() -> None:
    spec = parse_source("rtsp://" + "x" * 70 + ".invalid/live")
    assert probe(spec, SourceOptions(), ThreadClock())[0] == "host not found"


def test_a_server_that_speaks_another_language_is_said_to() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        spec = parse_source(f"rtsp://127.0.0.1:{port}/live")
        assert probe(spec, SourceOptions(), ThreadClock())[0] == "not an RTSP server"
