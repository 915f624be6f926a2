"""Executions in SQLite: rows in, rows out.

Everything here runs inside one `Database.write`, on the writer's connection, except the
readers at the end, which see committed state only. One step is one transaction: what it read
cannot change before it writes.
"""

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from os import urandom
from pathlib import Path
from typing import Any

import orjson

from app.engine.arns import ACTIVITY
from app.engine.payload import Payload
from app.engine.steps.execution import (
    ROOT,
    Dispatch,
    Event,
    Execution,
    Frame,
    Phase,
    Status,
    Transition,
)
from app.engine.tokens import KEY_BYTES
from app.sqlite import Database, Row

FILE = "engine.sqlite3"
#: what makes the newest schema, in order
SCRIPTS = (
    "schema.sql",
    "rehearsal.sql",
    "events.sql",
    "retention.sql",
    "jobs.sql",
    "logs.sql",
    "map_runs.sql",
    "listing.sql",
)
APPLICATION_ID = 0x5_1607_E  # "signoff engine", so that no other program's file is opened
ID_BITS = 17  #: of a key: frame and event ids are below 131,072
_COMPRESS_FROM = 1_024  # bytes; below, the time is worth more than the space

STATUSES = tuple(Status)  #: a status is stored by its position: never reorder
_NUMBER_OF = {status: number for number, status in enumerate(STATUSES)}
RUNNING = _NUMBER_OF[Status.RUNNING]


#: rows of a query: of the writer inside a write, or of committed state
Query = Callable[[str, Sequence[Any]], list[Row]]


def within(connection: sqlite3.Connection) -> Query:
    """Queries inside a write."""
    return lambda sql, parameters: connection.execute(sql, parameters).fetchall()


def open_database(directory: Path) -> Database:
    """The engine's database in a data directory.

    Raises:
        StartRefused: it cannot be used.
    """
    scripts = [files("app.engine").joinpath(name).read_text("utf-8") for name in SCRIPTS]
    # Runs once, when the file is made: the key that makes its tokens unforgeable.
    key = urandom(KEY_BYTES).hex()
    scripts[0] += f"INSERT INTO secrets VALUES ('tokens', x'{key}');\n"  # noqa: S608  # our own
    return Database.open(directory / FILE, migrations=scripts, application_id=APPLICATION_ID)


def token_key(database: Database) -> bytes:
    """The key of this database's tokens."""
    row = database.read_one("SELECT value FROM secrets WHERE name = 'tokens'")
    assert row is not None  # noqa: S101  # made with the file
    return bytes(row[0])


def key_of(execution_id: int, number: int) -> int:
    """The key of a frame, or of an event."""
    return execution_id << ID_BITS | number


def split_key(key: int) -> tuple[int, int]:
    """The execution and the frame, or event, of a key."""
    return key >> ID_BITS, key & (1 << ID_BITS) - 1


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """An execution as it is stored, and its machine's name."""

    id: int
    machine: int
    revision: int
    name: str
    status: Status
    started_ms: int
    stopped_ms: int | None
    timeout_ms: int
    seed: int
    input: str
    output: str | None
    error: str | None
    cause: str | None
    trace_header: str | None
    version: int | None
    alias: str | None
    redrives: int
    redriven_ms: int | None
    redrive_tokens: str | None  #: of the clients that did it, and when; JSON
    test_case: str | None

    @property
    def map_run(self) -> int | None:
        """The id of the Map Run whose child it is."""
        return -self.machine if self.machine < 0 else None

    @classmethod
    def of(cls, row: Row) -> "ExecutionRow":
        """The execution in a row of `EXECUTION_COLUMNS`."""
        values: list[Any] = list(row)
        values[4] = STATUSES[values[4]]
        return cls(*values)


