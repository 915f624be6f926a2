"""Map Runs: what goes on in each of them, one short write after the other.

A run reads its items, lets children work on them, writes their results and ends; where it stands is
in its row. Whatever may let it go on kicks it: its begin, the end of a child, a change of its
limits, the start of the engine. A kick is a coroutine that lives until there is nothing to do but
wait; a run of ten thousand children that wait for people is rows.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from functools import partial

from app.clock import Clock, to_ms
from app.engine.conductor import Conductor
from app.engine.executions import Executions
from app.engine.expressions.costly import patiently
from app.engine.failures import (
    RUNTIME,
    StateFailure,
)
from app.engine.map_runs.children import MapChildren
from app.engine.map_runs.exporting import Exporting, exports
from app.engine.map_runs.filling import Filling
from app.engine.map_runs.rows import (
    RESULTS_WRITTEN,
    MapRun,
    Stage,
    find_run,
    load_run,
    open_runs,
    save_run,
)
from app.engine.map_runs.s3 import Objects
from app.engine.state_machines.machines import Machines
from app.engine.steps.execution import MapRunEnded, StaleSignal, Status, Transition
from app.engine.store import load_execution, within
from app.engine.threads import Threads
from app.engine.tokens import TokenMint
from app.errors import StoreError
from app.sqlite import Database

log = logging.getLogger(__name__)

THREADS = 4  #: runs that read or write objects at the same time
AT_WORK = 16  #: runs whose children begin or are stopped at the same time
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
        self._conductor = conductor
        self._clock = clock
        self._children = MapChildren(machines.arns, machines, conductor)
        threads = Threads(THREADS, "map-run")
        self._filling = Filling(database, machines, executions, tokens, objects, threads, clock)
        self._exporting = Exporting(database, machines, executions, objects, threads)
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
                await self._filling.fill(run)
            case Stage.RUNNING:
                return await self._work(run_id)
            case Stage.WRITING:
                await self._write(run)
            case Stage.ENDED:
                return False
        return True

    # Working

    async def _work(self, run_id: int) -> bool:
        now_ms = to_ms(self._clock())
        move = partial(self._move, run_id, now_ms)
        async with self._room:
            _, more = await patiently(partial(self._database.write, move, self._moved))
        return more

    def _moved(self, moved: tuple[list[Transition], bool]) -> None:
        self._conductor.after_all(moved[0])

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
            if exports(run):
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
                output = self._exporting.output(connection, run)
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

    # Writing

    async def _write(self, run: MapRun) -> None:
        written = 0
        try:
            written = await self._exporting.export(run)
        except StateFailure as failure:
            await self._change(run.id, partial(_failing, failure), Stage.WRITING)
        now_ms = to_ms(self._clock())
        end = partial(self._written, run.id, written, now_ms)
        await patiently(partial(self._database.write, end, self._conductor.after_all))

    def _written(
        self, run_id: int, written: int, now_ms: int, connection: sqlite3.Connection
    ) -> list[Transition]:
        run = load_run(within(connection), run_id)
        if run.stage is not Stage.WRITING:
            return []  # nobody waited for it meanwhile, and then it was redriven
        if written:
            succeeded = run.counts.get("succeeded", [0, 0])
            run.counts[RESULTS_WRITTEN] = list(succeeded)
        return self._end(connection, run, now_ms)

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


def _failing(failure: StateFailure, run: MapRun) -> None:
    run.fail(failure)
