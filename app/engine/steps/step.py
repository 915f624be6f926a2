"""`step`: what one signal makes of an execution. Pure: values in, a transition out.

Rules this file keeps:

1. No clock, disk, network or chance of its own: ``now_ms`` is given, randomness is seeded by the
   execution, so the same signal on the same execution gives the same transition.
2. A step runs on until every branch is blocked: waiting for a task, a moment, or its branches. It
   does at most a slice of work; branches that want more are named in `Transition.unfinished`, so
   that an endless loop starves nobody.
3. A state wants; the stepper does. It knows no state type but by what it wants.

`Tasks`, `Branches`, `Runs` and `Recovery` do their part and say what came of it: a result, a
failure, or nothing yet. Going on from there is the stepper's alone.
"""

from app.engine.expressions.costly import Deferred
from app.engine.failures import HEARTBEAT_TIMEOUT, RUNTIME, TIMEOUT, SizeFailure, StateFailure
from app.engine.language.distribution import Distribute
from app.engine.language.states import (
    Call,
    Fork,
    Iterate,
    Proceed,
    Raise,
    Sleep,
    State,
    StateMachine,
    Want,
)
from app.engine.language.variables import assigned_texts, merged
from app.engine.payload import Payload
from app.engine.steps.branches import Branches
from app.engine.steps.context import Mint
from app.engine.steps.execution import (
    ROOT,
    Due,
    Execution,
    Frame,
    Frames,
    MapRunEnded,
    Phase,
    Redrive,
    Signal,
    StaleSignal,
    Start,
    Status,
    Stop,
    StoredFrames,
    TaskTaken,
    Transition,
)
from app.engine.steps.history import Details, failed
from app.engine.steps.recovery import Caught, Recovery
from app.engine.steps.runs import Runs
from app.engine.steps.stepping import HistoryFull, Stepping
from app.engine.steps.tasks import Tasks
from app.engine.steps.tree import TooManyFrames

SLICE = 500  #: units of work in one step: a transition is one, and so is each...
SLICE_BYTES = 2_048  #: ...of this many bytes of its data


def step(
    machine: StateMachine,
    execution: Execution,
    frames: Frames,
    signal: Signal,
    now_ms: int,
    mint: Mint,
    entries: int | None = None,
) -> Transition:
    """What *signal* makes of *execution*, which itself is left as it is.

    *entries* is how many states may be entered at most, beside the slice.

    Raises:
        StaleSignal: nothing waits for it.
        Deferred: the answer to an expression is not there yet, and nothing comes before it.
    """
    stepping = Stepping(machine, execution, frames, now_ms, mint)
    stepper = _Stepper(stepping, entries)
    try:
        stepper.receive(signal)
        stepper.run()
    except Deferred:
        before = stepper.entered - 1
        if before < 1 and not isinstance(signal, Start):
            raise
        # What comes before is done now; the state that asks gets a step of its own.
        return step(machine, execution, frames, signal, now_ms, mint, before)
    except HistoryFull as full:
        stepping.end_full(full.previous)
    except TooManyFrames:
        stepping.end_full(stepping.execution.events)
    return stepping.transition()


def abandon(execution: Execution, now_ms: int) -> Transition:
    """The end of an execution that cannot be stepped: better than trying it forever."""
    stepping = Stepping(_NO_MACHINE, execution, StoredFrames(), now_ms, _no_mint)
    stepping.end_failed(RUNTIME, "An internal error occurred.", execution.events)
    return stepping.transition()


