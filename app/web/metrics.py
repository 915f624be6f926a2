"""Prometheus metrics: counters of what happened, gauges of what is owed."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PrometheusMeter:
    """Counts by name and labels; counters come to be when first counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._counters: dict[str, Counter] = {}
        self._children: dict[tuple[str, ...], Callable[[], None]] = {}

    def count(self, name: str, **labels: str) -> None:
        """Add one to ``signoff_<name>_total`` with these labels."""
        key = (name, *labels.values())
        increment = self._children.get(key)
        if increment is None:
            increment = self._children[key] = self._child(name, labels)
        increment()

    def _child(self, name: str, labels: dict[str, str]) -> Callable[[], None]:
        counter = self._counters.get(name)
        if counter is None:
            words = name.replace("_", " ").capitalize()
            counter = self._counters[name] = Counter(
                f"signoff_{name}", words, tuple(labels), registry=self.registry
            )
        return counter.labels(**labels).inc if labels else counter.inc

    def gauge(self, name: str, words: str, value: Callable[[], float]) -> None:
        """Show ``signoff_<name>``, asked for at each scrape."""
        Gauge(f"signoff_{name}", words, registry=self.registry).set_function(value)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
