"""Which frames both versions analyse."""

import pytest
from app_inference.pipeline import comparing
from app_inference.pipeline.comparing import Comparisons
from app_inference.vision.comparison import Comparison


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(comparing, "time", clock)
    return clock


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_second_analyses_take_their_share_of_a_core_and_no_more(clock: Clock, share: float) -> None:
    comparisons, spent = Comparisons(), 0.0
    comparisons.start(share)
    while clock.now < 200:
        if comparisons.is_due():
            clock.now += 0.02
            spent += 0.02
            comparisons.spend(0.02)
        else:
            clock.now += 0.001
    assert spent / 100 == pytest.approx(share, abs=0.02)


def test_a_quiet_hour_is_not_made_up_for(clock: Clock) -> None:
    comparisons = Comparisons()
    comparisons.start(0.1)
    clock.now += 3600
    comparisons.spend(0.05)
    assert not comparisons.is_due()


def test_without_a_share_nothing_is_compared_and_a_start_forgets() -> None:
    comparisons = Comparisons()
    assert not comparisons.is_due()
    comparisons.start(0.5)
    comparisons.add("gate", Comparison())
    assert len(comparisons.take()) == 1
    assert comparisons.take() == []
    comparisons.add("gate", Comparison())
    comparisons.start(0)
    assert comparisons.take() == []
    assert not comparisons.is_due()
