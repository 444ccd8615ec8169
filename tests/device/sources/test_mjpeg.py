"""device_camera.sources.mjpeg: against real HTTP servers, good ones and bad ones."""

import base64
import hashlib
import http.server
import itertools
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from device_camera.frame import Encoding, Moment, Pixels, encode_jpeg, frame_from_picture
from device_camera.sources.base import Credentials, Source, SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.sources.mjpeg import Multipart
from device_camera.timing import ThreadClock
from edgex_kit.wire.errors import Malformed, Unavailable
from hypothesis import given
from hypothesis import strategies as st

from tests.device.network_cameras import HttpCamera, answering, raw_camera

pytestmark = pytest.mark.integration

Handler = http.server.BaseHTTPRequestHandler
StartCamera = Callable[..., HttpCamera]
LOGIN = Credentials("us@er", 'p@ss:"w')


@pytest.fixture
def jpegs(pictures: list[Pixels]) -> list[bytes]:
    return [encode_jpeg(picture, Encoding()) for picture in pictures]


def send_head(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
    handler.end_headers()


def send_part(handler: Handler, jpeg: bytes, *, has_length: bool = True) -> None:
    length = f"Content-Length: {len(jpeg)}\r\n" if has_length else ""
    handler.wfile.write(f"--edge\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + jpeg + b"\r\n")


def refuse(handler: Handler, *offers: str) -> None:
    handler.send_response(401)
    for offer in offers:
        handler.send_header("WWW-Authenticate", offer)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def has_digest(handler: Handler) -> bool:
    """A server's own check of a Digest answer (RFC 7616, qop=auth, SHA-256)."""
    given = dict(re.findall(r'(\w+)="?([^",]+)', handler.headers.get("Authorization", "").replace('\\"', "''")))

    def h(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    who, what = h(f"{LOGIN.user}:cam:{LOGIN.password}"), h(f"GET:{handler.path}")
    return given.get("response") == h(f"{who}:n0nce:{given.get('nc')}:{given.get('cnonce')}:auth:{what}")


def opened(url: str, **options: Any) -> AbstractContextManager[Source]:
    return open_source(parse_source(url), SourceOptions(open_timeout=5, **options), ThreadClock())


def cause(url: str, **options: object) -> str:
    """What is said when the camera at `url` does not open or gives no picture."""
    spec = parse_source(url)
    wanted = SourceOptions(open_timeout=1, read_timeout=0.3, **options)  # type: ignore[arg-type]
    with pytest.raises(Unavailable) as caught, open_source(spec, wanted, ThreadClock()) as source:
        source.grab()
    prefix, said = f"{spec}: ", str(caught.value)
    assert said.startswith(prefix)
    return said.removeprefix(prefix)


@pytest.mark.parametrize("has_length", [True, False])
def test_parts_pass_through_byte_for_byte(http_camera: StartCamera, jpegs: list[bytes], has_length: bool) -> None:
    def answer(handler: Handler) -> None:
        send_head(handler)
        for jpeg in [*jpegs, b""]:
            send_part(handler, jpeg, has_length=has_length)

    camera = http_camera(answer)
    with open_source(parse_source(camera.url()), SourceOptions(), ThreadClock()) as source:
        assert source.is_jpeg
        shown = []
        for _ in jpegs:
            assert source.grab()
            shown.append(source.retrieve())
        assert shown == jpegs
        with pytest.raises(Unavailable, match="connection closed by the camera"):
            source.grab()


def test_a_password_is_given_when_asked_for_in_basic(http_camera: StartCamera, jpegs: list[bytes]) -> None:
    right = "Basic " + base64.b64encode(f"{LOGIN.user}:{LOGIN.password}".encode()).decode()

    def answer(handler: Handler) -> None:
        if handler.headers.get("Authorization") != right:
            refuse(handler, 'Basic realm="cam"')
            return
        send_head(handler)
        send_part(handler, jpegs[0])

    camera = http_camera(answer)
    with open_source(parse_source(camera.url()), SourceOptions(credentials=LOGIN), ThreadClock()) as source:
        assert source.grab()
    assert cause(camera.url(), credentials=Credentials("us@er", "wr0ng")) == "authentication failed (HTTP 401)"
    assert cause(camera.url()) == "authentication failed: it asks for a user, none is given"


def test_a_password_is_proved_without_being_sent_in_digest(http_camera: StartCamera, jpegs: list[bytes]) -> None:
    heard = []

    def answer(handler: Handler) -> None:
        heard.append(str(handler.headers))
        if not has_digest(handler):
            refuse(handler, 'Basic realm="cam"', 'Digest realm="cam", nonce="n0nce", qop="auth", algorithm=SHA-256')
            return
        send_head(handler)
        send_part(handler, jpegs[0])

    camera = http_camera(answer)
    login = Credentials("user", "secret")
    url = camera.url("/video?channel=1")
    assert cause(url, credentials=login) == "authentication failed (HTTP 401)"
    with open_source(parse_source(url), SourceOptions(credentials=LOGIN), ThreadClock()) as source:
        assert source.grab()
    assert "Basic" not in "".join(heard)


def test_a_redirect_is_followed(http_camera: StartCamera, jpegs: list[bytes]) -> None:
    def answer(handler: Handler) -> None:
        if handler.path == "/video":
            handler.send_response(302)
            handler.send_header("Location", "/other")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        send_head(handler)
        send_part(handler, jpegs[0])

    with open_source(parse_source(http_camera(answer).url()), SourceOptions(), ThreadClock()) as source:
        assert source.grab()


def test_redirects_in_a_circle_end(http_camera: StartCamera) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/video")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    assert "redirects" in cause(http_camera(answer).url())


def test_a_password_does_not_follow_a_redirect_to_another_host(http_camera: StartCamera) -> None:
    heard = []

    def stranger(handler: Handler) -> None:
        heard.append(handler.headers.get("Authorization"))
        refuse(handler, 'Basic realm="x"')

    other = http_camera(stranger)

    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"http://localhost:{other.port}/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    assert "gets no password" in cause(http_camera(answer).url(), credentials=LOGIN)
    assert heard == [None]


@pytest.mark.fault(23)
def test_a_password_does_not_follow_a_redirect_to_another_port(http_camera: StartCamera) -> None:
    heard = []

    def stranger(handler: Handler) -> None:
        heard.append(handler.headers.get("Authorization"))
        refuse(handler, 'Basic realm="x"')

    other = http_camera(stranger)

    def answer(handler: Handler) -> None:
        handler.send_response(307)
        handler.send_header("Location", other.url())
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    assert "gets no password" in cause(http_camera(answer).url(), credentials=LOGIN)
    assert heard == [None]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"


def head_with(line: bytes) -> bytes:
    return HEAD.replace(b"Content-Type", line + b"\r\nContent-Type")


def typed(kind: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n\r\n"


def part(
    jpeg: bytes, length: int | None = 0, delimiter: bytes = b"--b", before: bytes = b"", after: bytes = b"\r\n"
) -> bytes:
    """One part whose Content-Length is wrong by `length` bytes, or without one."""
    head = delimiter + b"\r\nContent-Type: image/jpeg\r\n"
    if length is not None:
        head += b"Content-Length: %d\r\n" % (len(jpeg) + length)
    return head + b"\r\n" + before + jpeg + after


QUIRKS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "a header line that is none": (head_with(b"Tue, 12 Jun 2012 01:56:34 GMT"), part),
    "a header line without a colon": (head_with(b"Server Netwave IP Camera"), part),
    "a blank before the colon": (head_with(b"X-Camera : a"), part),
    "a folded header": (HEAD.replace(b"; boundary", b";\r\n boundary"), part),
    "an interim response": (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD, part),
    "no reason phrase": (HEAD.replace(b" OK", b""), part),
    "no boundary": (typed(b"multipart/x-mixed-replace"), part),
    "no content type": (b"HTTP/1.0 200 OK\r\n\r\n", lambda jpeg: part(jpeg, None, b"--ffmpeg")),
    "another boundary": (HEAD, lambda jpeg: part(jpeg, delimiter=b"--other")),
    "a delimiter without dashes": (HEAD, lambda jpeg: part(jpeg, delimiter=b"b")),
    "a boundary with dashes": (
        typed(b"multipart/x-mixed-replace; boundary=--b"),
        lambda j: part(j, delimiter=b"----b"),
    ),
    "an empty boundary": (typed(b"multipart/x-mixed-replace; boundary="), lambda j: part(j, delimiter=b"--")),
    "two delimiters": (HEAD, lambda jpeg: part(jpeg, delimiter=b"--b\r\n--b")),
    "a length that is too short": (HEAD, lambda jpeg: part(jpeg, -2)),
    "a length that is too long": (HEAD, lambda jpeg: part(jpeg, 6)),
    "a line end before the picture": (HEAD, lambda jpeg: part(jpeg, before=b"\r\n")),
    "no line end behind the picture": (HEAD, lambda jpeg: part(jpeg, None, after=b"")),
    "padding": (HEAD, lambda jpeg: part(jpeg, after=bytes(5000) + b"\r\n")),
    "long part headers": (
        HEAD,
        lambda jpeg: part(jpeg).replace(b"Content-Length", b"X: " + b"y" * 20_000 + b"\r\nContent-Length"),
    ),
    "pictures without delimiters": (typed(b"video/x-motion-jpeg"), lambda jpeg: jpeg),
    "no end marker": (HEAD, lambda jpeg: part(jpeg[:-2])),
    "no end marker and no length": (HEAD, lambda jpeg: part(jpeg[:-2], None)),
}


@pytest.mark.fault(23)
@pytest.mark.parametrize("quirk", QUIRKS)
def test_streams_as_cameras_really_send_them_are_read(quirk: str, jpegs: list[bytes]) -> None:
    head, wrapped = QUIRKS[quirk]
    with raw_camera(head, *map(wrapped, jpegs)) as url, opened(url) as source:
        shown = []
        for _ in jpegs[:-1]:
            assert source.grab()
            shown.append(frame_from_picture(source.retrieve(), Encoding(), Moment(1, 0, 0)).jpeg)
    assert shown == jpegs[:-1]


@pytest.mark.fault(23)
def test_a_snapshot_url_is_polled_at_the_rate(http_camera: StartCamera, jpegs: list[bytes]) -> None:
    def answer(handler: Handler) -> None:
        jpeg = jpegs[camera.requests % len(jpegs)]
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        handler.send_header("Content-Length", str(len(jpeg)))
        handler.end_headers()
        handler.wfile.write(jpeg)

    camera = http_camera(answer)
    with opened(camera.url(), fps=20) as source:
        began = time.monotonic()
        shown = []
        for _ in range(5):
            assert source.grab()
            shown.append(source.retrieve())
        assert time.monotonic() - began > 0.18
    assert shown == jpegs[1:] + jpegs[:1], "the first request was to open it"


@pytest.mark.fault(23)
def test_a_camera_that_drips_its_headers_is_given_up(jpegs: list[bytes]) -> None:
    with raw_camera(*(bytes([byte]) for byte in HEAD + part(jpegs[0])), pause=0.1) as url:
        began = time.monotonic()
        assert cause(url) == "timed out"
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(("status", "said"), [(404, "HTTP 404 Not Found"), (503, "HTTP 503 Service Unavailable")])
def test_another_status_is_said(http_camera: StartCamera, status: int, said: str) -> None:
    assert cause(http_camera(lambda handler: handler.send_error(status)).url()) == said


def test_what_is_no_mjpeg_is_said_to_be_none(http_camera: StartCamera) -> None:
    def page(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()

    assert (
        cause(http_camera(page).url()) == "not MJPEG: multipart/x-mixed-replace or image/jpeg expected, text/html came"
    )


def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    assert cause(f"http://127.0.0.1:{port}/video") == "connection refused"


def test_a_server_that_speaks_another_language_is_said_to() -> None:
    with answering(b"SSH-2.0-OpenSSH\r\n") as port:
        assert cause(f"http://127.0.0.1:{port}/") == "not an HTTP server"


def test_a_server_that_never_answers_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert cause(f"http://127.0.0.1:{silent.getsockname()[1]}/") == "timed out"


def test_a_tls_url_to_a_plain_server_does_not_hang(http_camera: StartCamera) -> None:
    url = http_camera(send_head).url().replace("http:", "https:")
    assert cause(url)


def test_a_camera_that_falls_silent_is_lost(http_camera: StartCamera, jpegs: list[bytes]) -> None:
    over = threading.Event()

    def answer(handler: Handler) -> None:
        send_head(handler)
        send_part(handler, jpegs[0][:500], has_length=False)
        over.wait(10)

    began = time.monotonic()
    assert "no picture for 0.3 s" in cause(http_camera(answer).url())
    assert time.monotonic() - began < 3
    over.set()


def test_a_camera_that_only_drips_is_lost_too(http_camera: StartCamera) -> None:
    over = threading.Event()

    def answer(handler: Handler) -> None:
        send_head(handler)
        handler.wfile.write(b"--edge\r\n\r\n")
        while not over.wait(0.02):
            handler.wfile.write(b"x")

    assert "no picture for 0.3 s" in cause(http_camera(answer).url())
    over.set()


def test_a_waiting_grab_is_interrupted(http_camera: StartCamera, jpegs: list[bytes]) -> None:
    over = threading.Event()

    def answer(handler: Handler) -> None:
        send_head(handler)
        over.wait(10)

    camera, clock = http_camera(answer), ThreadClock()
    with open_source(parse_source(camera.url()), SourceOptions(read_timeout=30), clock) as source:
        timer = threading.Timer(0.1, clock.interrupt)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Unavailable):
            source.grab()
        assert time.monotonic() - began < 5
        timer.join()
    over.set()


MOST = 1 << 20  # bytes
PARTS = [b"one", b"\xff\xd8 two \r\n\r\n \xff\xd9", b"3" * 5000]


def stream(parts: list[bytes], *, has_length: bool = True, has_head: bool = True, newline: bytes = b"\r\n") -> bytes:
    out = b""
    for part in parts:
        out += b"--edge" + newline
        if has_head:
            out += b"Content-Type: image/jpeg" + newline
        if has_length:
            out += b"Content-Length: %d" % len(part) + newline
        out += newline + part + newline
    return out + b"--edge" + newline


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize("has_length", [True, False])
def test_parts_come_out_as_they_went_in(has_length: bool, newline: bytes) -> None:
    assert Multipart("edge", MOST).feed(stream(PARTS, has_length=has_length, newline=newline)) == PARTS


def test_parts_without_any_head_come_out() -> None:
    assert Multipart("edge", MOST).feed(stream(PARTS, has_length=False, has_head=False)) == PARTS


@given(cuts=st.lists(st.integers(0, 5400), max_size=20), has_length=st.booleans())
def test_where_the_network_cuts_the_stream_does_not_matter(cuts: list[int], has_length: bool) -> None:
    data, multipart = stream(PARTS, has_length=has_length), Multipart("edge", MOST)
    edges = [0, *sorted(cuts), len(data)]
    found = [part for start, end in itertools.pairwise(edges) for part in multipart.feed(data[start:end])]
    assert found == PARTS


def test_a_boundary_that_has_its_dashes_already_is_found() -> None:
    assert Multipart("--edge", MOST).feed(stream(PARTS)) == PARTS


def test_a_part_is_given_as_soon_as_its_announced_length_is_there() -> None:
    assert Multipart("edge", MOST).feed(b"--edge\r\nContent-Length: 5\r\n\r\n\xff\xd8a\xff\xd9") == [
        b"\xff\xd8a\xff\xd9"
    ]


def test_what_comes_before_the_first_boundary_is_skipped() -> None:
    assert Multipart("edge", MOST).feed(b"hello camera\r\n" + stream(PARTS)) == PARTS


def test_a_wrong_length_is_not_believed() -> None:
    data = b"--edge\r\nContent-Length: 2\r\n\r\nabcdef\r\n" + stream([b"next"])
    assert Multipart("edge", MOST).feed(data) == [b"abcdef", b"next"]


def test_the_closing_boundary_ends_the_stream() -> None:
    multipart = Multipart("edge", MOST)
    assert multipart.feed(stream([b"last"])[:-2] + b"--\r\n") == [b"last"]
    assert multipart.is_over


@pytest.mark.parametrize(
    "data", [b"x", b"--edge\r\n\r\nx", b"--edge\r\nX-Head: x", b"\xff\xd8x"], ids=["none", "part", "head", "jpeg"]
)
def test_a_stream_that_would_fill_the_memory_is_malformed(data: bytes) -> None:
    multipart = Multipart("edge", largest=2000)
    with pytest.raises(Malformed):
        multipart.feed(data + b"x" * 70_000)
