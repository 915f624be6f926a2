"""Reading states: what each type's fields are, and the state they make.

Fields that states share are read in one place. A state type is one reader and one line in
`_TYPES`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.engine.expressions.queries import is_query
from app.engine.expressions.templates import Constant, Template
from app.engine.failures import ALL
from app.engine.language.choice import (
    OPERATORS,
    And,
    Compare,
    IsPresent,
    Not,
    Operand,
    Operator,
    Or,
)
from app.engine.language.choice import Condition as QueryTest
from app.engine.language.choice import Test as Condition
from app.engine.language.fields import Fields
from app.engine.language.flow import Flow, PathFlow, QueryFlow, Use
from app.engine.language.map_parsing import DISTRIBUTED_FIELDS, ReadBranch, read_map
from app.engine.language.resource import Family, Pattern, Resource, parse_resource
from app.engine.language.retry import MAX_DELAY_S, Catcher, Retrier
from app.engine.language.states import (
    MAX_SECONDS,
    Choice,
    Fail,
    Parallel,
    Pass,
    Rule,
    State,
    Succeed,
    Task,
    Wait,
)
from app.engine.payload import Payload
from app.strict_json import Json

#: reads a type's own fields; the second argument holds those that states share
Reader = Callable[[Fields, dict[str, Any], ReadBranch], State]


@dataclass(frozen=True, slots=True)
class Read:
    """A state that was read, and where it may go: (name, the field's location)."""

    state: State
    targets: tuple[tuple[str, str], ...]


def read_state(name: str, fields: Fields, read_branch: ReadBranch) -> Read | None:
    """The state that *fields* describe; None, reported, if its type is unknown."""
    if not fields.require("Type"):
        return None
    kind = _TYPES.get(fields.one_of("Type", list(_TYPES)) or "")
    if kind is None:
        return None
    fields.only(_COMMON | kind.allowed(fields.jsonata))
    fields.text("Comment")
    shared: dict[str, Any] = {"name": name, "flow": _flow(fields, kind)}
    if "Next" in kind.fields:
        shared["next"] = _next(fields)
    if "Retry" in kind.fields:
        shared["retry"] = tuple(_retriers(fields))
        shared["catch"] = tuple(_catchers(fields))
    state = kind.read(fields, shared, read_branch)
    return Read(state, tuple(_targets(fields)))


_COMMON = frozenset({"Type", "Comment", "QueryLanguage"})
_MOVES = frozenset({"Next", "End"})
_IN_OUT = frozenset({"InputPath", "OutputPath"})
_ASSIGN = frozenset({"Assign"})
_WORK = frozenset({"Parameters", "ResultPath"}) | _IN_OUT | _MOVES | _ASSIGN
_HANDLED = frozenset({"Retry", "Catch", "ResultSelector"}) | _WORK


# Shared fields


def _flow(fields: Fields, kind: "_Type") -> Flow:
    values = fields.values
    if fields.jsonata:
        use = Use.RESULT if "Retry" in kind.fields else Use.NONE
        return QueryFlow(
            given=fields.template("Arguments"),
            output=fields.template("Output", use),
            assign=fields.assignment("Assign", use),
            use=use,
        )
    return PathFlow(
        input_path=fields.unless_whole("InputPath", fields.path),
        drop_input=values.get("InputPath", "") is None,
        parameters=fields.template("Parameters") if kind.read is not read_map else None,
        result_selector=fields.template("ResultSelector"),
        result_path=fields.unless_whole("ResultPath", fields.reference_path),
        drop_result=values.get("ResultPath", "") is None,
        output_path=fields.unless_whole("OutputPath", fields.path),
        drop_output=values.get("OutputPath", "") is None,
        assign=fields.assignment("Assign"),
    )


def _next(fields: Fields) -> str | None:
    if fields.typed("End", bool, "Boolean"):
        fields.at_most_one("Next", "End")
        return None
    fields.require("Next")
    return fields.text("Next")


def _targets(fields: Fields) -> Iterator[tuple[str, str]]:
    for name in ("Next", "Default"):
        yield from _target(fields, name)
    for group in ("Choices", "Catch"):
        for number, entry in enumerate(_objects(fields.values.get(group))):
            yield from _target(fields.child(entry, f"{fields.at(group)}[{number}]"), "Next")


def _target(fields: Fields, name: str) -> Iterator[tuple[str, str]]:
    value = fields.values.get(name)
    if isinstance(value, str):
        yield value, fields.at(name)


def _objects(value: Json) -> list[dict[str, Json]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _retriers(fields: Fields) -> Iterator[Retrier]:
    entries = fields.objects("Retry")
    for number, entry in enumerate(entries):
        entry.only(
            {
                "Comment",
                "ErrorEquals",
                "IntervalSeconds",
                "MaxAttempts",
                "BackoffRate",
                "MaxDelaySeconds",
                "JitterStrategy",
            }
        )
        errors = _errors(entry, last=number == len(entries) - 1)
        interval_s = _or(entry.integer("IntervalSeconds", 1, MAX_SECONDS), 1)
        max_delay_s = entry.integer("MaxDelaySeconds", 1, MAX_DELAY_S)
        if max_delay_s is not None and max_delay_s <= interval_s:
            entry.fault("MaxDelaySeconds must be greater than IntervalSeconds", "MaxDelaySeconds")
        yield Retrier(
            errors=errors,
            interval_s=interval_s,
            max_attempts=_or(entry.integer("MaxAttempts", 0, MAX_SECONDS), 3),
            backoff_rate=entry.number("BackoffRate", 1.0, 1e9) or 2.0,
            max_delay_s=max_delay_s,
            full_jitter=entry.one_of("JitterStrategy", ("NONE", "FULL")) == "FULL",
        )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _catchers(fields: Fields) -> Iterator[Catcher]:
    entries = fields.objects("Catch")
    for number, entry in enumerate(entries):
        entry.only(
            {"Comment", "ErrorEquals", "Next", "Assign"}
            | ({"Output"} if entry.jsonata else {"ResultPath"})
        )
        errors = _errors(entry, last=number == len(entries) - 1)
        entry.require("Next")
        yield Catcher(
            errors=errors,
            next=entry.text("Next") or "",
            flow=_caught(entry),
        )


def _caught(entry: Fields) -> Flow:
    assign = entry.assignment("Assign", Use.ERROR)
    if entry.jsonata:
        output = entry.template("Output", Use.ERROR)
        return QueryFlow(output=output, assign=assign, use=Use.ERROR)
    return PathFlow(
        result_path=entry.unless_whole("ResultPath", entry.reference_path),
        drop_result=entry.values.get("ResultPath", "") is None,
        assign=assign,
    )


def _errors(entry: Fields, *, last: bool) -> tuple[str, ...]:
    entry.require("ErrorEquals")
    errors = entry.texts("ErrorEquals")
    if ALL in errors and (len(errors) > 1 or not last):
        entry.fault(f"{ALL} must appear alone, and in the last entry", "ErrorEquals")
    return errors


# The types


def _pass(fields: Fields, shared: dict[str, Any], _branch: ReadBranch) -> State:
    values = fields.values
    result = Payload(values["Result"]) if "Result" in values else None
    return Pass(**shared, result=result)


def _plain(state: Callable[..., State]) -> Reader:
    """Reads a type that has no fields of its own."""
    return lambda _fields, shared, _branch: state(**shared)


def _fail(fields: Fields, shared: dict[str, Any], _branch: ReadBranch) -> State:
    fields.at_most_one("Error", "ErrorPath")
    fields.at_most_one("Cause", "CausePath")
    return Fail(
        **shared,
        error=fields.expression("ErrorPath") or fields.query("Error") or fields.text("Error"),
        cause=fields.expression("CausePath") or fields.query("Cause") or fields.text("Cause"),
    )


def _wait(fields: Fields, shared: dict[str, Any], _branch: ReadBranch) -> State:
    names = ("Seconds", "SecondsPath", "Timestamp", "TimestampPath")
    given = [name for name in names if name in fields.values]
    if len(given) != 1:
        fields.fault(f"Exactly one of these fields is required: [{', '.join(names)}]")
    return Wait(
        **shared,
        seconds=fields.path("SecondsPath") or fields.count("Seconds", 0, MAX_SECONDS),
        timestamp=fields.path("TimestampPath")
        or fields.query("Timestamp")
        or fields.timestamp("Timestamp"),
    )


def _task(fields: Fields, shared: dict[str, Any], _branch: ReadBranch) -> State:
    fields.require("Resource")
    fields.at_most_one("TimeoutSeconds", "TimeoutSecondsPath")
    fields.at_most_one("HeartbeatSeconds", "HeartbeatSecondsPath")
    timeout_s = fields.count("TimeoutSeconds", 1, MAX_SECONDS)
    heartbeat_s = fields.count("HeartbeatSeconds", 1, MAX_SECONDS)
    if isinstance(timeout_s, int) and isinstance(heartbeat_s, int) and heartbeat_s >= timeout_s:
        fields.fault("HeartbeatSeconds must be smaller than TimeoutSeconds", "HeartbeatSeconds")
    resource = _resource(fields) or _NO_RESOURCE
    _check_needed(fields, resource)
    return Task(
        **shared,
        resource=resource,
        accepted=fields.rules.accepted,
        timeout=fields.path("TimeoutSecondsPath") or timeout_s,
        heartbeat=fields.path("HeartbeatSecondsPath") or heartbeat_s,
        credentials=_credentials(fields),
    )


def _credentials(fields: Fields) -> Template | None:
    query = fields.query("Credentials")
    given = fields.nested("Credentials") if query is None else None
    if given is None:
        return query
    names = ("RoleArn",) if fields.jsonata else ("RoleArn", "RoleArn.$")
    given.only(names)
    if not any(name in given.values for name in names):
        given.require("RoleArn")
    given.text("RoleArn")
    return fields.template("Credentials")


_NO_RESOURCE = Resource("", Family.SERVICE, "", "")  # of a definition that is refused


def _resource(fields: Fields) -> Resource | None:
    arn = fields.text("Resource")
    if arn is None:
        return None
    resource = parse_resource(arn)
    if resource is not None and fields.rules.express:
        _check_express(fields, resource)
    if resource is None or not fields.rules.supports(resource):
        fields.fault(
            f"The resource provided {arn} is not recognized. The value is not a valid resource "
            "ARN, or the resource is not available in this region.",
            "Resource",
        )
    return resource


def _check_needed(fields: Fields, resource: Resource) -> None:
    """Report the arguments that are missing, unless an expression or the input makes them all."""
    name = "Arguments" if fields.jsonata else "Parameters"
    given = fields.values.get(name)
    if not isinstance(given, dict):
        return
    for member in fields.rules.needed(resource):
        if member not in given and (fields.jsonata or f"{member}.$" not in given):
            fields.fault(f"The field '{member}' is required but was missing", name)


def _check_express(fields: Fields, resource: Resource) -> None:
    unsupported = "Express state machine does not support "
    if resource.family is Family.ACTIVITY:
        fields.fault(unsupported + "Activity ARN", "Resource")
    elif resource.waits_for_token:
        # The blank at the end is AWS's.
        fields.fault(unsupported + "'.waitForTaskToken' service integration ", "Resource")
    elif resource.pattern is not Pattern.REQUEST_RESPONSE:
        fields.fault(unsupported + "'.sync' service integration", "Resource")


def _parallel(fields: Fields, shared: dict[str, Any], read_branch: ReadBranch) -> State:
    fields.require("Branches")
    branches = [read_branch(branch) for branch in fields.objects("Branches", required=True)]
    return Parallel(**shared, branches=tuple(start for start in branches if start))


# Choice


def _choice(fields: Fields, shared: dict[str, Any], _branch: ReadBranch) -> State:
    fields.require("Choices")
    rules = tuple(
        _query_rule(entry) if fields.jsonata else _rule(entry, shared["flow"])
        for entry in fields.objects("Choices", required=True)
    )
    return Choice(**shared, rules=rules, default=fields.text("Default"))


def _rule(entry: Fields, flow: PathFlow) -> Rule:
    flow = replace(flow, assign=entry.assignment("Assign"))
    return Rule(_condition(entry, top=True), entry.values.get("Next", ""), flow)


def _query_rule(entry: Fields) -> Rule:
    entry.only({"Comment", "Condition", "Next", "Output", "Assign"})
    entry.require("Condition", "Next")
    entry.text("Next")
    source = entry.query("Condition")
    if source is None and not is_query(entry.values.get("Condition")):
        entry.typed("Condition", bool, "Boolean")
    flow = QueryFlow(output=entry.template("Output"), assign=entry.assignment("Assign"))
    test = QueryTest(source or Constant(entry.values.get("Condition")))
    return Rule(test, entry.values.get("Next", ""), flow)


def _condition(entry: Fields, *, top: bool) -> Condition:
    if top:
        entry.require("Next")
        entry.text("Next")
    names = [name for name in entry.values if name not in _BESIDE_OPERATOR]
    if not top and "Assign" in entry.values:
        entry.fault("The field 'Assign' is not supported by Step Functions", "Assign")
    if not top and "Next" in entry.values:
        entry.fault("The field 'Next' is not supported by Step Functions", "Next")
    if len(names) != 1:
        entry.fault("A choice rule must have exactly one comparison operator")
        return _NEVER
    name = names[0]
    if name in ("And", "Or"):
        tests = tuple(
            _condition(nested, top=False) for nested in entry.objects(name, required=True)
        )
        return And(tests) if name == "And" else Or(tests)
    if name == "Not":
        inner = entry.nested("Not")
        return Not(_condition(inner, top=False)) if inner else _NEVER
    return _comparison(entry, name)


_BESIDE_OPERATOR = ("Comment", "Next", "Variable", "Assign")
_NEVER = Or(())  # of a definition that is refused


def _comparison(entry: Fields, name: str) -> Condition:
    entry.require("Variable")
    variable = entry.path("Variable")
    if name == "IsPresent":
        expected = entry.typed(name, bool, "Boolean")
        return _NEVER if variable is None else IsPresent(variable, bool(expected))
    operator = OPERATORS.get(name)
    by_path = None
    if operator is None:
        operator = OPERATORS.get(name.removesuffix("Path"))
        if operator is None or not operator.has_path:
            entry.fault(f"The field '{name}' is not supported by Step Functions", name)
            return _NEVER
        by_path = entry.path(name)
    else:
        _check_operand(entry, name, operator)
    if variable is None:
        return _NEVER
    return Compare(variable, operator, entry.values[name], by_path)


def _check_operand(entry: Fields, name: str, operator: Operator) -> None:
    if operator.operand is Operand.NUMBER:
        entry.number(name, float("-inf"), float("inf"))
    elif operator.operand is Operand.BOOLEAN:
        entry.typed(name, bool, "Boolean")
    elif operator.operand is Operand.TIMESTAMP:
        entry.timestamp(name)
    else:
        entry.text(name)


_INLINE_MAP = _HANDLED | {
    "ItemProcessor",
    "Iterator",
    "ItemsPath",
    "ItemSelector",
    "MaxConcurrency",
    "MaxConcurrencyPath",
}


@dataclass(frozen=True, slots=True)
class _Type:
    """How a state type is read."""

    read: Reader
    fields: frozenset[str]  #: beside the common ones
    jsonata: frozenset[str] = frozenset()  #: those that JSONata has instead of JSONPath's

    def allowed(self, jsonata: bool) -> frozenset[str]:
        """The fields in a query language."""
        if not jsonata:
            return self.fields
        shared = {name for name in self.fields - _JSONPATH if not name.endswith("Path")}
        return self.jsonata | shared


_JSONPATH = frozenset({"Parameters", "Result", "ResultSelector", "Iterator"})
_OUTPUT = frozenset({"Output"})
_CALL = frozenset({"Arguments", "Output"})


_TYPES: Mapping[str, _Type] = {
    "Task": _Type(
        _task,
        _HANDLED
        | {
            "Resource",
            "TimeoutSeconds",
            "TimeoutSecondsPath",
            "HeartbeatSeconds",
            "HeartbeatSecondsPath",
            "Credentials",
        },
        _CALL,
    ),
    "Wait": _Type(
        _wait,
        _IN_OUT | _MOVES | _ASSIGN | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
        _OUTPUT,
    ),
    "Pass": _Type(_pass, _WORK | {"Result"}, _OUTPUT),
    "Succeed": _Type(_plain(Succeed), _IN_OUT, _OUTPUT),
    "Fail": _Type(_fail, frozenset({"Error", "ErrorPath", "Cause", "CausePath"})),
    "Choice": _Type(_choice, _IN_OUT | _ASSIGN | {"Choices", "Default"}, _OUTPUT),
    "Parallel": _Type(_parallel, _HANDLED | {"Branches"}, _CALL),
    "Map": _Type(read_map, _INLINE_MAP | DISTRIBUTED_FIELDS, frozenset({"Items", "Output"})),
}
