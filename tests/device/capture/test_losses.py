"""Cameras that are lost: detected, reported once, and opened again."""

import dataclasses
import http.server
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from device_camera.capture import loop as capture_loop
from device_camera.capture.camera import Camera
from device_camera.capture.state import State, Status
from device_camera.frame import Encoding, Pixels, encode_jpeg
from device_camera.settings import CameraSettings
from device_camera.sources.base import Credentials
from device_camera.sources.factory import parse_source
from edgex_kit.supervision import Backoff
from edgex_kit.wire.errors import Unavailable

from tests.device.frames import is_right, states, take
from tests.device.network_cameras import HttpCamera, RtspCamera, raw_camera

pytestmark = pytest.mark.integration

Eventually = Callable[..., None]
OpenCamera = Callable[..., Camera]


def test_a_video_that_is_taken_away_and_given_back_is_found_again(
    open_camera: OpenCamera, make_video: Callable[..., Path], tmp_path: Path, eventually: Eventually
) -> None:
    video, away = make_video(200, fps=50), tmp_path / "away.avi"
    camera, heard = open_camera(str(video), fps=0), list[Status]()
    camera.listen(heard.append)
    eventually(lambda: camera.status.state is State.STREAMING)
    video.rename(away)
    eventually(lambda: camera.status.state is State.LOST)
    assert camera.status.reason == f"{video}: no such file"
    lost = camera.counters.captured
    time.sleep(0.5)
    assert camera.counters.captured == lost
    away.rename(video)
    eventually(lambda: camera.counters.captured > lost + 5)
    assert states(heard)[-2:] == ["lost", "streaming"]
    camera.frames.take()
    (frame,) = take(camera, 1)
    assert frame.seq > lost
    assert is_right(camera)


