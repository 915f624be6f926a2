"""One step under way: the execution and its frames as they change, the events and calls so far.

Event ids are dense. ``last_event`` of a frame is the ``previousEventId`` of its next event; what
AWS writes beside the causal chain (Succeeded, Aborted) does not move it.
"""

from collections import deque
from dataclasses import replace

from app.engine.failures import RUNTIME
from app.engine.language.flow import Scope
from app.engine.language.states import Proceed, State, StateMachine, Task
from app.engine.payload import Payload
from app.engine.steps.context import Mint
from app.engine.steps.execution import Execution, Frame, Frames, Status, Transition, dispatched
from app.engine.steps.halting import Halting
from app.engine.steps.history import MAX_EVENTS, TERMINAL, Details, failed
from app.engine.steps.scopes import Scopes
from app.engine.steps.tree import FrameTree
from app.errors import SignoffError


class HistoryFull(SignoffError):
    """The next event would be one too many."""

    def __init__(self, previous: int) -> None:
        super().__init__()
        self.previous = previous


class Stepping:
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
        self.execution = replace(execution)
        self.now_ms = now_ms
        self.tree = FrameTree(self.execution, frames)
        self.scopes = Scopes(self.execution, self.tree, mint)
        self.halting = Halting(self.tree, machine.states)
        self.made = Transition(self.execution)
        #: branches that can go on: into their state, or out of it
        self.queue: deque[tuple[Frame, Proceed | None]] = deque()

    def transition(self) -> Transition:
        """All that this step changed."""
        made = self.made
        if not made.ended:
            made.frames, made.removed = self.tree.touched, self.tree.removed
        return made

    # Events

    def note(self, frame: Frame, kind: str, details: Details | None) -> None:
        """Write an event of the frame's causal chain.

        Raises:
            HistoryFull
        """
        frame.last_event = self.emit(kind, details, frame.last_event)

    def emit(self, kind: str, details: Details | None, previous: int) -> int:
        """Write an event; its id.

        Raises:
            HistoryFull
        """
        event_id = self.execution.events + 1
        if event_id >= MAX_EVENTS and kind not in TERMINAL:
            raise HistoryFull(previous)
        self.execution.events = event_id
        self.made.events.append((event_id, previous, self.now_ms, kind, details))
        return event_id

    # Frames

    def state(self, frame: Frame) -> State:
        """The state that the frame is in."""
        return self.machine.states[frame.state]

    def scope(self, frame: Frame, state: State) -> Scope:
        """What the state's expressions see."""
        return self.scopes.of(frame, state, self.now_ms)

    def add(self, parent: int, index: int, state: str, given: Payload, last_event: int) -> Frame:
        """A new branch, which can go on.

        Raises:
            TooManyFrames
        """
        frame = self.tree.add(parent, index, state, given, last_event)
        self.queue.append((frame, None))
        return frame

    def remove(self, branches: list[Frame]) -> None:
        """Forget branches, the calls they owe, and the jobs they wait for."""
        self._abort_jobs(branches)
        gone = self.tree.remove(branches)
        if gone and self.made.calls:
            self.made.calls = [call for call in self.made.calls if call.frame not in gone]

    def _abort_jobs(self, frames: list[Frame]) -> None:
        aborted = self.made.aborted
        for frame in frames:
            if frame.job is None or any(known.frame == frame.id for known in aborted):
                continue
            state = self.state(frame)
            assert isinstance(state, Task)  # noqa: S101  # only those have jobs
            aborted.append(dispatched(self.execution, frame, state.resource))

    def passed(self, moment_ms: int | None) -> bool:
        """Whether a moment is no later than now."""
        return moment_ms is not None and moment_ms <= self.now_ms

    def after(self, pause_ms: float) -> int:
        """The moment at which a wait or a pause that begins now is over."""
        return self.now_ms + int(pause_ms * self.machine.wait_time_scale)

    # The end

    def end_full(self, previous: int) -> None:
        """End an execution whose history has no room for what comes next."""
        cause = f"The execution reached the maximum number of history events ({MAX_EVENTS})."
        self.end_failed(RUNTIME, cause, previous)

    def end_failed(self, error: str | None, cause: str | None, previous: int) -> None:
        """End it as FAILED."""
        self.execution.error, self.execution.cause = error, cause
        self.end(Status.FAILED, "ExecutionFailed", failed(error, cause), previous)

    def end(self, status: Status, kind: str, details: Details, previous: int) -> None:
        """End the execution with its terminal event."""
        self.emit(kind, details, previous)
        self.execution.status = status
        self.execution.stopped_ms = self.now_ms
        self.made.ended = True
        self.made.calls.clear()
        if status is not Status.SUCCEEDED:
            self.made.halted = self.halting.frames()
            self._abort_jobs(self.made.halted)
            self.made.forsaken += [frame.run for frame in self.made.halted if frame.run]