EXECUTION_COLUMNS = (
    "id, machine, revision, name, status, started_ms, stopped_ms, timeout_ms, seed, "
    "input, output, error, cause, trace_header, version, alias, "
    "redrives, redriven_ms, redrive_token, test_case"
)
_LOAD = f"SELECT {EXECUTION_COLUMNS} FROM executions WHERE id = ?"  # noqa: S608  # constants
_INSERT = """INSERT INTO executions (machine, revision, name, status, started_ms, timeout_ms,
    seed, input, trace_header, version, alias, test_case)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_END = """UPDATE executions SET status = ?, stopped_ms = ?, output = ?, error = ?, cause = ?
    WHERE id = ?"""
_HALT = """INSERT INTO halted (execution, since_ms, events, frames) VALUES (?, ?, ?, ?)
    ON CONFLICT (execution) DO UPDATE SET events = excluded.events, frames = excluded.frames"""
_UNHALT = "DELETE FROM halted WHERE execution = ?"
_HALTED = "SELECT since_ms, events FROM halted WHERE execution = ?"
_HALTED_FRAMES = "SELECT frames FROM halted WHERE execution = ?"
_OWE_CANCEL = "INSERT INTO cancellations (execution, resource, role, job) VALUES (?, ?, ?, ?)"
_RESTART = """UPDATE executions SET status = ?, stopped_ms = NULL, error = NULL, cause = NULL,
    timeout_ms = ?, redrives = redrives + 1, redriven_ms = ?, redrive_token = ? WHERE id = ?"""
_COUNTERS = "SELECT events, frames FROM frames WHERE key = ?"
_COUNT = "UPDATE frames SET events = ?, frames = ? WHERE key = ?"
_FRAME = """SELECT key, parent, branch, state, phase, last_event, entered_ms, entered_event,
    attempt, input, more FROM frames WHERE key = ?"""
_CHILDREN = """SELECT key, parent, branch, state, phase, last_event, entered_ms, entered_event,
    attempt, input, more FROM frames WHERE key BETWEEN ? AND ? AND parent = ? ORDER BY branch"""
_PUT = """INSERT OR REPLACE INTO frames (key, parent, branch, state, phase, last_event, entered_ms,
    entered_event, attempt, due_ms, input, more, activity, events, frames)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ACTIVITY = "SELECT id FROM activities WHERE name = ?"
_REMOVE = "DELETE FROM frames WHERE key = ?"
_REMOVE_ALL = "DELETE FROM frames WHERE key BETWEEN ? AND ?"
_APPEND = "INSERT INTO history (key, events) VALUES (?, ?)"


def load_execution(query: Query, execution_id: int) -> ExecutionRow | None:
    """The execution, or None."""
    rows = query(_LOAD, (execution_id,))
    return ExecutionRow.of(rows[0]) if rows else None


def load_counters(query: Query, execution_id: int) -> tuple[int, int]:
    """How many events and frames a running execution had so far."""
    rows = query(_COUNTERS, (key_of(execution_id, ROOT),))
    return rows[0] if rows else (0, 0)


def insert_execution(
    connection: sqlite3.Connection,
    execution: Execution,
    machine: int,
    revision: int,
    trace_header: str | None,
    version: int | None = None,
    alias: str | None = None,
    test_case: str | None = None,
) -> None:
    """Store a new execution and give it its id; what its first step changes follows by `save`."""
    values = (
        machine,
        revision,
        execution.name,
        RUNNING,
        execution.started_ms,
        execution.timeout_ms,
        execution.seed,
        execution.input.text,
        trace_header,
        version,
        alias,
        test_case,
    )
    execution.id = connection.execute(_INSERT, values).lastrowid or 0


def save(connection: sqlite3.Connection, made: Transition) -> None:
    """All that a step changed."""
    execution = made.execution
    if made.aborted:
        for job in made.aborted:
            owe_cancellation(connection, job)
    if made.events:
        key = key_of(execution.id, made.events[0][0])
        connection.execute(_APPEND, (key, pack_events(made.events)))
    if made.ended:
        first, last = key_of(execution.id, 0), key_of(execution.id + 1, 0) - 1
        connection.execute(_REMOVE_ALL, (first, last))
        connection.execute(_END, _ended(execution))
        _halt(connection, made)
        return
    if made.removed:
        keys = [(key_of(execution.id, frame_id),) for frame_id in made.removed]
        connection.executemany(_REMOVE, keys)
    connection.executemany(_PUT, [_frame_row(execution, f) for f in made.frames.values()])
    if ROOT not in made.frames and made.events:
        root = key_of(execution.id, ROOT)
        connection.execute(_COUNT, (execution.events, execution.frames, root))


