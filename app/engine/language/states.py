"""The state types: what each does when it is entered, and what it makes of its work's result.

A state says what it wants (`Proceed`, `Call`, `Fork`...); the stepper does it.
States know nothing of frames, retries, history or storage. They are frozen: whatever counts is in
the execution. A new type is one class here and one line in `parsing.py`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from app.clock import to_ms
from app.engine.expressions.paths import Path, PathError
from app.engine.expressions.queries import Query
from app.engine.expressions.templates import Expression, Template
from app.engine.failures import NO_CHOICE_MATCHED, EvaluationFailure, RuntimeFailure
from app.engine.language.choice import Test as Condition
from app.engine.language.distribution import Distribute
from app.engine.language.flow import Flow, Outcome, Scope, select
from app.engine.language.resource import Resource
from app.engine.language.retry import Catcher, Retrier
from app.engine.language.timestamps import parse_timestamp
from app.engine.payload import Payload
from app.strict_json import Json

MAX_SECONDS = 99_999_999
MAX_DELAY_MS = (2**31 - 1) * 1000  #: the longest Wait that AWS accepts at run time


@dataclass(frozen=True, slots=True)
class Proceed:
    """The state is done: go on to *next*, or end this branch."""

    output: Payload
    next: str | None
    assigned: Mapping[str, Json] | None = None  #: variables to set

    @classmethod
    def to(cls, following: str | None, outcome: Outcome) -> "Proceed":
        """Go on to *following* with what a state leaves behind."""
        return cls(outcome.output, following, outcome.assigned)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait until then."""

    until_ms: int


@dataclass(frozen=True, slots=True)
class Call:
    """Have the resource called, and wait for its result."""

    arguments: Payload
    timeout_s: int | None
    heartbeat_s: int | None
    role_arn: str | None = None  #: from Credentials


@dataclass(frozen=True, slots=True)
class Fork:
    """Run these branches side by side, and wait for all of them."""

    branches: tuple[tuple[str, Payload], ...]  #: where each starts, and with what


@dataclass(frozen=True, slots=True)
class Iterate:
    """Run the state's processor for each of the items, and wait for all of them."""

    items: Payload  #: an array or an object
    at_once: int  #: how many at the same time


@dataclass(frozen=True, slots=True)
class Raise:
    """Fail with what the definition says."""

    error: str | None
    cause: str | None


