"""Express executions: the same steps, in memory, for five minutes at most.

Nothing of them is stored: AWS keeps no history of them either, and neither promises that one runs
to its end.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial

from app.clock import Clock, to_ms
from app.engine.calls import answer_of
from app.engine.expressions.costly import Deferred, deferring, patiently
from app.engine.language.states import StateMachine
from app.engine.logs.delivery import LogDelivery
from app.engine.rehearsal import MockedResource
from app.engine.requests import check_name, default_name, execution_input
from app.engine.resources import Resources
from app.engine.starting import new_execution
from app.engine.state_machines.machines import Machines, Revision
from app.engine.steps.execution import (
    Dispatch,
    Due,
    Event,
    Execution,
    Signal,
    StaleSignal,
    Start,
    Status,
    StoredFrames,
    Transition,
)
from app.engine.steps.step import abandon, step
from app.errors import ExecutionLimitExceeded, StateMachineTypeNotSupported
from app.metrics import Meter
from app.sqlite import Database
from app.strict_json import Json

log = logging.getLogger(__name__)

MAX_RUNNING = 10_000  #: at the same time
BILLED_MEMORY_MB = 64
BILLED_STEP_MS = 100


class ExpressExecutions:
    """The Express executions that run."""

    def __init__(
        self,
        database: Database,
        machines: Machines,
        resources: Resources,
        logs: LogDelivery,
        clock: Clock,
        meter: Meter,
    ) -> None:
        self._database = database
        self._machines = machines
        self._resources = resources
        self._logs = logs
        self._clock = clock
        self._meter = meter
        self._tasks: set[asyncio.Task[Execution]] = set()

    async def start_sync_execution(
        self,
        *,
        state_machine_arn: str,
        name: str | None = None,
        input: str | None = None,
        trace_header: str | None = None,
        included_data: str = "ALL_DATA",
    ) -> Json:
        """Run an Express execution and answer how it ended."""
        if name is not None:
            check_name(name)
        payload = execution_input("{}" if input is None else input)
        now_ms = to_ms(self._clock())
        chosen = self._machines.to_start(self._database.read, state_machine_arn)
        if not chosen.revision.express:
            raise StateMachineTypeNotSupported()
        name = name or default_name(now_ms)
        execution = new_execution(self._machines.arns, chosen, name, payload, now_ms)
        # A client that goes away does not end the execution.
        ended = await asyncio.shield(self.start(chosen.revision, execution))
        shown = _answer(ended, whole=included_data == "ALL_DATA")
        return shown if trace_header is None else shown | {"traceHeader": trace_header}

    def start(self, revision: Revision, execution: Execution) -> asyncio.Task[Execution]:
        """Let an execution run; the task ends with it.

        Raises:
            ExecutionLimitExceeded: too many run.
        """
        if len(self._tasks) >= MAX_RUNNING:
            raise ExecutionLimitExceeded()
        self._meter.count("executions_started")
        told = _nobody
        if revision.logging is not None:
            told = partial(self._logs.offer, revision.logging)
        run = _Run(revision.machine, execution, self._resources, told, self._clock)
        task = asyncio.get_running_loop().create_task(run.until_ended())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def stop(self) -> None:
        """End all of them, unfinished as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Execution]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            status = task.result().status.value
            self._meter.count("signoff_executions_ended", status=status)


Told = Callable[[Execution, list[Event]], None]


def _nobody(_execution: Execution, _events: list[Event]) -> None:
    """Nobody is told what happened."""


class _Run:
    """One execution: signals one after the other, from its calls and its clock."""

    def __init__(
        self,
        machine: StateMachine,
        execution: Execution,
        resources: Resources,
        told: Told,
        clock: Clock,
    ) -> None:
        self._machine = machine
        self._execution = execution
        self._told = told
        self._resources = resources
        self._clock = clock
        self._frames = StoredFrames()
        self._signals: asyncio.Queue[Signal] = asyncio.Queue()
        self._moments: list[tuple[int, int]] = []  # (when, frame); some are for nothing by then
        self._now_ms = execution.started_ms
        self._calls: set[asyncio.Task[None]] = set()
        self._mocked: Counter[str] = Counter()  # how often states of a test case were called

    async def until_ended(self) -> Execution:
        """The execution as it ended."""
        self._signals.put_nowait(Start())
        try:
            while self._execution.status is Status.RUNNING:
                await patiently(partial(self._take, await self._next()))
                await asyncio.sleep(0)  # others have their turn, however many steps are ready
            return self._execution
        finally:
            for call in self._calls:
                call.cancel()

    async def _next(self) -> Signal:
        """The next signal; a moment that came before it goes first."""
        if self._signals.empty() and self._moments:
            rest_s = (self._moments[0][0] - to_ms(self._clock())) / 1000
            try:
                async with asyncio.timeout(max(0.0, rest_s)):
                    signal = await self._signals.get()
            except TimeoutError:
                when, frame = heapq.heappop(self._moments)
                self._now_ms = max(when, to_ms(self._clock()))
                return Due(frame)
        else:
            signal = await self._signals.get()
        self._now_ms = max(self._now_ms, to_ms(self._clock()))
        return signal

    async def _take(self, signal: Signal) -> None:
        run, frames, now_ms = self._execution, self._frames, self._now_ms
        try:
            with deferring():
                made = step(self._machine, run, frames, signal, now_ms, _no_token)
        except StaleSignal:
            return
        except Deferred:
            raise
        except Exception:
            log.exception("an execution failed", extra={"execution": self._execution.arn})
            made = abandon(self._execution, self._now_ms)
        self._apply(made)

    def _apply(self, made: Transition) -> None:
        self._execution = made.execution
        self._told(made.execution, made.events)
        self._frames.apply(made)
        for frame in made.frames.values():
            due_ms = frame.due_ms(made.execution)
            if due_ms is not None:
                heapq.heappush(self._moments, (due_ms, frame.id))
        for call in made.calls:
            task = asyncio.get_running_loop().create_task(self._call(call))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _call(self, call: Dispatch) -> None:
        if isinstance(call.resource, MockedResource):
            state = call.resource.state
            for signal in call.resource.signals(call, self._mocked[state]):
                self._signals.put_nowait(signal)
            self._mocked[state] += 1
            return
        self._signals.put_nowait(await answer_of(self._resources, call))


def _no_token(_execution: int, _frame: int, _attempt: int) -> str:
    return ""  # Express workflows wait for no one


def _answer(execution: Execution, *, whole: bool) -> dict[str, Json]:
    stopped_ms = execution.stopped_ms or execution.started_ms
    steps = max(1, -(-(stopped_ms - execution.started_ms) // BILLED_STEP_MS))
    shown: dict[str, Json] = {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine_arn,
        "name": execution.name,
        "startDate": execution.started_ms / 1000,
        "stopDate": stopped_ms / 1000,
        "status": execution.status.value,
        "inputDetails": {"included": whole},
        "billingDetails": {
            "billedMemoryUsedInMB": BILLED_MEMORY_MB,
            "billedDurationInMilliseconds": steps * BILLED_STEP_MS,
        },
    }
    if whole:
        shown["input"] = execution.input.text
    if execution.output is not None:
        shown["outputDetails"] = {"included": whole}
        if whole:
            shown["output"] = execution.output.text
    optional = {"error": execution.error, "cause": execution.cause}
    return shown | {name: value for name, value in optional.items() if value is not None}
