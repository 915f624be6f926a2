"""Map Runs in SQLite: rows in, rows out, and how the counts of a run change.

The counts are kept in the run's own row, moved by the transaction that moves the child, so that
they add up at any moment and cost the same with ten children and with a million:
``children == pending + running + ... + aborted``.
"""

import secrets
import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson

from app.engine.failures import StateFailure, TooManyFailed
from app.engine.language.distribution import MOST_AT_ONCE, BegunRun, Plan, Tolerance
from app.engine.steps.execution import Execution, Status
from app.engine.store import RUNNING, STATUSES, Query
from app.sqlite import Row

POSITION_BITS = 27  #: of an item's key: AWS reads 100,000,000 items at most

#: what became of a child, as the API names its count
NAMES = {
    Status.RUNNING: "running",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.TIMED_OUT: "timedOut",
    Status.ABORTED: "aborted",
    Status.PENDING_REDRIVE: "pendingRedrive",
}
UNSUCCESSFUL = (Status.FAILED, Status.TIMED_OUT, Status.ABORTED)
RESULTS_WRITTEN, NOT_REDRIVABLE = "resultsWritten", "failuresNotRedrivable"


class Stage(IntEnum):
    """What a run is at. Stored: never renumber."""

    READING = 0
    RUNNING = 1
    WRITING = 2
    ENDED = 3


@dataclass(slots=True)
class MapRun:
    """A Map Run."""

    id: int
    name: str  #: ``LABEL:UUID``
    execution: int  #: that waits for it...
    frame: int  #: ...in this frame
    revision: int
    test_case: str | None
    stage: Stage
    status: Status
    started_ms: int
    stopped_ms: int | None
    redrives: int
    redriven_ms: int | None
    max_concurrency: int
    tolerance: Tolerance
    error: str | None
    cause: str | None
    plan: Plan
    children: int  #: how many there are to be
    items: int  #: that they have together
    counts: dict[str, list[int]]  #: name -> [children, items]

    @classmethod
    def of(cls, row: Row) -> "MapRun":
        """The run in a row of `_COLUMNS`."""
        *first, limit, count, percentage, error, cause, plan, children, items, counts = row
        first[6], first[7] = Stage(first[6]), STATUSES[first[7]]
        tolerance = Tolerance(count, percentage)
        values: list[Any] = [*first, limit, tolerance, error, cause, Plan.of(plan), children, items]
        values.append(orjson.loads(counts))
        return cls(*values)

    @property
    def label(self) -> str:
        """What its children's state machine is called, behind the slash."""
        return self.name.split(":", 1)[0]

    @property
    def at_once(self) -> int:
        """How many children may run at the same time."""
        return self.max_concurrency or MOST_AT_ONCE

    def count(self, name: str, *, items: bool = False) -> int:
        """How many children, or items, are counted under a name."""
        return self.counts.get(name, [0, 0])[items]

    def pending(self, *, items: bool = False) -> int:
        """How many have not begun."""
        whole = self.items if items else self.children
        return whole - sum(self.count(name, items=items) for name in NAMES.values())

    def move(self, status: Status | None, to: Status | None, items: int, children: int = 1) -> None:
        """Count children elsewhere; None: they had, or have, not begun."""
        for name, sign in ((status, -1), (to, 1)):
            if name is not None:
                self.add(NAMES[name], sign * items, sign * children)

    def add(self, name: str, items: int, children: int = 1) -> None:
        """Count more of them."""
        counted = self.counts.setdefault(name, [0, 0])
        counted[0] += children
        counted[1] += items

    def fail(self, failure: StateFailure) -> None:
        """Decide that the run fails; the first reason counts."""
        if self.error is None:
            self.error, self.cause = failure.shown_error, failure.cause

    @property
    def doomed(self) -> bool:
        """Whether nothing more is to begin."""
        return self.error is not None or self.status is Status.ABORTED

    def judge(self) -> None:
        """Let it fail if more items failed than are tolerated."""
        failed = sum(self.count(NAMES[status], items=True) for status in UNSUCCESSFUL)
        if failed and self.tolerance.exceeded(failed, self.items):
            self.fail(TooManyFailed())

    def end(self, status: Status, now_ms: int) -> None:
        """It is over."""
        self.stage, self.status, self.stopped_ms = Stage.ENDED, status, now_ms


_COLUMNS = """id, name, execution, frame, revision, test_case, stage, status, started_ms,
    stopped_ms, redrives, redriven_ms, max_concurrency, tolerated_count, tolerated_percentage,
    error, cause, plan, children, items, counts"""
