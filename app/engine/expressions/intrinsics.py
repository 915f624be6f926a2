"""The intrinsic functions, ``States.Format('{}', $.name)`` and their kin.

`compile_call` parses a call once; `Call.evaluate` runs it. A function is one Python function over
evaluated arguments and one line in `_FUNCTIONS`. Any misuse is ``States.IntrinsicFailure``.
"""

import base64
import binascii
import hashlib
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import orjson

from app.engine.expressions.java import json_text, shown
from app.engine.expressions.json_faults import JsonFault, parse
from app.engine.expressions.paths import InvalidPath, Path, PathError, Scope, compile_path
from app.engine.failures import INTRINSIC_FAILURE, EvaluationFailure
from app.errors import SignoffError
from app.strict_json import Json

MAX_NESTED = 10  #: calls within calls
MAX_ITEMS = 1_000  #: of States.ArrayRange
MAX_CHARS = 10_000  #: that Hash and the Base64 functions take


class InvalidCall(SignoffError):
    """The text is no call of an intrinsic function."""


class Misuse(SignoffError):
    """A function was given what it cannot take."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant argument."""

    value: Json
    raw: str | None = (
        None  #: of a text, before unescaping: States.Format tells ``{}`` from ``\\{\\}``
    )

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """The constant."""
        return self.value


@dataclass(frozen=True, slots=True)
class Selected:
    """An argument that a path selects."""

    path: Path

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """What the path selects in *data*."""
        try:
            return self.path.read(data, scope)
        except PathError as exc:
            given = orjson.dumps(data).decode()
            raise Misuse(
                f"The JsonPath argument for the field '{self.path.text}' "
                f"could not be found in the input '{given}'"
            ) from exc


@dataclass(frozen=True, slots=True)
class Call:
    """A compiled call."""

    text: str
    name: str
    arguments: tuple["Literal | Selected | Call", ...]

    def evaluate(self, data: Json, scope: Scope) -> Json:
        """The function's result.

        Raises:
            EvaluationFailure: ``States.IntrinsicFailure``.
        """
        try:
            return self._evaluate(data, scope)
        except Misuse as exc:
            raise EvaluationFailure(
                INTRINSIC_FAILURE,
                f"The function '{self.text}' had the following error: {exc.message}",
            ) from exc

    def _evaluate(self, data: Json, scope: Scope) -> Json:
        arguments = [argument.evaluate(data, scope) for argument in self.arguments]
        if self.name == "States.Format" and isinstance(self.arguments[0], Literal):
            arguments[0] = self.arguments[0].raw
        function = _FUNCTIONS[self.name]
        return function.run(scope, *arguments)


def compile_call(text: str) -> Call:
    """The call that *text* writes.

    Raises:
        InvalidCall: it is none, or of an unknown function, or with a wrong number of arguments.
    """
    reader = _Reader(text)
    call = reader.call(depth=1)
    reader.skip_blanks()
    if reader.position != len(text):
        raise InvalidCall("Something follows the call.")
    return call


_NAME = re.compile(r"States\.[A-Za-z0-9]+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?(?=[\s,)])")
_WORD = re.compile(r"(true|false|null)(?=[\s,)])")
_TEXT = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_BLANKS = re.compile(r"\s*")
_WORDS: Mapping[str, Json] = {"true": True, "false": False, "null": None}


