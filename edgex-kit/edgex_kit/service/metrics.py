"""Counters, gauges and histograms, published as EdgeX telemetry and scraped by Prometheus.

A metric is made once with its tags and changed from any thread.
"""

import asyncio
import bisect
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgex_kit.bus.bus import Bus
from edgex_kit.config.settings import TelemetrySection
from edgex_kit.wire import codec
from edgex_kit.wire.durations import parse_duration
from edgex_kit.wire.messages import Metric, MetricField, MetricTag
from edgex_kit.wire.topics import Topics

_CHECK_EVERY = 1.0  # seconds; the interval may change meanwhile


@dataclass(slots=True)
class Counter:
    """A number that only grows."""

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    value: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, amount: int = 1) -> None:
        """Count `amount` more."""
        with self._lock:
            self.value += amount

    def fields(self) -> tuple[MetricField, ...]:
        """The fields of EdgeX's telemetry."""
        return (MetricField(name="counter-count", value=self.value),)


@dataclass(slots=True)
class Gauge:
    """The latest of something; an int is EdgeX's gauge, a float its gaugeFloat64."""

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    value: int | float = 0

    def set(self, value: float) -> None:
        """Replace the value."""
        self.value = value

    def fields(self) -> tuple[MetricField, ...]:
        """The fields of EdgeX's telemetry."""
        kind = "gaugeFloat64-value" if isinstance(self.value, float) else "gauge-value"
        return (MetricField(name=kind, value=self.value),)


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


AnyMetric = Counter | Gauge | Histogram
M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """All metrics of one service."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._lock = threading.Lock()
        self._metrics: dict[tuple[str, tuple[tuple[str, str], ...]], AnyMetric] = {}

    def counter(self, name: str, **tags: str) -> Counter:
        """The counter of that name and tags, made when it is new."""
        return self._made(Counter, name, tags)

    def gauge(self, name: str, **tags: str) -> Gauge:
        """The gauge of that name and tags, made when it is new."""
        return self._made(Gauge, name, tags)

    def histogram(self, name: str, **tags: str) -> Histogram:
        """The histogram of that name and tags, made when it is new."""
        return self._made(Histogram, name, tags)

    def _made(self, kind: type[M], name: str, tags: dict[str, str]) -> M:
        key = (name, tuple(sorted(tags.items())))
        found = self._metrics.get(key)  # nearly every look-up of a frame's dozen ends here
        if found is None:
            with self._lock:
                found = self._metrics.setdefault(key, kind(name, tags))
        if not isinstance(found, kind):
            raise TypeError(f"metric {name} is no {kind.__name__.lower()}")
        return found

    def forget(self, **tags: str | Set[str]) -> None:
        """Drop every metric that carries these tags, with that value or one of those: its device is gone."""
        gone = {name: {value} if isinstance(value, str) else value for name, value in tags.items()}

        def stays(tagged: Mapping[str, str]) -> bool:
            return any(tagged.get(name) not in values for name, values in gone.items())

        with self._lock:
            self._metrics = {key: it for key, it in self._metrics.items() if stays(it.tags)}

    def __iter__(self) -> Iterator[AnyMetric]:
        with self._lock:
            return iter(list(self._metrics.values()))


async def report(
    metrics: Metrics,
    bus: Bus,
    topics: Topics,
    settings: Callable[[], TelemetrySection],
    encoding: codec.Encoding = codec.PLAIN,
) -> None:
    """Publish every enabled metric each interval until cancelled; interval and choice may change meanwhile."""
    while True:
        await _until_due(settings)
        now = settings()
        for metric in metrics:
            if is_enabled(metric.name, now.metrics):
                data = codec.encode(_message(metric, metrics.service, now.tags), encoding=encoding)
                bus.publish(topics.telemetry(metrics.service, metric.name), data)


def is_enabled(name: str, chosen: dict[str, bool]) -> bool:
    """Configured names are prefixes."""
    return any(on and name.startswith(prefix) for prefix, on in chosen.items())


async def _until_due(settings: Callable[[], TelemetrySection]) -> None:
    """Wait for one interval, as long as it is by now; an interval of 0 never ends."""
    began = time.monotonic()
    while True:
        interval = parse_duration(settings().interval)
        left = began + interval - time.monotonic()
        if interval > 0 and left <= 0:
            return
        await asyncio.sleep(min(left, _CHECK_EVERY) if interval > 0 else _CHECK_EVERY)


def _message(metric: AnyMetric, service: str, extra: dict[str, str]) -> Metric:
    tags = {"service": service, **metric.tags, **extra}
    return Metric(
        name=metric.name,
        fields=metric.fields(),
        tags=tuple(MetricTag(name=name, value=value) for name, value in tags.items()),
        timestamp=time.time_ns(),
    )


def metrics_route(metrics: Metrics, renamed: Mapping[str, str] | None = None) -> Route:
    """`GET /metrics`: the service's metrics, and CPU, memory and file descriptors of its process.

    `renamed` gives tags other names as labels.
    """
    registry = CollectorRegistry()
    registry.register(_Exposed(metrics, renamed or {}))
    ProcessCollector(registry=registry)

    async def scrape(_request: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Route("/metrics", scrape)


class _Exposed(Collector):
    """A view of a service's metrics, made anew at each scrape: one family for each name."""

    def __init__(self, metrics: Metrics, renamed: Mapping[str, str]) -> None:
        self._metrics = metrics
        self._renamed = renamed

    def collect(self) -> Iterable[Family]:
        families: dict[str, list[AnyMetric]] = {}
        for metric in self._metrics:
            families.setdefault(metric.name.partition("-")[0], []).append(metric)  # behind a dash is what a tag has too
        return [_family(self._metrics.service, name, members, self._renamed) for name, members in families.items()]


def _family(service: str, name: str, members: list[AnyMetric], renamed: Mapping[str, str]) -> Family:
    """Prometheus's names and units; a label that a member does not have is empty."""
    (exposed, scale), tags = exposed_name(name), sorted({tag for one in members for tag in one.tags})
    text = exposed.removeprefix("edgex_").replace("_", " ").capitalize()
    kind = {Counter: CounterMetricFamily, Gauge: GaugeMetricFamily, Histogram: HistogramMetricFamily}[type(members[0])]
    family: Any = kind(exposed, f"{text}.", labels=["service", *(renamed.get(tag, tag) for tag in tags)])
    for one in members:
        labels = [service, *(one.tags.get(tag, "") for tag in tags)]
        if isinstance(one, Histogram):
            buckets = [(end if end == "+Inf" else f"{float(end) * scale:g}", count) for end, count in one.cumulative()]
            family.add_metric(labels, buckets, one.total * scale)
        else:
            family.add_metric(labels, one.value if scale == 1 else one.value * scale)
    return cast("Family", family)


def exposed_name(name: str) -> tuple[str, float]:
    """Prometheus's spelling of an EdgeX metric's name, and the factor to its base unit, seconds."""
    if name == "LastConnected":  # EdgeX's own metric, in nanoseconds
        return "edgex_last_connected_timestamp_seconds", 1e-9
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    words = re.sub(r"[^a-z0-9_]", "_", words)
    is_ms = words.endswith("_ms")
    return f"edgex_{words.removesuffix('_ms')}{'_seconds' if is_ms else ''}", 1e-3 if is_ms else 1
