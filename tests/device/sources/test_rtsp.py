"""device_camera.sources.rtsp and rtsp: against a real RTSP server, and against servers that are none."""

import os
import signal
import socket
import time
from collections.abc import Callable

import numpy as np
import pytest
from device_camera.sources.base import Credentials, Source, SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.sources.rtsp import fetch_cause
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
    assert fetch_cause(spec, SourceOptions(), ThreadClock()) == "host not found"


def test_a_server_that_speaks_another_language_is_said_to() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        spec = parse_source(f"rtsp://127.0.0.1:{port}/live")
        assert fetch_cause(spec, SourceOptions(), ThreadClock()) == "not an RTSP server"
