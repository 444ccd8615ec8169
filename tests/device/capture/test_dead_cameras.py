"""Cameras that do not answer, at any stage, neither delay the others nor their own removal."""

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from device_camera.capture.camera import Camera
from device_camera.capture.state import State
from device_camera.sources.base import SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.timing import ThreadClock
from edgex_kit.wire.errors import Unavailable

from tests.device.frames import take
from tests.device.network_cameras import STAGES, RtspCamera, dead_rtsp_camera

pytestmark = [pytest.mark.integration, pytest.mark.fault(4)]
OpenCamera = Callable[..., Camera]
Eventually = Callable[..., None]


@pytest.mark.parametrize("stage", STAGES)
def test_a_camera_that_falls_silent_is_lost_in_time_and_with_the_stage(stage: str) -> None:
    with dead_rtsp_camera(stage) as url:
        began = time.monotonic()
        with (
            pytest.raises(Unavailable) as caught,
            open_source(parse_source(url), SourceOptions(open_timeout=1.5), ThreadClock()),
        ):
            pass
        assert time.monotonic() - began < 8
        said = str(caught.value)
        assert ("describes" in said) == (stage in ("OPTIONS", "SETUP", "PLAY", "packets")), said


@pytest.mark.parametrize("stage", ["accept", "SYN", "packets"])
def test_closing_a_silent_camera_takes_less_than_two_seconds(open_camera: OpenCamera, stage: str) -> None:
    with dead_rtsp_camera(stage) as url:
        camera = open_camera(url, open_timeout=60, read_timeout=60)
        time.sleep(1.5)
        began = time.monotonic()
        camera.close()
        assert time.monotonic() - began < 1.4, "its thread has ended by itself"
        assert camera.status.state is State.STOPPED


def test_dead_cameras_of_every_kind_do_not_delay_another_one(
    open_camera: OpenCamera, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with contextlib.ExitStack() as opened:
        urls = [opened.enter_context(dead_rtsp_camera(stage)) for stage in STAGES]
        for source in [*urls, str(tmp_path / "pipe.mp4")]:
            open_camera(source, open_timeout=3, read_timeout=3)
        video = open_camera(str(make_video(5, fps=20)), fps=0)  # 5 pictures: it is opened anew four times a second
        frames = take(video, 80, seconds=20)
        gaps = [(after.captured_mono_ns - one.captured_mono_ns) / 1e9 for one, after in itertools.pairwise(frames)]
        late = sorted(gaps)[-8]  # a busy machine may delay some
        assert late < 0.05 + 0.1


def test_a_pipe_is_not_opened_as_a_file(tmp_path: Path) -> None:
    for name in ("pipe.mp4", "pipe.jpg"):
        os.mkfifo(tmp_path / name)
        with (
            pytest.raises(Unavailable, match="not a regular file"),
            open_source(parse_source(str(tmp_path / name)), SourceOptions(), ThreadClock()),
        ):
            pass


def test_a_playlist_does_not_open_connections(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.5)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.ts"
        (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n")
        with (
            pytest.raises(Unavailable),
            open_source(parse_source(str(tmp_path / "list.m3u8")), SourceOptions(), ThreadClock()),
        ):
            pass
        with pytest.raises(TimeoutError):
            listening.accept()


def test_the_decoder_ends_with_its_source(rtsp_camera: Callable[..., RtspCamera], open_camera: OpenCamera) -> None:
    camera = open_camera(rtsp_camera().url(), fps=0)
    take(camera, 3, seconds=20)
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    camera.close()
    assert "decoder_process" not in " ".join(
        Path(f"/proc/{pid}/cmdline").read_text() for pid in children.read_text().split()
    )


@pytest.mark.long
def test_twelve_rtsp_cameras_open_at_once(rtsp_camera: Callable[..., RtspCamera], open_camera: OpenCamera) -> None:
    url = rtsp_camera().url()
    cameras = [open_camera(url, fps=1, open_timeout=30) for _ in range(12)]
    began = time.monotonic()
    for camera in cameras:
        camera.wait_streaming(60)
    assert time.monotonic() - began < 30
    assert {camera.status.state for camera in cameras} == {State.STREAMING}
