"""Taking signals to executions: one transaction each; then the calls, and whatever is due.

A signal is one `Database.write`: load what it concerns, `step`, save. Works run one after the
other, so two signals for one execution need no lock and meet no conflict; many of them share one
commit. Only after the commit are connectors called. What waits is rows: one loop serves what
becomes due, and no thread, coroutine or timer stands for an execution.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol

from app.clock import Clock, to_ms
from app.engine.calls import answer_of, end_of
from app.engine.cancelling import Cancelling
from app.engine.dispatch import Dispatcher
from app.engine.events.log import StatusChanges
from app.engine.executions import Executions
from app.engine.expressions.costly import Deferred, deferring, patiently
from app.engine.language.states import Task
from app.engine.logs.cursors import LogCursors
from app.engine.loops import PAUSE_S, keep_on, rest, rest_s
from app.engine.parents import remove_parent, wake_parent, wake_parents
from app.engine.rehearsal import MockedResource, count_call
from app.engine.resources import Resources
from app.engine.state_machines.machines import Machines, Revision
from app.engine.steps.execution import (
    Dispatch,
    Due,
    Execution,
    Frame,
    Signal,
    StaleSignal,
    Status,
    Stop,
    TaskSignal,
    TaskSubmitted,
    TaskTaken,
    Transition,
    dispatched,
)
from app.engine.steps.step import abandon, step
from app.engine.store import (
    ExecutionRow,
    SqliteFrames,
    load_execution,
    save,
    split_key,
    within,
)
from app.engine.tokens import TokenMint
from app.errors import StoreError
from app.metrics import Meter
from app.sqlite import Database, Work

log = logging.getLogger(__name__)

DUE_AT_ONCE = 256  #: how many due frames are served together

_DUE = "SELECT key FROM frames WHERE due_ms IS NOT NULL AND due_ms <= ? ORDER BY due_ms LIMIT ?"
_NEXT_DUE = "SELECT min(due_ms) FROM frames WHERE due_ms IS NOT NULL"
_OWED = "SELECT key FROM frames WHERE phase = 1 LIMIT ?"


class Companion(Protocol):
    """Whoever has more to do with transitions than to store them."""

    def follow(
        self, connection: sqlite3.Connection, revision: Revision, made: Transition, now_ms: int
    ) -> None:
        """What belongs into the write that stores a transition."""

    def after(self, made: Transition) -> None:
        """What follows once it is committed."""

    async def idle(self) -> bool:
        """Return when nothing is under way; whether anything was."""


def _nobody_waits(_activity: int) -> None:
    """No worker polls yet."""


def _nobody_writes() -> None:
    """No log is written yet."""


class Conductor:
    """Moves executions on."""

    def __init__(
        self,
        database: Database,
        machines: Machines,
        executions: Executions,
        resources: Resources,
        tokens: TokenMint,
        changes: StatusChanges,
        logged: LogCursors,
        clock: Clock,
        meter: Meter,
    ) -> None:
        self._database = database
        self._machines = machines
        self._executions = executions
        self._resources = resources
        self._tokens = tokens
        self._changes = changes
        self._logged = logged
        self._clock = clock
        self._meter = meter
        self._dispatcher = Dispatcher(self._perform, self._read_owed)
        self._cancelling = Cancelling(database, resources)
        self._wake = asyncio.Event()
        self._signals = 0  # that are taking effect
        self._rests_until_ms = 0  # what the loop waits for
        self._loop: asyncio.Task[None] | None = None
        self.on_logged: Callable[[], None] = _nobody_writes  #: told that log lines may be owed
        self.companion: Companion | None = None
        self.on_queued: Callable[[int], None] = _nobody_waits  #: told whose task waits for a worker

    async def start(self) -> None:
        """Take up what is owed, and serve what becomes due."""
        await self._database.write(wake_parents)
        self._dispatcher.recover()
        self._cancelling.go()
        self._loop = asyncio.get_running_loop().create_task(keep_on(self._serve, "due"))

    async def stop(self) -> None:
        """Stop serving and calling. What waits, waits in the database."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self._dispatcher.stop()
        await self._cancelling.stop()

    async def idle(self) -> None:
        """Return when all executions wait for someone, or for a later moment."""
        while True:
            await self._dispatcher.idle()
            await self._cancelling.idle()
            served = await self.serve_due()
            while self._signals:  # the loop's own: stored, but what follows is not offered yet
                await asyncio.sleep(0)
            if self.companion is not None and await self.companion.idle():
                continue
            if not served and not self._dispatcher.busy:
                return

    async def signal(
        self, execution_id: int, signal: Signal, also: Work[None] = lambda connection: None
    ) -> None:
        """Let a signal take effect, durably; *also* is done in the same transaction.

        Raises:
            StaleSignal: nothing waits for it.
        """
        # Taken once: what is deferred is asked again with the same moment.
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> Transition:
            made = self._receive(connection, execution_id, signal, now_ms)
            also(connection)
            return made

        self._signals += 1
        try:
            await patiently(partial(self._database.write, work, self.after))
        except (StaleSignal, StoreError):
            raise
        except Exception:
            log.exception("a step could not be stored", extra={"execution_id": execution_id})
            give_up = partial(self._give_up, execution_id, signal, now_ms)
            await self._database.write(give_up, self.after)
        finally:
            self._signals -= 1

    def _give_up(
        self, execution_id: int, signal: Signal, now_ms: int, connection: sqlite3.Connection
    ) -> Transition:
        """End an execution whose step cannot be stored, inside a write."""
        revision, execution = self._loaded(connection, execution_id)
        made = abandon(execution, now_ms)
        self._save(connection, revision, made, now_ms)
        self._record(connection, signal, made)
        return made

    def _loaded(
        self, connection: sqlite3.Connection, execution_id: int
    ) -> tuple[Revision, Execution]:
        """A running execution and what it runs.

        Raises:
            StaleSignal: it does not run.
        """
        row = load_execution(within(connection), execution_id)
        if row is None:
            raise StaleSignal()
        return self._running(connection, row)

    def _running(
        self, connection: sqlite3.Connection, row: ExecutionRow
    ) -> tuple[Revision, Execution]:
        if row.status is not Status.RUNNING:
            raise StaleSignal()
        query = within(connection)
        revision = self._machines.to_run(query, row.revision, row.test_case)
        return revision, self._executions.running(query, row, revision)

    def _receive(
        self, connection: sqlite3.Connection, execution_id: int, signal: Signal, now_ms: int
    ) -> Transition:
        revision, execution = self._loaded(connection, execution_id)
        return self.step(connection, revision, execution, signal, now_ms)

    def advance(
        self, connection: sqlite3.Connection, row: ExecutionRow, signal: Signal, now_ms: int
    ) -> Transition:
        """Let a signal take effect, inside a write, on an execution that was found there.

        Raises:
            StaleSignal: nothing waits for it.
        """
        revision, execution = self._running(connection, row)
        return self.step(connection, revision, execution, signal, now_ms)

    def hand_over(
        self, connection: sqlite3.Connection, key: int, worker: str | None, now_ms: int
    ) -> tuple[Transition, Frame]:
        """Give the queued task of a frame to a worker, inside a write; and the frame as it was."""
        execution_id, frame_id = split_key(key)
        revision, execution = self._loaded(connection, execution_id)
        frame = SqliteFrames(within(connection), execution).get(frame_id)
        assert frame is not None  # noqa: S101
        signal = TaskTaken(frame_id, frame.attempt, worker)
        return self.step(connection, revision, execution, signal, now_ms), frame

    def step(
        self,
        connection: sqlite3.Connection,
        revision: Revision,
        execution: Execution,
        signal: Signal,
        now_ms: int,
    ) -> Transition:
        frames = SqliteFrames(within(connection), execution)
        mint = self._tokens.mint
        try:
            with deferring():
                made = step(revision.machine, execution, frames, signal, now_ms, mint)
        except (StaleSignal, Deferred):
            raise
        except Exception:
            # A fault of ours. Trying again would fail again, for ever; other executions go on.
            log.exception("an execution could not be stepped", extra={"execution": execution.arn})
            made = abandon(execution, now_ms)
        self._save(connection, revision, made, now_ms)
        if not made.ended and revision.machine_id in self._machines.deleting:
            # Its machine was deleted: AWS ends executions at their next transition.
            frames = SqliteFrames(within(connection), made.execution)
            made = step(revision.machine, made.execution, frames, Stop(), now_ms, mint)
            self._save(connection, revision, made, now_ms)
        self._record(connection, signal, made)
        return made

    def _save(
        self, connection: sqlite3.Connection, revision: Revision, made: Transition, now_ms: int
    ) -> None:
        save(connection, made)
        if revision.logging is not None:
            self._logged.note(connection, revision.logging, made)
        if self.companion is not None:
            self.companion.follow(connection, revision, made, now_ms)
        if made.ended:
            made.woke = wake_parent(connection, made.execution.id)
            self._machines.finish_deleting(connection, revision.machine_id)

    def _record(self, connection: sqlite3.Connection, signal: Signal, made: Transition) -> None:
        if self._changes.wanted and ":express:" not in made.execution.arn:
            self._changes.record(connection, signal, made)

    def after(self, made: Transition) -> None:
        """What follows from a committed transition."""
        if self._changes.wanted:
            self._changes.committed(made)
        if self._logged.active:
            self.on_logged()
        if made.aborted:
            self._cancelling.go()
        if made.woke:
            self._wake.set()
        if made.ended:
            status = made.execution.status.value
            self._meter.count("signoff_executions_ended", status=status)
        else:
            self._offer(made)
        if self.companion is not None:
            self.companion.after(made)

    def after_all(self, transitions: Iterable[Transition]) -> None:
        """What follows from committed transitions, in their order."""
        for made in transitions:
            self.after(made)

    def _offer(self, made: Transition) -> None:
        self._dispatcher.offer(made.calls)
        for frame in made.frames.values():
            if frame.activity is not None:
                self.on_queued(frame.activity)
        moments = [frame.due_ms(made.execution) for frame in made.frames.values()]
        if any(moment is not None and moment < self._rests_until_ms for moment in moments):
            self._wake.set()

    # What is due

    async def _serve(self) -> None:
        while await self.serve_due():
            pass
        await self._rest()

    async def serve_due(self) -> int:
        """Serve what is due by now, or some of it; how many frames that were."""
        now_ms = to_ms(self._clock())
        keys = [row[0] for row in self._database.read(_DUE, (now_ms, DUE_AT_ONCE))]
        await asyncio.gather(*(self._serve_one(*split_key(key)) for key in keys))
        return len(keys)

    async def _serve_one(self, execution_id: int, frame: int) -> None:
        try:
            await self.signal(execution_id, Due(frame))
        except StaleSignal:
            log.debug("a moment came for nothing")

    async def _rest(self) -> None:
        self._wake.clear()
        row = self._database.read_one(_NEXT_DUE)
        now = self._clock()
        seconds = rest_s(row[0] if row else None, now)
        self._rests_until_ms = to_ms(now) + int(seconds * 1000)
        await rest(seconds, self._wake)
        self._rests_until_ms = 0

    # Calls

    async def _perform(self, call: Dispatch) -> None:
        """Make one call and record its answer, if anyone still waits for it."""
        if isinstance(call.resource, MockedResource):
            record = partial(self._mock, call, call.resource)
        elif call.job is None:
            record = partial(self._answer, call, await answer_of(self._resources, call))
        else:
            ended = await end_of(self._resources, call)
            if ended is None:
                return  # it is looked at again: its frame stays due
            record = partial(self._answer, call, ended)
        while True:
            try:
                await record()
                return
            except StaleSignal:
                return
            except StoreError:
                # The answer is only here. Until it is recorded, the call stays owed.
                log.warning("the store refused an answer", extra={"execution": call.execution_arn})
                await asyncio.sleep(PAUSE_S)

    async def _answer(self, call: Dispatch, signal: TaskSignal) -> None:
        def forget(connection: sqlite3.Connection) -> None:
            if call.job is not None:
                remove_parent(connection, call)

        try:
            await self.signal(call.execution_id, signal, forget)
        except StaleSignal:
            if isinstance(signal, TaskSubmitted) and signal.job is not None:
                # The execution ended, or went on, while its job began.
                await self._cancelling.add(replace(call, job=signal.job))

    async def _mock(self, call: Dispatch, resource: MockedResource) -> None:
        """Count a mocked call and let its answer take effect, in one transaction."""
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> list[Transition]:
            number = count_call(connection, call.execution_id, resource.state)
            signals = resource.signals(call, number)
            return [self._receive(connection, call.execution_id, each, now_ms) for each in signals]

        await patiently(partial(self._database.write, work, self.after_all))

    def _read_owed(self, count: int) -> list[Dispatch]:
        keys = [split_key(row[0]) for row in self._database.read(_OWED, (count,))]
        return [call for key in keys if (call := self._owed(*key)) is not None]

    def _owed(self, execution_id: int, frame_id: int) -> Dispatch | None:
        query = self._database.read
        row = load_execution(query, execution_id)
        if row is None:
            return None
        revision = self._machines.to_run(query, row.revision, row.test_case)
        execution = self._executions.running(query, row, revision)
        frame = SqliteFrames(query, execution).get(frame_id)
        state = revision.machine.states.get(frame.state) if frame else None
        if frame is None or not isinstance(state, Task):
            return None
        return dispatched(execution, frame, state.resource)
