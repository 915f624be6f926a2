"""`step`: what one signal makes of an execution. Pure: values in, a transition out.

Rules this file keeps:

1. No clock, disk, network or chance of its own: ``now_ms`` is given, randomness is seeded by the
   execution, so the same signal on the same execution gives the same transition.
2. A step runs on until every branch is blocked: waiting for a task, a moment, or its branches. It
   does at most a slice of work; branches that want more are named in `Transition.unfinished`, so
   that an endless loop starves nobody.
3. The first answer to an attempt wins. An answer to another attempt, or to none, or one that comes
   after its deadline, is a `StaleSignal` and changes nothing.
4. Event ids are dense. ``last_event`` of a frame is the ``previousEventId`` of its next event; what
   AWS writes beside the causal chain (Succeeded, Aborted) does not move it.
5. A state wants; the stepper does. It knows no state type but by what it wants.

Branches take turns: each enters its state before any leaves it, as AWS interleaves them.
"""

from collections import deque
from dataclasses import replace

from app.engine.context import Mint
from app.engine.execution import (
    ROOT,
    Due,
    Execution,
    Frame,
    Frames,
    Phase,
    Redrive,
    Signal,
    Start,
    Status,
    Stop,
    StoredFrames,
    TaskFailed,
    TaskHeartbeat,
    TaskSignal,
    TaskSubmitted,
    TaskSucceeded,
    TaskTaken,
    Transition,
    dispatched,
)
from app.engine.failures import (
    HEARTBEAT_TIMEOUT,
    QUERY_EVALUATION_ERROR,
    RUNTIME,
    TIMEOUT,
    EvaluationFailure,
    QueryFailure,
    RuntimeFailure,
    SizeFailure,
    StateFailure,
)
from app.engine.flow import Scope
from app.engine.halting import Halting
from app.engine.history import MAX_EVENTS, TERMINAL, Details, failed, named
from app.engine.iteration import Map, each
from app.engine.payload import EMPTY, Payload
from app.engine.resource import Family, Resource
from app.engine.retry import first_match
from app.engine.scopes import Scopes
from app.engine.states import (
    Call,
    Fork,
    Iterate,
    Proceed,
    Raise,
    Sleep,
    State,
    StateMachine,
    Task,
    Wait,
    Want,
)
from app.engine.tree import FrameTree, TooManyFrames
from app.engine.variables import assigned_texts, merged
from app.errors import SignoffError

SLICE = 500  #: units of work in one step: a transition is one, and so is each...
SLICE_BYTES = 2_048  #: ...of this many bytes of its data


class StaleSignal(SignoffError):
    """Nothing waits for this signal (any more)."""


class _HistoryFull(SignoffError):
    """The next event would be one too many."""

    def __init__(self, previous: int) -> None:
        super().__init__()
        self.previous = previous


def step(
    machine: StateMachine,
    execution: Execution,
    frames: Frames,
    signal: Signal,
    now_ms: int,
    mint: Mint,
) -> Transition:
    """What *signal* makes of *execution*, which itself is left as it is.

    Raises:
        StaleSignal: nothing waits for it.
    """
    stepper = _Stepper(machine, replace(execution), frames, now_ms, mint)
    try:
        stepper.receive(signal)
        stepper.run()
    except _HistoryFull as full:
        stepper.end_full(full.previous)
    except TooManyFrames:
        stepper.end_full(stepper.execution.events)
    return stepper.transition()


def abandon(execution: Execution, now_ms: int) -> Transition:
    """The end of an execution that cannot be stepped: better than trying it forever."""
    stepper = _Stepper(_NO_MACHINE, replace(execution), StoredFrames(), now_ms, _no_mint)
    stepper.end_failed(RUNTIME, "An internal error occurred.", execution.events)
    return stepper.transition()


