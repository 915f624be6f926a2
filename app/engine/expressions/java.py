"""Values as Java shows them: AWS's texts and intrinsic functions come from there."""

import re
from collections.abc import Mapping
from decimal import Decimal

import orjson

from app.strict_json import Json

#: where orjson's numbers may differ from Java's: exponents, 10,000,000 and more, less than 0.001
_UNLIKE = re.compile(rb"\de[+-]?\d|\d{8}\.|0\.000")


def shown(value: Json) -> str:
    """What ``toString`` gives: texts bare, objects as ``{a=1}``."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return json_text(value)


def json_text(value: Json) -> str:
    """JSON text, its numbers as Java writes them."""
    text = orjson.dumps(value)
    return _written(value) if _UNLIKE.search(text) else text.decode()


def _written(value: Json) -> str:
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_written(name)}:{_written(value[name])}" for name in value) + "}"
    return orjson.dumps(value).decode()


def _double(value: float) -> str:
    """``Double.toString``: ``1.0E7`` from ten million on, ``1.0E-4`` below a thousandth."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    first, *rest = map(str, digits)
    power = int(exponent) + len(rest)
    return f"{'-' * sign}{first}.{''.join(rest) or '0'}E{power}"


def type_name(value: Json) -> str:
    """The class of a value that is no object."""
    return "null" if value is None else _CLASSES.get(type(value), "java.lang.Object")


_CLASSES: Mapping[type, str] = {
    str: "java.lang.String",
    bool: "java.lang.Boolean",
    int: "java.lang.Integer",
    float: "java.lang.Double",
    list: "net.minidev.json.JSONArray",
}
