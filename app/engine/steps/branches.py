"""Branches while a step is under way: those of a Parallel, and the iterations of a Map.

They are forked, they end, and the last of them joins them; or one fails, and the others are
aborted.
"""

from app.engine.failures import StateFailure
from app.engine.language.iteration import Map, each
from app.engine.language.states import Fork, Iterate, State
from app.engine.payload import EMPTY, Payload
from app.engine.steps.execution import Frame, Phase
from app.engine.steps.history import Details
from app.engine.steps.stepping import Stepping

#: what came of it: the result of the state that forked, or its failure; None: it waits on
Made = Payload | StateFailure | None


class Branches:
    """The branches of the execution that is stepped."""

    def __init__(self, stepping: Stepping) -> None:
        self._stepping = stepping

    def fork(self, frame: Frame, state: State, fork: Fork) -> None:
        """Begin the branches of a Parallel."""
        stepping = self._stepping
        stepping.note(frame, state.type + "StateStarted", None)
        frame.phase = Phase.FORKED
        frame.branches = frame.pending = len(fork.branches)
        for index, (start_at, given) in enumerate(fork.branches):
            stepping.add(frame.id, index, start_at, given, frame.last_event)

    def iterate(self, frame: Frame, want: Iterate) -> Made:
        """Begin as many iterations of a Map as may run at once."""
        stepping, items = self._stepping, each(want.items.value)
        stepping.note(frame, "MapStateStarted", {"length": len(items)})
        frame.phase, frame.first = Phase.FORKED, stepping.execution.frames + 1
        for index, item in enumerate(items):
            branch = stepping.tree.add(frame.id, index, frame.state, EMPTY, last_event=0)
            branch.phase, branch.item = Phase.WAITING, item
            frame.branches += 1
        if not items:
            return self._join(frame)
        while frame.iterations < min(len(items), want.at_once):
            failure = self._start_iteration(frame)
            if failure is not None:
                return failure
        return None

    def ended(self, parent: Frame, branch: Frame) -> Made:
        """A branch of *parent* ended well: the next iteration begins, or all are joined."""
        branch.phase = Phase.DONE
        parent.pending -= 1
        parent.last_event = branch.last_event
        if parent.iterations:
            failure = self._next_iteration(parent, branch)
            if failure is not None:
                return failure
        return self._join(parent) if parent.pending == 0 else None

    def _next_iteration(self, frame: Frame, done: Frame) -> StateFailure | None:
        """What follows when an iteration ends: the next, or the end if it was the last to run."""
        details = iteration(frame, done)
        succeeded = self._stepping.emit("MapIterationSucceeded", details, done.last_event)
        if frame.iterations < frame.branches:
            return self._start_iteration(frame)
        if frame.pending == 0:
            # AWS lets an iteration follow the one before's last state, the end this event.
            frame.last_event = succeeded
        return None

    def _start_iteration(self, frame: Frame) -> StateFailure | None:
        stepping, state = self._stepping, self._stepping.state(frame)
        branch = stepping.tree.get(frame.first + frame.iterations)
        assert isinstance(state, Map) and branch is not None and branch.item  # noqa: S101  # a Map
        item = branch.item.value
        try:
            scope = stepping.scopes.of(frame, state, stepping.now_ms, item)
            branch.input = state.given(frame.input, item, scope)
        except StateFailure as failure:
            self.abort(frame)
            return failure
        frame.iterations += 1
        frame.pending += 1
        branch.state, branch.phase, branch.last_event = (
            state.start_at,
            Phase.READY,
            frame.last_event,
        )
        stepping.queue.append((branch, None))
        stepping.note(branch, "MapIterationStarted", iteration(frame, branch))
        return None

    def _join(self, frame: Frame) -> Payload:
        stepping = self._stepping
        branches = stepping.tree.children(frame)
        texts = ",".join(branch.input.text for branch in branches)
        stepping.remove(branches)
        frame.branches, frame.iterations, frame.phase = 0, 0, Phase.READY
        # AWS gives Succeeded and Exited the same predecessor: the last event of the last branch.
        stepping.emit(stepping.state(frame).type + "StateSucceeded", None, frame.last_event)
        return Payload.of_text(f"[{texts}]")

    def abort(self, frame: Frame, failed: int = 0) -> None:
        """Abort the branches of *frame* but for the one that failed, and forget them all."""
        branches = self._stepping.tree.children(frame)
        self._stepping.halting.abort(branches)
        for branch in branches:
            if branch.id != failed and branch.phase not in (Phase.DONE, Phase.WAITING):
                self._abort(frame, branch)
        self._stepping.remove(branches)
        frame.branches = frame.pending = frame.iterations = 0

    def _abort(self, parent: Frame, frame: Frame) -> None:
        stepping = self._stepping
        if frame.phase is Phase.FORKED:
            self.abort(frame)
        if frame.run is not None:
            stepping.note(frame, "MapRunAborted", None)
            stepping.made.forsaken.append(frame.run)
        if frame.phase is not Phase.READY:
            kind = stepping.state(frame).type + "StateAborted"
            stepping.emit(kind, None, frame.last_event)
        if parent.iterations:
            stepping.emit("MapIterationAborted", iteration(parent, frame), frame.last_event)


def iteration(parent: Frame, frame: Frame) -> Details:
    """What an iteration's events say of it."""
    return {"name": parent.state, "index": frame.index}
