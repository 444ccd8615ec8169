"""The same metrics for Prometheus: `GET /metrics` in its text format. EdgeX itself has no such endpoint.

`FramesDropped` becomes `edgex_frames_dropped_total`; its tags become labels, with `service` first.
"""

import re
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgex_kit.service.histograms import Histogram
from edgex_kit.service.metrics import AnyMetric, Counter, Metrics


def metrics_route(metrics: Metrics) -> Route:
    """`GET /metrics`."""
    registry = CollectorRegistry()
    registry.register(_Exposed(metrics))

    async def scrape(_request: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Route("/metrics", scrape)


class _Exposed(Collector):
    """A view of a service's metrics, made anew at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        families: dict[tuple[str, tuple[str, ...]], list[AnyMetric]] = {}
        for metric in self._metrics:
            families.setdefault((metric.name, tuple(metric.tags)), []).append(metric)
        return [_family(self._metrics.service, name, tags, members) for (name, tags), members in families.items()]


def _family(service: str, name: str, tags: tuple[str, ...], members: list[AnyMetric]) -> Metric:
    exposed, labels = exposed_name(name), ["service", *tags]
    first = members[0]
    if isinstance(first, Histogram):
        histogram = HistogramMetricFamily(exposed, name, labels=labels)
        for one in members:
            assert isinstance(one, Histogram)
            histogram.add_metric([service, *one.tags.values()], one.cumulative(), one.total)
        return histogram
    kind = CounterMetricFamily if isinstance(first, Counter) else GaugeMetricFamily
    family = kind(exposed, name, labels=labels)
    for one in members:
        assert not isinstance(one, Histogram)
        family.add_metric([service, *one.tags.values()], one.value)
    return family


def exposed_name(name: str) -> str:
    """Prometheus's spelling of an EdgeX metric's name; what follows a dash is a tag already."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.partition("-")[0]).lower()
    return f"edgex_{re.sub(r'[^a-z0-9_]', '_', words)}"