class _Reader:
    """Reads a call from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def skip_blanks(self) -> None:
        match = _BLANKS.match(self.text, self.position)
        if match:
            self.position = match.end()

    def call(self, depth: int) -> Call:
        if depth > MAX_NESTED:
            raise InvalidCall(f"At most {MAX_NESTED} calls may be nested.")
        start = self.position
        name = self._take(_NAME)
        function = _FUNCTIONS.get(name[0]) if name else None
        if name is None or function is None or not self._skip("("):
            raise InvalidCall("There is no such function.")
        arguments = self._arguments(depth)
        if not function.takes(len(arguments)):
            raise InvalidCall("The number of arguments is wrong.")
        return Call(self.text[start : self.position], name[0], tuple(arguments))

    def _arguments(self, depth: int) -> list[Literal | Selected | Call]:
        arguments: list[Literal | Selected | Call] = []
        if self._skip(")"):
            return arguments
        while True:
            arguments.append(self._argument(depth))
            if self._skip(")"):
                return arguments
            if not self._skip(","):
                raise InvalidCall("A comma or a closing parenthesis is missing.")

    def _argument(self, depth: int) -> Literal | Selected | Call:
        self.skip_blanks()
        if self.text.startswith("States.", self.position):
            return self.call(depth + 1)
        if self.text.startswith("$", self.position):
            return Selected(self._path())
        if match := self._take(_TEXT):
            return Literal(_unescape(match[1]), match[1])
        if match := self._take(_NUMBER):
            return Literal(orjson.loads(match[0]))
        if match := self._take(_WORD):
            return Literal(_WORDS[match[0]])
        raise InvalidCall("An argument cannot be understood.")

    def _path(self) -> Path:
        start, quote, open_brackets = self.position, "", 0
        for position in range(start, len(self.text)):
            character = self.text[position]
            if quote:
                quote = "" if character == quote else quote
            elif character in "'\"":
                quote = character
            elif character in "([":
                open_brackets += 1
            elif open_brackets and character in ")]":
                open_brackets -= 1
            elif not open_brackets and character in ",)":
                self.position = position
                return self._compiled(self.text[start:position].rstrip())
        raise InvalidCall("A closing parenthesis is missing.")

    @staticmethod
    def _compiled(text: str) -> Path:
        try:
            return compile_path(text)
        except InvalidPath as exc:
            raise InvalidCall("An argument is no JSONPath.") from exc

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()
        return match

    def _skip(self, character: str) -> bool:
        self.skip_blanks()
        found = self.text.startswith(character, self.position)
        self.position += found
        return found


def _unescape(raw: str) -> str:
    return re.sub(r"\\(['{}\\])", r"\1", raw)


# The functions. Each takes the scope and its evaluated arguments.


def _format(_scope: Scope, template: Json, *values: Json) -> str:
    pieces = _pieces(_text(template, 1))
    if len(pieces) != len(values) + 1:
        raise Misuse("The number of arguments does not match the occurrences of {} in the template")
    filled = [part for pair in zip(pieces, map(shown, values), strict=False) for part in pair]
    return "".join([*filled, pieces[-1]])


def _pieces(template: str) -> list[str]:
    if template.count("\\") and template.endswith("\\") and not template.endswith("\\\\"):
        raise Misuse("The template ends with an open backslash")
    parts = re.split(r"(\\.|\{\})", template)
    pieces = [""]
    for part in parts:
        if part == "{}":
            pieces.append("")
        else:
            pieces[-1] += _unescape(part)
    return pieces


def _string_to_json(_scope: Scope, text: Json) -> Json:
    given = _text(text, 1)
    if not given.strip():
        return None
    try:
        value = parse(given).value
    except JsonFault as exc:
        raise Misuse("The value for argument 1 is not a valid JSON String") from exc
    return 0 if value == 0 and given.strip() == "-0" else value


def _json_to_string(_scope: Scope, value: Json) -> str:
    return json_text(value)


def _json_merge(_scope: Scope, first: Json, second: Json, deep: Json) -> Json:
    if not isinstance(first, dict) or not isinstance(second, dict):
        raise Misuse("Only JSON objects can be merged")
    if deep is not False:
        raise Misuse("Deep merging is not supported: the third argument must be false")
    return {**first, **second}


def _array(_scope: Scope, *items: Json) -> list[Json]:
    return list(items)


def _array_partition(_scope: Scope, items: Json, size: Json) -> list[Json]:
    array, step = _items(items), _integer(size, 2)
    if step < 1:
        raise Misuse("The chunk size must be a positive number")
    return [array[start : start + step] for start in range(0, len(array), step)]


def _array_contains(_scope: Scope, items: Json, wanted: Json) -> bool:
    return any(_same(item, wanted) for item in _items(items))


def _array_range(_scope: Scope, first: Json, last: Json, step: Json) -> list[Json]:
    start, end, by = _integer(first, 1), _integer(last, 2), _integer(step, 3)
    if by == 0:
        raise Misuse("The step must not be 0")
    # Computed: Python cannot tell the length of a range beyond 64 bits.
    if (end - start) // by + 1 > MAX_ITEMS:
        raise Misuse(f"The array must not have more than {MAX_ITEMS} items")
    return list(range(start, end + (1 if by > 0 else -1), by))


def _array_get_item(_scope: Scope, items: Json, index: Json) -> Json:
    array, at = _items(items), _integer(index, 2)
    if not 0 <= at < len(array):
        raise Misuse("The index is out of bounds")
    return array[at]


def _array_length(_scope: Scope, items: Json) -> int:
    return len(_items(items))


def _array_unique(_scope: Scope, items: Json) -> list[Json]:
    seen: set[bytes] = set()
    unique = []
    for item in _items(items):
        key = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        if key not in seen:
            seen.add(key)
            unique.append(item)
    return unique


def _base64_encode(_scope: Scope, text: Json) -> str:
    return base64.b64encode(_short(text).encode()).decode()


def _base64_decode(_scope: Scope, text: Json) -> str:
    given = _short(text)
    try:
        # Java's decoder needs no padding; what is no UTF-8 becomes replacement characters there.
        decoded = base64.b64decode(given + "=" * (-len(given) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Misuse("The value is not Base64") from exc
    return decoded.decode(errors="replace")


def _hash(_scope: Scope, data: Json, algorithm: Json) -> str:
    name = _ALGORITHMS.get(_text(algorithm, 2))
    if name is None:
        raise Misuse(f"The algorithm must be one of {', '.join(_ALGORITHMS)}")
    text = data if isinstance(data, str) else json_text(data)
    return hashlib.new(name, _short(text).encode(), usedforsecurity=False).hexdigest()


_ALGORITHMS = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
}


def _math_random(scope: Scope, low: Json, high: Json, *seed: Json) -> int:
    start, end = _integer(low, 1), _integer(high, 2)
    if start >= end:
        raise Misuse("The start number must be less than the end number")
    chance = Random(_integer(seed[0], 3)) if seed else scope.random  # noqa: S311  # no secret
    return chance.randrange(start, end)


def _math_add(_scope: Scope, first: Json, second: Json) -> int:
    total = _integer(first, 1) + _integer(second, 2)
    if not -(2**31) <= total < 2**31:
        raise Misuse("The sum exceeds the range of an integer")
    return total


def _string_split(_scope: Scope, text: Json, delimiters: Json) -> list[str]:
    given, wanted = _text(text, 1), _text(delimiters, 2)
    if not wanted:
        return [given] if given else []
    pattern = "[" + re.escape(wanted) + "]"
    return [piece for piece in re.split(pattern, given) if piece]


def _uuid(scope: Scope) -> str:
    return str(uuid.UUID(int=scope.random.getrandbits(128), version=4))


def _text(value: Json, number: int) -> str:
    if not isinstance(value, str):
        raise Misuse(f"The value for argument {number} is not a String")
    return value


def _short(value: Json) -> str:
    text = _text(value, 1)
    if len(text) > MAX_CHARS:
        raise Misuse(f"The value must not be longer than {MAX_CHARS} characters")
    return text


def _items(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise Misuse("The value for argument 1 is not an Array")
    return value


def _integer(value: Json, number: int) -> int:
    """A number, rounded with halves up, as AWS does before it computes."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misuse(f"The value for argument {number} is not a Number")
    rounded = math.floor(value + 0.5) if isinstance(value, float) else value
    if not -(2**63) <= rounded < 2**63:
        raise Misuse(f"The value for argument {number} exceeds the range of an integer")
    return rounded


