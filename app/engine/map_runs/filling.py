"""Filling a Map Run: its items are read, shaped and stored, before the first child begins.

Items come from the state's input or from S3, go through ItemSelector and ItemBatcher, and are
stored some at a time. What is cut off is done again from its start.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from functools import partial
from itertools import islice
from time import perf_counter

from app.clock import Clock, to_ms
from app.engine.executions import Executions
from app.engine.expressions.costly import deferring, patiently
from app.engine.failures import EvaluationFailure, StateFailure
from app.engine.language.distributed_map import DistributedMap
from app.engine.language.iteration import each
from app.engine.map_runs.batches import Batches, Given
from app.engine.map_runs.item_sources import STATE_DATA, Sourced, read_items
from app.engine.map_runs.rows import MapRun, Stage, items_of, load_run, put_items, save_run
from app.engine.map_runs.s3 import Objects
from app.engine.payload import Payload
from app.engine.state_machines.machines import Machines, Revision
from app.engine.steps.execution import Frame, Status
from app.engine.steps.scopes import Scopes
from app.engine.steps.tree import FrameTree
from app.engine.store import SqliteFrames, load_execution, within
from app.engine.threads import Threads
from app.engine.tokens import TokenMint
from app.sqlite import Database
from app.strict_json import Json

CHUNK = 200  #: items read, shaped and stored together
TURN_S = 0.005  #: how long items are shaped before others have their turn


class Filling:
    """Stores what the children of a run are to work on."""

    def __init__(
        self,
        database: Database,
        machines: Machines,
        executions: Executions,
        tokens: TokenMint,
        objects: Objects,
        threads: Threads,
        clock: Clock,
    ) -> None:
        self._database = database
        self._machines = machines
        self._executions = executions
        self._tokens = tokens
        self._objects = objects
        self._threads = threads
        self._clock = clock

    async def fill(self, run: MapRun) -> None:
        """Read all items, and let the run go on with them, or fail."""
        await self._database.write(partial(_empty, run.id))
        try:
            complete = await self._store_all(run)
        except StateFailure as failure:
            await self._database.write(partial(_refuse, run.id, failure))
        else:
            await self._database.write(partial(_close, run.id, complete))

    async def _store_all(self, run: MapRun) -> bool:
        """Store the items; False if nobody wants them any more."""
        selecting, plan = self._surrounding(run), run.plan
        if selecting is None:
            return False
        batches = Batches(plan.batching, keep_items=selecting.keeps_items)
        items: Iterator[Json] = iter(())
        if plan.reading is None:
            items = ({**item.value, "Source": STATE_DATA} for item in each(plan.items))
        else:
            items = map(_sourced, _numbered(read_items(self._objects, plan.reading)))
        while chunk := await self._next(items, blocking=plan.reading is not None):
            given = await _shaped(chunk, selecting, batches)
            if not await self._database.write(partial(_store, run.id, given)):
                return False
        return await self._database.write(partial(_store, run.id, list(batches.rest())))

    async def _next(self, items: Iterator[Json], *, blocking: bool) -> list[Json]:
        if not blocking:
            await asyncio.sleep(0)
            return list(islice(items, CHUNK))
        return await self._threads.run(lambda: list(islice(items, CHUNK)))

    def _surrounding(self, run: MapRun) -> "_Selecting | None":
        """What an item is shaped with; None if nothing waits for the run any more."""
        query = self._database.read
        row = load_execution(query, run.execution)
        if row is None or row.status is not Status.RUNNING:
            return None
        revision = self._machines.to_run(query, row.revision, row.test_case)
        execution = self._executions.running(query, row, revision)
        frames = SqliteFrames(query, execution)
        frame = frames.get(run.frame)
        if frame is None:
            return None
        scopes = Scopes(execution, FrameTree(execution, frames), self._tokens.mint)
        plain = isinstance(run.plan.items, list)
        return _Selecting(revision, frame, scopes, to_ms(self._clock()), plain=plain)


class _Selecting:
    """Shapes items as the state's ItemSelector says."""

    def __init__(
        self, revision: Revision, frame: Frame, scopes: Scopes, now_ms: int, *, plain: bool
    ) -> None:
        state = revision.machine.states[frame.state]
        assert isinstance(state, DistributedMap)  # noqa: S101  # that is where the run began
        self._state = state
        self._frame = frame
        self._scopes = scopes
        self._now_ms = now_ms
        # An item that is its child's input need not be stored beside it.
        self.keeps_items = state.item_selector is not None or not plain

    async def select(self, item: Json) -> Payload:
        """What a child gets of an item.

        Raises:
            StateFailure: the ItemSelector cannot be evaluated.
            Deferred: the answer to an expression is not there yet.
        """
        frame, state = self._frame, self._state
        frame.iterations = item["Index"] + 1  # each item has chance of its own
        scope = self._scopes.of(frame, state, self._now_ms, item)
        try:
            with deferring():
                return state.given(frame.input, item, scope)
        except EvaluationFailure as failure:
            raise failure.within(state.name, frame.entered_event) from failure


async def _shaped(chunk: list[Json], selecting: _Selecting, batches: Batches) -> list[Given]:
    """What items make full; others have their turn, however long that takes."""
    given: list[Given] = []
    deadline = perf_counter() + TURN_S
    for item in chunk:
        given += batches.take(item, await patiently(partial(selecting.select, item)))
        if perf_counter() > deadline:
            await asyncio.sleep(0)
            deadline = perf_counter() + TURN_S
    return given


def _numbered(found: Iterator[Sourced]) -> Iterator[tuple[int, Sourced]]:
    return enumerate(found)


def _sourced(numbered: tuple[int, Sourced]) -> Json:
    index, (value, source) = numbered
    return {"Index": index, "Value": value, "Source": source}


def _empty(run_id: int, connection: sqlite3.Connection) -> None:
    """Forget the items that were read."""
    connection.execute("DELETE FROM map_items WHERE key BETWEEN ? AND ?", items_of(run_id))
    run = load_run(within(connection), run_id)
    run.children = run.items = 0
    save_run(connection, run)


def _store(run_id: int, given: list[Given], connection: sqlite3.Connection) -> bool:
    """Store more items, unless the run was given up; whether it was not."""
    run = load_run(within(connection), run_id)
    if run.doomed:
        return False
    put_items(connection, run, given)
    save_run(connection, run)
    return True


def _close(run_id: int, complete: bool, connection: sqlite3.Connection) -> None:
    """All items are stored; or the run was given up, and may have been redriven since."""
    query = within(connection)
    run = load_run(query, run_id)
    parent = load_execution(query, run.execution)
    if parent is None or parent.status is not Status.RUNNING:
        run.status = Status.ABORTED
    if complete or run.doomed:
        run.stage = Stage.RUNNING
    save_run(connection, run)
    if not complete:
        _empty(run_id, connection)


def _refuse(run_id: int, failure: StateFailure, connection: sqlite3.Connection) -> None:
    """The items cannot be read."""
    _empty(run_id, connection)
    run = load_run(within(connection), run_id)
    run.fail(failure)
    run.stage = Stage.RUNNING
    save_run(connection, run)
