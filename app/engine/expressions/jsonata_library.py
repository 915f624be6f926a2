"""The JSONata library behind a small door: text in, JSON or a `QueryError` out.

Also what the library lacks of AWS's dialect: `$partition`, `$range`, `$hash`, `$random`, `$uuid`,
`$parse`; `$eval` is taken away. Whoever calls has to bound what an expression may cost, except for
a cheap one: one whose every operation is bounded by its text and its data (see `is_cheap`).
"""

import hashlib
import math
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from random import Random
from typing import Any, NoReturn

import orjson

from app.errors import SignoffError
from app.strict_json import Json, NotJson, loads

_LIMIT = sys.getrecursionlimit()
import jsonata.jsonata as library  # noqa: E402
from jsonata.functions import Functions  # noqa: E402
from jsonata.jexception import JException  # noqa: E402  # it raises the limit for everyone...
from jsonata.jsonata import Jsonata  # noqa: E402
from jsonata.parser import Parser  # noqa: E402
from jsonata.signature import Signature  # noqa: E402
from jsonata.utils import Utils  # noqa: E402

sys.setrecursionlimit(_LIMIT)  # ...which is ours to decide
# It prints what is called and is no function: a task token, at worst.
library.print = lambda *_: None

MAX_RECURSION = 4_000  #: Python frames; an expression uses about ten for each of its own levels
MAX_STEPS = 2_000_000
MAX_RESULT_DEPTH = 150
MAX_RANGE = 10_000  #: items that $range may make
_STEPS_PER_LOOK = 512


class QueryError(SignoffError):
    """The expression cannot be compiled or evaluated."""


class QueryTimeout(QueryError):
    """The expression takes too long."""


class UndefinedResult(SignoffError):
    """The expression has no value."""


@lru_cache(maxsize=2_048)
def compiled(text: str) -> Jsonata:
    """The compiled expression.

    Raises:
        QueryError: it is none.
    """
    try:
        expression = Jsonata(text)
    except JException as exc:
        raise QueryError(_explained(exc)) from exc
    except (RecursionError, ValueError, TypeError, AttributeError, IndexError) as exc:
        raise QueryError("S0500: The expression cannot be understood") from exc
    expression.set_output_convert_nulls(False)
    expression.set_validate_input(False)
    return expression


def evaluate(text: str, bindings: Mapping[str, Json], seed: float, seconds: float) -> Json:
    """The value of the expression.

    Raises:
        QueryError: it cannot be evaluated, or not within bounds.
        QueryTimeout: not in time.
        UndefinedResult: it has no value.
    """
    expression = compiled(text)
    names: dict[str, Any] = {
        name: Utils.NULL_VALUE if value is None else value for name, value in bindings.items()
    }
    names |= _added(Random(seed))  # noqa: S311  # AWS's $random and $uuid, no secret
    names["__evaluate_entry"] = _watch(seconds)
    Jsonata.CURRENT.jsonata = expression  # or it would take the time of another
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(MAX_RECURSION)
    try:
        result = expression.evaluate(None, names)
    except JException as exc:
        kind = QueryTimeout if exc.get_error() == "D1012" else QueryError
        raise kind(_explained(exc)) from exc
    except (RecursionError, MemoryError) as exc:
        raise QueryError("D1011: Stack overflow or memory exhausted") from exc
    except (ZeroDivisionError, OverflowError) as exc:
        raise QueryError("D1001: Number out of range: null") from exc
    except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError) as exc:
        # The library stumbled over the values.
        raise QueryError("D3000: The expression cannot be evaluated for these values") from exc
    finally:
        sys.setrecursionlimit(limit)
    if result is None:
        raise UndefinedResult()
    return _plain(result, 0)


def _explained(exc: JException) -> str:
    """Code and text, as JSONata words them: values are shown as JSON.

    The library says "Object" where JSONata says "function", shows values bare, and has faults whose
    text stands where their code belongs.
    """
    code = _CODES.get(exc.get_error(), exc.get_error())
    template = JException.error_codes.get(code)
    if template is None or template == "{{{message}}}":
        return _text(f"{code}: {exc}")
    # Of what cannot be negated, the library tells the operator first.
    told = (exc.get_expected(),) if code == "D1002" else (exc.get_current(), exc.get_expected())
    last = _PLURALS.get(exc.extra, exc.extra) if code == "T0412" else exc.extra
    values = iter((*told, last))
    template = template.replace("Object", "function")
    text = _PLACE.sub(lambda place: _filled(place[0], next(values, None)), template)
    return _text(f"{code}: {text}")


