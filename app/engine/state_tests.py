"""TestState: one state, run by itself, with what its work gives told or really done."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from app.clock import Clock, from_ms, iso, to_ms
from app.engine.arns import Arns, is_role_arn
from app.engine.calls import answer_of
from app.engine.definition import parse, parse_state
from app.engine.execution import Dispatch, TaskFailed
from app.engine.failures import StateFailure
from app.engine.fields import Rules
from app.engine.flow import Scope
from app.engine.inspection import Inspection
from app.engine.iteration import Map
from app.engine.json_faults import JsonFault
from app.engine.json_faults import parse as parse_json
from app.engine.machines import refuse_faults
from app.engine.mocks import read_mock
from app.engine.payload import Payload
from app.engine.requests import execution_input
from app.engine.resource import Family, Pattern
from app.engine.resources import Resources, supports
from app.engine.retry import first_match
from app.engine.starting import MAX_EXPRESS_MS
from app.engine.states import Call, Parallel, Proceed, Raise, State, Task
from app.errors import InvalidArn, InvalidDefinition, ValidationException
from app.strict_json import Json

NAME = "StateName"  #: what a state that is tested alone is called, in its context too
SUCCEEDED, FAILED, RETRIABLE, CAUGHT_ERROR = "SUCCEEDED", "FAILED", "RETRIABLE", "CAUGHT_ERROR"

Mocked = Payload | StateFailure | None


@dataclass(slots=True)
class _Test:
    """One run of a state."""

    state: State
    raw: Payload
    scope: Scope
    inspection: Inspection
    retries_made: int
    deadline_ms: int


class StateTests:
    """Tests single states."""

    def __init__(self, arns: Arns, resources: Resources, clock: Clock) -> None:
        self._arns = arns
        self._resources = resources
        self._clock = clock

    async def test_state(
        self,
        *,
        definition: str,
        role_arn: str | None = None,
        input: str | None = None,
        inspection_level: str = "INFO",
        reveal_secrets: bool = False,
        variables: str | None = None,
        state_name: str | None = None,
        mock: Json = None,
        context: str | None = None,
        state_configuration: Json = None,
    ) -> Json:
        """What the state makes of its input."""
        if reveal_secrets and mock:
            raise ValidationException(
                "TestState does not support RevealSecrets when a mock is specified."
            )
        if role_arn is not None and not is_role_arn(role_arn):
            raise InvalidArn(f"Invalid Role Arn: '{role_arn}'")
        raw = execution_input("{}" if input is None else input)
        state = _state(definition, state_name)
        configuration = state_configuration or {}
        mocked = read_mock(mock, state, configuration.get("mapIterationFailureCount", 0))
        if mocked is None:
            _check_real(state, role_arn)
        given = _object("Variables", variables) if variables is not None else {}
        now_ms = to_ms(self._clock())
        scope = Scope(
            now_ms,
            str(uuid.uuid4()),
            lambda: self._context(context, state, raw, role_arn, now_ms),
            lambda: given,
        )
        if context is not None:
            _object("Context object", context)
        test = _Test(
            state,
            raw,
            scope,
            Inspection(state, raw, scope),
            configuration.get("retrierRetryCount", 0),
            now_ms + MAX_EXPRESS_MS,
        )
        answer = await self._run(test, mocked)
        if inspection_level == "INFO":
            return answer
        if given:
            test.inspection.seen["variables"] = Payload(given).text
        return answer | {"inspectionData": test.inspection.seen}

    async def _run(self, test: _Test, mocked: Mocked) -> dict[str, Json]:
        test.inspection.before()
        try:
            want = test.state.enter(test.raw, test.scope)
        except StateFailure as failure:
            return _failed(test, failure)
        if isinstance(want, Raise):
            return _failed(test, StateFailure(want.error, want.cause))
        if isinstance(want, Proceed):
            test.inspection.after(_worked_on(test))
            return _succeeded(want)
        result = mocked
        if isinstance(want, Call) and mocked is None:
            result = await self._call(test, want)
        return _left(test, result if result is not None else test.raw)

    async def _call(self, test: _Test, want: Call) -> Payload | StateFailure:
        assert isinstance(test.state, Task)  # noqa: S101  # nothing else calls
        call = Dispatch(0, "", 0, 0, test.state.resource, want.arguments, test.deadline_ms)
        answer = await answer_of(self._resources, call)
        if isinstance(answer, TaskFailed):
            return StateFailure(answer.error, answer.cause)
        return answer.output

    def _context(
        self, given: str | None, state: State, raw: Payload, role_arn: str | None, now_ms: int
    ) -> Json:
        if given is not None:
            return _object("Context object", given)
        machine, name, now = str(uuid.uuid4()), str(uuid.uuid4()), iso(from_ms(now_ms))
        shown: dict[str, Json] = {"Name": NAME, "EnteredTime": now}
        if isinstance(state, Task | Map | Parallel):
            shown["RetryCount"] = 0
        return {
            "Execution": {
                "Id": self._arns.execution(machine, name).replace(":execution:", ":express:"),
                "Input": raw.value,
                "Name": name,
                "RoleArn": role_arn,
                "StartTime": now,
            },
            "StateMachine": {"Id": self._arns.state_machine(machine), "Name": machine},
            "State": shown,
        }


def _state(definition: str, name: str | None) -> State:
    # What a mock stands for, and other states, are never called: any resource will do.
    rules = Rules(lambda _resource: True)
    if name is None:
        state, faults = parse_state(NAME, definition, rules)
        refuse_faults(faults)
    else:
        parsed = parse(definition, rules)
        refuse_faults(parsed.diagnostics)
        state = parsed.machine.states.get(name) if parsed.machine else None
        if state is None:
            raise ValidationException("State not found in definition")
    assert state is not None  # noqa: S101  # what has no fault is a state
    return state


def _check_real(state: State, role_arn: str | None) -> None:
    """Refuse what can only be tested with a mock."""
    if isinstance(state, Map | Parallel):
        raise InvalidDefinition(
            "TestState API does not support Map or Parallel states. Supported state types "
            "include: [Task, Wait, Pass, Succeed, Fail, Choice]"
        )
    if not isinstance(state, Task):
        return
    resource = state.resource
    if resource.family is Family.ACTIVITY:
        raise InvalidDefinition("TestState API does not support Activity ARN without a mock")
    if resource.pattern is not Pattern.REQUEST_RESPONSE:
        raise InvalidDefinition(
            f"TestState API does not support '{resource.pattern.value}' service integration "
            "without a mock"
        )
    if not supports(resource):
        raise InvalidDefinition(
            "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: The resource provided "
            f"{resource.arn} is not recognized. The value is not a valid resource ARN, or the "
            f"resource is not available in this region. at /States/{state.name}/Resource'"
        )
    if role_arn is None:
        raise ValidationException("RoleArn must be specified when testing a Task state")


def _object(what: str, text: str) -> Mapping[str, Json]:
    try:
        value = parse_json(text).value
    except JsonFault as exc:
        raise ValidationException(f"Invalid {what} provided: {exc.message}") from exc
    if not isinstance(value, dict):
        raise ValidationException(f"Invalid {what} provided: it must be a JSON object")
    return value


def _worked_on(test: _Test) -> Payload:
    """What a state that has no work to wait for makes its output of."""
    result = getattr(test.state, "result", None)
    if isinstance(result, Payload):
        return result
    return test.state.flow.arguments(test.raw, test.scope)


def _left(test: _Test, result: Payload | StateFailure) -> dict[str, Json]:
    if isinstance(result, StateFailure):
        return _failed(test, result)
    try:
        test.inspection.after(result)
        return _succeeded(test.state.leave(test.raw, result, test.scope))
    except StateFailure as failure:
        return _failed(test, failure)


def _succeeded(proceed: Proceed) -> dict[str, Json]:
    shown: dict[str, Json] = {"output": proceed.output.text, "status": SUCCEEDED}
    return shown if proceed.next is None else shown | {"nextState": proceed.next}


def _failed(test: _Test, failure: StateFailure) -> dict[str, Json]:
    """What Retry and Catch make of a failure."""
    shown = {"error": failure.shown_error, "cause": failure.cause}
    answer: dict[str, Json] = {name: text for name, text in shown.items() if text is not None}
    state, position = test.state, first_match(test.state.retry, failure)
    if position is not None and test.retries_made < state.retry[position].max_attempts:
        delay_s = state.retry[position].delay_s(test.retries_made + 1, test.scope.random)
        test.inspection.seen["errorDetails"] = {
            "retryIndex": position,
            "retryBackoffIntervalSeconds": int(delay_s),
        }
        return answer | {"status": RETRIABLE}
    position = first_match(state.catch, failure)
    if position is None:
        return answer | {"status": FAILED}
    test.inspection.seen["errorDetails"] = {"catchIndex": position}
    catcher = state.catch[position]
    try:
        outcome = catcher.outcome(test.raw, failure, test.scope)
    except StateFailure as unplaced:
        return {"status": FAILED, "error": unplaced.error, "cause": unplaced.cause}
    caught = {"status": CAUGHT_ERROR, "output": outcome.output.text, "nextState": catcher.next}
    return answer | caught