def owe_cancellation(connection: sqlite3.Connection, job: Dispatch) -> None:
    """Remember a job that is to be stopped."""
    connection.execute(_OWE_CANCEL, _cancellation(job))


def _cancellation(job: Dispatch) -> tuple[object, ...]:
    name = job.job.text if job.job is not None else "{}"
    return job.execution_arn, job.resource.arn, job.role_arn, name


def _halt(connection: sqlite3.Connection, made: Transition) -> None:
    run = made.execution
    if made.halted:
        rows = orjson.dumps([_frame_row(run, frame) for frame in made.halted])
        connection.execute(_HALT, (run.id, run.stopped_ms, run.events, zlib.compress(rows, 1)))
    elif run.redrives:
        connection.execute(_UNHALT, (run.id,))


def load_halted(query: Query, execution_id: int) -> tuple[int, int] | None:
    """When an execution first ended without success, and how many events it has."""
    rows = query(_HALTED, (execution_id,))
    return rows[0] if rows else None


def restart_execution(
    connection: sqlite3.Connection,
    execution_id: int,
    timeout_ms: int,
    now_ms: int,
    tokens: str | None,
) -> None:
    """Make an execution run again, its frames as they stood when it ended."""
    (packed,) = connection.execute(_HALTED_FRAMES, (execution_id,)).fetchone()
    connection.executemany(_PUT, orjson.loads(zlib.decompress(packed)))
    connection.execute(_RESTART, (RUNNING, timeout_ms, now_ms, tokens, execution_id))


def _ended(execution: Execution) -> tuple[object, ...]:
    output = execution.output.text if execution.output is not None else None
    number = _NUMBER_OF[execution.status]
    moment = execution.stopped_ms
    return (number, moment, output, execution.error, execution.cause, execution.id)


def _frame_row(execution: Execution, frame: Frame) -> tuple[object, ...]:
    # The first state's input is the execution's: most waiting executions store it once.
    unchanged = frame.input is execution.input
    first = frame.id == ROOT
    return (
        key_of(execution.id, frame.id),
        frame.parent,
        frame.index,
        frame.state,
        frame.phase,
        frame.last_event,
        frame.entered_ms,
        frame.entered_event,
        frame.attempt,
        frame.due_ms(execution),
        None if unchanged else frame.input.text,
        _more(frame),
        frame.activity,
        execution.events if first else None,
        execution.frames if first else None,
    )


_RARE = (
    "wake_ms",
    "timeout_ms",
    "heartbeat_ms",
    "heartbeat_s",
    "timeout_s",
    "poll_ms",
    "role_arn",
    "told",
    "run",
)


def _more(frame: Frame) -> str | None:
    more: dict[str, object] = {
        name: value for name in _RARE if (value := getattr(frame, name)) is not None
    }
    if frame.arguments is not None:
        more["arguments"] = frame.arguments.text
    if frame.job is not None:
        more["job"] = frame.job.text
    if frame.retries:
        more["retries"] = {str(position): made for position, made in frame.retries.items()}
    if frame.branches:
        more["branches"], more["pending"] = frame.branches, frame.pending
        more["iterations"], more["first"] = frame.iterations, frame.first
    if frame.run_redrives:
        more["run_redrives"] = frame.run_redrives
    if frame.item is not None:
        more["item"] = frame.item.text
    if frame.variables:
        more["variables"] = dict(frame.variables)
    return orjson.dumps(more).decode() if more else None


