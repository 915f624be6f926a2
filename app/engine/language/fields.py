"""Reading the fields of a definition's objects: each reader reports what is wrong and goes on."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from app.engine.expressions.paths import InvalidPath, Path, compile_path, compile_reference_path
from app.engine.expressions.queries import (
    Query,
    compile_query,
    compile_query_template,
    is_query,
    queries_in,
)
from app.engine.expressions.templates import (
    Expression,
    InvalidTemplate,
    Template,
    compile_expression,
    compile_template,
)
from app.engine.language.diagnostics import Report
from app.engine.language.flow import Use
from app.engine.language.resource import Resource
from app.engine.language.states import whole
from app.engine.language.timestamps import parse_timestamp
from app.engine.payload import Payload
from app.strict_json import Json

T = TypeVar("T")

MAX_VARIABLE_CHARS = 80
_OF_WORK = {Use.RESULT.value, Use.ERROR.value}
NOT_RFC3339 = "String does not match RFC3339 timestamp"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a definition is checked against."""

    supports: Callable[[Resource], bool]  #: whether there is a connector for it
    express: bool = False
    #: the arguments without what the integration does not have
    accepted: Callable[[Resource, Payload], Payload] = whole
    #: the arguments that a resource must be given
    needed: Callable[[Resource], Sequence[str]] = lambda _resource: ()


