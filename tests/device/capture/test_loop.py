"""device_camera.capture.loop: due or not, whole or damaged, taken or replaced; by a clock that obeys."""

from typing import TYPE_CHECKING

import pytest
from device_camera.capture.counters import FrameCounter
from device_camera.capture.loop import FrameMaker
from device_camera.frame import Encoding, Frame, Picture, Pixels, encode_jpeg
from device_camera.sources.base import Source, SourceOptions
from edgex_kit.bus.queues import Latest
from edgex_kit.wire.errors import Unavailable

if TYPE_CHECKING:
    from tests.device.conftest import FakeClock


class Reel(Source):
    """A source of given pictures, one every `seconds`; counts how many were decoded."""

    is_jpeg = True
    native_fps = 0.0
    size = (0, 0)

    def __init__(self, clock: "FakeClock", picture: Picture | Exception, seconds: float) -> None:
        self.picture = picture
        self.retrieved = 0
        self._clock = clock
        self._seconds = seconds

    def grab(self) -> bool:
        self._clock.pass_by(self._seconds)
        return True

    def retrieve(self) -> Picture:
        self.retrieved += 1
        if isinstance(self.picture, Exception):
            raise self.picture
        return self.picture


class Bench:
    """A maker with its surroundings."""

    def __init__(self, clock: "FakeClock", picture: Picture | Exception, fps: float, source_fps: float = 30.0) -> None:
        self.frames: Latest[Frame] = Latest()
        self.counter = FrameCounter()
        self.maker = FrameMaker("gate", clock, self.frames, self.counter)
        self.maker.adopt(SourceOptions(fps=fps))
        self.source = Reel(clock, picture, 1 / source_fps)

    def run(self, count: int, *, is_taken: bool = True, is_wanted: bool = False) -> list[Frame]:
        taken = []
        for _ in range(count):
            self.source.grab()
            self.maker.take(self.source, is_wanted=is_wanted)
            if is_taken and (frame := self.frames.take()):
                taken.append(frame)
        return taken

    def counted(self) -> tuple[int, int, dict[str, int]]:
        counters = self.counter.read()
        return counters.captured, counters.published, dict(counters.dropped)


BROKEN = b"\xff\xd8 no header"


@pytest.fixture
def jpeg(pictures: list[Pixels]) -> bytes:
    return encode_jpeg(pictures[0], Encoding())


def test_what_is_not_due_is_counted_and_not_decoded(clock: "FakeClock", jpeg: bytes) -> None:
    bench = Bench(clock, jpeg, fps=5)
    taken = bench.run(300)
    assert bench.counted() == (300, 50, {"rate": 250})
    assert bench.source.retrieved == len(taken) == 50


def test_frames_that_nobody_takes_are_replaced_and_counted(clock: "FakeClock", jpeg: bytes) -> None:
    bench = Bench(clock, jpeg, fps=0)
    bench.run(100, is_taken=False)
    assert bench.counted() == (100, 1, {"busy": 99})
    newest = bench.frames.take()
    assert newest is not None
    assert newest.seq == 100


def test_damaged_pictures_are_counted(clock: "FakeClock", jpeg: bytes) -> None:
    bench = Bench(clock, BROKEN, fps=0)
    assert bench.run(3) == []
    bench.source.picture = jpeg
    assert [frame.seq for frame in bench.run(1)] == [4]
    assert bench.counted() == (4, 1, {"damaged": 3})


def test_a_damaged_picture_is_said_with_camera_and_cause_and_no_more_than_once_a_minute(
    clock: "FakeClock", jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(clock, jpeg, fps=0, source_fps=1)
    for second in range(121):
        bench.source.picture = jpeg if second % 5 else BROKEN
        bench.run(1)
    said = [record.message for record in caplog.records if record.name == "device_camera.capture.loop"]
    assert len(said) == 3
    assert all("gate" in line and "JPEG" in line for line in said)


def test_nothing_but_damaged_pictures_is_a_lost_source(clock: "FakeClock", jpeg: bytes) -> None:
    bench = Bench(clock, BROKEN, fps=0, source_fps=1)
    with pytest.raises(Unavailable, match="no whole picture"):
        bench.run(100)
    captured, published, dropped = bench.counted()
    assert (captured, published, dropped) == (12, 0, {"damaged": 12})


def test_one_damaged_picture_after_a_long_pause_is_borne(clock: "FakeClock", jpeg: bytes) -> None:
    bench = Bench(clock, jpeg, fps=0, source_fps=0.01)
    bench.run(1)
    bench.source.picture = BROKEN
    bench.run(1)
    assert bench.counted() == (2, 1, {"damaged": 1})


def test_damaged_pictures_among_whole_ones_are_borne_for_ever(clock: "FakeClock", jpeg: bytes) -> None:
    bench = Bench(clock, jpeg, fps=0, source_fps=1)
    for _ in range(20):
        bench.source.picture = BROKEN
        bench.run(5)
        bench.source.picture = jpeg
        bench.run(1)
    assert bench.counted() == (120, 20, {"damaged": 100})


def test_a_picture_whose_source_breaks_off_is_counted(clock: "FakeClock") -> None:
    bench = Bench(clock, Unavailable("unplugged"), fps=0)
    with pytest.raises(Unavailable, match="unplugged"):
        bench.run(1)
    assert bench.counted() == (1, 0, {"failed": 1})


def test_a_wanted_picture_is_taken_but_not_published_out_of_turn(clock: "FakeClock", jpeg: bytes) -> None:
    bench = Bench(clock, jpeg, fps=1)
    published = bench.run(30, is_wanted=True)
    assert len(published) == 1
    assert bench.source.retrieved == 30
    assert bench.maker.newest is not None
    assert bench.maker.newest.seq == 30
    assert bench.counted() == (30, 1, {"rate": 29})


def test_a_picture_for_a_snapshot_only_is_never_published(clock: "FakeClock", jpeg: bytes) -> None:
    bench = Bench(clock, jpeg, fps=0)
    frame = bench.maker.take_one(bench.source)
    assert frame is not None
    assert frame.seq == 1
    assert bench.frames.take() is None
    assert bench.counted() == (1, 0, {"snapshot": 1})


def test_a_change_of_rate_or_quality_holds_from_the_next_picture(clock: "FakeClock", pictures: list[Pixels]) -> None:
    bench = Bench(clock, pictures[0], fps=0)
    (before,) = bench.run(1)
    bench.maker.adopt(SourceOptions(fps=10, encoding=Encoding(quality=20)))
    after = bench.run(30)
    assert len(after) == 10
    assert len(after[0].jpeg) < len(before.jpeg)
    assert after[0].seq == 2


def test_a_picture_of_a_smaller_mode_is_not_encoded_twice(clock: "FakeClock", pictures: list[Pixels]) -> None:
    bench = Bench(clock, pictures[0], fps=0)
    height, width = pictures[0].shape[:2]
    bench.source.is_jpeg, bench.source.size, bench.source.full_size = False, (width, height), (2 * width, 2 * height)
    frame = bench.maker.take_one(bench.source)
    assert frame is not None
    assert not frame.is_whole
    assert bench.maker.in_full(bench.source, frame) is frame
    assert bench.source.retrieved == 1
