"""The children of Map Runs: begun, counted, stopped and redriven, inside writes.

A child is an execution like any other: it is stepped, waits and ends in the same way, and is one
row when it waits. What makes it a child is its run, which counts it in the transaction that moves
it. How many begin in one transaction is bounded, so that a run of thousands holds nobody up.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from app.engine.arns import Arns
from app.engine.conductor import Conductor
from app.engine.language.iteration import Map
from app.engine.map_runs.item_sources import STATE_DATA
from app.engine.map_runs.rows import (
    NOT_REDRIVABLE,
    UNSUCCESSFUL,
    MapRun,
    Stage,
    child_name,
    find_run,
    insert_run,
    item_count,
    item_key,
    items_of,
    load_run,
    save_run,
)
from app.engine.payload import Payload
from app.engine.starting import MAX_DURATION_MS, MAX_EXPRESS_MS
from app.engine.state_machines.machines import Machines, Revision
from app.engine.steps.execution import Execution, Redrive, Start, Status, Stop, Transition
from app.engine.steps.history import MAX_EVENTS
from app.engine.store import (
    STATUSES,
    insert_execution,
    key_of,
    load_execution,
    restart_execution,
    within,
)

AT_ONCE = 50  #: how many children begin, or are stopped, in one transaction

_ITEM = "SELECT items, input, item FROM map_items WHERE key = ?"
_BEGUN = "UPDATE map_items SET input = NULL, item = NULL, execution = ? WHERE key = ?"
_SOME = "SELECT id, name FROM executions WHERE machine = ? AND status = ? LIMIT ?"
_FAILED = """SELECT e.id, e.status, i.items, h.events FROM map_items i
    JOIN executions e ON e.id = i.execution LEFT JOIN halted h ON h.execution = e.id
    WHERE i.key BETWEEN ? AND ? AND e.status IN (?, ?, ?)"""
_SET_STATUS = "UPDATE executions SET status = ? WHERE id = ?"
_FORGET = (
    "DELETE FROM history WHERE key BETWEEN ? AND ?",
    "DELETE FROM halted WHERE execution = ?",
    "DELETE FROM executions WHERE id = ?",
)


class MapChildren:
    """The children of all Map Runs."""

    def __init__(self, arns: Arns, machines: Machines, conductor: Conductor) -> None:
        self._arns = arns
        self._machines = machines
        self._conductor = conductor
        self._held: MapRun | None = None

    @contextmanager
    def holding(self, connection: sqlite3.Connection, run: MapRun) -> Iterator[None]:
        """Count into *run* itself while its children are moved; it is stored at the end."""
        self._held = run
        try:
            yield
            save_run(connection, run)
        finally:
            self._held = None

    def follow(
        self, connection: sqlite3.Connection, revision: Revision, made: Transition, now_ms: int
    ) -> None:
        """What a transition means to Map Runs, inside the write that stores it."""
        for begun in made.begun:
            insert_run(connection, made.execution, revision.id, begun, now_ms)
        for name in made.forsaken:
            self._forsake(connection, name, now_ms)
        for name in made.redriven:
            self._redrive(connection, name, now_ms)
        if made.ended and made.execution.map_run is not None:
            self._ended(connection, made.execution)

    def _forsake(self, connection: sqlite3.Connection, name: str, now_ms: int) -> None:
        run = find_run(within(connection), name)
        if run is not None and run.stage is not Stage.ENDED:
            run.status, run.stopped_ms = Status.ABORTED, now_ms
            save_run(connection, run)

    def _ended(self, connection: sqlite3.Connection, child: Execution) -> None:
        query, held = within(connection), self._held
        mine = held is not None and held.id == child.map_run
        run = held if held is not None and mine else load_run(query, child.map_run or 0)
        run.move(Status.RUNNING, child.status, item_count(query, child.name))
        run.judge()
        if not mine:
            save_run(connection, run)

    # Beginning

    def begin_some(self, connection: sqlite3.Connection, run: MapRun, now_ms: int) -> "Some":
        """Begin as many children as may run, or some of them."""
        made: list[Transition] = []
        while len(made) < AT_ONCE and self._may_begin(run):
            made.append(self._begin_one(connection, run, now_ms))
        return Some(made, more=self._may_begin(run))

    @staticmethod
    def _may_begin(run: MapRun) -> bool:
        waits = run.pending() > 0 or run.count("pendingRedrive") > 0
        return waits and run.count("running") < run.at_once and not run.doomed

    def _begin_one(self, connection: sqlite3.Connection, run: MapRun, now_ms: int) -> Transition:
        revision = self._machines.to_run(within(connection), run.revision, run.test_case)
        if run.count("pendingRedrive"):
            return self._redrive_one(connection, run, revision, now_ms)
        position = run.children - run.pending()
        return self._start(connection, run, revision, position, now_ms)

    def _start(
        self,
        connection: sqlite3.Connection,
        run: MapRun,
        revision: Revision,
        position: int,
        now_ms: int,
    ) -> Transition:
        key = item_key(run.id, position)
        items, given, item = connection.execute(_ITEM, (key,)).fetchone()
        child = self._child(run, revision, position, Payload.of_text(given), now_ms)
        insert_execution(connection, child, -run.id, revision.id, None, test_case=run.test_case)
        connection.execute(_BEGUN, (child.id, key))
        run.move(None, Status.RUNNING, items)
        state = revision.machine.states[run.plan.state]
        assert isinstance(state, Map)  # noqa: S101  # that is where the run began
        start = Start(state.start_at, _item(run, position, given, item))
        return self._conductor.step(connection, revision, child, start, now_ms)

    def _child(
        self, run: MapRun, revision: Revision, position: int, given: Payload, now_ms: int
    ) -> Execution:
        name, machine = child_name(run.id, position), f"{revision.machine_name}/{run.label}"
        return Execution(
            id=0,
            arn=self._arns.child(machine, name, express=run.plan.express),
            name=name,
            machine_arn=self._arns.state_machine(machine),
            machine_name=machine,
            role_arn=revision.role_arn,
            input=given,
            started_ms=now_ms,
            seed=secrets.randbits(62),
            timeout_ms=now_ms + _duration_ms(run),
            region=self._arns.region,
            map_run=run.id,
        )

    # Stopping

    def stop_some(self, connection: sqlite3.Connection, run: MapRun, now_ms: int) -> "Some":
        """Stop the children that run, or some of them."""
        self._let_go(connection, run)
        running = STATUSES.index(Status.RUNNING)
        rows = connection.execute(_SOME, (-run.id, running, AT_ONCE)).fetchall()
        made = []
        for child, _ in rows:
            row = load_execution(within(connection), child)
            assert row is not None  # noqa: S101  # it was found
            made.append(self._conductor.advance(connection, row, Stop(), now_ms))
        return Some(made, more=run.count("running") > 0)

    def _let_go(self, connection: sqlite3.Connection, run: MapRun) -> None:
        """Those that were to be redriven are not."""
        waiting = run.counts.pop("pendingRedrive", [0, 0])
        if waiting[0]:
            sql = "UPDATE executions SET status = ? WHERE machine = ? AND status = ?"
            aborted = STATUSES.index(Status.ABORTED)
            pending = STATUSES.index(Status.PENDING_REDRIVE)
            connection.execute(sql, (aborted, -run.id, pending))
            run.add("aborted", waiting[1], waiting[0])

    # Redriving

    def _redrive(self, connection: sqlite3.Connection, name: str, now_ms: int) -> None:
        """Let a run go on: what did not succeed waits to be redriven."""
        run = find_run(within(connection), name)
        if run is None:
            return
        run.redrives, run.redriven_ms = run.redrives + 1, now_ms
        run.status, run.stopped_ms, run.error, run.cause = Status.RUNNING, None, None, None
        read = run.children > 0 and run.stage is not Stage.READING
        run.stage = Stage.RUNNING if read else Stage.READING
        run.counts.pop(NOT_REDRIVABLE, None)
        run.counts.pop("resultsWritten", None)
        unsuccessful = map(STATUSES.index, UNSUCCESSFUL)
        pending = STATUSES.index(Status.PENDING_REDRIVE)
        rows = connection.execute(_FAILED, (*items_of(run.id), *unsuccessful)).fetchall()
        for child, status, items, events in rows:
            if not run.plan.express and (events is None or events >= MAX_EVENTS - 1):
                run.add(NOT_REDRIVABLE, items)
                continue
            connection.execute(_SET_STATUS, (pending, child))
            run.move(STATUSES[status], Status.PENDING_REDRIVE, items)
        save_run(connection, run)

    def _redrive_one(
        self, connection: sqlite3.Connection, run: MapRun, revision: Revision, now_ms: int
    ) -> Transition:
        pending = STATUSES.index(Status.PENDING_REDRIVE)
        child, name = connection.execute(_SOME, (-run.id, pending, 1)).fetchone()
        items = item_count(within(connection), name)
        if run.plan.express:
            # What ran in memory has nowhere to go on from: another child takes its place.
            return self._replace(connection, run, revision, child, now_ms)
        run.move(Status.PENDING_REDRIVE, Status.RUNNING, items)
        restart_execution(connection, child, now_ms + _duration_ms(run), now_ms, None)
        row = load_execution(within(connection), child)
        assert row is not None  # noqa: S101  # it was found
        return self._conductor.advance(connection, row, Redrive(), now_ms)

    def _replace(
        self,
        connection: sqlite3.Connection,
        run: MapRun,
        revision: Revision,
        child: int,
        now_ms: int,
    ) -> Transition:
        sql = "SELECT i.key, i.items, e.input FROM map_items i JOIN executions e ON e.id = ?1 "
        sql += "WHERE i.key BETWEEN ?2 AND ?3 AND i.execution = ?1"
        key, items, given = connection.execute(sql, (child, *items_of(run.id))).fetchone()
        history, halted, execution = _FORGET
        connection.execute(history, (key_of(child, 0), key_of(child + 1, 0) - 1))
        for statement in (halted, execution):
            connection.execute(statement, (child,))
        connection.execute("UPDATE map_items SET input = ? WHERE key = ?", (given, key))
        run.move(Status.PENDING_REDRIVE, None, items)
        return self._start(connection, run, revision, key - items_of(run.id)[0], now_ms)


class Some:
    """What was done in one write, and whether there is more to do."""

    def __init__(self, made: list[Transition], *, more: bool) -> None:
        self.made = made
        self.more = more


def _duration_ms(run: MapRun) -> int:
    return MAX_EXPRESS_MS if run.plan.express else MAX_DURATION_MS


def _item(run: MapRun, position: int, given: str, item: str | None) -> Payload | None:
    """``$$.Map.Item`` of a child; one that has a batch has none."""
    if run.plan.batching is not None:
        return None
    if item is not None:
        return Payload.of_text(item)
    value = Payload.of_text(given).value
    return Payload({"Index": position, "Value": value, "Source": STATE_DATA})
