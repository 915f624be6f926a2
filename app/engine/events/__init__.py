"""Execution status changes as events: recorded with the change, delivered until somebody took them.

`status_change` is the event's shape, `log` where it is written in the transaction of the change,
`delivery` the loop that takes it from there to a `Destination`. A destination is one class with the
three members below and one line in `app/engine_process.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SOURCE = "signoff.states"  #: EventBridge itself keeps ``aws.`` sources for AWS
RETRY_FOR_S = 259_200  #: three days


@dataclass(frozen=True, slots=True)
class OwedEvent:
    """An event that a destination has not taken yet."""

    number: int  #: its place in the log
    attempts: int  #: how many there were
    recorded_ms: int
    text: str  #: the event as JSON


#: why an event was not taken, by its number: a short code without foreign text
Refusals = dict[int, str]


class Destination(Protocol):
    """Where events go."""

    name: str  #: in metrics and logs
    number: int  #: in the database: never renumber
    batch: int  #: how many events it is given at once

    async def deliver(self, events: Sequence[OwedEvent]) -> Refusals:
        """Hand over events; those that were not taken, and why. It raises nothing."""

    async def close(self) -> None:
        """Let go of connections and threads."""


@dataclass(frozen=True, slots=True)
class EventRouting:
    """What is told to whom."""

    destinations: Sequence[Destination] = ()
    source: str = SOURCE  #: the events' ``source``
    retry_for_s: int = RETRY_FOR_S  #: how long an event that is not taken is tried again


NO_DESTINATIONS = EventRouting()
