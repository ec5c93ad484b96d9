"""The metrics of a process as Prometheus or OpenMetrics text."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from headgate_telemetry.metrics import Counter, Distribution, Family, Metrics, Tally


class Exposition(Collector):
    """Renders `Metrics` and what the operating system knows of the process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, in the format that the `Accept` header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """For the registry: every family with its samples."""
        for family in self._metrics:
            yield _family(family)


def _family(family: Family) -> Metric:
    if isinstance(family, Distribution):
        return _histogram(family)
    kind = CounterMetricFamily if isinstance(family, Tally | Counter) else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, value in family.series().items():
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Distribution) -> Metric:
    histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [str(float(bound)) for bound in family.bounds] + ["+Inf"]
    for labels, (counts, total) in family.series().items():
        histogram.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    return histogram
