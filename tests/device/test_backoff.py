"""device_camera.backoff: longer each time, never quite the same."""

import random

import pytest
from device_camera.backoff import Backoff
from edgex_kit.wire.errors import Invalid


def test_delays_grow_up_to_the_most() -> None:
    backoff = Backoff(first=1, factor=2, most=30, jitter=0)
    assert [backoff.delay(failures, random.Random()) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_camera_lost_for_years_is_still_tried() -> None:
    assert Backoff(jitter=0).delay(10**9, random.Random()) == 30


def test_jitter_spreads_delays_within_its_bounds() -> None:
    chance = random.Random(3)
    delays = [Backoff(first=10, jitter=0.2).delay(1, chance) for _ in range(500)]
    assert 8 <= min(delays) < 8.5
    assert 11.5 < max(delays) <= 12


@pytest.mark.parametrize("wrong", [{"first": 0}, {"first": 9, "most": 3}, {"factor": 0.5}, {"jitter": 2}])
def test_an_impossible_backoff_is_invalid(wrong: dict[str, float]) -> None:
    with pytest.raises(Invalid, match="back-off"):
        Backoff(**wrong)
