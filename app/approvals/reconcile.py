"""What became of an answer, read from the execution's history.

Asked when the workflow service says that a task token is gone: our own answer may have closed the
task (its confirmation was lost), the task may have timed out, or somebody else closed it.

The task is found by its token in the event that scheduled it, and followed event by event to the
one that closed it. A token that does not appear (a Lambda function hid it, or an activity) leaves
two traces: an answer that names our decision's id is ours wherever it stands, and a task that is
the only one of its execution which waits for a token is the one we answered.
"""

import re
from dataclasses import dataclass

from app.approvals.attempts import Settled
from app.approvals.model import Payload, State
from app.approvals.targets import Event
from app.strict_json import NotJson, canonical, loads

#: attempts after which a history that shows no end of the task is not taken for a late one
PATIENT_ATTEMPTS = 5

_SCHEDULED = frozenset({"TaskScheduled", "ActivityScheduled", "LambdaFunctionScheduled"})
_UNDERWAY = frozenset({"TaskStarted", "TaskSubmitted", "ActivityStarted", "LambdaFunctionStarted"})
_SUCCEEDED = frozenset({"TaskSucceeded", "ActivitySucceeded", "LambdaFunctionSucceeded"})
_FAILED = frozenset({"TaskFailed", "ActivityFailed", "LambdaFunctionFailed"})
_TIMED_OUT = frozenset({"TaskTimedOut", "ActivityTimedOut", "LambdaFunctionTimedOut"})
_NOT_STARTED = frozenset(
    {
        "TaskStartFailed",
        "TaskSubmitFailed",
        "ActivityScheduleFailed",
        "LambdaFunctionScheduleFailed",
        "LambdaFunctionStartFailed",
    }
)
_CLOSING = _SUCCEEDED | _FAILED | _TIMED_OUT | _NOT_STARTED
_ENDED = frozenset(
    {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}
)
#: a branch or an iteration was given up; the event does not say which
_GIVEN_UP = frozenset({"TaskStateAborted", "MapIterationAborted"})

_TOKEN_CHARACTERS = r"[A-Za-z0-9+/=_-]"  # noqa: S105  # a pattern, no secret


@dataclass(slots=True)
class _Task:
    """One attempt of a task state, from its scheduling on."""

    scheduled: int  #: event id
    is_callback: bool  #: it waits for a token
    has_token: bool  #: ours is in its parameters
    verdict: Settled | None = None


class Trail:
    """Reads a history once, event by event, oldest first; then has a verdict."""

    def __init__(self, token: str, payload: Payload, decision_id: str | None) -> None:
        self._token = re.compile(
            f"(?<!{_TOKEN_CHARACTERS}){re.escape(token)}(?!{_TOKEN_CHARACTERS})"
        )
        self._payload = payload
        #: names our decision in the answer itself, where the answer has room for it
        self._mark = decision_id if decision_id and _mentions(payload, decision_id) else None
        self._tasks: dict[int, _Task] = {}  # by the id of every event that belongs to the task
        self._all: list[_Task] = []
        self._ended: str | None = None
        self._last_given_up = 0
        self._found_mark: Settled | None = None

    def read(self, event: Event) -> None:
        """Take the next event into account."""
        kind: str = event["type"]
        if kind in _SCHEDULED:
            self._schedule(event)
        elif kind in _UNDERWAY or kind in _CLOSING:
            self._follow(event, kind)
        elif kind in _ENDED:
            self._ended = _name(event)
        elif kind in _GIVEN_UP:
            self._last_given_up = event["id"]
        elif kind == "ExecutionRedriven":
            self._ended = None

    def verdict(self, attempts: int) -> Settled | None:
        """What became of the answer; None while the history does not show it yet."""
        task = self._task()
        if task is not None and task.verdict is not None:
            return task.verdict
        if self._found_mark is not None:
            return self._found_mark
        if task is not None:
            return self._unclosed(task, attempts)
        return self._unseen(attempts)

    def ending(self) -> str | None:
        """The event that ended our task or its execution; None while the history shows none.

        For an approval that is pending: a task that does not show our token is not taken for ours.
        """
        closed = (task.verdict.evidence for task in self._all if task.has_token and task.verdict)
        return next(closed, self._ended)

    def _schedule(self, event: Event) -> None:
        details = _details(event)
        text = details.get("parameters") or details.get("input") or ""
        waits = event["type"] == "ActivityScheduled" or str(details.get("resource", "")).endswith(
            ".waitForTaskToken"
        )
        task = _Task(event["id"], waits, self._token.search(text) is not None)
        self._tasks[task.scheduled] = task
        self._all.append(task)

    def _follow(self, event: Event, kind: str) -> None:
        task = self._tasks.get(event["previousEventId"])
        if task is None:
            return
        self._tasks[event["id"]] = task
        if kind not in _CLOSING:
            return
        task.verdict = self._closing(event, kind)
        if self._mark and task.verdict.state is State.DELIVERED:
            self._found_mark = task.verdict

    def _closing(self, event: Event, kind: str) -> Settled:
        details = _details(event)
        if kind in _SUCCEEDED:
            output = details.get("output")
            if output is None:
                return Settled(State.UNRESOLVED, f"{_name(event)} without its output")
            ours = self._payload.output is not None and _same_json(self._payload.output, output)
        elif kind in _FAILED:
            told = (details.get("error"), details.get("cause") or "")
            ours = told == (self._payload.error, self._payload.cause or "")
        else:
            return Settled(State.TOO_LATE, _name(event))
        return Settled(State.DELIVERED if ours else State.SUPERSEDED, _name(event))

    def _task(self) -> _Task | None:
        """The task we answered, as far as it can be known."""
        ours = [task for task in self._all if task.has_token]
        callbacks = [task for task in ours or self._all if task.is_callback]
        if ours:
            # Later tasks may be handed the same token on; it first appears in its own task.
            return (callbacks or ours)[0]
        return callbacks[0] if len(callbacks) == 1 else None

    def _unclosed(self, task: _Task, attempts: int) -> Settled | None:
        if self._ended is not None:
            return Settled(State.TOO_LATE, self._ended)
        # A branch was given up after our task began, and our task has no end of its own. Once the
        # history had time to catch up, ours is that branch.
        if self._last_given_up > task.scheduled and attempts >= PATIENT_ATTEMPTS:
            return Settled(State.TOO_LATE, f"TaskStateAborted {self._last_given_up}")
        return None

    def _unseen(self, attempts: int) -> Settled | None:
        if self._ended is not None and self._mark:
            # Whatever closed the task, it was not our answer: that would carry our mark.
            return Settled(State.TOO_LATE, self._ended)
        if self._ended is not None or attempts >= PATIENT_ATTEMPTS:
            return Settled(State.UNRESOLVED, "no event of the history holds the task token")
        return None


def _mentions(payload: Payload, decision_id: str) -> bool:
    return decision_id in (payload.output or "") or decision_id in (payload.cause or "")


def _same_json(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    try:
        return canonical(loads(ours)) == canonical(loads(theirs))
    except NotJson:
        return False


def _details(event: Event) -> Event:
    # "TaskScheduled" -> "taskScheduledEventDetails"; the member is absent when there is nothing.
    kind: str = event["type"]
    details: Event = event.get(f"{kind[0].lower()}{kind[1:]}EventDetails") or {}
    return details


def _name(event: Event) -> str:
    return f"{event['type']} {event['id']}"