# Only constants are put together here.
_BY_ID = f"SELECT {_COLUMNS} FROM map_runs WHERE id = ?"  # noqa: S608
_BY_NAME = f"SELECT {_COLUMNS} FROM map_runs WHERE name = ?"  # noqa: S608
_OF_EXECUTION = f"""SELECT {_COLUMNS} FROM map_runs WHERE execution = ? AND id < ?
    ORDER BY id DESC LIMIT ?"""  # noqa: S608
_INSERT = """INSERT INTO map_runs (name, execution, frame, revision, test_case, stage, status,
    started_ms, max_concurrency, tolerated_count, tolerated_percentage, plan)
    VALUES (?1, ?2, ?3, ?4, (SELECT test_case FROM executions WHERE id = ?2), ?5, ?6, ?7, ?8, ?9,
    ?10, ?11)"""
_UPDATE = """UPDATE map_runs SET stage = ?, status = ?, stopped_ms = ?, redrives = ?,
    redriven_ms = ?, max_concurrency = ?, tolerated_count = ?, tolerated_percentage = ?, error = ?,
    cause = ?, children = ?, items = ?, counts = ? WHERE id = ?"""
_OPEN = "SELECT id FROM map_runs WHERE stage < 3"
_ITEMS_OF = "SELECT items FROM map_items WHERE key = ?"


def load_run(query: Query, run_id: int) -> MapRun:
    """A run that is there."""
    return MapRun.of(query(_BY_ID, (run_id,))[0])


def run_with(query: Query, run_id: int) -> MapRun | None:
    """The run of that id, if there is one."""
    rows = query(_BY_ID, (run_id,)) if run_id < 2**62 else []
    return MapRun.of(rows[0]) if rows else None


def find_run(query: Query, name: str) -> MapRun | None:
    """The run of that name."""
    rows = query(_BY_NAME, (name,))
    return MapRun.of(rows[0]) if rows else None


def runs_of(query: Query, execution: int, before: int, count: int) -> list[MapRun]:
    """The runs of an execution, newest first."""
    return [MapRun.of(row) for row in query(_OF_EXECUTION, (execution, before, count))]


def open_runs(query: Query) -> list[int]:
    """The ids of the runs that are not over."""
    return [row[0] for row in query(_OPEN, ())]


def insert_run(
    connection: sqlite3.Connection, execution: Execution, revision: int, begun: BegunRun, now: int
) -> None:
    """Store a new run."""
    plan = begun.plan
    limits = (plan.max_concurrency, plan.tolerance.count, plan.tolerance.percentage)
    where = (begun.name, execution.id, begun.frame, revision, Stage.READING, RUNNING, now)
    connection.execute(_INSERT, (*where, *limits, plan.text))


def save_run(connection: sqlite3.Connection, run: MapRun) -> None:
    """Store what changed of a run."""
    tolerance = run.tolerance
    values = (
        run.stage,
        STATUSES.index(run.status),
        run.stopped_ms,
        run.redrives,
        run.redriven_ms,
        run.max_concurrency,
        tolerance.count,
        tolerance.percentage,
        run.error,
        run.cause,
        run.children,
        run.items,
        orjson.dumps(run.counts).decode(),
        run.id,
    )
    connection.execute(_UPDATE, values)


# Children


def item_key(run: int, position: int) -> int:
    """The key of what a child works on."""
    return run << POSITION_BITS | position


def items_of(run: int) -> tuple[int, int]:
    """The first and the last key that a run's items may have."""
    return item_key(run, 0), item_key(run + 1, 0) - 1


def child_name(run: int, position: int) -> str:
    """A name for a child: a UUID that tells its run and position, so that neither is searched for.

    Of version 8, whose content is the maker's own; the rest is chance, as a child that is started
    anew has a new name.
    """
    chance = secrets.randbits(62 - POSITION_BITS)
    low = position << (62 - POSITION_BITS) | chance
    return str(uuid.UUID(int=run << 80 | 8 << 76 | 2 << 62 | low))


def child_place(name: str) -> tuple[int, int] | None:
    """The run and the position that a child's name tells; None if it is no such name."""
    try:
        number = uuid.UUID(name).int
    except ValueError:
        return None
    return number >> 80, (number & (1 << 62) - 1) >> (62 - POSITION_BITS)


def item_count(query: Query, name: str) -> int:
    """How many items the child of that name has."""
    place = child_place(name)
    rows = query(_ITEMS_OF, (item_key(*place),)) if place else []
    return int(rows[0][0]) if rows else 0


def put_items(
    connection: sqlite3.Connection,
    run: MapRun,
    inputs: Iterable[tuple[int, str, str | None]],
) -> None:
    """Store what more children are to work on: (items, input, Map.Item) of each."""
    rows = []
    for items, given, item in inputs:
        rows.append((item_key(run.id, run.children), items, given, item))
        run.children += 1
        run.items += items
    connection.executemany(
        "INSERT INTO map_items (key, items, input, item) VALUES (?, ?, ?, ?)", rows
    )