def mjpeg(jpeg: bytes, fps: float = 50) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    """An answer that sends `jpeg` until the client leaves."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
        handler.end_headers()
        for _ in range(round(fps * 20)):
            head = f"--edge\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            handler.wfile.write(head + jpeg + b"\r\n")
            time.sleep(1 / fps)

    return answer


def test_an_http_camera_is_passed_through_and_found_again(
    open_camera: OpenCamera,
    http_camera: Callable[..., HttpCamera],
    pictures: list[Pixels],
    eventually: Eventually,
) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding(quality=88))
    ended = threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if ended.is_set():
            handler.send_error(503)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
        handler.end_headers()
        while not ended.wait(0.02):
            handler.wfile.write(f"--edge\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n")

    camera = open_camera(http_camera(answer).url(), fps=0)
    assert {frame.jpeg for frame in take(camera, 10)} == {jpeg}
    ended.set()
    eventually(lambda: "HTTP 503" in camera.status.reason)
    assert camera.status.state is State.LOST
    ended.clear()
    eventually(lambda: camera.status.state is State.STREAMING)
    ended.set()


def test_closing_does_not_wait_for_a_silent_http_camera(
    http_camera: Callable[..., HttpCamera], eventually: Eventually
) -> None:
    over, asked = threading.Event(), threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
        handler.end_headers()
        asked.set()
        over.wait(20)

    settings = CameraSettings(source=parse_source(http_camera(answer).url()), read_timeout=60)
    with Camera("silent", settings) as camera:
        camera.start_streaming()
        assert asked.wait(5)
        time.sleep(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    over.set()


def test_a_source_that_blocks_beyond_every_time_out_is_declared_lost(
    open_camera: OpenCamera, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    released = threading.Event()

    def blocked(*_: Any) -> Any:
        released.wait(20)
        raise Unavailable("released")

    monkeypatch.setattr(capture_loop, "open_source", blocked)
    camera = open_camera("pattern:", open_timeout=0.1, read_timeout=0.1)

    def is_lost() -> bool:
        camera.watch()
        return camera.status.state is State.LOST

    eventually(is_lost)
    began = time.monotonic()
    camera.close()
    assert time.monotonic() - began < 2
    assert camera.status.state is State.STOPPED
    with pytest.raises(Unavailable):
        camera.snapshot(1)
    released.set()


def test_a_resting_camera_is_not_taken_for_one_that_hangs(open_camera: OpenCamera, eventually: Eventually) -> None:
    camera = open_camera("pattern:?fps=0.5", open_timeout=0.01, read_timeout=0.01)
    eventually(lambda: camera.status.state is State.STREAMING)
    time.sleep(0.3)
    camera.watch()
    assert camera.status.state is State.STREAMING


def test_a_driver_that_fails_in_its_own_way_is_opened_anew(
    open_camera: OpenCamera, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failed = capture_loop.open_source, list[str]()

    def fail_once(*given: Any) -> Any:
        if failed:
            return real(*given)
        failed.append("x")
        raise RuntimeError("bad driver rtsp://me:hunter2@cam/")

    monkeypatch.setattr(capture_loop, "open_source", fail_once)
    camera, heard = open_camera("pattern:", is_streaming=False), list[Status]()
    camera.listen(heard.append)
    camera.start_streaming()
    take(camera, 1)
    assert states(heard) == ["connecting", "lost", "streaming"]
    assert heard[1].reason == "RuntimeError: bad driver rtsp://***@cam/"
    assert "camera test failed" in caplog.text


def test_what_is_lost_is_logged_once_and_not_at_every_attempt(
    open_camera: OpenCamera, caplog: pytest.LogCaptureFixture
) -> None:
    camera = open_camera("/no/such.mp4", backoff=Backoff(first=0.01, most=0.01))
    time.sleep(0.3)
    assert caplog.text.count("camera test is lost") == 1
    assert camera.status.reason == "/no/such.mp4: no such file"


def test_an_rtsp_camera_that_is_killed_and_comes_back_is_found_again(
    open_camera: OpenCamera, rtsp_camera: Callable[..., RtspCamera], eventually: Eventually
) -> None:
    server = rtsp_camera("user", "p@ss")
    camera, heard = (
        open_camera(server.url(), is_streaming=False, credentials=Credentials("user", "p@ss")),
        list[Status](),
    )
    camera.listen(heard.append)
    camera.start_streaming()
    camera.wait_streaming(10)
    server.kill()
    eventually(lambda: camera.status.reason.endswith("connection refused"))
    lost = camera.counters.captured
    server.start()
    eventually(lambda: camera.status.state is State.STREAMING, 15)
    camera.frames.take()
    assert take(camera, 1)[0].seq > lost
    assert states(heard)[:2] == ["connecting", "streaming"]
    assert states(heard)[-1] == "streaming"
    assert is_right(camera)
    assert "p@ss" not in repr(heard)


def test_a_right_password_given_later_opens_the_camera(
    open_camera: OpenCamera, rtsp_camera: Callable[..., RtspCamera], eventually: Eventually
) -> None:
    server = rtsp_camera("user", "right")
    camera = open_camera(server.url(), credentials=Credentials("user", "wrong"), backoff=Backoff(first=60, most=60))
    eventually(lambda: camera.status.state is State.LOST)
    assert "authentication failed" in camera.status.reason
    camera.change(dataclasses.replace(camera.settings, credentials=Credentials("user", "right")))
    eventually(lambda: camera.status.state is State.STREAMING, 25)


@pytest.mark.fault(23)
def test_a_camera_slower_than_the_read_time_out_stays_streaming_once_its_pace_is_known(
    open_camera: OpenCamera, pictures: list[Pixels], eventually: Eventually
) -> None:
    jpeg = encode_jpeg(pictures[0], Encoding())
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"
    part = b"--b\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n"
    with raw_camera(head, *[part] * 40, pause=0.8) as url:
        camera, heard = open_camera(url, fps=0, read_timeout=0.3), list[Status]()
        eventually(lambda: camera.counters.captured >= 5, 20)
        camera.listen(heard.append)
        captured = camera.counters.captured
        eventually(lambda: camera.counters.captured >= captured + 3, 10)
        assert states(heard) == []
        camera.close()
