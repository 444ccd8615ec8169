"""Candidates measured in turn: what a neighbour takes from the machine, it takes from all of them."""

from collections.abc import Callable, Mapping
from typing import Any


def alternate(candidates: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each candidate gave in every round; every second round goes through them backwards."""
    given: dict[str, list[Any]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name in list(candidates) if number % 2 == 0 else reversed(list(candidates)):
            given[name].append(candidates[name]())
    return given
