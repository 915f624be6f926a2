"""Retention: closed executions are kept for a while, then removed in the background.

AWS keeps them 90 days; then DescribeExecution answers that there is none, and the name is free. The
same here, a little at a time: each transaction works for a few milliseconds, so that nobody waits
long behind it. An execution disappears in one transaction; its history, which may be long, goes
piece by piece after that, and a list of what is left survives a crash. The children of its Map Runs
go just before it: until then their results may be wanted, by the run or by a redrive. SQLite uses
the freed pages again; the file does not shrink by itself.
"""

import asyncio
import sqlite3
from time import perf_counter

from app.clock import Clock, to_ms
from app.engine.loops import keep_on
from app.engine.store import RUNNING, key_of
from app.sqlite import Database

DEFAULT_S = 90 * 86_400  #: as AWS
EVERY_S = (1.0, 600.0)  #: between two looks: a sixtieth of what is kept, within these
BUDGET_S = 0.003  #: how long one transaction may work
PAUSE_S = 0.01  #: between two transactions, for others
MAP_ITEMS = 200  #: of a Map Run, removed at once
HISTORY_ROWS = 20  #: removed at once; each holds the events of one step

# One that was stopped may have a Map Run that is still stopping its children.
_CLOSED = """SELECT id FROM executions AS e WHERE stopped_ms < ? AND machine > 0
    AND NOT EXISTS (SELECT 1 FROM map_runs AS r WHERE r.execution = e.id AND (r.stage < 3
        OR EXISTS (SELECT 1 FROM executions AS c WHERE c.machine = -r.id AND c.status = ?)))
    ORDER BY stopped_ms LIMIT 1"""
_CHILD = """SELECT e.id FROM map_runs AS r JOIN executions AS e ON e.machine = -r.id
    WHERE r.execution = ? LIMIT 1"""
_REMOVE_ITEMS = """DELETE FROM map_items WHERE key IN
    (SELECT i.key FROM map_runs AS r JOIN map_items AS i
    ON i.key BETWEEN r.id << 27 AND ((r.id + 1) << 27) - 1 WHERE r.execution = ? LIMIT ?)"""
_FORGET = (
    "DELETE FROM executions WHERE id = ?",
    "DELETE FROM halted WHERE execution = ?",
    "DELETE FROM mocked_calls WHERE execution = ?",
    "INSERT INTO trimmed (execution) VALUES (?)",
)
_TRIMMED = "SELECT execution FROM trimmed LIMIT 1"
_REMOVE_EVENTS = """DELETE FROM history WHERE key IN
    (SELECT key FROM history WHERE key BETWEEN ? AND ? LIMIT ?)"""
_REMOVED = "DELETE FROM trimmed WHERE execution = ?"
# The newest ids are left: an id that were given again could be found in memory as what it was.
_UNUSED = """SELECT id FROM machines AS m WHERE status = 'DELETED'
    AND id < (SELECT max(id) FROM machines) AND revision < (SELECT max(id) FROM revisions)
    AND NOT EXISTS (SELECT 1 FROM executions WHERE machine = m.id) LIMIT 1"""
_FORGET_MACHINE = (
    "DELETE FROM revisions WHERE machine = ?",
    "DELETE FROM machines WHERE id = ?",
)


class Retention:
    """Removes executions that closed long ago."""

    def __init__(self, database: Database, clock: Clock, kept_s: int) -> None:
        self._database = database
        self._clock = clock
        self._kept_ms = kept_s * 1000
        self._every_s = min(max(EVERY_S[0], kept_s / 60), EVERY_S[1])
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look now, and from time to time."""
        self._loop = asyncio.get_running_loop().create_task(keep_on(self._look, "retention"))

    async def stop(self) -> None:
        """Look no more. What is begun goes on after the next start."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def trim(self, pause_s: float = 0.0) -> None:
        """Remove all that closed too long ago, *pause_s* between two transactions."""
        before_ms = to_ms(self._clock()) - self._kept_ms
        while await self._database.write(lambda connection: trim_some(connection, before_ms)):
            await asyncio.sleep(pause_s)

    async def _look(self) -> None:
        await self.trim(PAUSE_S)
        await asyncio.sleep(self._every_s)


def trim_some(connection: sqlite3.Connection, before_ms: int) -> bool:
    """Remove for a few milliseconds what closed before then; whether there is more."""
    deadline = perf_counter() + BUDGET_S
    while perf_counter() < deadline:
        # What is begun comes first, so that the list stays short.
        if not _trim_history(connection) and not _forget(connection, before_ms):
            return _forget_machine(connection)
    return True


def _trim_history(connection: sqlite3.Connection) -> bool:
    row = connection.execute(_TRIMMED).fetchone()
    if row is None:
        return False
    first, last = key_of(row[0], 0), key_of(row[0] + 1, 0) - 1
    removed = connection.execute(_REMOVE_EVENTS, (first, last, HISTORY_ROWS)).rowcount
    if removed < HISTORY_ROWS:
        connection.execute(_REMOVED, row)
    return True


def _forget(connection: sqlite3.Connection, before_ms: int) -> bool:
    row = connection.execute(_CLOSED, (before_ms, RUNNING)).fetchone()
    if row is None:
        return False
    while (child := connection.execute(_CHILD, row).fetchone()) is not None:
        row = child  # which may have waited for a Map Run too
    removed = connection.execute(_REMOVE_ITEMS, (*row, MAP_ITEMS)).rowcount
    if removed < MAP_ITEMS:
        for sql in _FORGET:
            connection.execute(sql, row)
    return True


def _forget_machine(connection: sqlite3.Connection) -> bool:
    """Remove a deleted machine that no execution shows any more."""
    row = connection.execute(_UNUSED).fetchone()
    if row is None:
        return False
    for sql in _FORGET_MACHINE:
        connection.execute(sql, row)
    return True