class _Stepper:
    """Takes a signal in, and lets branches go on until all are blocked."""

    def __init__(self, stepping: Stepping, entries: int | None) -> None:
        self.entered = 0  #: how many states
        self._entries = entries
        self._stepping = stepping
        self._tasks = Tasks(stepping)
        self._branches = Branches(stepping)
        self._runs = Runs(stepping)
        self._recovery = Recovery(stepping, self._branches)
        self._left = SLICE

    # Signals

    def receive(self, signal: Signal) -> None:
        """Let the signal take effect; branches that can go on are queued."""
        stepping = self._stepping
        if stepping.execution.status is not Status.RUNNING:
            raise StaleSignal()
        match signal:
            case Start():
                self._start(signal)
            case Due(frame_id):
                self._due(frame_id)
            case Redrive():
                self._redrive()
            case TaskTaken():
                self._tasks.taken(signal)
            case MapRunEnded():
                frame = self._runs.awaited(signal)
                self._follow(frame, self._runs.ended(frame, signal))
            case Stop(error, cause):
                stepping.end(Status.ABORTED, "ExecutionAborted", failed(error, cause), 0)
                stepping.execution.error, stepping.execution.cause = error, cause
            case _:
                frame = self._tasks.awaited(signal)
                self._follow(frame, self._tasks.answered(frame, signal))

    def _start(self, signal: Start) -> None:
        stepping, run = self._stepping, self._stepping.execution
        started = {"input": run.input.text, "roleArn": run.role_arn, **run.started_as}
        stepping.emit("ExecutionStarted", started, 0)
        # AWS gives the first state's event no predecessor either.
        start_at = signal.start_at or stepping.machine.start_at
        stepping.add(0, 0, start_at, run.input, last_event=0).item = signal.item

    def _redrive(self) -> None:
        run = self._stepping.execution
        event = self._stepping.emit("ExecutionRedriven", {"redriveCount": run.redrives}, run.events)
        root = self._stepping.tree.get(ROOT)
        if root is None:
            raise StaleSignal()
        self._take_up(root, event)

    def _take_up(self, frame: Frame, event: int) -> None:
        """Go on from where a frame stood: in its state, or in its branches."""
        stepping, resting = self._stepping, frame.phase in (Phase.DONE, Phase.WAITING)
        if stepping.made.ended or resting or frame.id not in stepping.tree.touched:
            return
        frame.last_event = event
        if frame.phase is Phase.FORKED and frame.branches:
            for branch in stepping.tree.children(frame):
                self._take_up(stepping.tree.get(branch.id) or branch, event)
        elif frame.phase is Phase.MAPPING:
            self._runs.redriven(frame)
        elif frame.phase is Phase.READY:
            stepping.queue.append((frame, None))
        else:
            frame.rest()
            frame.retries, frame.attempt, frame.phase = {}, 0, Phase.RETRYING
            self._begin(frame)

    def _due(self, frame_id: int) -> None:
        stepping, frame = self._stepping, self._stepping.tree.get(frame_id)
        if frame is None:
            raise StaleSignal()
        if frame.id == ROOT and stepping.passed(stepping.execution.timeout_ms):
            self._time_out()
        elif frame.phase is Phase.READY:
            stepping.queue.append((frame, None))
        elif frame.phase in (Phase.SLEEPING, Phase.RETRYING) and stepping.passed(frame.wake_ms):
            self._wake(frame)
        elif stepping.passed(frame.timeout_ms):
            self._fail(frame, self._tasks.timed_out(frame, TIMEOUT))
        elif stepping.passed(frame.heartbeat_ms):
            self._fail(frame, self._tasks.timed_out(frame, HEARTBEAT_TIMEOUT))
        elif frame.job is not None:
            self._tasks.poll(frame)
        else:
            raise StaleSignal()

    def _wake(self, frame: Frame) -> None:
        slept = frame.phase is Phase.SLEEPING
        frame.rest()
        if slept:
            self._leave(frame, frame.input)
        else:
            self._begin(frame)

    def _time_out(self) -> None:
        stepping = self._stepping
        # The moment it counts from, however late we look.
        stepping.now_ms = stepping.execution.timeout_ms
        stepping.end(Status.TIMED_OUT, "ExecutionTimedOut", {}, 0)

    # States: enter, begin (again on a retry, without an event), leave

    def run(self) -> None:
        """Let queued branches go on until all are blocked or the slice is used up."""
        made, queue, tree = self._stepping.made, self._stepping.queue, self._stepping.tree
        while queue and not made.ended:
            frame, proceed = queue.popleft()
            if tree.touched.get(frame.id) is not frame:
                continue  # a sibling failed, and took this branch with it
            if proceed is not None:
                self._proceed(frame, proceed)
            elif self._left > 0 and self.entered != self._entries:
                self._enter(frame)
            else:
                frame.phase, frame.wake_ms = Phase.READY, self._stepping.now_ms
                made.unfinished.append(frame.id)

    def _enter(self, frame: Frame) -> None:
        state = self._stepping.state(frame)
        self.entered += 1
        self._left -= 1 + frame.input.size_bytes // SLICE_BYTES
        frame.wake_ms = None
        frame.entered_ms = self._stepping.now_ms
        frame.entered_after = frame.last_event
        details = {"name": state.name, "input": frame.input.text}
        self._stepping.note(frame, state.type + "StateEntered", details)
        frame.entered_event = frame.last_event
        self._begin(frame)

    def _begin(self, frame: Frame) -> None:
        state = self._stepping.state(frame)
        try:
            want = state.enter(frame.input, self._stepping.scope(frame, state))
        except StateFailure as failure:
            self._fail(frame, failure)
            return
        self._act(frame, state, want)

    def _leave(self, frame: Frame, result: Payload) -> None:
        state = self._stepping.state(frame)
        try:
            proceed = state.leave(frame.input, result, self._stepping.scope(frame, state))
        except StateFailure as failure:
            self._fail(frame, failure)
            return
        self._proceed(frame, proceed)

    def _act(self, frame: Frame, state: State, want: Want) -> None:
        match want:
            case Proceed() if self._stepping.queue:
                self._stepping.queue.append((frame, want))
            case Proceed():
                self._proceed(frame, want)
            case Call():
                self._follow(frame, self._tasks.schedule(frame, want))
            case Sleep(until_ms):
                self._sleep(frame, until_ms)
            case Fork():
                self._branches.fork(frame, state, want)
            case Iterate():
                self._follow(frame, self._branches.iterate(frame, want))
            case Distribute():
                self._follow(frame, self._runs.begin(frame, want))
            case Raise(error, cause):
                self._fail(frame, StateFailure(error, cause))

    def _sleep(self, frame: Frame, until_ms: int) -> None:
        wake_ms = self._stepping.after(until_ms - self._stepping.now_ms)
        if wake_ms <= self._stepping.now_ms:
            self._leave(frame, frame.input)
        else:
            frame.phase, frame.wake_ms = Phase.SLEEPING, wake_ms

    def _follow(self, frame: Frame, made: Payload | StateFailure | None) -> None:
        """Leave the state with its result, or fail it; with neither, it waits on."""
        if isinstance(made, Payload):
            self._leave(frame, made)
        elif made is not None:
            self._fail(frame, made)

    def _proceed(self, frame: Frame, proceed: Proceed, *, caught: bool = False) -> None:
        try:
            details = _leave_behind(frame, proceed)
        except StateFailure as failure:
            # What a catcher makes is caught by none, or it could go on like that for ever.
            fail = self._recovery.fail_branch if caught else self._recovery.fail
            self._recover(fail(frame, failure))
            return
        kind = self._stepping.state(frame).type + "StateExited"
        self._stepping.note(frame, kind, details)
        frame.rest()
        frame.retries, frame.attempt = {}, 0
        frame.input = proceed.output
        if proceed.next is None:
            self._finish(frame)
        else:
            frame.state, frame.phase = proceed.next, Phase.READY
            self._stepping.queue.append((frame, None))

    def _finish(self, frame: Frame) -> None:
        stepping = self._stepping
        if frame.parent == 0:
            stepping.execution.output = frame.input
            details: Details = {"output": frame.input.text}
            stepping.end(Status.SUCCEEDED, "ExecutionSucceeded", details, frame.last_event)
            return
        parent = stepping.tree.parent(frame)
        self._follow(parent, self._branches.ended(parent, frame))

    def _fail(self, frame: Frame, failure: StateFailure) -> None:
        self._recover(self._recovery.fail(frame, failure))

    def _recover(self, caught: Caught) -> None:
        if caught is not None:
            self._proceed(*caught, caught=True)


def _leave_behind(frame: Frame, proceed: Proceed) -> Details:
    """Set the variables; the details of the exited event."""
    if proceed.output.too_large:
        raise SizeFailure(frame.state)
    details: Details = {"name": frame.state, "output": proceed.output.text}
    if proceed.assigned:
        details["assignedVariables"] = assigned_texts(proceed.assigned)
        frame.variables = merged(frame.variables, proceed.assigned)
    return details


_NO_MACHINE = StateMachine("", {})


def _no_mint(_execution: int, _frame: int, _attempt: int) -> str:
    return ""
