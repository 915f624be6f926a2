"""Prometheus metrics: counters of what happened, gauges of what is owed."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

PREFIX = "signoff_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PrometheusMeter:
    """Counts by name and labels; counters come to be when first counted."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._increments: dict[tuple[str, ...], Callable[[], None]] = {}

    def count(self, name: str, **labels: str) -> None:
        """Add one to ``signoff_<name>_total`` with these labels."""
        key = (name, *labels.values())
        increment = self._increments.get(key)
        if increment is None:
            increment = self._increments[key] = self._counter(name, labels)
        increment()

    def gauge(self, name: str, value: float) -> None:
        """Set the gauge ``signoff_<name>``."""
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(PREFIX + name, _words(name), registry=self._registry)
        gauge.set(value)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, labels: dict[str, str]) -> Callable[[], None]:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Counter(
                PREFIX + name, _words(name), tuple(labels), registry=self._registry
            )
        return counter.labels(**labels).inc if labels else counter.inc


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
