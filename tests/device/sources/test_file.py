"""device_camera.sources.file: a video at its own speed, once or over and over."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from device_camera.sources.base import Source, SourceEnded, SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.sources.pattern import number_in
from edgex_kit.wire.errors import Unavailable

if TYPE_CHECKING:
    from tests.device.conftest import FakeClock

SECOND = 1_000_000_000  # ns
MakeVideo = Callable[..., Path]


def next_number(source: Source) -> int:
    assert source.grab()
    return number_in(np.asarray(source.retrieve(), np.uint8))


def play(source: Source, count: int) -> None:
    for _ in range(count):
        source.grab()


def test_a_video_is_played_in_order_and_tells_its_facts(make_video: MakeVideo, clock: "FakeClock") -> None:
    with open_source(parse_source(str(make_video(12, fps=10))), SourceOptions(), clock) as source:
        assert (source.native_fps, source.size, source.is_jpeg) == (10, (320, 240), False)
        assert [next_number(source) for _ in range(12)] == list(range(1, 13))


def test_a_loop_begins_again_without_a_gap_in_time(make_video: MakeVideo, clock: "FakeClock") -> None:
    with open_source(parse_source(str(make_video(5, fps=10))), SourceOptions(), clock) as source:
        played = [(next_number(source), clock.now) for _ in range(23)]
    assert [number for number, _ in played] == ([1, 2, 3, 4, 5] * 5)[:23]
    steps = [(after - before) / SECOND for (_, before), (_, after) in itertools.pairwise(played)]
    assert steps == pytest.approx([0.1] * 22, abs=0.002)


def test_a_video_played_once_ends(make_video: MakeVideo, clock: "FakeClock") -> None:
    path = make_video(3)
    with open_source(parse_source(str(path)), SourceOptions(loop=False), clock) as source:
        assert [next_number(source) for _ in range(3)] == [1, 2, 3]
        with pytest.raises(SourceEnded, match="end of file"):
            source.grab()


def test_looping_can_be_switched_on_while_it_plays(make_video: MakeVideo, clock: "FakeClock") -> None:
    with open_source(parse_source(str(make_video(2))), SourceOptions(loop=False), clock) as source:
        next_number(source)
        assert source.adapt(SourceOptions(loop=True))
        assert [next_number(source) for _ in range(3)] == [2, 1, 2]


def test_a_removed_video_is_lost_although_it_is_open(make_video: MakeVideo, clock: "FakeClock") -> None:
    path = make_video(100, fps=10)
    with open_source(parse_source(str(path)), SourceOptions(), clock) as source:
        source.grab()
        path.unlink()
        with pytest.raises(Unavailable, match="no such file"):
            play(source, 20)


def test_a_replaced_video_is_opened_anew(make_video: MakeVideo, clock: "FakeClock") -> None:
    path, other = make_video(100, fps=10), make_video(3, name="other.avi")
    with open_source(parse_source(str(path)), SourceOptions(), clock) as source:
        source.grab()
        shutil.move(other, path)
        with pytest.raises(Unavailable, match="replaced"):
            play(source, 20)


def test_real_videos_are_played_at_their_rate(media: Path, clock: "FakeClock") -> None:
    for path, fps in (("intel_bottle-detection.mp4", 29.83), ("intel_car-detection.mp4", 12.5)):
        with open_source(parse_source(str(media / "video" / path)), SourceOptions(), clock) as source:
            source.grab()
            start = clock.now
            for _ in range(50):
                assert source.grab()
            assert 50 / ((clock.now - start) / SECOND) == pytest.approx(fps, rel=0.005)


@pytest.mark.fault(23)
def test_a_video_whose_name_has_colons_is_played_without_its_folder(
    make_video: MakeVideo, clock: "FakeClock", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2026-11-28T10:00:00.avi", "gate:front.avi", "rtmp:x.avi"):
        make_video(3, name=name)
        with open_source(parse_source(name), SourceOptions(), clock) as source:
            assert next_number(source) == 1
