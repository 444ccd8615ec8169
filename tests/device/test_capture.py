"""device_camera.capture: a camera's thread with real sources."""

import asyncio
import dataclasses
import gc
import http.server
import itertools
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from device_camera import capture, capture_loop
from device_camera.backoff import Backoff
from device_camera.camera_settings import CameraSettings
from device_camera.capture import Camera
from device_camera.frames import Encoding, Frame, Pixels, decode_picture, encode_jpeg
from device_camera.health import State, Status
from device_camera.sources import Credentials, parse_source
from device_camera.sources_pattern import number_in
from edgex_kit.errors import Invalid, TimedOut, Unavailable

if TYPE_CHECKING:
    from conftest import HttpCamera, RtspCamera

Eventually = Callable[..., None]
OpenCamera = Callable[..., Camera]
SOON = Backoff(first=0.05, most=0.2)


@pytest.fixture
def open_camera() -> Iterator[OpenCamera]:
    """Cameras that are closed in the end: open_camera("pattern:", fps=10)."""
    with ExitStack() as opened:

        def start(source: str, *, is_streaming: bool = True, **settings: Any) -> Camera:
            wanted = CameraSettings(source=parse_source(source), **{"backoff": SOON, **settings})
            camera = opened.enter_context(Camera("test", wanted))
            if is_streaming:
                camera.start_streaming()
            return camera

        yield start


def take(camera: Camera, count: int, seconds: float = 10.0) -> list[Frame]:
    """The next `count` frames, taken as fast as they come."""
    taken: list[Frame] = []
    deadline = time.monotonic() + seconds
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} frames came: {camera.status}, {camera.counters}"
        if frame := camera.frames.take():
            taken.append(frame)
        time.sleep(0.001)
    return taken


def number_of(frame: Frame) -> int:
    return number_in(decode_picture(frame.jpeg))


def is_right(camera: Camera) -> bool:
    counters = camera.counters
    return counters.captured == counters.published + sum(counters.dropped.values())


def states(heard: list[Status]) -> list[str]:
    return [status.state.value for status in heard]


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
    assert not camera.is_streaming_wanted
    camera.start_streaming()
    assert [(number_of(frame), frame.seq) for frame in take(camera, 2)] == [(1, 5), (2, 6)]


def test_a_folder_of_jpegs_is_published_byte_for_byte(
    open_camera: OpenCamera, tmp_path: Path, pictures: list[Pixels]
) -> None:
    files = [encode_jpeg(picture, Encoding(quality=97)) for picture in pictures]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    frames = take(open_camera(str(tmp_path), fps=50), 8)
    assert [frame.jpeg for frame in frames] == (files * 2)[:8]
    assert {(frame.width, frame.height) for frame in frames} == {(320, 240)}


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


def test_a_video_that_is_replaced_by_another_is_opened_anew(
    open_camera: OpenCamera, make_video: Callable[..., Path], tmp_path: Path, eventually: Eventually
) -> None:
    video, other = make_video(200, fps=50), make_video(3, fps=50, name="other.avi")
    camera = open_camera(str(video), fps=0)
    take(camera, 10)
    shutil.move(other, video)
    eventually(lambda: number_of(take(camera, 1)[0]) < 4 and number_of(take(camera, 1)[0]) < 4)


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
    http_camera: Callable[..., "HttpCamera"],
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
    http_camera: Callable[..., "HttpCamera"], eventually: Eventually
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


def test_closing_does_not_hang_on_a_dead_rtsp_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capture, "_CLOSING", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as dead:
        url = f"rtsp://127.0.0.1:{dead.getsockname()[1]}/live"
        with Camera("dead", CameraSettings(source=parse_source(url), open_timeout=2)) as camera:
            camera.start_streaming()
            time.sleep(0.2)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        assert camera.status.state is State.STOPPED
        assert "does not let go" in caplog.text
        with pytest.raises(Unavailable, match="closed"):
            camera.snapshot(1)


def test_a_source_that_hangs_beyond_every_timeout_is_found_lost(
    open_camera: OpenCamera, tmp_path: Path, eventually: Eventually
) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)  # to open it waits for a writer, without any time-out
    camera = open_camera(str(pipe), open_timeout=0.1, read_timeout=0.1)

    def is_lost() -> bool:
        camera.watch()
        return camera.status.state is State.LOST

    eventually(is_lost)
    assert "has not answered" in camera.status.reason
    pipe.open("wb").close()


def test_a_resting_camera_is_not_taken_for_one_that_hangs(open_camera: OpenCamera, eventually: Eventually) -> None:
    camera = open_camera("pattern:?fps=0.5", open_timeout=0.01, read_timeout=0.01)
    eventually(lambda: camera.status.state is State.STREAMING)
    time.sleep(0.3)
    camera.watch()
    assert camera.status.state is State.STREAMING


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


def test_a_snapshot_that_takes_too_long_times_out(
    open_camera: OpenCamera, http_camera: Callable[..., "HttpCamera"]
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


def test_a_frame_that_does_not_get_out_is_counted_as_dropped(open_camera: OpenCamera) -> None:
    camera = open_camera("pattern:?fps=1", fps=0)
    take(camera, 1)
    camera.count_withdrawn("too-large")
    counters = camera.counters
    assert (counters.captured, counters.published, dict(counters.dropped)) == (1, 0, {"too-large": 1})


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


@pytest.mark.parametrize("wrong", [{"fps": -1}, {"fps": float("nan")}, {"read_timeout": 0}, {"open_timeout": 1e9}])
def test_impossible_settings_are_invalid(wrong: dict[str, float]) -> None:
    with pytest.raises(Invalid, match="expected"):
        CameraSettings(source=parse_source("pattern:"), **wrong)  # type: ignore[arg-type]


def test_an_rtsp_camera_that_is_killed_and_comes_back_is_found_again(
    open_camera: OpenCamera, rtsp_camera: Callable[..., "RtspCamera"], eventually: Eventually
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
    open_camera: OpenCamera, rtsp_camera: Callable[..., "RtspCamera"], eventually: Eventually
) -> None:
    server = rtsp_camera("user", "right")
    camera = open_camera(server.url(), credentials=Credentials("user", "wrong"), backoff=Backoff(first=60, most=60))
    eventually(lambda: camera.status.state is State.LOST)
    assert "authentication failed" in camera.status.reason
    camera.change(dataclasses.replace(camera.settings, credentials=Credentials("user", "right")))
    eventually(lambda: camera.status.state is State.STREAMING, 10)
