"""Choice rules: which branch a Choice state takes.

A comparison is one function over two values and one line in `OPERATORS`. Values of another type
than the operator's never match and never fail; a missing Variable fails, but for IsPresent.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from app.engine.expressions.paths import Path, PathError, Scope
from app.engine.expressions.queries import Query
from app.engine.expressions.templates import Constant
from app.engine.failures import RuntimeFailure
from app.engine.language.timestamps import parse_timestamp
from app.strict_json import Json


class Operand(Enum):
    """What an operator compares with."""

    TEXT = "String"
    NUMBER = "Number"
    BOOLEAN = "Boolean"
    TIMESTAMP = "Timestamp"
    PATTERN = "Pattern"


class Test(Protocol):
    """A condition."""

    def holds(self, data: Json, scope: Scope) -> bool:
        """Whether the condition is true for *data*."""


@dataclass(frozen=True, slots=True)
class And:
    """All of them, from left to right, until one does not hold."""

    tests: tuple[Test, ...]

    def holds(self, data: Json, scope: Scope) -> bool:
        """Whether all hold."""
        return all(test.holds(data, scope) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Or:
    """Any of them, from left to right, until one holds."""

    tests: tuple[Test, ...]

    def holds(self, data: Json, scope: Scope) -> bool:
        """Whether one holds."""
        return any(test.holds(data, scope) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    test: Test

    def holds(self, data: Json, scope: Scope) -> bool:
        """Whether it does not hold."""
        return not self.test.holds(data, scope)


@dataclass(frozen=True, slots=True)
class Compare:
    """``Variable`` against a literal, or against what a ``...Path`` selects."""

    variable: Path
    operator: "Operator"
    operand: Json
    operand_path: Path | None

    def holds(self, data: Json, scope: Scope) -> bool:
        """Whether the comparison is true."""
        value = _read(self.variable, data, scope)
        operand = self.operand
        if self.operand_path is not None:
            operand = _read(self.operand_path, data, scope)
        return self.operator.compare(value, operand)


@dataclass(frozen=True, slots=True)
class IsPresent:
    """Whether ``Variable`` is there at all."""

    variable: Path
    expected: bool

    def holds(self, data: Json, scope: Scope) -> bool:
        """Whether the variable is there, or not, as asked."""
        try:
            self.variable.read(data, scope)
        except PathError:
            return not self.expected
        return self.expected


@dataclass(frozen=True, slots=True)
class Condition:
    """A JSONata condition."""

    source: Query | Constant

    def holds(self, data: Json, scope: Scope) -> bool:
        """Whether the expression yields true."""
        value = self.source.evaluate({"input": data}, scope)
        if isinstance(self.source, Query):
            value = self.source.expect(value, (bool,), "boolean")
        return value is True


def _read(path: Path, data: Json, scope: Scope) -> Json:
    try:
        return path.read(data, scope)
    except PathError as exc:
        raise RuntimeFailure(
            f"Invalid path '{path.text}': The choice state's condition path "
            "references an invalid value."
        ) from exc


@dataclass(frozen=True, slots=True)
class Operator:
    """A comparison operator."""

    compare: Callable[[Json, Json], bool]
    operand: Operand
    has_path: bool = True  #: there is a twin whose name ends in Path


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_timestamp(value: Json) -> bool:
    return isinstance(value, str) and parse_timestamp(value) is not None


def _texts(test: Callable[[str, str], bool]) -> Operator:
    def compare(value: Json, operand: Json) -> bool:
        if not isinstance(value, str) or not isinstance(operand, str):
            return False
        # AWS compares UTF-16 units; this is the same order, and cheap for what is plain ASCII.
        if value.isascii() and operand.isascii():
            return test(value, operand)
        return test(_units(value), _units(operand))

    return Operator(compare, Operand.TEXT)


def _units(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").decode("latin-1")


def _numbers(test: Callable[[float, float], bool]) -> Operator:
    def compare(value: Json, operand: Json) -> bool:
        return _is_number(value) and _is_number(operand) and test(value, operand)

    return Operator(compare, Operand.NUMBER)


def _timestamps(test: Callable[[datetime, datetime], bool]) -> Operator:
    def compare(value: Json, operand: Json) -> bool:
        if not isinstance(value, str) or not isinstance(operand, str):
            return False
        moment, other = parse_timestamp(value), parse_timestamp(operand)
        return moment is not None and other is not None and test(moment, other)

    return Operator(compare, Operand.TIMESTAMP)


def _is(check: Callable[[Json], bool]) -> Operator:
    return Operator(lambda value, expected: check(value) is expected, Operand.BOOLEAN, False)


def _boolean_equals(value: Json, operand: Json) -> bool:
    return isinstance(value, bool) and value is operand


def _matches(value: Json, pattern: Json) -> bool:
    if not isinstance(value, str):
        return False
    return _glob(value, _pattern(pattern))


def _pattern(text: str) -> list[str]:
    """The literal pieces between the stars."""
    pieces = [""]
    for part in re.split(r"(\\.|\*|\\$)", text, flags=re.DOTALL):
        if part == "*":
            pieces.append("")
        elif part == "\\":
            raise RuntimeFailure(f"The StringMatches pattern ends with an open backslash: {text}")
        else:
            pieces[-1] += part[1:] if part.startswith("\\") else part
    return pieces


def _glob(text: str, pieces: list[str]) -> bool:
    # By hand rather than by a regular expression: linear, whatever the pattern.
    first, *rest = pieces
    if not rest:
        return text == first
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in rest:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


OPERATORS: Mapping[str, Operator] = {
    "StringEquals": _texts(lambda a, b: a == b),
    "StringLessThan": _texts(lambda a, b: a < b),
    "StringGreaterThan": _texts(lambda a, b: a > b),
    "StringLessThanEquals": _texts(lambda a, b: a <= b),
    "StringGreaterThanEquals": _texts(lambda a, b: a >= b),
    "StringMatches": Operator(_matches, Operand.PATTERN, has_path=False),
    "NumericEquals": _numbers(lambda a, b: a == b),
    "NumericLessThan": _numbers(lambda a, b: a < b),
    "NumericGreaterThan": _numbers(lambda a, b: a > b),
    "NumericLessThanEquals": _numbers(lambda a, b: a <= b),
    "NumericGreaterThanEquals": _numbers(lambda a, b: a >= b),
    "TimestampEquals": _timestamps(lambda a, b: a == b),
    "TimestampLessThan": _timestamps(lambda a, b: a < b),
    "TimestampGreaterThan": _timestamps(lambda a, b: a > b),
    "TimestampLessThanEquals": _timestamps(lambda a, b: a <= b),
    "TimestampGreaterThanEquals": _timestamps(lambda a, b: a >= b),
    "BooleanEquals": Operator(_boolean_equals, Operand.BOOLEAN),
    "IsNull": _is(lambda value: value is None),
    "IsNumeric": _is(_is_number),
    "IsString": _is(lambda value: isinstance(value, str)),
    "IsBoolean": _is(lambda value: isinstance(value, bool)),
    "IsTimestamp": _is(_is_timestamp),
}
