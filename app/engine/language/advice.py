"""What a definition may say but hardly means: the warnings of ValidateStateMachineDefinition.

AWS has three codes, all about paths in places where nothing reads them: they stay plain texts.
"""

from collections.abc import Iterator, Mapping, Sequence

from app.engine.expressions.intrinsics import InvalidCall, compile_call
from app.engine.expressions.paths import InvalidPath, compile_path
from app.engine.language.choice import OPERATORS, Operand
from app.engine.language.diagnostics import Diagnostic
from app.engine.language.written import array_in, inner_scopes, object_in
from app.strict_json import Json

_MESSAGES: Mapping[str, str] = {
    "NO_DOLLAR": "No .$ on a field that appears to be a JSONPath or Intrinsic Function.",
    "NO_PATH": "Field value looks like a path, but field name does not end with 'Path'.",
    "PASS_RESULT_IS_STATIC": "Attempting to use a path in the result of a Pass state.",
}

_TEMPLATES = ("Parameters", "ItemSelector", "ResultSelector", "Assign", "Credentials")
_OPERANDS = tuple(
    name for name, one in OPERATORS.items() if one.operand in (Operand.TEXT, Operand.PATTERN)
)


def warnings(machine: Json) -> Iterator[Diagnostic]:
    """The warnings about a definition without faults."""
    yield from _scope(machine, "")


def _scope(scope: Json, location: str, jsonata: bool = False) -> Iterator[Diagnostic]:
    jsonata = jsonata or object_in(scope).get("QueryLanguage") == "JSONata"
    for name, value in object_in(object_in(scope).get("States")).items():
        state, where = object_in(value), f"{location}/States/{name}"
        if not jsonata and state.get("QueryLanguage") != "JSONata":
            yield from _state(state, where)
        for inner, inner_where in inner_scopes(state, where):
            yield from _scope(inner, inner_where, jsonata)


def _state(state: Mapping[str, Json], location: str) -> Iterator[Diagnostic]:
    for field in _TEMPLATES:
        for where in _undollared(state.get(field), f"{location}/{field}"):
            yield _warning("NO_DOLLAR", where)
    if any(_undollared(state.get("Result"), "", suffixed=True)):
        yield _warning("PASS_RESULT_IS_STATIC", f"{location}/Result")
    yield from _pathless(state, ("Error", "Cause"), location)
    for number, rule in enumerate(array_in(state.get("Choices"))):
        yield from _rule(object_in(rule), f"{location}/Choices[{number}]")


def _rule(rule: Mapping[str, Json], location: str) -> Iterator[Diagnostic]:
    yield from _pathless(rule, _OPERANDS, location)
    for field in ("And", "Or"):
        for number, inner in enumerate(array_in(rule.get(field))):
            yield from _rule(object_in(inner), f"{location}/{field}[{number}]")
    if "Not" in rule:
        yield from _rule(object_in(rule["Not"]), f"{location}/Not")


def _pathless(
    values: Mapping[str, Json], names: Sequence[str], location: str
) -> Iterator[Diagnostic]:
    for name in names:
        if _is_expression(values.get(name)):
            yield _warning("NO_PATH", f"{location}/{name}")


def _undollared(value: Json, location: str, *, suffixed: bool = False) -> Iterator[str]:
    """Where texts stand that look like paths, and are none because the name has no ``.$``.

    Of a constant, *suffixed* members are no paths either.
    """
    if isinstance(value, dict):
        for name, member in value.items():
            if suffixed or not name.endswith(".$"):
                yield from _undollared(member, f"{location}/{name}", suffixed=suffixed)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _undollared(item, f"{location}[{number}]", suffixed=suffixed)
    elif _is_expression(value):
        yield location


def _is_expression(value: Json) -> bool:
    if not isinstance(value, str) or not value.startswith(("$", "States.")):
        return False
    try:
        if value.startswith("$"):
            compile_path(value)
        else:
            compile_call(value)
    except (InvalidPath, InvalidCall):
        return False
    return True


def _warning(code: str, location: str) -> Diagnostic:
    return Diagnostic(code, _MESSAGES[code], location, "WARNING")
