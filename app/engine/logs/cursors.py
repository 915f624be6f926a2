"""How far the history of each execution was written to its log group.

No second copy of the history is kept: a row says which events of an execution are owed, and is
there only while some are. It is written in the transaction that appends them.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from app.clock import Clock, to_ms
from app.engine.logs.configuration import Logging
from app.engine.steps.execution import Event, Transition
from app.engine.store import read_events
from app.sqlite import Database

EVENTS_AT_ONCE = 1_000  #: of one execution

_NOTE = """INSERT INTO logged (execution, delivered, events, attempts, due_ms)
    VALUES (?, ?, ?, 0, ?) ON CONFLICT (execution) DO UPDATE SET events = excluded.events"""
_DUE = """SELECT execution, delivered, events, attempts FROM logged WHERE due_ms <= ?
    ORDER BY due_ms LIMIT ?"""
_NEXT_DUE = "SELECT min(due_ms) FROM logged"
_ADVANCE = "UPDATE logged SET delivered = ?, attempts = 0, due_ms = ? WHERE execution = ?"
_DONE = "DELETE FROM logged WHERE execution = ? AND events <= delivered"
_PUT_OFF = "UPDATE logged SET attempts = attempts + 1, due_ms = ? WHERE execution = ?"
_OWED = "SELECT count(*) FROM logged"


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is owed of one execution."""

    execution: int
    delivered: int  #: the last event that was written
    events: int  #: the last there is
    attempts: int


class LogCursors:
    """The executions whose history is owed to a log."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.active = False  #: whether this process noted anything: the loop should look

    def note(self, connection: sqlite3.Connection, wanted: Logging, made: Transition) -> None:
        """Owe a step's events, if any of them is wanted, in the transaction of the step."""
        if not any(wanted.level.admits(event[3]) for event in made.events):
            return
        self.active = True
        first, last = made.events[0][0], made.events[-1][0]
        now_ms = to_ms(self._clock())
        connection.execute(_NOTE, (made.execution.id, first - 1, last, now_ms))

    def due(self, count: int) -> list[Cursor]:
        """Executions whose events should be written now."""
        return [Cursor(*row) for row in self._database.read(_DUE, (to_ms(self._clock()), count))]

    def next_due_ms(self) -> int | None:
        """When something should be written; None: nothing is owed."""
        row = self._database.read_one(_NEXT_DUE)
        return row[0] if row else None

    def owed(self) -> int:
        """How many executions have events that are not written."""
        row = self._database.read_one(_OWED)
        return int(row[0]) if row else 0

    def events(self, cursor: Cursor) -> list[Event]:
        """The next events that are owed."""
        start = cursor.delivered + 1
        count = min(cursor.events - cursor.delivered, EVENTS_AT_ONCE)
        return read_events(self._database, cursor.execution, start, count, reverse=False)

    async def settle(
        self, written: Sequence[tuple[Cursor, int]], put_off: Sequence[tuple[Cursor, int]]
    ) -> None:
        """Store what was written, up to which event; and what is tried again, and when."""
        now_ms = to_ms(self._clock())
        ahead = [(last, now_ms, cursor.execution) for cursor, last in written]
        later = [(due_ms, cursor.execution) for cursor, due_ms in put_off]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_ADVANCE, ahead)
            connection.executemany(_DONE, [(cursor.execution,) for cursor, _ in written])
            connection.executemany(_PUT_OFF, later)

        await self._database.write(work)
