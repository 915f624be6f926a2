"""Variables: what Assign may set, and which states refer to which."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import orjson

from app.engine.expressions.jsonata_library import functions
from app.engine.expressions.paths import Path
from app.engine.expressions.queries import Query
from app.engine.expressions.templates import Constant, ObjectTemplate
from app.engine.failures import DATA_LIMIT_EXCEEDED, StateFailure
from app.engine.language.flow import PathFlow, QueryFlow
from app.engine.language.states import StateMachine
from app.engine.payload import MAX_BYTES, Payload
from app.strict_json import Json

MAX_TOTAL_BYTES = 10_485_760  #: of all variables that a branch has made


def assigned_texts(assigned: Mapping[str, Json]) -> dict[str, str]:
    """The JSON texts of values that are about to be assigned, as events show them.

    Raises:
        StateFailure: together they are larger than AWS allows.
    """
    texts = {name: Payload(value).text for name, value in assigned.items()}
    if sum(map(len, texts.values())) > MAX_BYTES:
        _refuse()
    return texts


def merged(old: Mapping[str, Json], assigned: Mapping[str, Json]) -> Mapping[str, Json]:
    """All variables of a branch after an assignment.

    Raises:
        StateFailure: together they are larger than AWS allows.
    """
    variables = {**old, **assigned}
    # So few cannot be too large, and need not be measured.
    few = len(variables) * MAX_BYTES <= MAX_TOTAL_BYTES
    if not few and len(orjson.dumps(variables)) > MAX_TOTAL_BYTES:
        _refuse()
    return variables


def _refuse() -> None:
    raise StateFailure(
        DATA_LIMIT_EXCEEDED, "The size of the assigned variables exceeds the service limit."
    )


def references(machine: StateMachine) -> dict[str, list[str]]:
    """By state, the variables that its expressions read: ``variableReferences``.

    What has a function's name is a variable if a state of the machine assigns it.
    """
    states = machine.states.values()
    others = functions() - {name for state in states for name in _assigned(state)}
    found = {state.name: sorted(set(_names(state)) - others) for state in states}
    return {name: names for name, names in found.items() if names}


def _names(part: Any) -> Iterator[str]:
    """The variables in a part of a compiled state."""
    if isinstance(part, Path):
        if part.root not in ("$", "$$"):
            yield part.root
    elif isinstance(part, Query):
        yield from part.variables
    for inner in _inner(part):
        yield from _names(inner)


def _assigned(part: Any) -> Iterator[str]:
    """The variables that a part of a compiled state sets."""
    template = part.assign if isinstance(part, PathFlow | QueryFlow) else None
    if isinstance(template, ObjectTemplate):
        yield from (name for name, _ in template.members)
    elif isinstance(template, Constant):
        yield from template.value
    for inner in _inner(part):
        yield from _assigned(inner)


def _inner(part: Any) -> Iterator[Any]:
    if isinstance(part, tuple):
        yield from part
    elif is_dataclass(part):
        for field in fields(part):
            yield getattr(part, field.name)
