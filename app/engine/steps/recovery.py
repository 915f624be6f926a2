"""What becomes of a failure while a step is under way: it is retried, or caught, or fails its
branch and so the state around it, and at last the execution.
"""

from app.engine.failures import (
    QUERY_EVALUATION_ERROR,
    EvaluationFailure,
    QueryFailure,
    StateFailure,
)
from app.engine.language.retry import first_match
from app.engine.language.states import Proceed, State, Task, Wait
from app.engine.steps.branches import Branches, iteration
from app.engine.steps.execution import Frame, Phase
from app.engine.steps.history import failed
from app.engine.steps.stepping import Stepping

#: the frame whose state caught the failure, and where it goes on; None: it is not to go on now
Caught = tuple[Frame, Proceed] | None


class Recovery:
    """Takes failures of the execution that is stepped to where they end."""

    def __init__(self, stepping: Stepping, branches: Branches) -> None:
        self._stepping = stepping
        self._branches = branches

    def fail(self, frame: Frame, failure: StateFailure) -> Caught:
        """Retry, catch, or fail the branch."""
        state = self._stepping.state(frame)
        if isinstance(failure, EvaluationFailure):
            failure = self._evaluation_failed(frame, state, failure)
        if self._retry(frame, state, failure):
            return None
        forked = frame.phase in (Phase.FORKED, Phase.MAPPING)
        if forked or (state.forks and failure.error == QUERY_EVALUATION_ERROR):
            self._stepping.note(frame, state.type + "StateFailed", None)
        position = first_match(state.catch, failure)
        if position is None:
            return self.fail_branch(frame, failure)
        catcher = state.catch[position]
        try:
            scope = self._stepping.scope(frame, state)
            outcome = catcher.outcome(frame.input, failure, scope)
        except EvaluationFailure as unplaced:
            return self.fail_branch(frame, self._evaluation_failed(frame, state, unplaced))
        self._stepping.halting.recovered()
        return frame, Proceed.to(catcher.next, outcome)

    def fail_branch(self, frame: Frame, failure: StateFailure) -> Caught:
        """Fail the state around the branch with it, or the execution."""
        stepping = self._stepping
        if frame.parent == 0:
            stepping.end_failed(failure.shown_error, failure.cause, frame.last_event)
            return None
        parent = stepping.tree.parent(frame)
        if parent.iterations:
            stepping.emit("MapIterationFailed", iteration(parent, frame), frame.last_event)
        elif isinstance(stepping.state(frame), Task):
            stepping.emit("TaskStateAborted", None, frame.last_event)
        parent.last_event = frame.last_event
        self._branches.abort(parent, failed=frame.id)
        return self.fail(parent, failure)

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
            self._stepping.note(frame, "EvaluationFailed", details)
        return whole

    def _retry(self, frame: Frame, state: State, failure: StateFailure) -> bool:
        position = first_match(state.retry, failure)
        if position is None:
            return False
        retrier, made = state.retry[position], frame.retries.get(position, 0)
        if made >= retrier.max_attempts:
            return False
        stepping = self._stepping
        stepping.halting.recovered()
        delay_s = retrier.delay_s(made + 1, stepping.scope(frame, state).random)
        frame.rest()
        frame.retries = frame.retries | {position: made + 1}
        frame.phase, frame.wake_ms = Phase.RETRYING, stepping.after(delay_s * 1000)
        return True
