"""What a scenario is given: how long it may take, where it may write, and where it says what it is doing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from benchmarks.figures import Figure


@dataclass(frozen=True, slots=True)
class Bench:
    """One run."""

    is_quick: bool
    folder: Path  # models, caches and logs
    soak_seconds: float
    say: Callable[[str], object]

    @property
    def rounds(self) -> int:
        """How often every candidate has its turn."""
        return 1 if self.is_quick else 5

    def seconds(self, full: float, quick: float = 1.0) -> float:
        """How long one measurement takes."""
        return quick if self.is_quick else full


Scenario: TypeAlias = Callable[[Bench], Iterator[Figure]]


class NotMeasured(RuntimeError):
    """Something went wrong that makes a figure worthless: frames were lost, a process has ended."""