def _same(left: Json, right: Json) -> bool:
    # In Python True == 1; in JSON it is not.
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list | dict) and type(left) is type(right):
        return orjson.dumps(left, option=orjson.OPT_SORT_KEYS) == orjson.dumps(
            right, option=orjson.OPT_SORT_KEYS
        )
    return bool(left == right)


@dataclass(frozen=True, slots=True)
class _Function:
    run: Callable[..., Json]
    least: int
    most: int | None  #: None: any number

    def takes(self, count: int) -> bool:
        return self.least <= count and (self.most is None or count <= self.most)


_FUNCTIONS: Mapping[str, _Function] = {
    "States.Format": _Function(_format, 1, None),
    "States.StringToJson": _Function(_string_to_json, 1, 1),
    "States.JsonToString": _Function(_json_to_string, 1, 1),
    "States.JsonMerge": _Function(_json_merge, 3, 3),
    "States.Array": _Function(_array, 0, None),
    "States.ArrayPartition": _Function(_array_partition, 2, 2),
    "States.ArrayContains": _Function(_array_contains, 2, 2),
    "States.ArrayRange": _Function(_array_range, 3, 3),
    "States.ArrayGetItem": _Function(_array_get_item, 2, 2),
    "States.ArrayLength": _Function(_array_length, 1, 1),
    "States.ArrayUnique": _Function(_array_unique, 1, 1),
    "States.Base64Encode": _Function(_base64_encode, 1, 1),
    "States.Base64Decode": _Function(_base64_decode, 1, 1),
    "States.Hash": _Function(_hash, 2, 2),
    "States.MathRandom": _Function(_math_random, 2, 3),
    "States.MathAdd": _Function(_math_add, 2, 2),
    "States.StringSplit": _Function(_string_split, 2, 2),
    "States.UUID": _Function(_uuid, 0, 0),
}
