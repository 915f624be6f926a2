"""JSONata in definitions: ``{% expression %}``, alone or anywhere in a template.

An expression sees ``$states`` and the variables. What it may cost is bounded: a cheap one is
evaluated here, with an eye on the clock; any other in a process of its own, which is killed when
its time is up. Either way it ends within two seconds.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import orjson

from app.bounded_process import GaveUp
from app.engine.expressions import jsonata_library
from app.engine.expressions.costly import QUICK_S, Costly
from app.engine.expressions.jsonata_library import QueryError, QueryTimeout, UndefinedResult
from app.engine.expressions.jsonata_references import members_of_states, variables
from app.engine.expressions.jsonata_worker import SECONDS
from app.engine.expressions.paths import Scope
from app.engine.expressions.templates import (
    ArrayTemplate,
    Constant,
    InvalidTemplate,
    ObjectTemplate,
    Template,
)
from app.engine.failures import QueryFailure
from app.strict_json import Json

MAX_CHARS = 10_000

_WHOLE_STATES = re.compile(r"\$states(?!\s*\.\s*(?:input|result|errorOutput)\b)")


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled expression and the field it stands in."""

    text: str
    field: str  #: as AWS names it: ``Arguments/Payload``
    variables: tuple[str, ...]  #: those it reads
    states: frozenset[str]  #: the members of ``$states`` that it names
    cheap: bool

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """What the expression yields; *data* is ``$states`` without the context.

        Raises:
            QueryFailure: it yields nothing, or cannot be evaluated.
            Deferred: it takes longer than the loop waits.
        """
        bindings = {
            name: scope.variables[name] for name in self.variables if name in scope.variables
        }
        if "$states" in self.text:
            context = _WHOLE_STATES.search(self.text) is not None
            bindings["states"] = {**data, "context": scope.context} if context else data
        seed = scope.random.random()
        try:
            return self._evaluate(bindings, seed)
        except UndefinedResult:
            raise self.failure("returned nothing (undefined).") from None
        except QueryError as exc:
            raise self.failure(f"threw an error during evaluation. {exc.message}") from exc

    def _evaluate(self, bindings: Mapping[str, Json], seed: float) -> Json:
        if self.cheap and not _QUERIES.is_slow(self.text):
            with suppress(QueryTimeout):
                return jsonata_library.evaluate(self.text, bindings, seed, QUICK_S)
            _QUERIES.note_slow(self.text)
        return _ask(self.text, bindings, seed)

    def expect(self, value: Json, types: tuple[type, ...], wanted: str) -> Json:
        """*value*, if it is of the wanted type.

        Raises:
            QueryFailure: it is not.
        """
        if isinstance(value, types) and (bool in types or not isinstance(value, bool)):
            return value
        raise self.failure(
            f"returned an unexpected result type. Expected '{wanted}', but was "
            f"'{_type(value)}' for value: {orjson.dumps(value).decode()}"
        )

    def failure(self, why: str) -> QueryFailure:
        """A failure of this expression."""
        return QueryFailure(
            f"The JSONata expression '{self.text}' specified for the field '{self.field}' {why}",
            self.field,
        )


def _type(value: Json) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    names: Mapping[type, str] = {dict: "object", list: "array", str: "string"}
    return names.get(type(value), "number")


def is_query(value: Json) -> bool:
    """Whether the value is an expression: it begins and ends with the delimiters."""
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def compile_query(text: str, field: str, location: str) -> Query:
    """The expression between the delimiters.

    Raises:
        InvalidTemplate: it is none.
    """
    inner = text[2:-2].strip()
    try:
        if not inner or len(inner) > MAX_CHARS:
            raise QueryError("S0500: The expression is empty or too long")
        cheap = jsonata_library.is_cheap(inner)
    except QueryError as exc:
        message = f"The JSONata expression '{inner}' is not valid: {exc.message}"
        raise InvalidTemplate(message, location) from exc
    return Query(inner, field, variables(inner), members_of_states(inner), cheap)


def compile_query_template(value: Json, field: str, location: str) -> Template:
    """JSON in which every string may be an expression.

    Raises:
        InvalidTemplate: one is none.
    """
    if is_query(value):
        return compile_query(value, field, location)
    if isinstance(value, dict):
        members = {
            key: compile_query_template(item, f"{field}/{key}", f"{location}/{key}")
            for key, item in value.items()
        }
        constant = all(isinstance(member, Constant) for member in members.values())
        return Constant(value) if constant else ObjectTemplate(tuple(members.items()))
    if isinstance(value, list):
        items = tuple(
            compile_query_template(item, f"{field}[{n}]", f"{location}[{n}]")
            for n, item in enumerate(value)
        )
        return (
            ArrayTemplate(items)
            if not all(isinstance(i, Constant) for i in items)
            else Constant(value)
        )
    return Constant(value)


def queries_in(template: Template) -> Iterator[Query]:
    """The expressions in a compiled template."""
    if isinstance(template, Query):
        yield template
    elif isinstance(template, ArrayTemplate):
        for item in template.items:
            yield from queries_in(item)
    elif isinstance(template, ObjectTemplate):
        for _, member in template.members:
            yield from queries_in(member)


def _ask(text: str, bindings: Mapping[str, Json], seed: float) -> Json:
    """What the expression yields in the process that may be killed."""
    try:
        kind, *rest = _QUERIES.ask(text, [text, bindings, seed, SECONDS])
    except GaveUp as exc:
        raise QueryError(f"D1012: Expression evaluation timeout: {SECONDS} s") from exc
    if kind == "value":
        return rest[0]
    raise UndefinedResult() if kind == "undefined" else QueryError(rest[0])


#: for what is not cheap, or turned out not to be quick
_QUERIES = Costly("app.engine.expressions.jsonata_worker", ["1", {}, 0, 1], SECONDS)