class SqliteFrames:
    """The frames of one execution, read when asked for: a step over one branch of a thousand reads
    one row, not a thousand."""

    def __init__(self, query: Query, execution: Execution) -> None:
        self._query = query
        self._execution = execution

    def get(self, frame_id: int) -> Frame | None:
        """The frame, or None."""
        rows = self._query(_FRAME, (key_of(self._execution.id, frame_id),))
        return self._frame(rows[0]) if rows else None

    def children(self, frame_id: int) -> list[Frame]:
        """The frame's branches, by index."""
        first, last = key_of(self._execution.id, 0), key_of(self._execution.id + 1, 0) - 1
        return [self._frame(row) for row in self._query(_CHILDREN, (first, last, frame_id))]

    def activity(self, arn: str) -> int | None:
        """The id of an activity, or None."""
        where, _, name = arn.rpartition(f":{ACTIVITY}:")
        if not self._execution.machine_arn.startswith(where + ":"):
            return None  # of another account or region
        rows = self._query(_ACTIVITY, (name,))
        return rows[0][0] if rows else None

    def _frame(self, row: Row) -> Frame:
        key, parent, branch, state, phase, last, entered_ms, entered, attempt, given, more = row
        payload = self._execution.input if given is None else Payload.of_text(given)
        frame = Frame(split_key(key)[1], parent, branch, state, payload, last, Phase(phase))
        frame.entered_ms, frame.entered_event, frame.attempt = entered_ms, entered, attempt
        if more is not None:
            _restore(frame, more)
        return frame


def _restore(frame: Frame, text: str) -> None:
    more = orjson.loads(text)
    for name in (*_RARE, "branches", "pending", "iterations", "first", "variables", "run_redrives"):
        if name in more:
            setattr(frame, name, more[name])
    if "arguments" in more:
        frame.arguments = Payload.of_text(more["arguments"])
    if "job" in more:
        frame.job = Payload.of_text(more["job"])
    if "item" in more:
        frame.item = Payload.of_text(more["item"])
    frame.retries = {int(position): made for position, made in more.get("retries", {}).items()}


# History


def pack_events(events: list[Event]) -> bytes:
    """Events as stored: JSON, compressed where that pays. The first byte tells which."""
    packed = orjson.dumps(events)
    return zlib.compress(packed, 1) if len(packed) >= _COMPRESS_FROM else packed


def unpack_events(stored: bytes) -> list[Event]:
    """The events that `pack_events` packed."""
    # JSON begins with a bracket; zlib never does.
    events: list[Event] = orjson.loads(stored if stored[:1] == b"[" else zlib.decompress(stored))
    return events


_EVENTS_UP = "SELECT events FROM history WHERE key BETWEEN ? AND ? ORDER BY key"
_EVENTS_DOWN = "SELECT events FROM history WHERE key BETWEEN ? AND ? ORDER BY key DESC"
_CHUNK_OF = "SELECT max(key) FROM history WHERE key BETWEEN ? AND ?"


def read_events(
    database: Database, execution_id: int, start: int, count: int, *, reverse: bool
) -> list[Event]:
    """Up to *count* events from the one with id *start*, upwards or downwards."""
    found: list[Event] = []
    for events in _chunks(database, execution_id, start, reverse=reverse):
        wanted = reversed(events) if reverse else iter(events)
        found += [e for e in wanted if (e[0] <= start if reverse else e[0] >= start)]
        if len(found) >= count:
            break
    return found[:count]


_CHUNKS_AT_ONCE = 64


def _chunks(
    database: Database, execution_id: int, start: int, *, reverse: bool
) -> Iterator[list[Event]]:
    first, last = key_of(execution_id, 0), key_of(execution_id + 1, 0) - 1
    if reverse:
        last = key_of(execution_id, start)
    else:
        row = database.read_one(_CHUNK_OF, (first, key_of(execution_id, start)))
        first = row[0] if row and row[0] is not None else first
    sql = (_EVENTS_DOWN if reverse else _EVENTS_UP) + f" LIMIT {_CHUNKS_AT_ONCE}"
    while rows := database.read(sql, (first, last)):
        chunks = [unpack_events(stored) for (stored,) in rows]
        yield from chunks
        if reverse:
            last = key_of(execution_id, chunks[-1][0][0]) - 1
        else:
            first = key_of(execution_id, chunks[-1][0][0]) + 1
