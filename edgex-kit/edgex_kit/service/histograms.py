"""A metric of many measurements: EdgeX's histogram (contract 1.13) and, in buckets, Prometheus's."""

import bisect
import math
import threading
from dataclasses import dataclass, field

from edgex_kit.wire.messages import MetricField

# Milliseconds; fine where frames are, coarse where something hangs.
MILLISECONDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 200.0, 500.0, 1000.0, 5000.0)


@dataclass(slots=True)
class Histogram:
    """Count, extremes, mean and spread of what was measured since the start."""

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    bounds: tuple[float, ...] = MILLISECONDS  # upper ends of the buckets
    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    _squares: float = 0.0  # sum of squared distances from the mean (Welford, Technometrics 4, 1962)
    _buckets: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, value: float) -> None:
        """Note one measurement."""
        with self._lock:
            if not self._buckets:
                self._buckets = [0] * (len(self.bounds) + 1)
            before = self.total / self.count if self.count else 0.0
            self.count += 1
            self.total += value
            self._squares += (value - before) * (value - self.total / self.count)
            self.least, self.most = min(self.least, value), max(self.most, value)
            self._buckets[bisect.bisect_left(self.bounds, value)] += 1

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus's buckets: upper end, and how many measurements lie at or below it."""
        with self._lock:
            counts = self._buckets or [0] * (len(self.bounds) + 1)
            ends = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
            return [(end, float(sum(counts[: index + 1]))) for index, end in enumerate(ends)]

    def fields(self) -> tuple[MetricField, ...]:
        """As EdgeX names them; zeros while nothing was measured."""
        with self._lock:
            some = self.count > 0
            variance = self._squares / (self.count - 1) if self.count > 1 else 0.0
            values = {
                "count": self.count,
                "min": self.least if some else 0.0,
                "max": self.most if some else 0.0,
                "mean": self.total / self.count if some else 0.0,
                "stddev": math.sqrt(max(variance, 0.0)),
                "variance": variance,
            }
        return tuple(MetricField(name=f"histogram-{name}", value=value) for name, value in values.items())
