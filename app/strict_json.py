"""JSON that can be stored and read back: strict parsing, compact writing.

What a lenient parser would let in comes back to bite later: a duplicated key (which one was
meant?), NaN, 1e999, a lone
surrogate, an integer that no writer accepts, or ten thousand brackets. All of it is refused here,
with a sentence.
"""

import json
import math
from typing import NoReturn

import orjson

from app.errors import SignoffError
from app.json_value import Json as Json

MAX_DEPTH = 200
_INT_LIMITS = (-(2**63), 2**64 - 1)  # what orjson writes


class NotJson(SignoffError):
    """The text is not JSON that can be stored."""


def loads(text: bytes | str) -> Json:
    """The value that *text* holds.

    Raises:
        NotJson: with a sentence that says why, never with a piece of the text.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = _DECODER.decode(decoded)
        _check_depth(decoded, value)
        orjson.dumps(value)  # refuses lone surrogates
    except NotJson:
        raise
    except UnicodeDecodeError as exc:
        raise NotJson("The text is not UTF-8.") from exc
    except (RecursionError, orjson.JSONEncodeError) as exc:
        raise NotJson(
            "The JSON is nested too deeply or holds characters that cannot be stored."
        ) from exc
    except ValueError as exc:
        raise NotJson("The text is not JSON.") from exc
    return value


def dumps(value: Json) -> bytes:
    """*value* as compact UTF-8 JSON."""
    return orjson.dumps(value)


def canonical(value: Json) -> bytes:
    """*value* as compact JSON with sorted keys: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotJson("The JSON repeats a key in one object.")
    return value


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NotJson("The JSON holds a number that is too large.")
    return value


def _int(text: str) -> int:
    # Longer texts cannot be within the limits, and int() of a very long one is slow.
    value = int(text) if len(text) <= 20 else _INT_LIMITS[1] + 1
    if not _INT_LIMITS[0] <= value <= _INT_LIMITS[1]:
        raise NotJson("The JSON holds a number that is too large.")
    return value


def _constant(_name: str) -> NoReturn:
    raise NotJson("NaN and Infinity are not JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant
)


def _check_depth(text: str, value: Json) -> None:
    # Only a text with that many brackets can be that deep; the walk is for those few.
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise NotJson("The JSON is nested too deeply.")


def _depth(value: Json) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [child for node in level for child in _children(node)]
    return depth


def _children(node: Json) -> list[Json]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
