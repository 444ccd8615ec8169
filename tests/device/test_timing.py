"""device_camera.timing: when a picture comes and which frame is due, by a clock that obeys."""

import itertools
from typing import TYPE_CHECKING

import pytest
from device_camera.timing import Pace, RateGate

if TYPE_CHECKING:
    from tests.device.conftest import FakeClock

SECOND = 1_000_000_000  # ns


def arrivals(pace: Pace, clock: "FakeClock", count: int, step: float, work: float = 0.0) -> list[float]:
    """Seconds at which pictures came, each followed by `work` seconds of the taker."""
    came = []
    for _ in range(count):
        assert pace.wait(lambda: step)
        came.append(clock.now / SECOND)
        clock.pass_by(work)
    return [at - came[0] for at in came]


def test_the_first_picture_comes_at_once(clock: "FakeClock") -> None:
    assert arrivals(Pace(clock), clock, 1, 10.0) == [0]
    assert clock.waits == []


def test_work_between_pictures_does_not_make_them_drift(clock: "FakeClock") -> None:
    came = arrivals(Pace(clock), clock, 3001, 1 / 30, work=0.02)
    assert came[-1] == pytest.approx(100, abs=1e-4)


def test_a_late_picture_does_not_make_the_next_ones_hurry(clock: "FakeClock") -> None:
    pace = Pace(clock)
    arrivals(pace, clock, 3, 0.1)
    clock.pass_by(5.03)
    came = arrivals(pace, clock, 5, 0.1)
    assert [round(after - before, 3) for before, after in itertools.pairwise(came)] == [0.07, 0.1, 0.1, 0.1]


def test_a_wake_ends_the_wait_and_the_picture_still_comes_on_time(clock: "FakeClock") -> None:
    pace = Pace(clock)
    arrivals(pace, clock, 1, 0.1)
    start = clock.now
    clock.wakes = 2
    assert [pace.wait(lambda: 0.1) for _ in range(3)] == [False, False, True]
    assert clock.now - start == SECOND // 10


def test_steps_may_differ(clock: "FakeClock") -> None:
    pace, came = Pace(clock), []
    for step in (0.5, 0.1, 0.3, 0.02):
        pace.wait(lambda step=step: step)
        came.append((clock.now - 5 * SECOND) / SECOND)
    assert came == pytest.approx([0, 0.1, 0.4, 0.42])


def through(gate: RateGate, moments: list[float]) -> list[float]:
    return [at for at in moments if gate.is_due(round(at * SECOND))]


@pytest.mark.parametrize(
    ("source", "asked", "expected"),
    [(30, 5, 5), (30, 30, 30), (12.5, 10, 10), (10, 30, 10), (29.97, 15, 15), (30, 29, 29)],
)
def test_the_rate_asked_for_comes_out_of_any_camera(source: float, asked: float, expected: float) -> None:
    frames = through(RateGate(asked), [number / source for number in range(round(source * 60))])
    assert len(frames) / 60 == pytest.approx(expected, rel=0.02)


def test_a_rate_of_0_lets_every_frame_through() -> None:
    moments = [number / 97 for number in range(500)]
    assert through(RateGate(0), moments) == moments


def test_the_jitter_of_a_camera_costs_no_frame() -> None:
    moments = [number / 30 + (0.004 if number % 2 else -0.004) for number in range(1, 301)]
    assert through(RateGate(30), moments) == moments


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    gate = RateGate(5)
    through(gate, [number / 30 for number in range(30)])
    assert len(through(gate, [60 + number / 30 for number in range(30)])) == 5
