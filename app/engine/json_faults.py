"""Parsing JSON text, and saying what is wrong with it in the words AWS uses (Jackson's).

AWS answers bad input, bad output and bad definitions with its parser's sentence. The sentences
for what people really send are told here; the rest get a general one.
"""

import re
from dataclasses import dataclass

import orjson

from app.engine.payload import MAX_DEPTH, Payload
from app.errors import SignoffError
from app.strict_json import Json

_EXPECTED = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_TOKEN = re.compile(r"[A-Za-z0-9_$]+")
_VALUE_START = frozenset('{["-0123456789')


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a text is not JSON, and where."""

    message: str
    line: int
    column: int


class JsonFault(SignoffError):
    """The text is not JSON."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def parse(text: str) -> Payload:
    """The payload that *text* holds, the text kept as it is.

    Raises:
        JsonFault: in AWS's words.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise JsonFault(_fault(text, exc)) from exc
    # Only a text with that many brackets can be that deep; the walk is for those few.
    if text.count("[") + text.count("{") > MAX_DEPTH and _too_deep(value):
        raise JsonFault(_TOO_DEEP)
    return Payload(value, text)


_TOO_DEEP = Fault(f"Document nesting depth exceeds the maximum allowed ({MAX_DEPTH})", 1, 1)


def _too_deep(value: Json) -> bool:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        level = [child for node in level for child in _children(node)]
    return False


def _children(node: Json) -> list[Json]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _fault(text: str, exc: orjson.JSONDecodeError) -> Fault:
    line, column = exc.lineno, exc.colno
    rest = text[exc.pos :] if exc.pos < len(text) else ""
    if "depth limit" in exc.msg:
        return _TOO_DEEP
    if not rest.strip():
        return Fault("Unexpected end-of-input", line, column)
    if "string key" in exc.msg:
        return Fault(
            f"{_unexpected(rest[0])}: was expecting double-quote to start field name", line, column
        )
    return _value_fault(rest, exc.msg, line, column)


def _value_fault(rest: str, reason: str, line: int, column: int) -> Fault:
    token = _TOKEN.match(rest)
    if token and rest[0] not in _VALUE_START:
        # Jackson names the position after the token.
        message = f"Unrecognized token '{token[0][:80]}': was expecting {_EXPECTED}"
        return Fault(message, line, column + len(token[0]))
    if "after document" in reason:
        return Fault("Unexpected content after the JSON document", line, column)
    if rest[0] in _VALUE_START:
        return Fault(f"The text is not JSON: {reason}", line, column)
    return Fault(f"{_unexpected(rest[0])}: {reason}", line, column)


def _unexpected(character: str) -> str:
    return f"Unexpected character ('{character}' (code {ord(character)}))"
