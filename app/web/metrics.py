"""Prometheus metrics: counters of what happened, gauges of what is owed.

Counting happens on every request, asking a few times a minute. So a count is one addition in a
dictionary, and Prometheus' own objects are made when somebody asks.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

PREFIX = "signoff_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: a counter's name and its labels, as pairs of name and value
_Key = tuple[str, tuple[tuple[str, str], ...]]


class PrometheusMeter(Collector):
    """Counts by name and labels. Belongs to one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[_Key] = Counter()
        self._gauges: dict[str, float] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def count(self, name: str, **labels: str) -> None:
        """Add one to ``signoff_<name>_total`` with these labels."""
        self._counts[name, tuple(labels.items())] += 1

    def gauge(self, name: str, value: float) -> None:
        """Set the gauge ``signoff_<name>``."""
        self._gauges[name] = value

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What was counted, for the registry."""
        families: dict[str, CounterMetricFamily] = {}
        for (name, labels), number in sorted(self._counts.items()):
            names = [label for label, _ in labels]
            family = families.setdefault(
                name, CounterMetricFamily(PREFIX + name, _words(name), labels=names)
            )
            family.add_metric([value for _, value in labels], number)
        yield from families.values()
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(PREFIX + name, _words(name), value=value)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
