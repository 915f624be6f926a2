"""Rehearsals: how an execution differs that is run to try its state machine out.

Its waiting may be scaled, and tasks may be answered by a mock file instead of being called. Both
are done to the machine before it is stepped, so that stepping knows nothing of it: a Task of the
test case gets a resource that carries its answers. An execution keeps the name of its test case and
counts the calls of each state in the database, so a restart changes nothing.

As in Step Functions Local: the calls of a state count through the whole execution, retries and
iterations of a Map together; a Task that the case does not name is called as usual.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from app.engine.failures import RUNTIME, StateFailure
from app.engine.language.flow import Scope
from app.engine.language.resource import Family, Pattern, Resource
from app.engine.language.states import State, StateMachine, Task, Want
from app.engine.mock_file import Answer, MockedCase, MockFile, Response
from app.engine.payload import EMPTY, Payload
from app.engine.steps.execution import (
    Dispatch,
    TaskFailed,
    TaskSignal,
    TaskSubmitted,
    TaskSucceeded,
)
from app.errors import InvalidName

#: Step Functions Local's words
ACTIVITY_MOCKED = (
    "Activity state cannot be mocked. "
    "Please remove mocks mapped for all activity state in the mock config file."
)

log = logging.getLogger(__name__)

_PARENT = """SELECT r.execution FROM executions AS e JOIN map_runs AS r ON r.id = -e.machine
    WHERE e.id = ?"""
_COUNT = """INSERT INTO mocked_calls (execution, state, calls) VALUES (?, ?, 1)
    ON CONFLICT (execution, state) DO UPDATE SET calls = calls + 1 RETURNING calls - 1"""


def split_test_case(arn: str) -> tuple[str, str | None]:
    """A state machine's ARN and the test case behind its ``#``, if there is one."""
    plain, mark, case = arn.partition("#")
    return plain, case if mark else None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What this engine does differently from AWS because it was asked to."""

    mocks: MockFile = field(default_factory=MockFile)
    wait_time_scale: float = 1.0  #: what waiting is multiplied with

    def scaled(self, machine: StateMachine) -> StateMachine:
        """The machine as it waits here."""
        return replace(machine, wait_time_scale=self.wait_time_scale)

    def check(self, machine_name: str, machine: StateMachine, case: str) -> None:
        """Refuse a test case that is not there.

        Raises:
            InvalidName
        """
        found = self.mocks.find(machine_name, case)
        if found is None:
            where = "in the mock file" if self.mocks.cases else "without SFN_MOCK_CONFIG"
            raise InvalidName(
                f"Invalid Name: '{case[:80]}' is no test case of the state machine "
                f"'{machine_name}' {where}"
            )
        states = machine.states
        nowhere = [name for name in found.responses if not isinstance(states.get(name), Task)]
        if nowhere:
            # A typo here would call a service for real.
            log.warning(
                "a test case answers for states that are no tasks of its state machine",
                extra={"machine": machine_name, "test_case": case, "states": nowhere},
            )

    def mocked(self, machine_name: str, machine: StateMachine, case: str) -> StateMachine:
        """The machine, its tasks answered as the test case says."""
        found = self.mocks.find(machine_name, case)
        if found is None:
            # It was there at the start; nothing may be called for real because it went away.
            gone = f"The test case '{case}' is not in the mock file any more."
            states = {name: _refused(state, gone) for name, state in machine.states.items()}
        else:
            states = {name: _answered(state, found) for name, state in machine.states.items()}
        return replace(machine, states=states)


AS_ON_AWS = Rehearsal()


@dataclass(frozen=True, slots=True, kw_only=True)
class MockedResource(Resource):
    """A resource that is not called."""

    state: str
    response: Response

    def answer(self, number: int) -> Answer:
        """What call number *number* of the state gives, 0 being the first."""
        for first, last, answer in self.response:
            if first <= number <= last:
                return answer
        return StateFailure(
            RUNTIME,
            f"The mocked response of the state '{self.state}' has no answer to call {number}.",
        )

    def signals(self, call: Dispatch, number: int) -> Iterator[TaskSignal]:
        """What call number *number* of the state means to the execution, in order."""
        answer = self.answer(number)
        result = answer if isinstance(answer, Payload) else None
        if self.pattern is not Pattern.REQUEST_RESPONSE:
            yield TaskSubmitted(call.frame, call.attempt, result or EMPTY)
        if isinstance(answer, Payload):
            yield TaskSucceeded(call.frame, call.attempt, answer)
        else:
            yield TaskFailed(call.frame, call.attempt, answer.error, answer.cause)


def count_call(connection: sqlite3.Connection, execution_id: int, state: str) -> int:
    """Count a call of a state; its number, 0 being the first.

    Children of a Map Run are iterations too: they count for the execution that was started.
    """
    while (parent := connection.execute(_PARENT, (execution_id,)).fetchone()) is not None:
        (execution_id,) = parent
    row = connection.execute(_COUNT, (execution_id, state)).fetchone()
    return int(row[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused(Task):
    """A Task that fails the execution when it is entered."""

    cause: str

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Fail; nothing catches it."""
        raise StateFailure(RUNTIME, self.cause)


def _answered(state: State, case: MockedCase) -> State:
    response = case.responses.get(state.name)
    if response is None or not isinstance(state, Task):
        return state
    if state.resource.family is Family.ACTIVITY:
        return _refused(state, ACTIVITY_MOCKED)
    resource = MockedResource(**_values(state.resource), state=state.name, response=response)
    return replace(state, resource=resource)


def _refused(state: State, cause: str) -> State:
    return _Refused(**_values(state), cause=cause) if isinstance(state, Task) else state


def _values(value: Resource | Task) -> Mapping[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}