@dataclass(slots=True)
class Fields:
    """The fields of one object."""

    values: dict[str, Json]
    location: str
    report: Report
    rules: Rules
    #: states found so far in the whole machine, and where
    seen: dict[str, str] = field(default_factory=dict)
    jsonata: bool = False  #: whether they are written in JSONata
    state: str = ""  #: the location of the state that they belong to

    def at(self, name: str) -> str:
        """The location of a field."""
        return f"{self.location}/{name}"

    def within_state(self, name: str) -> str:
        """The location of a field in its state, as AWS names it in causes."""
        return self.at(name).removeprefix(f"{self.state}/")

    def fault(self, message: str, name: str | None = None) -> None:
        """Report a fault of a field, or of the object."""
        self.report.fault(self.at(name) if name else self.location or "/", message)

    def only(self, allowed: Collection[str]) -> None:
        """Report the fields that are not allowed."""
        for name in self.values:
            if name not in allowed:
                self.fault(f"The field '{name}' is not supported by Step Functions", name)

    def require(self, *names: str) -> bool:
        """Report the fields that are missing; whether none is."""
        missing = [name for name in names if name not in self.values]
        if missing:
            self.fault(f"These fields are required: [{', '.join(missing)}]")
        return not missing

    def at_most_one(self, *names: str) -> None:
        """Report it if more than one of the fields is given."""
        if sum(name in self.values for name in names) > 1:
            self.fault(f"Only one of these fields can be specified: [{', '.join(names)}]")

    def typed(self, name: str, kind: type[T], shown: str) -> T | None:
        """The field's value if it is of that type; None, reported, if it is of another."""
        value = self.values.get(name)
        if name not in self.values:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fault(f"Expected value of type {shown}", name)
            return None
        return value

    def text(self, name: str) -> str | None:
        """A string."""
        return self.typed(name, str, "String")

    def integer(self, name: str, least: int, most: int) -> int | None:
        """An integer within limits."""
        value = self.typed(name, int, "Integer")
        if value is None:
            return None
        self._within(name, value, least, most)
        return value

    def _within(self, name: str, value: float, least: float, most: float) -> None:
        if value < least:
            self.fault(
                "numeric instance is lower than the required minimum "
                f"(minimum: {least}, found: {value})",
                name,
            )
        if value > most:
            self.fault(
                "numeric instance is greater than the required maximum "
                f"(maximum: {most}, found: {value})",
                name,
            )

    def count(self, name: str, least: int, most: int) -> int | Query | None:
        """An integer within limits, or an expression that yields one."""
        return self.query(name) or self.integer(name, least, most)

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number within limits."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if name in self.values and not isinstance(value, float):
            self.fault("Expected value of type Number", name)
            return None
        if isinstance(value, float):
            self._within(name, value, least, most)
            return value
        return None

    def one_of(self, name: str, values: Sequence[str]) -> str | None:
        """One of some strings."""
        value = self.values.get(name)
        if name in self.values and value not in values:
            self.fault(
                f"The field '{name}' should have one of these values: [{', '.join(values)}]", name
            )
            return None
        return value if isinstance(value, str) else None

    def timestamp(self, name: str) -> datetime | None:
        """A timestamp."""
        text = self.text(name)
        moment = parse_timestamp(text) if text is not None else None
        if text is not None and moment is None:
            self.fault(NOT_RFC3339, name)
        return moment

    def path(self, name: str) -> Path | None:
        """A JSONPath."""
        return self._path(name, compile_path, "Value is not a valid JSONPath")

    def reference_path(self, name: str) -> Path | None:
        """A reference path."""
        return self._path(name, compile_reference_path, "Value is not a Reference Path")

    def unless_whole(self, name: str, read: "Callable[[str], Path | None]") -> Path | None:
        """What *read* reads, unless the field is absent, null or ``$``.

        ``$`` is the default and changes nothing; null has a meaning of its own.
        """
        return None if self.values.get(name) in (None, "$") else read(name)

    def _path(self, name: str, compiled: Callable[[str], Path], message: str) -> Path | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return compiled(text)
        except InvalidPath:
            self.fault(message, name)
            return None

    def template(self, name: str, use: Use = Use.NONE) -> Template | None:
        """A payload template; *use* is what its expressions see of the work."""
        if name not in self.values:
            return None
        try:
            if not self.jsonata:
                return compile_template(self.values[name], self.at(name))
            template = compile_query_template(
                self.values[name], self.within_state(name), self.at(name)
            )
            self._check_states(name, template, use)
            return template
        except InvalidTemplate as exc:
            self.report.fault(exc.location, exc.message)
            return None

    def assignment(self, name: str, use: Use = Use.NONE) -> Template | None:
        """A payload template that names variables; *use* as in `template`."""
        values = self.typed(name, dict, "Object")
        for key in values or ():
            variable = key if self.jsonata else key.removesuffix(".$")
            if not variable.isidentifier() or len(variable) > MAX_VARIABLE_CHARS:
                self.fault(f"Invalid variable name: {variable}", name)
            elif variable == "states":
                self.fault("The variable name 'states' is reserved", name)
        return None if values is None else self.template(name, use)

    def query(self, name: str) -> Query | None:
        """A JSONata expression; None if the value is none, which is for others to read."""
        value = self.values.get(name)
        if not self.jsonata or not isinstance(value, str) or not is_query(value):
            return None
        try:
            query = compile_query(value, self.within_state(name), self.at(name))
            self._check_states(name, query, Use.NONE)
            return query
        except InvalidTemplate as exc:
            self.report.fault(exc.location, exc.message)
            return None

    def _check_states(self, name: str, template: Template, use: Use) -> None:
        """Report what AWS refuses in a definition: a result, or an error, where there is none.

        Source: Developer Guide, "Reserved variable: $states".
        """
        named = {member for query in queries_in(template) for member in query.states}
        for member in sorted(named & _OF_WORK - {use.value}):
            self.fault(f"The variable '$states.{member}' is not accessible in this field", name)

    def expression(self, name: str) -> Expression | None:
        """A path or an intrinsic function."""
        if name not in self.values:
            return None
        try:
            return compile_expression(self.values[name], name, self.at(name))
        except InvalidTemplate as exc:
            self.report.fault(exc.location, exc.message)
            return None

    def objects(self, name: str, *, required: bool = False) -> list["Fields"]:
        """An array of objects."""
        items = self.typed(name, list, "Array")
        if items is None:
            return []
        if required and not items:
            self.fault("Value cannot be empty", name)
        return [
            self.child(item, f"{self.at(name)}[{number}]")
            for number, item in enumerate(items)
            if self._is_object(item, f"{name}[{number}]")
        ]

    def texts(self, name: str) -> tuple[str, ...]:
        """A non-empty array of strings."""
        items = self.typed(name, list, "Array")
        if items is None:
            return ()
        if not items:
            self.fault("Value cannot be empty", name)
        if not all(isinstance(item, str) for item in items):
            self.fault("Expected value of type String", name)
            return ()
        return tuple(items)

    def nested(self, name: str) -> "Fields | None":
        """An object."""
        value = self.values.get(name)
        if name in self.values and not isinstance(value, dict):
            self.fault("Expected value of type Object", name)
        return self.child(value, self.at(name)) if isinstance(value, dict) else None

    def child(self, values: dict[str, Json], location: str) -> "Fields":
        """The fields of an object within this one."""
        return replace(self, values=values, location=location)

    def _is_object(self, value: Json, name: str) -> bool:
        if not isinstance(value, dict):
            self.fault("Expected value of type Object", name)
        return isinstance(value, dict)
