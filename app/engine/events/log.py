"""The log of execution status changes: written in the transaction of the change.

Rules kept here:

- nothing is written while nobody wants it, so an engine without destinations and listeners pays one
  comparison for a step;
- what is written is there after a crash, until each destination took it;
- a listener is wanted for a while after it went, so that it can come back and miss nothing;
- it is bounded: the newest `KEPT` changes for listeners, and at most `MAX_OWED` for a destination.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from app.clock import Clock, to_ms
from app.engine.events import OwedEvent
from app.engine.events.status_change import began, ended, event
from app.engine.steps.execution import Execution, Redrive, Signal, Start, Transition
from app.sqlite import Database
from app.strict_json import Json

KEPT = 1_000  #: changes that a listener which comes back may have missed
MAX_OWED = 100_000  #: for each destination; beyond, the oldest are given up
MAX_GIVEN_UP = 10_000  #: kept to be looked at, for each destination; beyond, the oldest are removed
LISTENED_MS = 900_000  #: how long a listener that went may take to come back
ALWAYS_MS = 2**62  #: until when changes are recorded for destinations
_TRIM_EVERY = 64  #: changes

_RECORD = "INSERT INTO status_changes (machine, at_ms, event) VALUES (?, ?, ?)"
_OWE = "INSERT INTO owed_events (change, destination, attempts, due_ms) VALUES (?, ?, 0, ?)"
_DUE = """SELECT id, attempts, at_ms, event FROM owed_events JOIN status_changes ON id = change
    WHERE destination = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT ?"""
_NEXT_DUE = "SELECT min(due_ms) FROM owed_events WHERE destination = ?"
_TAKEN = "DELETE FROM owed_events WHERE change = ? AND destination = ?"
_PUT_OFF = """UPDATE owed_events SET attempts = attempts + 1, due_ms = ?, reason = ?
    WHERE change = ? AND destination = ?"""
_BRING_FORWARD = "UPDATE owed_events SET due_ms = ? WHERE destination = ? AND due_ms > ?"
# Whatever is old enough passes this window; what is owed then goes when it was taken.
_TRIM = """DELETE FROM status_changes WHERE id BETWEEN ? AND ?
    AND NOT EXISTS (SELECT 1 FROM owed_events WHERE change = id)"""
_BOUND_OWED = """UPDATE owed_events SET due_ms = NULL, reason = 'too_many'
    WHERE destination = ?1 AND change IN (SELECT change FROM owed_events WHERE destination = ?1
    AND due_ms IS NOT NULL ORDER BY change DESC LIMIT -1 OFFSET ?2)"""
_BOUND_GIVEN_UP = """DELETE FROM owed_events
    WHERE destination = ?1 AND change IN (SELECT change FROM owed_events WHERE destination = ?1
    AND due_ms IS NULL ORDER BY change DESC LIMIT -1 OFFSET ?2) RETURNING change"""
_PAGE = """SELECT id, event FROM status_changes WHERE id > ?1 AND (?2 IS NULL OR machine = ?2)
    ORDER BY id LIMIT ?3"""
_NEWEST = "SELECT seq FROM sqlite_sequence WHERE name = 'status_changes'"
_BACKLOG = """SELECT destination, count(due_ms), count(*) - count(due_ms),
    min(CASE WHEN due_ms IS NOT NULL THEN at_ms END)
    FROM owed_events JOIN status_changes ON id = change GROUP BY destination"""
_RECORDING = "SELECT until_ms, since FROM recording"
# A number that no change has, so that whoever had the last one before the gap is told of it.
_SKIP = """UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'status_changes'
    AND (SELECT until_ms FROM recording) <= ?"""
_RECORD_UNTIL = f"""UPDATE recording SET until_ms = ?1, since = CASE WHEN until_ms <= ?2
    THEN ({_NEWEST}) ELSE since END"""  # noqa: S608  # constants
_BEGINNINGS = frozenset({"ExecutionStarted", "ExecutionRedriven"})


@dataclass(frozen=True, slots=True)
class PutOff:
    """An event that was not taken."""

    event: OwedEvent
    reason: str  #: a short code, without foreign text
    due_ms: int | None  #: when it is tried again; None: it is given up


@dataclass(frozen=True, slots=True)
class EventBacklog:
    """What one destination has not taken."""

    owed: int
    given_up: int
    oldest_ms: int | None  #: when the oldest that is owed was recorded


NOTHING_OWED = EventBacklog(0, 0, None)


class StatusChanges:
    """The status changes of an engine's executions, for whoever wants them."""

    def __init__(
        self, database: Database, clock: Clock, *, source: str, destinations: Sequence[int] = ()
    ) -> None:
        self._database = database
        self._clock = clock
        self._source = source
        self._destinations = tuple(destinations)
        self._until_ms = 0
        self._tick = asyncio.Event()
        self.wanted = False  #: whether changes are recorded at all

    async def start(self) -> None:
        """Find out who wants changes: destinations, or listeners that were here before."""
        row = self._database.read_one(_RECORDING)
        self._until_ms = row[0] if row else 0
        if self._destinations:
            await self._record_until(ALWAYS_MS)
        elif self._until_ms == ALWAYS_MS:
            await self._record_until(0)  # there were destinations once
        self.wanted = to_ms(self._clock()) < self._until_ms

    async def _record_until(self, until_ms: int) -> None:
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_SKIP, (now_ms,))
            connection.execute(_RECORD_UNTIL, (until_ms, now_ms))

        self._until_ms = until_ms
        self.wanted = now_ms < until_ms
        await self._database.write(work)

    # In the transaction of a step

    def record(self, connection: sqlite3.Connection, signal: Signal, made: Transition) -> None:
        """Note what a step changed, if it changed a status. Call it only if `wanted`."""
        execution = made.execution
        if isinstance(signal, Start | Redrive):
            self._append(connection, execution, began(execution))
        if made.ended:
            self._append(connection, execution, ended(execution))

    def _append(
        self, connection: sqlite3.Connection, execution: Execution, detail: dict[str, Json]
    ) -> None:
        now_ms = to_ms(self._clock())
        if now_ms >= self._until_ms:
            self.wanted = False
            return
        text = orjson.dumps(event(str(uuid.uuid4()), self._source, detail)).decode()
        values = (execution.machine_arn, now_ms, text)
        change = connection.execute(_RECORD, values).lastrowid or 0
        for destination in self._destinations:
            connection.execute(_OWE, (change, destination, now_ms))
        if change % _TRIM_EVERY == 0:
            self._trim(connection, change)

    def _trim(self, connection: sqlite3.Connection, newest: int) -> None:
        for destination in self._destinations:
            connection.execute(_BOUND_OWED, (destination, MAX_OWED))
            gone = connection.execute(_BOUND_GIVEN_UP, (destination, MAX_GIVEN_UP)).fetchall()
            connection.executemany(_TRIM, [(change, change) for (change,) in gone])
        last = newest - KEPT
        connection.execute(_TRIM, (last - 2 * _TRIM_EVERY, last))

    # After the commit

    def committed(self, made: Transition) -> None:
        """Tell those that wait, if a step that is on disk now changed a status."""
        if made.ended or (made.events and made.events[0][3] in _BEGINNINGS):
            self._wake()

    def _wake(self) -> None:
        tick, self._tick = self._tick, asyncio.Event()
        tick.set()

    @property
    def tick(self) -> asyncio.Event:
        """Set when more was recorded. Take it before reading, wait for it after."""
        return self._tick

    # For destinations

    def due(self, destination: int, count: int) -> list[OwedEvent]:
        """What *destination* should be given now."""
        rows = self._database.read(_DUE, (destination, to_ms(self._clock()), count))
        return [OwedEvent(*row) for row in rows]

    def next_due_ms(self, destination: int) -> int | None:
        """When *destination* should be given something; None if nothing is owed."""
        row = self._database.read_one(_NEXT_DUE, (destination,))
        return row[0] if row else None

    async def settle(
        self,
        destination: int,
        taken: Sequence[OwedEvent],
        put_off: Sequence[PutOff],
        *,
        is_back: bool = False,
    ) -> None:
        """Store what became of events; all others are due if the destination *is_back*."""
        done = [(owed.number, destination) for owed in taken]
        later = [(off.due_ms, off.reason, off.event.number, destination) for off in put_off]
        now_ms, last = to_ms(self._clock()), self.newest() - KEPT
        old = [(owed.number, owed.number) for owed in taken if owed.number <= last]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_TAKEN, done)
            if is_back:
                connection.execute(_BRING_FORWARD, (now_ms, destination, now_ms))
            connection.executemany(_PUT_OFF, later)
            connection.executemany(_TRIM, old)

        await self._database.write(work)

    def backlog(self) -> dict[int, EventBacklog]:
        """What is owed to each destination that anything is owed to."""
        return {row[0]: EventBacklog(*row[1:]) for row in self._database.read(_BACKLOG)}

    # For listeners

    async def listen(self) -> None:
        """Have changes recorded for a while, from now on; again before it ends to go on."""
        if not self._destinations:
            await self._record_until(to_ms(self._clock()) + LISTENED_MS)

    def newest(self) -> int:
        """The number of the newest change there ever was."""
        row = self._database.read_one(_NEWEST)
        return int(row[0]) if row else 0

    def page(self, after: int, machine: str | None, count: int) -> list[tuple[int, str]]:
        """Changes with larger numbers than *after*, of one machine or of all."""
        rows = self._database.read(_PAGE, (after, machine, count))
        return [(number, text) for number, text in rows]

    def complete_after(self) -> int:
        """The smallest number after which no change is missing."""
        row = self._database.read_one(_RECORDING)
        return max(row[1] if row else 0, self.newest() - KEPT)