Want = Proceed | Sleep | Call | Fork | Iterate | Distribute | Raise


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What all states have."""

    type: ClassVar[str]
    forks: ClassVar[bool] = False  #: whether it has events of its own for its branches
    name: str
    flow: Flow
    next: str | None = None  #: None: the end
    retry: tuple[Retrier, ...] = ()
    catch: tuple[Catcher, ...] = ()

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """What the state wants when it is entered with input *raw*.

        Raises:
            StateFailure: its fields cannot be evaluated.
        """
        raise NotImplementedError

    def leave(self, raw: Payload, result: Payload, scope: Scope) -> Proceed:
        """Where to go, and with what, when the work gave *result*.

        Raises:
            StateFailure: its fields cannot be evaluated.
        """
        return Proceed.to(self.next, self.flow.outcome(raw, result, scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(State):
    """Hands its input on, shaped, or a constant."""

    type: ClassVar[str] = "Pass"
    result: Payload | None = None

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Proceed."""
        arguments = self.flow.arguments(raw, scope)
        return self.leave(raw, arguments if self.result is None else self.result, scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeed(State):
    """Ends its branch well."""

    type: ClassVar[str] = "Succeed"

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Proceed to the end."""
        return self.leave(raw, self.flow.effective(raw, scope), scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(State):
    """Ends its branch with an error."""

    type: ClassVar[str] = "Fail"
    error: str | Expression | Query | None = None
    cause: str | Expression | Query | None = None

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Raise."""
        return Raise(_text(self.error, raw, scope), _text(self.cause, raw, scope))


def _text(source: str | Expression | Query | None, raw: Payload, scope: Scope) -> str | None:
    if source is None or isinstance(source, str):
        return source
    if isinstance(source, Query):
        text = source.expect(source.evaluate({"input": raw.value}, scope), (str,), "string")
        return str(text)
    value = source.evaluate(raw.value, scope)
    if not isinstance(value, str):
        raise RuntimeFailure(
            f"The {source.field} field must resolve to a string value, "
            f"but the value at '{source.source.text}' is none."
        )
    return value


@dataclass(frozen=True, slots=True)
class Rule:
    """A top-level rule of a Choice: where to go, and what to leave behind, if its test holds."""

    test: Condition
    next: str
    flow: Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(State):
    """Goes where the first rule that holds says."""

    type: ClassVar[str] = "Choice"
    rules: tuple[Rule, ...]
    default: str | None = None

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Proceed to where the rules lead."""
        effective = self.flow.effective(raw, scope)
        target, flow = self._chosen(effective, scope)
        return Proceed.to(target, flow.outcome(raw, effective, scope))

    def _chosen(self, effective: Payload, scope: Scope) -> tuple[str, Flow]:
        for rule in self.rules:
            if rule.test.holds(effective.value, scope):
                return rule.next, rule.flow
        if self.default is None:
            raise EvaluationFailure(
                NO_CHOICE_MATCHED,
                "Failed to transition out of the state. The state does not point to a next state.",
            )
        return self.default, self.flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(State):
    """Waits some seconds, or until a moment."""

    type: ClassVar[str] = "Wait"
    seconds: int | Path | Query | None = None
    timestamp: datetime | Path | Query | None = None

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Sleep."""
        data = self.flow.effective(raw, scope)
        until_ms = self._until_ms(data, scope)
        if until_ms - scope.now_ms > MAX_DELAY_MS:
            raise RuntimeFailure("Wait state delay is too long.")
        return Sleep(until_ms)

    def leave(self, raw: Payload, result: Payload, scope: Scope) -> Proceed:
        """Go on with the input as it was."""
        return Proceed.to(self.next, self.flow.outcome(raw, self.flow.effective(raw, scope), scope))

    def _until_ms(self, data: Payload, scope: Scope) -> int:
        if isinstance(self.timestamp, datetime):
            return to_ms(self.timestamp)
        if isinstance(self.timestamp, Query):
            return to_ms(_queried_moment(self.timestamp, data, scope))
        if self.timestamp is not None:
            return to_ms(_moment(self.timestamp, data, scope))
        seconds = self.seconds
        if isinstance(seconds, Query):
            seconds = queried_number(seconds, data, 0, scope)
        elif isinstance(seconds, Path):
            seconds = _whole_seconds("SecondsPath", seconds, data, scope)
        return scope.now_ms + (seconds or 0) * 1000


def _moment(path: Path, data: Payload, scope: Scope) -> datetime:
    value = _referenced("TimestampPath", path, data, scope)
    moment = parse_timestamp(value) if isinstance(value, str) else None
    if moment is None:
        raise RuntimeFailure(
            "The TimestampPath parameter does not reference a valid ISO-8601 extended offset "
            f"date-time format string: {path.text} == {_shown(value)}"
        )
    return moment


def _queried_moment(query: Query, raw: Payload, scope: Scope) -> datetime:
    value = query.expect(query.evaluate({"input": raw.value}, scope), (str,), "string")
    moment = parse_timestamp(value)
    if moment is None:
        raise query.failure(
            f"returned an invalid timestamp. Expected an ISO-8601 extended offset date-time "
            f"format string, but was: {value}"
        )
    return moment


def queried_number(query: Query, raw: Payload, least: int, scope: Scope) -> int:
    """The whole number that a field's expression yields.

    Raises:
        QueryFailure: it yields none, or one out of range.
    """
    value = query.evaluate({"input": raw.value}, scope)
    number: int = query.expect(value, (int,), "integer")
    if not least <= number <= MAX_SECONDS:
        raise query.failure(
            f"returned a value out of range. Expected between {least} and {MAX_SECONDS}, "
            f"but was {number}"
        )
    return number


_LONG = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def _whole_seconds(field: str, path: Path, data: Payload, scope: Scope) -> int:
    value = _referenced(field, path, data, scope)
    if isinstance(value, str) and _LONG.fullmatch(value):
        value = int(value)  # AWS takes a number that is written as text, too
    if isinstance(value, bool) or not isinstance(value, int):
        raise RuntimeFailure(
            f"The {field} parameter cannot be parsed as a long value: "
            f"{path.text} == {_shown(value)}"
        )
    if value < 0:
        raise RuntimeFailure(
            f"The {field} parameter references a negative value: {path.text} == {value}"
        )
    return value


def _referenced(field: str, path: Path, data: Payload, scope: Scope) -> Json:
    try:
        return path.read(data.value, scope)
    except PathError as exc:
        raise RuntimeFailure(
            f"The {field} parameter does not reference an input value: {path.text}"
        ) from exc


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else Payload(value).text


def whole(_resource: Resource, arguments: Payload) -> Payload:
    """All of the arguments, whatever the resource."""
    return arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(State):
    """Has a resource do something."""

    type: ClassVar[str] = "Task"
    resource: Resource
    timeout: int | Path | Query | None = None
    heartbeat: int | Path | Query | None = None
    credentials: Template | None = None
    #: the arguments without what the integration does not have
    accepted: Callable[[Resource, Payload], Payload] = whole

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Call the resource."""
        timeout_s = _limit_s("TimeoutSecondsPath", self.timeout, self.flow, raw, scope)
        heartbeat_s = _limit_s("HeartbeatSecondsPath", self.heartbeat, self.flow, raw, scope)
        role_arn = self._role_arn(raw, scope)
        arguments = self.accepted(self.resource, self.flow.arguments(raw, scope))
        return Call(arguments.written(), timeout_s, heartbeat_s, role_arn)

    def _role_arn(self, raw: Payload, scope: Scope) -> str | None:
        if self.credentials is None:
            return None
        given = self.credentials.evaluate(self.flow.view(raw, scope), scope)
        role_arn = given.get("RoleArn") if isinstance(given, dict) else None
        if not isinstance(role_arn, str):
            raise RuntimeFailure("The Credentials field must give a RoleArn that is a string.")
        return role_arn


def _limit_s(
    field: str, limit: int | Path | Query | None, flow: Flow, raw: Payload, scope: Scope
) -> int | None:
    if isinstance(limit, Query):
        return queried_number(limit, raw, 1, scope)
    if not isinstance(limit, Path):
        return limit
    data = flow.effective(raw, scope)
    select(limit, data, scope)  # AWS words a missing value here as it does for InputPath
    seconds = _whole_seconds(field, limit, data, scope)
    if not 1 <= seconds <= MAX_SECONDS:
        raise RuntimeFailure(
            f"The {field} parameter must reference a value between 1 and {MAX_SECONDS}: "
            f"{limit.text} == {seconds}"
        )
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(State):
    """Runs branches side by side; its result is the array of their outputs."""

    type: ClassVar[str] = "Parallel"
    forks: ClassVar[bool] = True
    branches: tuple[str, ...]  #: the name of each branch's first state

    def enter(self, raw: Payload, scope: Scope) -> Want:
        """Fork."""
        arguments = self.flow.arguments(raw, scope).written()
        return Fork(tuple((start, arguments) for start in self.branches))


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A definition that can be run."""

    start_at: str
    #: all states, those of nested branches too: names are unique in the whole machine
    states: Mapping[str, State]
    timeout_s: int | None = None
    comment: str | None = None
    wait_time_scale: float = 1.0  #: what its waiting is multiplied with
