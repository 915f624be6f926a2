"""Executions that wait for the end of others here: their tasks are made due by it.

The end of the child and the wake of its parent are one transaction, so neither is ever seen without
the other. A parent that has not recorded yet that it waits looks by itself as soon as it has. Who
waits is remembered until the answer is recorded: one that was woken, and then a crash, is woken
again at the next start.
"""

import sqlite3

from app.engine.steps.execution import Dispatch, Phase
from app.engine.store import RUNNING, key_of

_ADD = "INSERT OR REPLACE INTO parents (frame, attempt, child) VALUES (?, ?, ?)"
_IS = "SELECT 1 FROM parents WHERE frame = ? AND attempt = ? AND child = ?"
_FIND = "SELECT frame, attempt FROM parents WHERE child = ?"
_REMOVE = "DELETE FROM parents WHERE frame = ?"
_WAITS = "SELECT phase FROM frames WHERE key = ? AND attempt = ?"
_WAKE = "UPDATE frames SET due_ms = 0 WHERE key = ?"
_ENDED = """SELECT child FROM parents LEFT JOIN executions ON id = child
    WHERE id IS NULL OR status <> ?"""


def add_parent(connection: sqlite3.Connection, child: int, parent: Dispatch) -> None:
    """Remember who waits for an execution."""
    connection.execute(_ADD, (_key(parent), parent.attempt, child))


def is_parent(connection: sqlite3.Connection, child: int, parent: Dispatch) -> bool:
    """Whether it was this attempt that started the execution."""
    values = (_key(parent), parent.attempt, child)
    return connection.execute(_IS, values).fetchone() is not None


def remove_parent(connection: sqlite3.Connection, parent: Dispatch) -> None:
    """Forget one that has its answer."""
    connection.execute(_REMOVE, (_key(parent),))


def wake_parent(connection: sqlite3.Connection, child: int) -> bool:
    """Make the task that waits for an execution due, now that it ended; whether there is one."""
    row = connection.execute(_FIND, (child,)).fetchone()
    if row is None:
        return False
    frame, _ = row
    found = connection.execute(_WAITS, row).fetchone()
    if found is None:
        connection.execute(_REMOVE, (frame,))  # it went on without the child
    elif found[0] == Phase.SUBMITTED:
        connection.execute(_WAKE, (frame,))
        return True
    return False


def wake_parents(connection: sqlite3.Connection) -> None:
    """Make all tasks due whose executions ended, but whose answer was not recorded."""
    for (child,) in connection.execute(_ENDED, (RUNNING,)).fetchall():
        wake_parent(connection, child)


def _key(parent: Dispatch) -> int:
    return key_of(parent.execution_id, parent.frame)
