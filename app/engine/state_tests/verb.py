"""TestState: one state, run by itself, with what its work gives told or really done."""

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from app.clock import Clock, from_ms, iso, to_ms
from app.engine.arns import Arns, is_role_arn
from app.engine.calls import answer_of
from app.engine.expressions.costly import evaluated
from app.engine.expressions.json_faults import JsonFault
from app.engine.expressions.json_faults import parse as parse_json
from app.engine.failures import StateFailure, TooManyFailed
from app.engine.language.definition import parse, parse_state
from app.engine.language.distribution import Distribute
from app.engine.language.fields import Rules
from app.engine.language.flow import Scope
from app.engine.language.iteration import Map
from app.engine.language.resource import Family, Pattern
from app.engine.language.retry import first_match
from app.engine.language.states import Call, Parallel, Proceed, Raise, State, Task, Want
from app.engine.payload import Payload
from app.engine.requests import execution_input
from app.engine.resources import Resources, supports
from app.engine.resources.tracing import traced
from app.engine.starting import MAX_EXPRESS_MS
from app.engine.state_machines.validation import refuse_faults
from app.engine.state_tests.inspection import Inspection
from app.engine.state_tests.mocks import read_mock
from app.engine.steps.execution import Dispatch, TaskFailed
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
    new_scope: Callable[[], Scope]
    inspection: Inspection
    mocked: Mocked
    retries_made: int
    failed_iterations: int | None
    deadline_ms: int

    @property
    def scope(self) -> Scope:
        """A scope with its chance as at first: whatever is evaluated again gives the same."""
        return self.new_scope()


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
        if reveal_secrets and mock is not None:
            raise ValidationException(
                "TestState does not support RevealSecrets when a mock is specified."
            )
        if role_arn is not None and not is_role_arn(role_arn):
            raise InvalidArn(f"Invalid Role Arn: '{role_arn}'")
        raw = execution_input("{}" if input is None else input)
        state = _state(definition, state_name)
        configuration = state_configuration or {}
        failed_iterations = configuration.get("mapIterationFailureCount")
        mocked = read_mock(mock, state, failed_iterations or 0)
        if mocked is None:
            _check_real(state, role_arn)
        given = _object("Variables", variables) if variables is not None else {}
        now_ms = to_ms(self._clock())
        retries_made = configuration.get("retrierRetryCount", 0)
        if context is None:
            shown = self._context(state, raw, role_arn, now_ms, retries_made)
        else:
            shown = _object("Context object", context)
        seed = str(uuid.uuid4())
        test = _Test(
            state,
            raw,
            lambda: Scope(now_ms, seed, lambda: shown, lambda: given),
            Inspection(state, raw, given, configuration.get("mapItemReaderData")),
            mocked,
            retries_made,
            failed_iterations,
            now_ms + MAX_EXPRESS_MS,
        )
        with traced(reveals=reveal_secrets) as trace:
            answer = await self._run(test)
        if inspection_level == "INFO":
            return answer
        if inspection_level == "TRACE":
            test.inspection.seen |= trace.shown
        return answer | {"inspectionData": test.inspection.seen}

    async def _run(self, test: _Test) -> dict[str, Json]:
        wanted = await evaluated(partial(_entered, test))
        if isinstance(wanted, dict):
            return wanted
        result = test.mocked
        if isinstance(wanted, Call) and result is None:
            result = await self._call(test, wanted)
        return await evaluated(partial(_left, test, test.raw if result is None else result))

    async def _call(self, test: _Test, want: Call) -> Payload | StateFailure:
        assert isinstance(test.state, Task)  # noqa: S101  # nothing else calls
        call = Dispatch(0, "", 0, 0, test.state.resource, want.arguments, test.deadline_ms)
        answer = await answer_of(self._resources, call)
        if isinstance(answer, TaskFailed):
            return StateFailure(answer.error, answer.cause)
        return answer.output

    def _context(
        self, state: State, raw: Payload, role_arn: str | None, now_ms: int, retries_made: int
    ) -> Json:
        machine, name, now = str(uuid.uuid4()), str(uuid.uuid4()), iso(from_ms(now_ms))
        shown: dict[str, Json] = {"Name": NAME, "EnteredTime": now}
        if isinstance(state, Task | Map | Parallel):
            shown["RetryCount"] = retries_made
        context: dict[str, Json] = {
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
        if isinstance(state, Task) and state.resource.waits_for_token:
            context["Task"] = {"Token": secrets.token_urlsafe(48)}  # that nothing waits for
        return context


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


def _entered(test: _Test) -> Want | dict[str, Json]:
    """What the state wants done; the answer, if that is nothing."""
    scope = test.scope
    test.inspection.before(scope)
    try:
        want = test.state.enter(test.raw, scope)
        test.inspection.entered(want, scope)
        refused = _too_many_failed(test, want)
        if isinstance(want, Proceed):
            test.inspection.after(_worked_on(test), scope)
            return _succeeded(test, want)
    except StateFailure as failure:
        return _failed(test, failure)
    if isinstance(want, Raise):
        return _failed(test, StateFailure(want.error, want.cause))
    return want if refused is None else _failed(test, refused)


def _too_many_failed(test: _Test, want: Want) -> StateFailure | None:
    """The failure of a Map of whose iterations more failed, as told, than it tolerates."""
    if not isinstance(want, Distribute):
        return None
    tolerance, failed, result = want.plan.tolerance, test.failed_iterations, test.mocked
    if want.refused is not None or failed is None or not isinstance(result, Payload):
        return want.refused
    total = len(result.value) if isinstance(result.value, list) else want.length
    # Without a tolerance AWS does not count here.
    counts = tolerance.count is not None or tolerance.percentage is not None
    return TooManyFailed() if counts and tolerance.exceeded(failed, total) else None


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
        test.inspection.after(result, test.scope)
        return _succeeded(test, test.state.leave(test.raw, result, test.scope))
    except StateFailure as failure:
        return _failed(test, failure)


def _succeeded(test: _Test, proceed: Proceed) -> dict[str, Json]:
    test.inspection.assigned(proceed.assigned)
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
        outcome.output.written()
    except StateFailure as unplaced:
        return {"status": FAILED, "error": unplaced.error, "cause": unplaced.cause}
    test.inspection.assigned(outcome.assigned)
    caught = {"status": CAUGHT_ERROR, "output": outcome.output.text, "nextState": catcher.next}
    return answer | caught
