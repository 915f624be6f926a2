"""Map Runs: what goes on in each of them, one short write after the other.

A run reads its items, lets children work on them, writes their results and ends; where it stands is
in its row. Whatever may let it go on kicks it: its begin, the end of a child, a change of its
limits, the start of the engine. A kick is a coroutine that lives until there is nothing to do but
wait; a run of ten thousand children that wait for people is rows.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from time import perf_counter

from app.clock import Clock, to_ms
from app.engine.batches import Batches, Given
from app.engine.conductor import Conductor
from app.engine.costly import deferring, patiently
from app.engine.distributed_map import DistributedMap
from app.engine.execution import Frame, MapRunEnded, StaleSignal, Status, Transition
from app.engine.executions import Executions
from app.engine.failures import (
    RESULT_WRITER_FAILED,
    RUNTIME,
    EvaluationFailure,
    StateFailure,
)
from app.engine.item_sources import STATE_DATA, Sourced, read_items
from app.engine.iteration import each
from app.engine.machines import Machines, Revision
from app.engine.map_children import MapChildren
from app.engine.map_results import Names, ResultFiles, pages, state_output
from app.engine.map_run import (
    RESULTS_WRITTEN,
    MapRun,
    Stage,
    find_run,
    items_of,
    load_run,
    open_runs,
    put_items,
    save_run,
)
from app.engine.payload import Payload
from app.engine.s3 import Objects
from app.engine.scopes import Scopes
from app.engine.store import SqliteFrames, load_execution, within
from app.engine.threads import Threads
from app.engine.tokens import TokenMint
from app.engine.tree import FrameTree
from app.errors import StoreError
from app.sqlite import Database
from app.strict_json import Json

log = logging.getLogger(__name__)

CHUNK = 200  #: items read, shaped and stored together
THREADS = 4  #: runs that read or write objects at the same time
AT_WORK = 16  #: runs whose children begin or are stopped at the same time
TURN_S = 0.005  #: how long items are shaped before others have their turn
PAUSE_S = 1.0  #: after the store refused


class MapRuns:
    """The Map Runs of an engine."""

    def __init__(
        self,
        database: Database,
        machines: Machines,
        executions: Executions,
        conductor: Conductor,
        tokens: TokenMint,
        objects: Objects,
        clock: Clock,
    ) -> None:
        self._database = database
        self._machines = machines
        self._executions = executions
        self._conductor = conductor
        self._tokens = tokens
        self._objects = objects
        self._clock = clock
        self._children = MapChildren(machines.arns, machines, conductor)
        self._threads = Threads(THREADS, "map-run")
        self._room = asyncio.Semaphore(AT_WORK)
        self._at_work: dict[int, asyncio.Task[None]] = {}
        self._again: set[int] = set()
        self._stopped = False
        self.follow = self._children.follow
        conductor.companion = self

    def start(self) -> None:
        """Take up the runs that are not over."""
        for run in open_runs(self._database.read):
            self.kick(run)

    async def stop(self) -> None:
        """Stop; what was not stored is done again at the next start."""
        self._stopped = True
        tasks = list(self._at_work.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def idle(self) -> bool:
        """Return when no run has anything to do; whether one had."""
        tasks = list(self._at_work.values())
        await asyncio.gather(*tasks, return_exceptions=True)
        return bool(tasks)

    def after(self, made: Transition) -> None:
        """Let the runs go on that a committed transition concerns."""
        names = [*(begun.name for begun in made.begun), *made.redriven, *made.forsaken]
        for name in names:
            run = find_run(self._database.read, name)
            if run is not None:
                self.kick(run.id)
        if made.ended and made.execution.map_run is not None:
            self.kick(made.execution.map_run)

    def kick(self, run_id: int) -> None:
        """Let a run do what it can."""
        if self._stopped:
            return
        if run_id in self._at_work:
            self._again.add(run_id)
            return
        task = asyncio.get_running_loop().create_task(self._serve(run_id))
        self._at_work[run_id] = task
        task.add_done_callback(partial(self._served, run_id))

    def _served(self, run_id: int, _task: asyncio.Task[None]) -> None:
        del self._at_work[run_id]
        if run_id in self._again:
            self._again.discard(run_id)
            self.kick(run_id)

    async def _serve(self, run_id: int) -> None:
        """Go on with a run until it waits; one that meets a fault of ours fails, if it can."""
        more, steps = True, [self._go_on, self._give_up, self._go_on]
        while more and steps:
            try:
                more = await steps[0](run_id)
                if len(steps) == 2:
                    del steps[0]
            except StoreError:
                log.warning("the store refused; a Map Run waits")
                await asyncio.sleep(PAUSE_S)
            except Exception:
                log.exception("a Map Run failed", extra={"map_run": run_id})
                del steps[0]

    async def _give_up(self, run_id: int) -> bool:
        """Let a run fail: better than trying for ever what cannot be done."""
        failure = StateFailure(RUNTIME, "An internal error occurred.")
        await self._change(run_id, partial(_failing, failure), Stage.RUNNING)
        return True

    async def _go_on(self, run_id: int) -> bool:
        """Do the next piece of a run's work; whether there is more of it at once."""
        run = load_run(self._database.read, run_id)
        match run.stage:
            case Stage.READING:
                await self._read(run)
            case Stage.RUNNING:
                return await self._work(run_id)
            case Stage.WRITING:
                await self._write(run)
            case Stage.ENDED:
                return False
        return True

    # Reading

    async def _read(self, run: MapRun) -> None:
        try:
            await self._fill(run)
        except StateFailure as failure:
            await self._database.write(partial(_refuse, run.id, failure))
        else:
            await self._change(run.id, None, Stage.RUNNING)

    async def _fill(self, run: MapRun) -> None:
        """Store what the children are to work on; again from the start if it was cut off."""
        await self._database.write(partial(_empty, run.id))
        selecting, plan = self._surrounding(run), run.plan
        if selecting is None:
            return
        batches = Batches(plan.batching, keep_items=selecting.keeps_items)
        items: Iterator[Json] = iter(())
        if plan.reading is None:
            items = ({**item.value, "Source": STATE_DATA} for item in each(plan.items))
        else:
            items = map(_sourced, _numbered(read_items(self._objects, plan.reading)))
        while chunk := await self._next(items, blocking=plan.reading is not None):
            given = await _shaped(chunk, selecting, batches)
            if not await self._database.write(partial(_store, run.id, given)):
                return
        await self._database.write(partial(_store, run.id, list(batches.rest())))

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

    # Working

    async def _work(self, run_id: int) -> bool:
        now_ms = to_ms(self._clock())
        move = partial(self._move, run_id, now_ms)
        async with self._room:
            made, more = await patiently(partial(self._database.write, move))
        for transition in made:
            self._conductor.after(transition)
        return more

    def _move(
        self, run_id: int, now_ms: int, connection: sqlite3.Connection
    ) -> tuple[list[Transition], bool]:
        run = load_run(within(connection), run_id)
        if run.stage is not Stage.RUNNING:
            return [], run.stage is not Stage.ENDED
        with self._children.holding(connection, run):
            move = self._children.stop_some if run.doomed else self._children.begin_some
            some = move(connection, run, now_ms)
        made, more = some.made, some.more
        if not more and not run.count("running") and (run.doomed or not run.pending()):
            if _exports(run):
                run.stage = Stage.WRITING
                save_run(connection, run)
                return made, True
            made += self._end(connection, run, now_ms)
        return made, more

    def _end(self, connection: sqlite3.Connection, run: MapRun, now_ms: int) -> list[Transition]:
        """The end of a run, and what it makes of the execution that waits for it."""
        if run.status is Status.ABORTED:
            run.end(Status.ABORTED, run.stopped_ms or now_ms)
            save_run(connection, run)
            return []
        output = None
        if run.error is None:
            try:
                output = self._output(connection, run)
            except StateFailure as failure:
                run.fail(failure)
        run.end(Status.FAILED if output is None else Status.SUCCEEDED, now_ms)
        save_run(connection, run)
        row = load_execution(within(connection), run.execution)
        signal = MapRunEnded(run.frame, run.name, output, run.error, run.cause)
        try:
            if row is None:
                raise StaleSignal()
            return [self._conductor.advance(connection, row, signal, now_ms)]
        except StaleSignal:
            run.end(Status.ABORTED, now_ms)
            save_run(connection, run)
            return []

    def _output(self, connection: sqlite3.Connection, run: MapRun) -> Payload:
        names = self._names(connection, run)
        if not _exports(run):
            return state_output(within(connection), run, names)
        bucket, prefix = _destination(run)
        details = {"Bucket": bucket, "Key": f"{prefix}manifest.json"}
        return Payload({"MapRunArn": self._arn(run), "ResultWriterDetails": details})

    def _names(self, connection: sqlite3.Connection | None, run: MapRun) -> Names:
        query = self._database.read if connection is None else within(connection)
        revision = self._machines.to_run(query, run.revision)
        machine, arns = f"{revision.machine_name}/{run.label}", self._machines.arns
        child = partial(arns.child, machine, express=run.plan.express)
        return Names(arns.state_machine(machine), child)

    def _arn(self, run: MapRun) -> str:
        return self._executions.arn_of_map_run(self._database.read, run)

    # Writing

    async def _write(self, run: MapRun) -> None:
        written = 0
        try:
            written = await self._export(run)
        except StateFailure as failure:
            await self._change(run.id, partial(_failing, failure), Stage.WRITING)
        now_ms = to_ms(self._clock())
        end = partial(self._written, run.id, written, now_ms)
        made = await patiently(partial(self._database.write, end))
        for transition in made:
            self._conductor.after(transition)

    def _written(
        self, run_id: int, written: int, now_ms: int, connection: sqlite3.Connection
    ) -> list[Transition]:
        run = load_run(within(connection), run_id)
        if written:
            succeeded = run.counts.get("succeeded", [0, 0])
            run.counts[RESULTS_WRITTEN] = list(succeeded)
        return self._end(connection, run, now_ms)

    async def _export(self, run: MapRun) -> int:
        """Write a run's results; how many objects that were."""
        writing, (bucket, prefix) = run.plan.writing, _destination(run)
        assert writing is not None  # noqa: S101  # that is why it is at this stage
        files, count = ResultFiles(writing, self._names(None, run), prefix), 0
        for rows in pages(self._database.read, run):
            for key, body in files.take(rows):
                await self._put(bucket, key, body)
                count += 1
            await asyncio.sleep(0)
        for key, body in files.rest():
            await self._put(bucket, key, body)
            count += 1
        manifest = files.manifest(bucket, self._arn(run))
        await self._put(bucket, f"{prefix}manifest.json", manifest)
        return count

    async def _put(self, bucket: str, key: str, body: bytes) -> None:
        await self._threads.run(self._objects.put, bucket, key, body, RESULT_WRITER_FAILED)

    async def _change(
        self, run_id: int, change: Callable[[MapRun], None] | None, stage: Stage
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            run = load_run(within(connection), run_id)
            if change is not None:
                change(run)
            if run.stage is not Stage.ENDED:
                run.stage = stage
            save_run(connection, run)

        await self._database.write(work)


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


def _failing(failure: StateFailure, run: MapRun) -> None:
    run.fail(failure)


def _exports(run: MapRun) -> bool:
    writing = run.plan.writing
    kept = run.status is not Status.ABORTED and (run.children > 0 or run.error is None)
    return writing is not None and writing.arguments is not None and kept


def _destination(run: MapRun) -> tuple[str, str]:
    """The bucket, and what the keys of a run's results begin with."""
    writing = run.plan.writing
    arguments = writing.arguments if writing is not None and writing.arguments else {}
    prefix = str(arguments.get("Prefix") or "").rstrip("/")
    where = run.name.split(":", 1)[1]
    return str(arguments.get("Bucket", "")), f"{prefix}/{where}/" if prefix else f"{where}/"


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


def _refuse(run_id: int, failure: StateFailure, connection: sqlite3.Connection) -> None:
    """The items cannot be read."""
    _empty(run_id, connection)
    run = load_run(within(connection), run_id)
    run.fail(failure)
    run.stage = Stage.RUNNING
    save_run(connection, run)