class _Stepper:
    """The working state of one step."""

    def __init__(
        self,
        machine: StateMachine,
        execution: Execution,
        frames: Frames,
        now_ms: int,
        mint: Mint,
    ) -> None:
        self.machine = machine
        self.execution = execution
        self.now_ms = now_ms
        self._tree = FrameTree(execution, frames)
        self._scopes = Scopes(execution, self._tree, mint)
        self._halting = Halting(self._tree, machine.states)
        self._made = Transition(execution)
        self._queue: deque[tuple[Frame, Proceed | None]] = deque()
        self._left = SLICE

    def transition(self) -> Transition:
        """All that this step changed."""
        made = self._made
        if not made.ended:
            made.frames, made.removed = self._tree.touched, self._tree.removed
        return made

    # Signals

    def receive(self, signal: Signal) -> None:
        """Let the signal take effect; branches that can go on are queued."""
        if self.execution.status is not Status.RUNNING:
            raise StaleSignal()
        match signal:
            case Start():
                self._start()
            case Due(frame_id):
                self._due(frame_id)
            case Redrive():
                self._redrive()
            case TaskTaken():
                self._taken(signal)
            case Stop(error, cause):
                self._end(Status.ABORTED, "ExecutionAborted", failed(error, cause), 0)
                self.execution.error, self.execution.cause = error, cause
            case _:
                self._task(signal)

    def _start(self) -> None:
        run = self.execution
        started = {"input": run.input.text, "roleArn": run.role_arn, **run.started_as}
        self._emit("ExecutionStarted", started, 0)
        # AWS gives the first state's event no predecessor either.
        self._add(0, 0, self.machine.start_at, self.execution.input, last_event=0)

    def _redrive(self) -> None:
        run = self.execution
        event = self._emit("ExecutionRedriven", {"redriveCount": run.redrives}, run.events)
        root = self._tree.get(ROOT)
        if root is None:
            raise StaleSignal()
        self._take_up(root, event)

    def _take_up(self, frame: Frame, event: int) -> None:
        """Go on from where a frame stood: in its state, or in its branches."""
        resting = frame.phase in (Phase.DONE, Phase.WAITING)
        if self._made.ended or resting or frame.id not in self._tree.touched:
            return
        frame.last_event = event
        if frame.phase is Phase.FORKED and frame.branches:
            for branch in self._tree.children(frame):
                self._take_up(self._tree.get(branch.id) or branch, event)
        elif frame.phase is Phase.READY:
            self._queue.append((frame, None))
        else:
            frame.rest()
            frame.retries, frame.attempt, frame.phase = {}, 0, Phase.RETRYING
            self._begin(frame)

    def _due(self, frame_id: int) -> None:
        frame = self._tree.get(frame_id)
        if frame is None:
            raise StaleSignal()
        if frame.id == ROOT and self.execution.timeout_ms <= self.now_ms:
            self._time_out()
        elif frame.phase is Phase.READY:
            self._queue.append((frame, None))
        elif frame.phase in (Phase.SLEEPING, Phase.RETRYING) and self._passed(frame.wake_ms):
            self._wake(frame)
        elif self._passed(frame.timeout_ms):
            self._task_timed_out(frame, TIMEOUT)
        elif self._passed(frame.heartbeat_ms):
            self._task_timed_out(frame, HEARTBEAT_TIMEOUT)
        else:
            raise StaleSignal()

    def _passed(self, moment_ms: int | None) -> bool:
        return moment_ms is not None and moment_ms <= self.now_ms

    def _wake(self, frame: Frame) -> None:
        slept = frame.phase is Phase.SLEEPING
        frame.rest()
        if slept:
            self._leave(frame, frame.input)
        else:
            self._begin(frame)

    def _time_out(self) -> None:
        self.now_ms = self.execution.timeout_ms  # the moment it counts from, however late we look
        self._end(Status.TIMED_OUT, "ExecutionTimedOut", {}, 0)

    def _task(self, signal: TaskSignal) -> None:
        frame = self._tree.get(signal.frame)
        if frame is None or frame.attempt != signal.attempt or not self._awaited(frame):
            raise StaleSignal()
        task = self._task_of(frame)
        match signal:
            case TaskSubmitted(output=output):
                self._submitted(frame, task, output)
            case TaskSucceeded(output=output):
                self._succeeded(frame, task, output)
            case TaskFailed(error=error, cause=cause):
                self._failed(frame, task, "Failed", StateFailure(error, cause))
            case TaskHeartbeat():
                if frame.heartbeat_s is not None:
                    frame.heartbeat_ms = self.now_ms + frame.heartbeat_s * 1000

    def _awaited(self, frame: Frame) -> bool:
        return (
            frame.phase in (Phase.SCHEDULED, Phase.SUBMITTED)
            and not self._passed(frame.timeout_ms)
            and not self._passed(frame.heartbeat_ms)
        )

    # Tasks

    def _schedule(self, frame: Frame, task: Task, call: Call) -> None:
        if call.arguments.too_large:
            self._fail(frame, SizeFailure(task.name))
            return
        resource = task.resource
        if resource.family is Family.ACTIVITY:
            self._queue_task(frame, resource, call)
            return
        prefix = resource.family.value
        self._note(frame, prefix + "Scheduled", _scheduled(resource, call, self.execution.region))
        frame.attempt = frame.last_event
        # Written now rather than at the connector's answer: AWS shows it while the call runs.
        self._note(frame, prefix + "Started", named(resource) or None)
        frame.phase, frame.arguments = Phase.SCHEDULED, call.arguments
        frame.heartbeat_s = call.heartbeat_s
        frame.timeout_ms = self._in_seconds(call.timeout_s)
        frame.heartbeat_ms = self._in_seconds(call.heartbeat_s)
        self._made.calls.append(dispatched(self.execution, frame, resource))

    def _queue_task(self, frame: Frame, resource: Resource, call: Call) -> None:
        activity = self._tree.activity(resource.arn)
        if activity is None:
            self._fail(frame, RuntimeFailure(f"The activity {resource.arn} does not exist."))
            return
        self._note(frame, "ActivityScheduled", _scheduled(resource, call, self.execution.region))
        frame.attempt = frame.last_event
        frame.phase, frame.activity, frame.arguments = Phase.QUEUED, activity, call.arguments
        frame.heartbeat_s, frame.timeout_s = call.heartbeat_s, call.timeout_s
        frame.timeout_ms = self._in_seconds(call.timeout_s)

    def _taken(self, signal: TaskTaken) -> None:
        frame = self._tree.get(signal.frame)
        if frame is None or frame.attempt != signal.attempt or frame.phase is not Phase.QUEUED:
            raise StaleSignal()
        worker: Details = {} if signal.worker is None else {"workerName": signal.worker}
        self._note(frame, "ActivityStarted", worker)
        frame.phase, frame.activity, frame.arguments = Phase.SUBMITTED, None, None
        frame.timeout_ms = self._in_seconds(frame.timeout_s)
        frame.heartbeat_ms = self._in_seconds(frame.heartbeat_s)

    def _in_seconds(self, seconds: int | None) -> int | None:
        return None if seconds is None else self.now_ms + seconds * 1000

    def _submitted(self, frame: Frame, task: Task, output: Payload) -> None:
        if frame.phase is not Phase.SCHEDULED:
            raise StaleSignal()
        if output.too_large:
            self._failed(frame, task, "Failed", SizeFailure(task.resource.producer))
            return
        details = named(task.resource) | {"output": output.text}
        self._note(frame, task.resource.family.value + "Submitted", details)
        frame.phase, frame.arguments = Phase.SUBMITTED, None

    def _succeeded(self, frame: Frame, task: Task, output: Payload) -> None:
        if output.too_large:
            self._failed(frame, task, "Failed", SizeFailure(task.resource.producer))
            return
        details = named(task.resource) | {"output": output.text}
        self._note(frame, task.resource.family.value + "Succeeded", details)
        self._leave(frame, output)

    def _failed(self, frame: Frame, task: Task, how: str, failure: StateFailure) -> None:
        details = named(task.resource) | failed(failure.shown_error, failure.cause)
        self._note(frame, task.resource.family.value + how, details)
        self._fail(frame, failure)

    def _task_timed_out(self, frame: Frame, error: str) -> None:
        self._failed(frame, self._task_of(frame), "TimedOut", StateFailure(error))

    def _task_of(self, frame: Frame) -> Task:
        state = self._state(frame)
        assert isinstance(state, Task)  # noqa: S101  # only a Task's frame waits for a task
        return state

    # States: enter, begin (again on a retry, without an event), leave

    def run(self) -> None:
        """Let queued branches go on until all are blocked or the slice is used up."""
        while self._queue and not self._made.ended:
            frame, proceed = self._queue.popleft()
            if frame.id not in self._tree.touched:
                continue  # a sibling failed, and took this branch with it
            if proceed is not None:
                self._proceed(frame, proceed)
            elif self._left > 0:
                self._enter(frame)
            else:
                frame.phase, frame.wake_ms = Phase.READY, self.now_ms
                self._made.unfinished.append(frame.id)

    def _enter(self, frame: Frame) -> None:
        state = self._state(frame)
        self._left -= 1 + frame.input.size_bytes // SLICE_BYTES
        frame.wake_ms = None
        frame.entered_ms = self.now_ms
        frame.entered_after = frame.last_event
        details = {"name": state.name, "input": frame.input.text}
        self._note(frame, state.type + "StateEntered", details)
        frame.entered_event = frame.last_event
        self._begin(frame)

    def _begin(self, frame: Frame) -> None:
        state = self._state(frame)
        try:
            want = state.enter(frame.input, self._scope(frame, state))
        except StateFailure as failure:
            self._fail(frame, failure)
            return
        self._act(frame, state, want)

    def _leave(self, frame: Frame, result: Payload) -> None:
        state = self._state(frame)
        try:
            proceed = state.leave(frame.input, result, self._scope(frame, state))
        except StateFailure as failure:
            self._fail(frame, failure)
            return
        self._proceed(frame, proceed)

    def _act(self, frame: Frame, state: State, want: Want) -> None:
        match want:
            case Proceed() if self._queue:
                self._queue.append((frame, want))
            case Proceed():
                self._proceed(frame, want)
            case Call():
                self._schedule(frame, self._task_of(frame), want)
            case Sleep(until_ms) if until_ms <= self.now_ms:
                self._leave(frame, frame.input)
            case Sleep(until_ms):
                frame.phase, frame.wake_ms = Phase.SLEEPING, until_ms
            case Fork():
                self._fork(frame, state, want)
            case Iterate():
                self._iterate(frame, state, want)
            case Raise(error, cause):
                self._fail(frame, StateFailure(error, cause))

    def _proceed(self, frame: Frame, proceed: Proceed, *, caught: bool = False) -> None:
        state = self._state(frame)
        try:
            details = _leave_behind(frame, proceed)
        except StateFailure as failure:
            # What a catcher makes is caught by none, or it could go on like that for ever.
            (self._fail_branch if caught else self._fail)(frame, failure)
            return
        self._note(frame, state.type + "StateExited", details)
        frame.rest()
        frame.retries, frame.attempt = {}, 0
        frame.input = proceed.output
        if proceed.next is None:
            self._finish(frame)
        else:
            frame.state, frame.phase = proceed.next, Phase.READY
            self._queue.append((frame, None))

    def _finish(self, frame: Frame) -> None:
        if frame.parent == 0:
            self.execution.output = frame.input
            details = {"output": frame.input.text}
            self._end(Status.SUCCEEDED, "ExecutionSucceeded", details, frame.last_event)
            return
        frame.phase = Phase.DONE
        parent = self._tree.parent(frame)
        parent.pending -= 1
        parent.last_event = frame.last_event
        if parent.iterations:
            self._next_iteration(parent, frame)
        if parent.phase is Phase.FORKED and parent.pending == 0:
            self._join(parent)

    # Branches

    def _fork(self, frame: Frame, state: State, fork: Fork) -> None:
        self._note(frame, state.type + "StateStarted", None)
        frame.phase = Phase.FORKED
        frame.branches = frame.pending = len(fork.branches)
        for index, (start_at, given) in enumerate(fork.branches):
            self._add(frame.id, index, start_at, given, last_event=frame.last_event)

    def _iterate(self, frame: Frame, state: State, want: Iterate) -> None:
        items = each(want.items.value)
        self._note(frame, "MapStateStarted", {"length": len(items)})
        frame.phase, frame.first = Phase.FORKED, self.execution.frames + 1
        for index, item in enumerate(items):
            branch = self._tree.add(frame.id, index, frame.state, EMPTY, last_event=0)
            branch.phase, branch.item = Phase.WAITING, item
            frame.branches += 1
        if not items:
            self._join(frame)
        while frame.phase is Phase.FORKED and frame.iterations < min(len(items), want.at_once):
            self._start_iteration(frame)

    def _next_iteration(self, frame: Frame, done: Frame) -> None:
        """What follows when an iteration ends: the next, or the end if it was the last to run."""
        succeeded = self._emit("MapIterationSucceeded", _iteration(frame, done), done.last_event)
        if frame.iterations < frame.branches:
            self._start_iteration(frame)
        elif frame.pending == 0:
            # AWS lets an iteration follow the one before's last state, the end this event.
            frame.last_event = succeeded

    def _start_iteration(self, frame: Frame) -> None:
        state, branch = self._state(frame), self._tree.get(frame.first + frame.iterations)
        assert isinstance(state, Map) and branch is not None and branch.item  # noqa: S101  # a Map
        item = branch.item.value
        try:
            scope = self._scopes.of(frame, state, self.now_ms, item)
            branch.input = state.given(frame.input, item, scope)
        except StateFailure as failure:
            self._abort_branches(frame, failed=0)
            self._fail(frame, failure)
            return
        frame.iterations += 1
        frame.pending += 1
        branch.state, branch.phase, branch.last_event = (
            state.start_at,
            Phase.READY,
            frame.last_event,
        )
        self._queue.append((branch, None))
        self._note(branch, "MapIterationStarted", _iteration(frame, branch))

    def _join(self, frame: Frame) -> None:
        branches = self._tree.children(frame)
        texts = ",".join(branch.input.text for branch in branches)
        self._remove(branches)
        frame.branches, frame.iterations, frame.phase = 0, 0, Phase.READY
        # AWS gives Succeeded and Exited the same predecessor: the last event of the last branch.
        self._emit(self._state(frame).type + "StateSucceeded", None, frame.last_event)
        self._leave(frame, Payload.of_text(f"[{texts}]"))

    def _abort_branches(self, frame: Frame, failed: int) -> None:
        branches = self._tree.children(frame)
        self._halting.abort(branches)
        for branch in branches:
            if branch.id != failed and branch.phase not in (Phase.DONE, Phase.WAITING):
                self._abort(frame, branch)
        self._remove(branches)
        frame.branches = frame.pending = frame.iterations = 0

    def _abort(self, parent: Frame, frame: Frame) -> None:
        if frame.phase is Phase.FORKED:
            self._abort_branches(frame, failed=0)
        if frame.phase is not Phase.READY:
            self._emit(self._state(frame).type + "StateAborted", None, frame.last_event)
        if parent.iterations:
            self._emit("MapIterationAborted", _iteration(parent, frame), frame.last_event)

    # Failure

    def _fail(self, frame: Frame, failure: StateFailure) -> None:
        """Retry, catch, or fail the branch."""
        state = self._state(frame)
        if isinstance(failure, EvaluationFailure):
            failure = self._evaluation_failed(frame, state, failure)
        if self._retry(frame, state, failure):
            return
        if frame.phase is Phase.FORKED or (state.forks and failure.error == QUERY_EVALUATION_ERROR):
            self._note(frame, state.type + "StateFailed", None)
        position = first_match(state.catch, failure)
        if position is None:
            self._fail_branch(frame, failure)
            return
        catcher = state.catch[position]
        try:
            outcome = catcher.outcome(frame.input, failure, self._scope(frame, state))
        except EvaluationFailure as unplaced:
            self._fail_branch(frame, self._evaluation_failed(frame, state, unplaced))
            return
        self._halting.recovered()
        self._proceed(frame, Proceed.to(catcher.next, outcome), caught=True)

    def _evaluation_failed(
        self, frame: Frame, state: State, failure: EvaluationFailure
    ) -> StateFailure:
        """The failure with AWS's full cause; JSONata's have an event of their own."""
        whole = failure.within(state.name, frame.entered_event)
        if isinstance(failure, QueryFailure):
            details = failed(whole.error, whole.cause)
            details |= {"location": failure.location, "state": state.name}
            if frame.last_event == frame.entered_event and not isinstance(state, Wait):
                frame.last_event = frame.entered_after  # AWS passes the entered event over
            self._note(frame, "EvaluationFailed", details)
        return whole

    def _retry(self, frame: Frame, state: State, failure: StateFailure) -> bool:
        position = first_match(state.retry, failure)
        if position is None:
            return False
        retrier, made = state.retry[position], frame.retries.get(position, 0)
        if made >= retrier.max_attempts:
            return False
        self._halting.recovered()
        delay_s = retrier.delay_s(made + 1, self._scope(frame, state).random)
        frame.rest()
        frame.retries = frame.retries | {position: made + 1}
        frame.phase, frame.wake_ms = Phase.RETRYING, self.now_ms + int(delay_s * 1000)
        return True

    def _fail_branch(self, frame: Frame, failure: StateFailure) -> None:
        if frame.parent == 0:
            self.end_failed(failure.shown_error, failure.cause, frame.last_event)
            return
        parent = self._tree.parent(frame)
        if parent.iterations:
            self._emit("MapIterationFailed", _iteration(parent, frame), frame.last_event)
        elif isinstance(self._state(frame), Task):
            self._emit("TaskStateAborted", None, frame.last_event)
        parent.last_event = frame.last_event
        self._abort_branches(parent, failed=frame.id)
        self._fail(parent, failure)

    # The end

    def end_full(self, previous: int) -> None:
        """End an execution whose history has no room for what comes next."""
        cause = f"The execution reached the maximum number of history events ({MAX_EVENTS})."
        self.end_failed(RUNTIME, cause, previous)

    def end_failed(self, error: str | None, cause: str | None, previous: int) -> None:
        """End it as FAILED."""
        self.execution.error, self.execution.cause = error, cause
        self._end(Status.FAILED, "ExecutionFailed", failed(error, cause), previous)

    def _end(self, status: Status, kind: str, details: Details, previous: int) -> None:
        self._emit(kind, details, previous)
        self.execution.status = status
        self.execution.stopped_ms = self.now_ms
        self._made.ended = True
        self._made.calls.clear()
        if status is not Status.SUCCEEDED:
            self._made.halted = self._halting.frames()

    # Events, frames, scopes

    def _note(self, frame: Frame, kind: str, details: Details | None) -> None:
        frame.last_event = self._emit(kind, details, frame.last_event)

    def _emit(self, kind: str, details: Details | None, previous: int) -> int:
        event_id = self.execution.events + 1
        if event_id >= MAX_EVENTS and kind not in TERMINAL:
            raise _HistoryFull(previous)
        self.execution.events = event_id
        self._made.events.append((event_id, previous, self.now_ms, kind, details))
        return event_id

    def _state(self, frame: Frame) -> State:
        return self.machine.states[frame.state]

    def _add(self, parent: int, index: int, state: str, given: Payload, last_event: int) -> Frame:
        frame = self._tree.add(parent, index, state, given, last_event)
        self._queue.append((frame, None))
        return frame

    def _remove(self, branches: list[Frame]) -> None:
        gone = self._tree.remove(branches)
        if gone and self._made.calls:
            self._made.calls = [call for call in self._made.calls if call.frame not in gone]

    def _scope(self, frame: Frame, state: State) -> Scope:
        return self._scopes.of(frame, state, self.now_ms)


def _leave_behind(frame: Frame, proceed: Proceed) -> Details:
    """Set the variables; the details of the exited event."""
    if proceed.output.too_large:
        raise SizeFailure(frame.state)
    details: Details = {"name": frame.state, "output": proceed.output.text}
    if proceed.assigned:
        details["assignedVariables"] = assigned_texts(proceed.assigned)
        frame.variables = merged(frame.variables, proceed.assigned)
    return details


def _scheduled(resource: Resource, call: Call, region: str) -> Details:
    details = named(resource)
    if resource.family is Family.SERVICE:
        details |= {"region": region, "parameters": call.arguments.text}
    else:
        details |= {"resource": resource.arn, "input": call.arguments.text}
    if call.timeout_s is not None:
        details["timeoutInSeconds"] = call.timeout_s
    if call.heartbeat_s is not None:
        details["heartbeatInSeconds"] = call.heartbeat_s
    if call.role_arn is not None:
        details["taskCredentials"] = {"roleArn": call.role_arn}
    return details


def _iteration(parent: Frame, frame: Frame) -> Details:
    return {"name": parent.state, "index": frame.index}


_NO_MACHINE = StateMachine("", {})


def _no_mint(_execution: int, _frame: int, _attempt: int) -> str:
    return ""
