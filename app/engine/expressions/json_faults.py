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
_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_LAST_WORD = re.compile(r"\b[a-z]{1,4}$")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
#: orjson's reasons where a word may stand that is none
_WORDS = ("JSON value", "invalid literal", "after document")
#: what orjson wants, in Jackson's words
_WANTED = {
    "string key": "was expecting double-quote to start field name",
    "JSON value": f"expected a valid value {_EXPECTED}",
    "after document": f"expected a valid value {_EXPECTED}",
    "after sign": f"expected a valid value {_EXPECTED}",
    "after key": "was expecting a colon to separate field name and value",
    "or '}'": "was expecting comma to separate Object entries",
    "or ']'": "was expecting comma to separate Array entries",
}


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
    if "depth limit" in exc.msg:
        return _TOO_DEEP
    if "end of data" in exc.msg or not text.strip():
        return Fault(_ended(text), exc.lineno, exc.colno)
    at = _position(text, exc)
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    word = _WORD.match(text, at)
    if word and any(reason in exc.msg for reason in _WORDS):
        # Jackson names the position after the token.
        message = f"Unrecognized token '{word[0][:80]}': was expecting {_EXPECTED}"
        return Fault(message, line, column + len(word[0]))
    return Fault(_sentence(text[at:], exc.msg), line, column + 1)


def _position(text: str, exc: orjson.JSONDecodeError) -> int:
    """Where Jackson stumbles: at a word's begin, and behind a comma that ought not to be there."""
    at = exc.pos
    if "trailing comma" in exc.msg:
        return len(text) - len(text[at + 1 :].lstrip())
    if "after document" in exc.msg:
        while at and _WORD.match(text, at - 1):
            at -= 1
    return at


def _ended(text: str) -> str:
    if _ESCAPED.sub("", text).count('"') % 2:
        return "Unexpected end-of-input: was expecting closing quote for a string value"
    word = _LAST_WORD.search(text)
    if word:
        return f"Unrecognized token '{word[0]}': was expecting {_EXPECTED}"
    return "Unexpected end-of-input"


def _sentence(rest: str, reason: str) -> str:
    """What is wrong with the character that *rest* begins with."""
    character = rest[0]
    if "escaped sequence" in reason and rest[1:2] not in ("", "u"):
        return f"Unrecognized character escape '{rest[1]}' (code {ord(rest[1])})"
    if "control character" in reason:
        return (
            f"Illegal unquoted character ((CTRL-CHAR, code {ord(character)})): has to be escaped "
            "using backslash to be included in string value"
        )
    if "leading zero" in reason:
        return "Invalid numeric value: Leading zeroes not allowed"
    if "trailing comma" in reason:
        reason = "string key" if character == "}" else "JSON value"
    wanted = next((words for part, words in _WANTED.items() if part in reason), None)
    if wanted is None:
        return f"The text is not JSON: {reason}"
    return f"Unexpected character ('{character}' (code {ord(character)})): {wanted}"
