"""Counting what happens, without knowing who counts."""

from typing import Protocol


class Meter(Protocol):
    """Counts events. The Prometheus one is in `web/metrics.py`; on AWS Lambda nobody counts."""

    def count(self, name: str, **labels: str) -> None:
        """Add one to the counter *name*; a counter always comes with the same label names."""


class NoMeter:
    """Counts nothing, at no cost."""

    def count(self, name: str, **labels: str) -> None:
        """Nothing."""


NO_METER = NoMeter()
