"""Candidates measured in turn: what a neighbour takes from the machine, it takes from all of them.

Some of what the hypervisor takes falls on one candidate alone. A round in which it took much is played again, within
limits; which rounds count is decided by that alone, and not by what they gave.
"""

from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any, TypeVar

from benchmarks.steal import Steal

Given = TypeVar("Given")
DISTURBED = 0.01  # of the time of all cores, in one round


def play(one_round: Callable[[], Given], rounds: int, stolen: Callable[[], Steal] = Steal) -> list[Given]:
    """What `one_round` gave in each of `rounds` rounds, in their order.

    Up to half as many again are played as long as there are not enough from which little was stolen; the least
    disturbed count.
    """
    played: list[tuple[float, int, Given]] = []
    while len(played) < rounds or (_calm(played) < rounds and len(played) < rounds + rounds // 2):
        steal = stolen()
        given = one_round()
        played.append((steal.share(), len(played), given))
    least = sorted(played, key=lambda one: one[0])[:rounds]
    return [given for _, _, given in sorted(least, key=lambda one: one[1])]


def alternate(candidates: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each candidate gave in every round; every second round goes through them backwards."""
    orders = cycle((list(candidates), list(candidates)[::-1]))
    played = play(lambda: {name: candidates[name]() for name in next(orders)}, rounds)
    return {name: [given[name] for given in played] for name in candidates}


def _calm(played: list[tuple[float, int, Any]]) -> int:
    return sum(share <= DISTURBED for share, _, _ in played)
