"""Status changes without an engine around them, with the time in the test's hands."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from app.clock import to_ms
from app.engine.events import Destination, OwedEvent, Refusals
from app.engine.events.delivery import EventDelivery
from app.engine.events.log import StatusChanges
from app.engine.payload import Payload
from app.engine.steps.execution import Execution, Start, Transition
from app.engine.store import open_database
from app.sqlite import Database
from tests.engine.driving import NOON, ROLE, StillClock

WHERE = "arn:aws:states:us-east-1:123456789012"


def execution(name: str = "run", machine: str = "machine") -> Execution:
    """An execution that begins at noon."""
    noon = to_ms(NOON)
    return Execution(
        id=1,
        arn=f"{WHERE}:execution:{machine}:{name}",
        name=name,
        machine_arn=f"{WHERE}:stateMachine:{machine}",
        machine_name=machine,
        role_arn=ROLE,
        input=Payload.of_text("{}"),
        started_ms=noon,
        seed=1,
        timeout_ms=noon + 1_000_000,
    )


@dataclass
class Counter:
    """A meter that shows what it counted."""

    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, **labels: str) -> None:
        """Add one."""
        self.counts[name] = self.counts.get(name, 0) + 1


@dataclass
class Shelf:
    """A destination that takes what it is told to take."""

    refuses: set[int] = field(default_factory=set)  #: numbers of events
    name: str = "shelf"
    number: int = 9
    batch: int = 3
    given: list[int] = field(default_factory=list)

    async def deliver(self, events: Sequence[OwedEvent]) -> Refusals:
        """Take them, but not those that are refused."""
        self.given += [event.number for event in events]
        return {e.number: "no" for e in events if e.number in self.refuses}

    async def close(self) -> None:
        """Nothing to close."""


class Recorder:
    """A log of status changes, and a delivery that goes when it is told."""

    def __init__(self, database: Database, destination: Destination | None) -> None:
        self.database = database
        self.clock = StillClock()
        self.second = timedelta(seconds=1)
        self.meter = Counter()
        numbers = () if destination is None else (destination.number,)
        self.changes = StatusChanges(
            database, self.clock, source="signoff.states", destinations=numbers
        )
        if destination is not None:
            self.delivery = EventDelivery(
                self.changes,
                destination,
                self.clock,
                self.meter,
                retry_for_s=600,
                uniform=lambda low, high: (low + high) / 2,
            )

    @classmethod
    async def over(cls, directory: Path, destination: Destination | None) -> "Recorder":
        """One that is started."""
        recorder = cls(open_database(directory), destination)
        await recorder.changes.start()
        return recorder

    @property
    def owed(self) -> int:
        """How many events are not taken, given up or not."""
        return sum(b.owed + b.given_up for b in self.changes.backlog().values())

    async def stop(self) -> None:
        """Let go of the destination and the database."""
        await self.delivery.stop()
        await self.database.close()

    async def begin(self, count: int = 1, machine: str = "machine") -> None:
        """Record the start of executions that are called by their number."""
        for number in range(count):
            made = Transition(execution(f"run{number}", machine))

            def work(connection: sqlite3.Connection, made: Transition = made) -> None:
                if self.changes.wanted:
                    self.changes.record(connection, Start(), made)

            await self.database.write(work)
