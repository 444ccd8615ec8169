"""device_camera.sources.pattern: the test picture moves, keeps time and tells its number."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
from device_camera.frame import Encoding, decode_picture, encode_jpeg
from device_camera.sources.base import SourceOptions
from device_camera.sources.factory import open_source, parse_source
from device_camera.sources.pattern import Pattern, number_in, parse_pattern

if TYPE_CHECKING:
    from tests.device.conftest import FakeClock

SECOND = 1_000_000_000  # ns


def test_options_are_read() -> None:
    assert parse_pattern("") == Pattern((640, 480), 30)
    assert parse_pattern("?size=1280x720&fps=12.5") == Pattern((1280, 720), 12.5)


@pytest.mark.parametrize("size", ["64x64", "640x480", "1280x720", "333x777"])
def test_a_picture_moves_and_tells_its_number(size: str, clock: "FakeClock") -> None:
    with open_source(parse_source(f"pattern:?size={size}&fps=10"), SourceOptions(), clock) as source:
        shown = []
        for _ in range(12):
            assert source.grab()
            picture = source.retrieve()
            assert isinstance(picture, np.ndarray)
            shown.append(picture)
    assert [number_in(picture) for picture in shown] == list(range(1, 13))
    assert (shown[0].shape[1], shown[0].shape[0]) == source.size
    upper = slice(0, shown[0].shape[0] // 2)  # no figures there: what differs has moved
    assert not np.array_equal(shown[0][upper], shown[5][upper])


@pytest.mark.parametrize(("quality", "size"), [(30, (160, 0)), (80, (1000, 0))])
def test_the_number_is_read_after_jpeg_and_resizing(quality: int, size: tuple[int, int], clock: "FakeClock") -> None:
    with open_source(parse_source("pattern:?fps=200"), SourceOptions(), clock) as source:
        for _ in range(1234):
            source.grab()
        jpeg = encode_jpeg(np.asarray(source.retrieve(), np.uint8), Encoding(quality=quality))
    assert number_in(decode_picture(jpeg)) == 1234


def test_pictures_come_at_the_rate_asked_for(clock: "FakeClock") -> None:
    with open_source(parse_source("pattern:?fps=30"), SourceOptions(), clock) as source:
        source.grab()
        start = clock.now
        for _ in range(300):
            clock.pass_by(0.01)
            assert source.grab()
    assert (clock.now - start) / SECOND == pytest.approx(10, abs=0.001)
