"""A workflow service for tests, in memory: the first answer to a token wins, as with the real one.

It keeps histories in the wire's shape, and it can be told to misbehave: to lose an answer after
applying it, to lose it before, to throttle, to hang, to deny its history.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from app.errors import (
    ExecutionDoesNotExist,
    InvalidToken,
    StepFunctionsError,
    StoreUnavailable,
    StoreUnconfirmed,
    TaskTimedOut,
)
from app.strict_json import dumps

ARN = "arn:aws:states:us-east-1:123456789012:execution:deploy:"


class Fault(Enum):
    """What goes wrong with one call."""

    LOST_AFTER = auto()  #: applied, but the answer does not come back
    LOST_BEFORE = auto()  #: not applied, and no answer either
    THROTTLED = auto()
    DENIED = auto()
    HANGS = auto()  #: until released, then applied
    HANGS_AFTER = auto()  #: applied at once, the answer comes when released


class ThrottlingException(StepFunctionsError):
    """Rate exceeded"""


class AccessDeniedException(StepFunctionsError):
    """Not authorized"""


class Workflow:
    """Executions that wait for answers."""

    def __init__(self) -> None:
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.faults: deque[Fault | None] = deque()  #: for the next calls, in order
        self.history_faults: deque[Fault] = deque()
        self.calls: list[str] = []  #: verbs that arrived, faulty ones too
        self.release = asyncio.Event()  #: lets hanging calls go
        self.page_size = 1000
        self._open: dict[str, tuple[str, int]] = {}  # token -> execution, last event id
        self._executions: dict[str, str] = {}  # of every token ever given

    def wait_for(self, token: str, *, name: str = "", show_token: bool = True) -> str:
        """Start an execution that waits for *token*; its ARN."""
        arn = ARN + (name or token)
        self.histories[arn] = []
        self._add(arn, "ExecutionStarted", 0)
        self.add_task(arn, token, show_token=show_token, previous=0)
        return arn

    def add_task(
        self, arn: str, token: str, *, show_token: bool = True, previous: int | None = None
    ) -> None:
        """Schedule (one more) task of the execution that waits for *token*."""
        shown = {"Payload": {"task_token": token if show_token else "hidden"}}
        entered = self._add(arn, "TaskStateEntered", self._last(arn, previous))
        scheduled = self._add(
            arn,
            "TaskScheduled",
            entered,
            taskScheduledEventDetails={
                "resourceType": "lambda",
                "resource": "invoke.waitForTaskToken",
                "region": "us-east-1",
                "parameters": dumps(shown).decode(),
            },
        )
        submitted = self._add(arn, "TaskSubmitted", self._add(arn, "TaskStarted", scheduled))
        self._open[token] = (arn, submitted)
        self._executions[token] = arn

    def time_out(self, token: str) -> None:
        """The task's TimeoutSeconds are over."""
        arn, last = self._open.pop(token)
        details = {"error": "States.Timeout", "resource": "invoke.waitForTaskToken"}
        self._end(arn, self._add(arn, "TaskTimedOut", last, taskTimedOutEventDetails=details))

    def abort(self, token: str) -> None:
        """Somebody stops the execution."""
        arn, _ = self._open.pop(token)
        self._add(arn, "ExecutionAborted", 0)

    def complete(self, token: str, output: str) -> None:
        """Somebody completes the task."""
        arn, last = self._open.pop(token)
        details = {"output": output, "outputDetails": {"truncated": False}}
        closing = self._add(arn, "TaskSucceeded", last, taskSucceededEventDetails=details)
        self._add(arn, "ExecutionSucceeded", self._add(arn, "TaskStateExited", closing))

    def closings(self, token: str) -> int:
        """How many events closed the task of *token*."""
        types = [event["type"] for event in self._history_of(token)]
        return sum(types.count(kind) for kind in ("TaskSucceeded", "TaskFailed", "TaskTimedOut"))

    def outcome(self, token: str) -> Any:
        """What the task of *token* ended with: output text, (error, cause), or None while open."""
        return self._closing(self._history_of(token))

    def is_open(self, token: str) -> bool:
        """Whether an answer for *token* would be taken."""
        return token in self._open

    # The four verbs of the Step Functions API that a target needs.

    async def send_task_success(self, task_token: str, output: str) -> None:
        """Complete the task."""
        fault = await self._arrive("SendTaskSuccess")
        self._check(task_token)
        self.complete(task_token, output)
        await self._answer(fault)

    async def send_task_failure(
        self, task_token: str, error: str | None, cause: str | None
    ) -> None:
        """Fail the task."""
        fault = await self._arrive("SendTaskFailure")
        self._check(task_token)
        arn, last = self._open.pop(task_token)
        details = {"error": error, "cause": cause}
        self._end(arn, self._add(arn, "TaskFailed", last, taskFailedEventDetails=details))
        await self._answer(fault)

    async def send_task_heartbeat(self, task_token: str) -> None:
        """Keep the task alive."""
        fault = await self._arrive("SendTaskHeartbeat")
        self._check(task_token)
        await self._answer(fault)

    async def get_execution_history(
        self, execution_arn: str, max_results: int, next_token: str | None
    ) -> dict[str, Any]:
        """A page of events."""
        self.calls.append("GetExecutionHistory")
        if self.history_faults:
            _raise(self.history_faults.popleft())
        if execution_arn not in self.histories:
            raise ExecutionDoesNotExist()
        start = int(next_token or 0)
        end = start + min(max_results, self.page_size)
        events = self.histories[execution_arn]
        page: dict[str, Any] = {"events": events[start:end]}
        return page | ({"nextToken": str(end)} if end < len(events) else {})

    async def _arrive(self, verb: str) -> Fault | None:
        self.calls.append(verb)
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.HANGS:
            await self.release.wait()
        if fault in (Fault.LOST_BEFORE, Fault.THROTTLED, Fault.DENIED):
            _raise(fault)
        return fault

    async def _answer(self, fault: Fault | None) -> None:
        if fault is Fault.HANGS_AFTER:
            await self.release.wait()
        if fault is Fault.LOST_AFTER:
            raise StoreUnconfirmed

    def _check(self, token: str) -> None:
        if token not in self._executions:
            raise InvalidToken
        if token not in self._open:
            raise TaskTimedOut

    def _history_of(self, token: str) -> list[dict[str, Any]]:
        return self.histories[self._executions[token]]

    def _end(self, arn: str, closing: int) -> None:
        self._add(arn, "ExecutionFailed", closing)

    def _last(self, arn: str, previous: int | None) -> int:
        return len(self.histories[arn]) if previous is None else previous

    def _add(self, arn: str, kind: str, previous: int, **details: Any) -> int:
        events = self.histories[arn]
        event = {"id": len(events) + 1, "previousEventId": previous, "type": kind, **details}
        events.append(event)
        return len(events)

    def _closing(self, events: Iterable[dict[str, Any]]) -> Any:
        for event in events:
            if event["type"] == "TaskSucceeded":
                return event["taskSucceededEventDetails"]["output"]
            if event["type"] == "TaskFailed":
                details = event["taskFailedEventDetails"]
                return details["error"], details["cause"]
        return None


def _raise(fault: Fault) -> None:
    if fault is Fault.THROTTLED:
        raise ThrottlingException
    if fault is Fault.DENIED:
        raise AccessDeniedException
    raise StoreUnavailable
