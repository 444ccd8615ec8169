"""Snapshots: a picture now, whether the camera streams or not."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from device_camera.capture.camera import Camera
from device_camera.capture.state import State, Status
from device_camera.frame import Encoding, Frame, Pixels, encode_jpeg
from edgex_kit.supervision import Backoff
from edgex_kit.wire.errors import TimedOut, Unavailable

from tests.device.frames import is_right, number_of
from tests.device.network_cameras import HttpCamera

Eventually = Callable[..., None]
OpenCamera = Callable[..., Camera]


def test_a_snapshot_opens_the_source_while_streaming_is_off(
    open_camera: OpenCamera, make_video: Callable[..., Path]
) -> None:
    camera, heard = open_camera(str(make_video(5)), is_streaming=False), list[Status]()
    camera.listen(heard.append)
    frames = [camera.snapshot(5) for _ in range(3)]
    assert [(number_of(frame), frame.seq) for frame in frames] == [(1, 1), (1, 2), (1, 3)]
    assert camera.frames.take() is None
    assert dict(camera.counters.dropped) == {"snapshot": 3}
    assert is_right(camera)
    assert heard == []


def test_a_snapshot_while_streaming_is_the_newest_picture(open_camera: OpenCamera) -> None:
    camera = open_camera("pattern:?fps=20", fps=0.1)
    camera.wait_streaming(5)
    time.sleep(0.5)
    frame = camera.snapshot(5)
    assert frame.seq > 8
    assert number_of(frame) == frame.seq
    assert camera.counters.published == 1
    assert is_right(camera)


def test_a_snapshot_right_after_a_lease_has_ended_is_in_full(open_camera: OpenCamera, eventually: Eventually) -> None:
    camera = open_camera("pattern:?fps=2", fps=0, encoding=Encoding(follows=True, needed=(300, 300)))
    camera.wait_streaming(5)
    eventually(lambda: camera.newest is not None)
    assert camera.newest is not None
    assert camera.newest.width == 400
    camera.change(camera.settings)
    assert camera.snapshot(5).width == 640


def test_a_snapshot_of_a_slow_folder_does_not_wait_for_the_next_picture(
    open_camera: OpenCamera, tmp_path: Path, pictures: list[Pixels]
) -> None:
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(pictures[0], Encoding()))
    camera = open_camera(str(tmp_path), fps=0.01)
    camera.wait_streaming(5)
    assert camera.snapshot(1).seq == 1


def test_many_snapshots_at_once_are_served(open_camera: OpenCamera) -> None:
    camera, taken = open_camera("pattern:", is_streaming=False), list[Frame]()
    askers = [threading.Thread(target=lambda: taken.append(camera.snapshot(5))) for _ in range(20)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(taken) == 20
    assert is_right(camera)


def test_a_snapshot_that_cannot_be_had_says_why(open_camera: OpenCamera) -> None:
    camera = open_camera("/no/such/video.mp4", is_streaming=False)
    for _ in range(2):
        with pytest.raises(Unavailable, match="no such file"):
            camera.snapshot(5)
    assert camera.status.state is State.STOPPED


def test_a_snapshot_tries_a_lost_camera_at_once(
    open_camera: OpenCamera, make_video: Callable[..., Path], tmp_path: Path, eventually: Eventually
) -> None:
    path = tmp_path / "late.avi"
    camera = open_camera(str(path), backoff=Backoff(first=60, most=60))
    eventually(lambda: camera.status.state is State.LOST)
    make_video(5, name="late.avi")
    assert camera.snapshot(5).seq == 1


@pytest.mark.integration
def test_a_snapshot_that_takes_too_long_times_out(
    open_camera: OpenCamera, http_camera: Callable[..., HttpCamera]
) -> None:
    over = threading.Event()
    camera = open_camera(http_camera(lambda _: over.wait(20)).url(), is_streaming=False, open_timeout=2)
    with pytest.raises(TimedOut, match=r"no picture within 0\.2 s"):
        camera.snapshot(0.2)
    over.set()


def test_waiting_for_the_first_frame_ends_with_it_or_with_the_true_reason(open_camera: OpenCamera) -> None:
    open_camera("pattern:").wait_streaming(5)
    with pytest.raises(Unavailable, match=r"camera test: /no/such\.mp4: no such file"):
        open_camera("/no/such.mp4").wait_streaming(5)
    with pytest.raises(TimedOut, match="stopped"):
        open_camera("pattern:", is_streaming=False).wait_streaming(0.05)
