"""device_camera.sources.v4l2: what can be said without a USB camera, and with one where there is one."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest
from device_camera.frame import Encoding, Moment, Size, frame_from_picture
from device_camera.sources import v4l2 as sources_v4l2
from device_camera.sources.base import SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.sources.v4l2 import V4l2Source, mode_for
from edgex_kit.wire.errors import Unavailable

if TYPE_CHECKING:
    from tests.device.conftest import FakeClock


def cause(node: str, clock: "FakeClock") -> str:
    with pytest.raises(Unavailable) as caught, open_source(parse_source(f"v4l2:{node}"), SourceOptions(), clock):
        pass
    return str(caught.value)


def test_a_camera_that_is_not_there_is_said_to_be_missing(clock: "FakeClock") -> None:
    assert cause("/dev/video987", clock) == "/dev/video987: no such file"


def test_a_file_is_no_camera(tmp_path: Path, clock: "FakeClock") -> None:
    (tmp_path / "video0").write_bytes(b"")
    assert "not a camera" in cause(str(tmp_path / "video0"), clock)


def test_another_device_is_no_camera(clock: "FakeClock") -> None:
    assert "not a camera" in cause("/dev/null", clock)


@pytest.mark.skipif(not Path("/dev/video0").exists(), reason="no camera at /dev/video0")
def test_a_real_camera_gives_pictures(clock: "FakeClock") -> None:
    with open_source(parse_source("/dev/video0"), SourceOptions(), clock) as source:
        for number in range(10):
            assert source.grab()
            frame = frame_from_picture(source.retrieve(), Encoding(), Moment(number, 0, 0))
            assert (frame.width, frame.height) == source.size


OWN = (1280, 720)
MODES = [(960, 540), (640, 360), (576, 324), (320, 180)]


@pytest.mark.parametrize(
    ("needed", "now", "mode"),
    [
        (None, (320, 180), OWN),
        ((534, 300), OWN, (576, 324)),
        ((534, 300), (960, 540), (576, 324)),
        ((600, 300), (576, 324), (640, 360)),  # what is needed comes before what would be saved
        ((1000, 10), (960, 540), OWN),
        ((4000, 3000), (960, 540), OWN),
    ],
)
def test_a_camera_is_asked_for_its_smallest_mode_that_is_enough(needed: Size | None, now: Size, mode: Size) -> None:
    assert mode_for(needed, OWN, MODES, now) == mode


def test_a_mode_is_not_changed_for_less_than_a_fifth_of_its_pixels() -> None:
    assert mode_for((580, 300), OWN, [(640, 360), (600, 338)], (640, 360)) == (640, 360)
    assert mode_for((580, 300), OWN, [(640, 360), (600, 338)], (600, 338)) == (600, 338)
    assert mode_for((1200, 300), OWN, [(1200, 676)], OWN) == OWN


class Modes:
    """What OpenCV's capture does of a camera that has MODES and its own, and comes up with its own."""

    def __init__(self) -> None:
        self.has = {cv2.CAP_PROP_FRAME_WIDTH: OWN[0], cv2.CAP_PROP_FRAME_HEIGHT: OWN[1], cv2.CAP_PROP_FPS: 30.0}

    def set(self, key: int, value: float) -> bool:
        self.has[key] = value
        return True

    def get(self, key: int) -> float:
        return self.has.get(key, 0.0)


def needing(options: SourceOptions, needed: Size | None, **changes: Any) -> SourceOptions:
    return replace(options, encoding=replace(options.encoding, needed=needed), **changes)


def opened(options: SourceOptions) -> V4l2Source:
    return V4l2Source(parse_source("v4l2:/dev/video0"), options, Modes())  # type: ignore[arg-type]


def test_a_camera_that_follows_is_opened_in_the_mode_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_v4l2, "_modes_like", lambda *_: MODES)
    follows = SourceOptions(encoding=Encoding(follows=True, needed=(534, 300)))
    source = opened(follows)
    assert (source.size, source.full_size, source.is_jpeg) == ((576, 324), OWN, True)
    assert source.adapt(needing(follows, (570, 320), fps=9)), "the mode stays"
    assert not source.adapt(needing(follows, (600, 300)))
    assert not source.adapt(needing(follows, None))
    assert not source.adapt(SourceOptions())
    assert opened(needing(follows, None)).size == OWN


def test_a_camera_without_other_modes_has_no_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_v4l2, "_modes_like", lambda *_: [])
    source = opened(follows := SourceOptions(encoding=Encoding(follows=True, needed=(534, 300))))
    assert (source.size, source.full_size) == (OWN, None)
    assert source.adapt(needing(follows, (100, 100)))
    assert opened(SourceOptions(encoding=Encoding(size=(640, 360)))).size == (640, 360), (
        "a size that is set is asked for as ever"
    )


def test_a_driver_that_answers_with_another_mode_is_not_opened_anew_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_v4l2, "_modes_like", lambda *_: MODES)
    monkeypatch.setattr(sources_v4l2, "size_of", lambda _: OWN)
    follows = SourceOptions(encoding=Encoding(follows=True, needed=(534, 300)))
    source = opened(follows)
    assert source.size == OWN
    assert source.adapt(replace(follows, fps=9))
