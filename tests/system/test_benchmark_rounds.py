"""Which rounds of a benchmark count: those that the hypervisor left alone, whatever they gave."""

import pytest

from benchmarks.rounds import DISTURBED, alternate, play
from benchmarks.steal import Steal

CALM, ROUGH = DISTURBED / 2, DISTURBED * 5


class Told(Steal):
    """A share that a test chooses."""

    def __init__(self, share: float) -> None:
        self._share = share

    def share(self) -> float:
        return self._share


@pytest.mark.parametrize(
    ("shares", "counted"),
    [
        ([CALM] * 4, [0, 1, 2, 3]),
        ([CALM, ROUGH, CALM, CALM, CALM], [0, 2, 3, 4]),
        ([ROUGH, CALM, CALM, 2 * ROUGH, CALM, ROUGH / 2], [1, 2, 4, 5]),
        ([ROUGH] * 6, [0, 1, 2, 3]),
    ],
    ids=["all calm", "one again", "two again, the least disturbed", "never calm"],
)
def test_disturbed_rounds_are_played_again_within_limits(shares: list[float], counted: list[int]) -> None:
    left, numbers = iter(shares), iter(range(len(shares)))
    assert play(lambda: next(numbers), 4, stolen=lambda: Told(next(left))) == counted
    assert next(left, None) is None


def test_candidates_take_turns_and_every_second_round_goes_backwards() -> None:
    seen: list[str] = []

    def turn(name: str) -> str:
        seen.append(name)
        return name * len(seen)

    given = alternate({"a": lambda: turn("a"), "b": lambda: turn("b")}, 2)
    assert seen[:4] == ["a", "b", "b", "a"]
    assert set(given) == {"a", "b"}
    assert [len(values) for values in given.values()] == [2, 2]


def test_what_is_stolen_is_a_share() -> None:
    assert 0 <= Steal().share() <= 1
