"""Payload templates: JSON in which a key ending ``.$`` takes its value from an expression.

An expression is a path or an intrinsic function. Templates are compiled with the definition; a
template without expressions is a constant and costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from app.engine.expressions.intrinsics import Call, InvalidCall, compile_call
from app.engine.expressions.paths import InvalidPath, Path, PathError, Scope, compile_path
from app.engine.failures import RuntimeFailure
from app.errors import SignoffError
from app.strict_json import Json


class InvalidTemplate(SignoffError):
    """The template cannot be compiled."""

    def __init__(self, message: str, location: str) -> None:
        super().__init__(message)
        self.location = location  #: where in the template, "/Payload/name.$"


class Template(Protocol):
    """JSON with expressions in it."""

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """The JSON, its expressions replaced by what they yield for *data*.

        Raises:
            StateFailure: one yields nothing.
        """


@dataclass(frozen=True, slots=True)
class Expression:
    """A path or a call, and the field it stands in."""

    source: Path | Call
    field: str  #: as AWS names it in a cause: ``value.$`` or ``CausePath``

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """What the expression yields for *data*.

        Raises:
            StateFailure: it yields nothing.
        """
        if isinstance(self.source, Call):
            return self.source.evaluate(data, scope)
        try:
            return self.source.read(data, scope)
        except PathError as exc:
            raise RuntimeFailure(
                f"The JSONPath '{self.source.text}' specified for the field '{self.field}' "
                f"could not be found in the input '{orjson.dumps(data).decode()}'"
            ) from exc


@dataclass(frozen=True, slots=True)
class Constant:
    """A value without expressions."""

    value: Json

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class ObjectTemplate:
    """An object with at least one expression in it."""

    members: tuple[tuple[str, Template], ...]

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """The object, its expressions replaced."""
        return {key: member.evaluate(data, scope) for key, member in self.members}


@dataclass(frozen=True, slots=True)
class ArrayTemplate:
    """An array with at least one expression in it."""

    items: tuple[Template, ...]

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """The array, its expressions replaced."""
        return [item.evaluate(data, scope) for item in self.items]


def compile_template(value: Json, location: str = "") -> Template:
    """The template that *value* writes.

    Raises:
        InvalidTemplate: an expression is none, or a key stands there with and without ``.$``.
    """
    if isinstance(value, dict):
        return _compile_object(value, location)
    if isinstance(value, list):
        items = tuple(compile_template(item, f"{location}[{n}]") for n, item in enumerate(value))
        return Constant(value) if _constant(items) else ArrayTemplate(items)
    return Constant(value)


def compile_expression(text: Json, field: str, location: str) -> Expression:
    """The expression that *text* writes for *field*.

    Raises:
        InvalidTemplate: it is neither a path nor a call.
    """
    try:
        if isinstance(text, str):
            source = compile_path(text) if text.startswith("$") else compile_call(text)
            return Expression(source, field)
    except (InvalidPath, InvalidCall):
        pass
    raise InvalidTemplate(
        f"The value for the field '{field}' must be a valid JSONPath "
        "or a valid intrinsic function call",
        location,
    )


def _compile_object(value: Mapping[str, Json], location: str) -> Template:
    members: dict[str, Template] = {}
    for key, member in value.items():
        name = key.removesuffix(".$")
        if name in members or (name != key and name in value):
            raise InvalidTemplate(
                f"The field '{name}' is given with and without '.$'", f"{location}/{key}"
            )
        if name != key:
            # AWS tells where the object is; the field is named in the message.
            members[name] = compile_expression(member, key, location)
        else:
            members[name] = compile_template(member, f"{location}/{key}")
    if _constant(tuple(members.values())):
        return Constant(value)
    return ObjectTemplate(tuple(members.items()))


def _constant(parts: tuple[Template, ...]) -> bool:
    return all(isinstance(part, Constant) for part in parts)
