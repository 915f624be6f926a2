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
#: what a text is made of: a string, perhaps without its end; a bracket, comma or colon; a word
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[][{},:]|[^][{},:"\s]+', re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SHOWN = 500  #: characters of a text, in a message
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
    line, column = _place(text, at)
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


def shown_at(text: str, line: int, column: int) -> str:
    """A place in a text, as Jackson shows both."""
    left = len(text) - _SHOWN
    more = f"[truncated {left} chars]" if left > 0 else ""
    return f'[Source: (String)"{text[:_SHOWN]}"{more}; line: {line}, column: {column}]'


def _ended(text: str) -> str:
    """What a text lacks that is JSON as far as it goes."""
    opened, before, last = _read(text)
    if last.isalpha() and last not in ("true", "false", "null"):
        return f"Unrecognized token '{last}': was expecting {_EXPECTED}"
    kind = {"{": "Object", "[": "Array"}.get(text[opened[-1]]) if opened else None
    is_name = last.startswith('"') and kind == "Object" and before in ("{", ",")
    if last.startswith('"') and _STRING.fullmatch(last) is None:
        lacks = " in field name" if is_name else ": was expecting closing quote for a string value"
    elif kind is None:
        lacks = ""
    elif is_name or last in (":", ","):
        lacks = f" within/between {kind} entries"
    else:
        begin = shown_at(text, *_place(text, opened[-1]))
        lacks = f": expected close marker for {kind} (start marker at {begin})"
    return f"Unexpected end-of-input{lacks}"


def _read(text: str) -> tuple[list[int], str, str]:
    """Where the brackets are that are open at the end, and the last two tokens."""
    opened: list[int] = []
    before = last = ""
    for token in _TOKENS.finditer(text):
        before, last = last, token[0]
        if last in "[{":
            opened.append(token.start())
        elif last in "]}" and opened:
            opened.pop()
    return opened, before, last


def _place(text: str, at: int) -> tuple[int, int]:
    """The line and the column of a character."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


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
