"""When a camera counts as live, and how fast it is."""

from collections import deque

import pytest
from app_inference.view import LIVE_S, is_live, rate


def _every(period: float, count: int) -> deque[float]:
    return deque(index * period for index in range(count))


def test_a_camera_without_a_frame_is_not_live() -> None:
    assert not is_live(deque(), 0.0)


@pytest.mark.parametrize(
    ("period", "silence", "live"), [(0.1, 4, True), (0.1, 6, False), (60, 100, True), (60, 200, False)]
)
def test_a_camera_is_live_for_three_of_its_own_intervals_or_five_seconds(
    period: float, silence: float, live: bool
) -> None:
    stamps = _every(period, 5)
    assert is_live(stamps, stamps[-1] + silence) is live


def test_one_outage_does_not_make_a_camera_a_slow_one() -> None:
    stamps = deque([*_every(0.1, 20), *(1000 + stamp for stamp in _every(0.1, 20))])
    assert not is_live(stamps, stamps[-1] + LIVE_S + 1)


def test_a_rate_falls_to_nothing_when_frames_stop() -> None:
    stamps = _every(0.1, 100)
    assert rate(stamps, stamps[-1]) == pytest.approx(10, rel=0.05)
    assert rate(stamps, stamps[-1] + 6) == 0