def _filled(place: str, value: Any) -> str:
    """What stands in a place: JSON, or in three braces the bare value."""
    return str(value) if place.startswith("{{{") else _shown(value)


_PLURALS = {"a": "arrays", "b": "booleans", "f": "functions"}
_PLURALS |= {"n": "numbers", "o": "objects", "s": "strings"}
_CODES: Mapping[str, str] = {
    JException.error_codes[code].replace("Object", "function"): code for code in ("D3010", "D3011")
}
_PLACE = re.compile(r"\{?\{\{\w+\}\}\}?")


def _shown(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except orjson.JSONEncodeError:
        return str(value)


def _watch(seconds: float) -> Callable[..., None]:
    """What looks at the clock while an expression is evaluated."""
    end = time.monotonic() + seconds
    steps = 0

    def entered(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps % _STEPS_PER_LOOK == 0 and (time.monotonic() > end or steps > MAX_STEPS):
            raise JException("D1012", -1, int(seconds * 1000))

    return entered


def _plain(value: Any, depth: int) -> Json:
    """The value as JSON: numbers as JavaScript prints them."""
    if depth > MAX_RESULT_DEPTH:
        raise QueryError("D1011: The result is nested too deeply")
    if isinstance(value, dict):
        return {_text(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item, depth + 1) for item in value]
    if value is None or value is Utils.NULL_VALUE:
        return None
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    raise QueryError("D3000: The result is a function, which is no JSON")


def _text(value: str) -> str:
    """The text as UTF-8 has it: half a surrogate pair is a question mark there, as in Java."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _number(value: float) -> Json:
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise QueryError("D1001: Number out of range: null")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


# AWS's functions, and some of JSONata's that the library does not have right


class _Function(Jsonata.JFunction):  # type: ignore[misc]  # the library has no types
    """A function of ours, its arguments checked against JSONata's signature of it."""

    def __init__(self, name: str, signature: str, made: Callable[..., Any]) -> None:
        super().__init__(Jsonata.JLambda(made), None)
        self.signature = Signature(signature, name)


def _added(random: Random) -> dict[str, Any]:
    added: dict[str, Any] = {
        name: _Function(name, signature, made)
        for name, (signature, made) in {**_FUNCTIONS, **_drawn(random)}.items()
    }
    added["eval"] = None
    return added


def _refuse_arguments(self: Any, _arguments: Any, given: str, name: str | None) -> NoReturn:
    """Name the first argument that does not fit, as JSONata's ``throwValidationError`` does.

    The library's own looks whether the beginning of a signature fits all that was given, and so
    nearly always names the first.
    """
    pattern, fitting = "", 0
    for parameter in self._params:
        pattern += parameter.regex
        found = re.match(pattern, given)
        if found is None:
            break
        fitting = found.end()
    raise JException("T0410", -1, fitting + 1, name)


def _symbol(self: Any, value: Any) -> str:
    """The letter of an argument's type; the library takes null for an argument that is missing."""
    return "l" if value is Utils.NULL_VALUE else str(_LIBRARY_SYMBOL(self, value))


_LIBRARY_SYMBOL = Signature.get_symbol
Signature.get_symbol = _symbol
Signature.throw_validation_error = _refuse_arguments


def _drawn(random: Random) -> Mapping[str, tuple[str, Callable[..., Any]]]:
    return {
        "random": (
            "<n?:n>",
            lambda seed: (random if seed is None else Random(seed)).random(),  # noqa: S311
        ),
        "uuid": ("<:s>", lambda: str(uuid.UUID(int=random.getrandbits(128), version=4))),
    }


def _refused(function: str, argument: int) -> JException:
    return JException("T0410", -1, argument, function)


def _partition(items: Any, size: Any) -> Any:
    if items is None or size is None:
        return None
    if not isinstance(size, int) or size < 1:
        raise _refused("partition", 2)
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _range(*bounds: Any) -> Any:
    if None in bounds:
        return None
    for position, number in enumerate(bounds, start=1):
        if not isinstance(number, int) or (position == len(bounds) and number == 0):
            raise _refused("range", position)
    first, last, step = bounds
    items = range(first, last + (1 if step > 0 else -1), step)
    if len(items) > MAX_RANGE:
        raise JException("D2014", -1, len(items))
    return Utils.create_sequence_from_iter(items)


_ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256"}
_ALGORITHMS |= {"SHA-384": "sha384", "SHA-512": "sha512"}


def _hash(text: Any, algorithm: Any) -> str | None:
    if text is None or algorithm is None:
        return None
    if algorithm not in _ALGORITHMS:
        raise _refused("hash", 2)
    return hashlib.new(_ALGORITHMS[algorithm], text.encode(), usedforsecurity=False).hexdigest()


def _parse(text: Any) -> Any:
    if text is None:
        return None
    try:
        value = loads(text)
    except (NotJson, TypeError) as exc:
        raise QueryError("D3137: The argument of the function parse is not valid JSON") from exc
    return Utils.NULL_VALUE if value is None else value


def _to_number(given: Any) -> Any:
    # The library takes what Python takes for a number, "nan" and "1_000" too.
    if not isinstance(given, str):
        return Functions.number(given)
    if _PREFIXED.fullmatch(given):
        return int(given, 0)
    if not _DECIMAL.fullmatch(given) or not math.isfinite(float(given)):
        raise JException("D3030", -1, given)
    return float(given) if set(given) & set(".eE") else int(given)


def _to_millis(timestamp: Any, picture: Any) -> Any:
    if timestamp is not None and picture is None and not _ISO_8601.fullmatch(timestamp):
        raise JException("D3110", -1, timestamp)
    return Functions.datetime_to_millis(timestamp, picture)


#: JSONata's own patterns, of its functions.js and datetime.js
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([Ee][-+]?[0-9]+)?")
_PREFIXED = re.compile(r"0[xX][0-9A-Fa-f]+|0[oO][0-7]+|0[bB][01]+")
_ISO_8601 = re.compile(
    r"[0-9]{4}(-[01][0-9])*(-[0-3][0-9])*(T[0-2][0-9]:[0-5][0-9]:[0-5][0-9])*(\.[0-9]+)?"
    r"([+-][0-2][0-9]:?[0-5][0-9]|Z)?"
)

_FUNCTIONS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "partition": ("<an:a>", _partition),
    "range": ("<nnn:a>", _range),
    "hash": ("<ss:s>", _hash),
    "parse": ("<s:j>", _parse),
    "number": ("<(nsb)-:n>", _to_number),
    "toMillis": ("<s-s?:n>", _to_millis),
}


# What an expression is made of


def is_cheap(text: str) -> bool:
    """Whether no operation of the expression can outgrow its text and its data.

    Binding, and calling what the expression defines, can: they double what they got. So can regular
    expressions, ranges, and searches through everything. Paths, operators, constructors and the
    functions of `_CHEAP` cannot.
    """
    return all(_is_cheap(node) for node in nodes(compiled(text).ast))


def _is_cheap(node: Any) -> bool:
    if node.type == "function":
        return node.procedure.type == "variable" and node.procedure.value in _CHEAP
    if node.type == "binary" and node.value == "..":
        return False
    return node.type is None or node.type in _CHEAP_NODES


def nodes(root: Any) -> Iterator[Any]:
    """The nodes of an expression's tree, each once."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting.extend(parts(node))


def parts(node: Any) -> list[Any]:
    """The nodes right below a node, in the order in which they are written."""
    found: list[Any] = []
    waiting = [value for name, value in vars(node).items() if name != "_outer_instance"]
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, list | tuple):
            waiting[:0] = part
        elif isinstance(part, Parser.Symbol):
            found.append(part)
    return found


@lru_cache(maxsize=1)
def functions() -> frozenset[str]:
    """The names of JSONata's functions, and of AWS's."""
    return frozenset(Jsonata.static_frame.bindings) | frozenset(_added(Random(0)))  # noqa: S311


_CHEAP_NODES = frozenset(
    {"path", "name", "string", "number", "value", "variable", "binary", "unary", "condition"}
    | {"block", "filter", "index"}
)
_CHEAP = frozenset(
    {"abs", "append", "average", "base64decode", "base64encode", "boolean", "ceil", "contains"}
    | {"count", "exists", "floor", "hash", "join", "keys", "length", "lookup", "lowercase"}
    | {"max", "merge", "millis", "min", "not", "now", "number", "parse", "partition", "random"}
    | {"range", "reverse", "split", "string", "substring", "substringAfter", "substringBefore"}
    | {"sum", "trim", "type", "uppercase", "uuid"}
)
