"""device_camera.capture.camera: a camera's thread with real sources."""

import asyncio
import dataclasses
import gc
import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from device_camera.capture.camera import Camera
from device_camera.capture.state import State, Status
from device_camera.frame import Encoding, Frame
from device_camera.settings import CameraSettings
from device_camera.sources.factory import parse_source
from edgex_kit.wire.errors import Invalid

from tests.device.frames import is_right, number_of, states, take

Eventually = Callable[..., None]
OpenCamera = Callable[..., Camera]


async def test_at_30_fps_with_a_slow_taker_every_frame_is_accounted_for(open_camera: OpenCamera) -> None:
    camera = open_camera("pattern:?size=640x480&fps=30", fps=30)
    taken: list[Frame] = []

    async def take_slowly() -> None:
        while True:
            taken.append(await camera.frames.get())
            await asyncio.sleep(0.2)

    task = asyncio.create_task(take_slowly())
    began = time.monotonic()
    while time.monotonic() - began < 3:
        assert is_right(camera)
        await asyncio.sleep(0.01)
    await asyncio.to_thread(camera.close)
    elapsed = time.monotonic() - began
    await asyncio.sleep(0.25)
    task.cancel()
    counters = camera.counters
    assert is_right(camera)
    assert 0.7 * 30 * elapsed < counters.captured < 30 * elapsed + 3
    assert counters.published == len(taken) < 5 * elapsed + 3
    assert counters.dropped["busy"] == counters.captured - len(taken)
    assert [frame.seq for frame in taken] == sorted({frame.seq for frame in taken})
    taken.clear()
    assert sum(isinstance(held, Frame) for held in gc.get_objects()) <= 2  # none piles up anywhere


def test_frames_are_published_at_the_rate_asked_for(open_camera: OpenCamera) -> None:
    camera = open_camera("pattern:?fps=60", fps=10)
    frames = take(camera, 21)
    elapsed = (frames[-1].captured_mono_ns - frames[0].captured_mono_ns) / 1e9
    assert elapsed == pytest.approx(2, abs=0.15)
    assert is_right(camera)
    assert camera.counters.dropped["rate"] >= 95


def test_a_looped_video_keeps_its_speed_and_has_no_break_in_seq(
    open_camera: OpenCamera, make_video: Callable[..., Path]
) -> None:
    camera = open_camera(str(make_video(7, fps=20)), fps=0)
    frames = take(camera, 41)
    assert [frame.seq for frame in frames] == list(range(1, 42))
    assert [number_of(frame) for frame in frames] == [1 + at % 7 for at in range(41)]
    elapsed = (frames[-1].captured_mono_ns - frames[0].captured_mono_ns) / 1e9
    assert elapsed == pytest.approx(2, abs=0.1)
    unix = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    assert unix == pytest.approx(elapsed, abs=0.05)


def test_a_video_played_once_stops_and_says_why(
    open_camera: OpenCamera, make_video: Callable[..., Path], eventually: Eventually
) -> None:
    camera = open_camera(str(make_video(4, fps=50)), fps=0, loop=False)
    assert [number_of(frame) for frame in take(camera, 4)] == [1, 2, 3, 4]
    eventually(lambda: camera.status.state is State.STOPPED)
    assert "end of file" in camera.status.reason
    assert not camera.is_streaming_requested
    camera.start_streaming()
    assert [(number_of(frame), frame.seq) for frame in take(camera, 2)] == [(1, 5), (2, 6)]


def test_a_video_that_is_replaced_by_another_is_opened_anew(
    open_camera: OpenCamera, make_video: Callable[..., Path], tmp_path: Path, eventually: Eventually
) -> None:
    video, other = make_video(200, fps=50), make_video(3, fps=50, name="other.avi")
    camera = open_camera(str(video), fps=0)
    take(camera, 10)
    shutil.move(other, video)
    eventually(lambda: number_of(take(camera, 1)[0]) < 4 and number_of(take(camera, 1)[0]) < 4)


def test_streaming_is_switched_off_and_on(open_camera: OpenCamera, eventually: Eventually) -> None:
    camera, heard = open_camera("pattern:?fps=50", is_streaming=False), list[Status]()
    camera.listen(heard.append)
    camera.start_streaming()
    last = take(camera, 3)[-1].seq
    camera.stop_streaming()
    eventually(lambda: camera.status.state is State.STOPPED)
    assert camera.status.reason == "streaming is off"
    captured = camera.counters.captured
    time.sleep(0.1)
    assert camera.counters.captured == captured
    camera.frames.take()
    camera.start_streaming()
    assert take(camera, 1)[0].seq > max(last, captured - 1)
    assert states(heard) == ["connecting", "streaming", "stopped", "connecting", "streaming"]


def test_rate_size_and_quality_change_while_it_streams(open_camera: OpenCamera, eventually: Eventually) -> None:
    camera, heard = open_camera("pattern:?fps=40&size=640x480", fps=0), list[Status]()
    (before,) = take(camera, 1)
    camera.listen(heard.append)
    camera.change(dataclasses.replace(camera.settings, fps=10, encoding=Encoding(quality=20, size=(320, 0))))
    eventually(lambda: take(camera, 1)[0].width == 320)
    frames = take(camera, 6)
    gaps = [after.seq - before.seq for before, after in itertools.pairwise(frames)]
    assert sum(gaps) == pytest.approx(20, abs=2)
    assert {(frame.width, frame.height) for frame in frames} == {(320, 240)}
    assert len(frames[0].jpeg) < len(before.jpeg) / 2
    assert number_of(frames[-1]) == frames[-1].seq  # the source was not opened anew
    assert heard == []


def test_another_source_is_opened_and_seq_goes_on(open_camera: OpenCamera, make_video: Callable[..., Path]) -> None:
    camera = open_camera("pattern:?fps=50", fps=0)
    take(camera, 5)
    camera.change(dataclasses.replace(camera.settings, source=parse_source(str(make_video(100, fps=20)))))
    frames = take(camera, 20)
    assert [frame.seq for frame in frames] == sorted({frame.seq for frame in frames})
    assert frames[-1].seq > number_of(frames[-1])
    assert camera.facts is not None
    assert camera.facts.native_fps == 20


@pytest.mark.parametrize("wrong", [{"fps": -1}, {"fps": float("nan")}, {"read_timeout": 0}, {"open_timeout": 1e9}])
def test_impossible_settings_are_invalid(wrong: dict[str, float]) -> None:
    with pytest.raises(Invalid, match="expected"):
        CameraSettings(source=parse_source("pattern:"), **wrong)  # type: ignore[arg-type]
