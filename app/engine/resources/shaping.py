"""JSON as states have it, and the Python values that boto3 takes and gives, told by the model.

What a state gives is coerced as AWS's deserialiser does: an object where a text is wanted becomes
its JSON (a message's body), and whatever comes where bytes are wanted. What a service answers is
named as the SDK names it that the integration is written with.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from app.clock import to_ms
from app.engine.payload import MAX_BYTES
from app.engine.resources.naming import second_sdk_member
from app.strict_json import Json

Rename = Callable[[str], str]

TEXT = "text/plain; charset=UTF-8"


class Unsupported(Exception):
    """A field that the service does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


# Into boto3


def arguments(given: Json, shape: Any) -> dict[str, Any]:
    """The parameters of an operation with this input.

    Raises:
        Unsupported: the service has no such parameter.
    """
    if shape is None:
        return {}
    made = _structure(given if isinstance(given, dict) else {}, shape)
    body = shape.serialization.get("payload")
    if body in made and "ContentType" in shape.members and shape.members[body].type_name == "blob":
        made.setdefault("ContentType", TEXT)  # the SDK's, for a body that is a text
    return made


def _structure(given: Mapping[str, Json], shape: Any) -> dict[str, Any]:
    members = {_folded(name): name for name in shape.members}
    made: dict[str, Any] = {}
    for name, value in given.items():
        member = name if name in shape.members else members.get(_folded(name))
        if member is None:
            raise Unsupported(name)
        if value is not None:  # as if it were not there
            made[member] = _argument(value, shape.members[member])
    return made


def _folded(name: str) -> str:
    # Both SDKs' spellings are taken; DynamoDB's NULL is Nul in the second.
    folded = name.lower()
    return "null" if folded == "nul" else folded


def _argument(value: Json, shape: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False) or not isinstance(value, dict):
            return value
        return _structure(value, shape)
    if kind == "list" and isinstance(value, list):
        return [_argument(item, shape.member) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _argument(item, shape.value) for key, item in value.items()}
    return _SCALARS.get(kind, _same)(value)


def text_of(value: Json) -> str:
    """A text as it is, anything else as its JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _whole(value: Json) -> Json:
    if isinstance(value, str) and value.lstrip("-").isdigit() and value.isascii():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fraction(value: Json) -> Json:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _truth(value: Json) -> Json:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _same(value: Json) -> Json:
    return value


_SCALARS: Mapping[str, Callable[[Json], Any]] = {
    "string": text_of,
    "character": text_of,
    # A text too: AWS uploads "text data" with its quotes.
    "blob": orjson.dumps,
    "integer": _whole,
    "long": _whole,
    "float": _fraction,
    "double": _fraction,
    "boolean": _truth,
}


def missing(given: Mapping[str, Any], shape: Any) -> Iterator[str]:
    """The members that the service requires and *given* lacks."""
    if shape is not None:
        yield from (name for name in shape.required_members if name not in given)


# Out of boto3


def answer(given: Mapping[str, Any], shape: Any, rename: Rename) -> dict[str, Json]:
    """An operation's answer as JSON, without the metadata that boto3 adds."""
    if shape is None:
        return {}
    return _members(given, shape, rename)


def _members(given: Mapping[str, Any], shape: Any, rename: Rename) -> dict[str, Json]:
    return {
        rename(name): _answer(given[name], member, rename)
        for name, member in shape.members.items()
        if given.get(name) is not None
    }


def _answer(value: Any, shape: Any, rename: Rename) -> Json:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        if getattr(shape, "is_document_type", False):
            return value
        return _members(value, shape, rename)
    if kind == "list":
        return [_answer(item, shape.member, rename) for item in value]
    if kind == "map":
        return {str(key): _answer(item, shape.value, rename) for key, item in value.items()}
    if kind == "timestamp" and isinstance(value, datetime):
        # The second SDK's moments write themselves as text, the first one's as a number.
        return _instant(value) if rename is second_sdk_member else to_ms(value)
    if kind == "blob" or hasattr(value, "read"):
        return _text(value)
    return value


def _instant(moment: datetime) -> str:
    """As Java writes one: no fraction where there is none."""
    utc = moment.astimezone(UTC)
    spec = "milliseconds" if utc.microsecond % 1000 == 0 else "microseconds"
    shown = utc.isoformat(timespec=spec if utc.microsecond else "seconds")
    return shown.replace("+00:00", "Z")


def _text(value: Any) -> str:
    # A body is read as far as a result may go: more is refused anyway.
    content: bytes = value.read(MAX_BYTES + 1) if hasattr(value, "read") else bytes(value)
    return content.decode("utf-8", "replace")
