"""How long to wait before a lost camera is tried again: longer each time, never quite the same."""

import random
from dataclasses import dataclass

from edgex_kit.wire.errors import Invalid


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays first, first*factor, ... up to `most` seconds, each moved by up to `jitter` of itself either way.

    The jitter keeps twenty cameras behind one switch from coming back in the same instant.
    """

    first: float = 1.0  # seconds
    factor: float = 2.0
    most: float = 30.0  # seconds
    jitter: float = 0.2  # 0..1

    def __post_init__(self) -> None:
        if not (0 < self.first <= self.most and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise Invalid(f"back-off with 0 < first <= most, factor >= 1 and jitter from 0 to 1 expected, got {self}")

    def delay(self, failures: int, chance: random.Random) -> float:
        """Seconds to wait after the `failures`-th failure in a row (1, 2, ...)."""
        exponent = min(failures - 1, 64)  # far beyond `most` for any factor that grows; keeps the float finite
        plain = min(self.most, self.first * self.factor**exponent)
        return plain * (1 + self.jitter * (2 * chance.random() - 1))
