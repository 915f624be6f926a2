"""Executions that wait for the end of others here: their tasks are made due by it.

The end of the child and the wake of its parent are one transaction, so neither is ever seen without
the other. A parent that has not recorded yet that it waits looks by itself as soon as it has.
"""

import sqlite3

from app.engine.execution import Dispatch, Phase
from app.engine.store import RUNNING, key_of

_ADD = "INSERT INTO parents (child, frame, attempt) VALUES (?, ?, ?)"
_FIND = "SELECT frame, attempt FROM parents WHERE child = ?"
_REMOVE = "DELETE FROM parents WHERE child = ?"
_WAITS = "SELECT 1 FROM frames WHERE key = ? AND attempt = ?"
_WAKE = "UPDATE frames SET due_ms = 0 WHERE key = ? AND attempt = ? AND phase = ?"
_ENDED = """SELECT child FROM parents LEFT JOIN executions ON id = child
    WHERE id IS NULL OR status <> ?"""


def add_parent(connection: sqlite3.Connection, child: int, parent: Dispatch) -> None:
    """Remember who waits for an execution."""
    key = key_of(parent.execution_id, parent.frame)
    connection.execute(_ADD, (child, key, parent.attempt))


def is_parent(connection: sqlite3.Connection, child: int, parent: Dispatch) -> bool:
    """Whether it was this attempt that started the execution."""
    row = connection.execute(_FIND, (child,)).fetchone()
    return bool(row == (key_of(parent.execution_id, parent.frame), parent.attempt))


def wake_parent(connection: sqlite3.Connection, child: int) -> bool:
    """Make the task that waits for an execution due, now that it ended; whether there is one."""
    row = connection.execute(_FIND, (child,)).fetchone()
    if row is None:
        return False
    woken = bool(connection.execute(_WAKE, (*row, Phase.SUBMITTED)).rowcount)
    if woken or not connection.execute(_WAITS, row).fetchone():
        connection.execute(_REMOVE, (child,))
    return woken


def wake_parents(connection: sqlite3.Connection) -> None:
    """Make all tasks due whose executions ended before that could be recorded."""
    # Those that have not recorded that they wait keep their row: they start the child again, and
    # so find out that it is theirs.
    for (child,) in connection.execute(_ENDED, (RUNNING,)).fetchall():
        wake_parent(connection, child)
