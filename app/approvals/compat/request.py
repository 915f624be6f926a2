"""The body of ``POST /urls`` (sfn-callback-urls 1.1.0) -> a call that keeps every rule.

What is not asked about the shape is asked in the original's order, action by action, by
`callbacks.py`: duplicate names, switches, schemas, paths. The first fault is the answer.

Other than the original's, bodies are refused that could only fail later: an empty or over-long
token, an output, error or cause that Step Functions does not take, a redirect that is no web
address, an expiration whose time zone nobody knows.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import urlsplit

from app.approvals.model import Callback
from app.approvals.request import MAX_CAUSE, MAX_ERROR, MAX_OUTPUT_BYTES, MAX_TASK_TOKEN
from app.errors import CallbackRefused
from app.strict_json import Json

MAX_ACTIONS = 100
MAX_OUTCOMES = 50
MAX_NAME = 100
MAX_EXPIRATION = 100
MAX_REDIRECT = 4_096
#: seconds for the schemas and paths of one post action, when it comes and when it is used
CHECK_S = 1.0

_NAME = re.compile(r"\w+")
#: what a URL is made of (RFC 3986), and nothing that breaks a header or that browsers repair
_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_CALL = frozenset({"token", "actions", "expiration", "enable_output_parameters", "base_url"})
_RESPONSE = ("json", "html", "text", "redirect")
_TYPES = ("success", "failure", "heartbeat")


@dataclass(frozen=True, slots=True)
class CallbackAction:
    """One action of a call."""

    name: str
    callback: Callback


@dataclass(frozen=True, slots=True)
class CallbackCall:
    """A call whose shape is right."""

    token: str
    actions: tuple[CallbackAction, ...]
    expiration: str | None
    takes_parameters: bool
    base_url: str | None  #: where the caller wants its URLs to begin


def read_call(body: Json) -> CallbackCall:
    """The call that *body* is.

    Raises:
        CallbackRefused: InvalidJSON, with the place of the first fault.
    """
    call = _object(body, "the body")
    unknown = sorted(call.keys() - _CALL)
    if unknown:
        raise _invalid("the body", f"has fields that do not exist (known: {_names(_CALL)})")
    takes_parameters = call.get("enable_output_parameters", False)
    if not isinstance(takes_parameters, bool):
        raise _invalid("enable_output_parameters", "is neither true nor false")
    return CallbackCall(
        token=_token(call),
        actions=tuple(
            _action(item, f"actions[{index}]", takes_parameters)
            for index, item in enumerate(_array(call, "actions", "actions", MAX_ACTIONS))
        ),
        expiration=_text(call, "expiration", "", MAX_EXPIRATION),
        takes_parameters=takes_parameters,
        base_url=_base_url(call),
    )


def read_expiration(text: str, now: datetime) -> tuple[datetime, str]:
    """When the links of a call end, in UTC, and the same as the answer says it.

    Whatever looks like a date is one, as with the original; without a zone it is UTC.

    Raises:
        CallbackRefused: InvalidDate.
    """
    # Loaded by calls that have a date: a tenth of a cold start otherwise.
    from dateutil import parser  # noqa: PLC0415

    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    try:
        date = parser.parse(text, default=midnight, tzinfos=_zone)
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, AttributeError) as exc:
        sentence = "Expiration is not a date that can be understood, such as 2030-01-31T12:00:00Z"
        raise CallbackRefused("InvalidDate", sentence) from exc
    if moment <= now:
        raise CallbackRefused("InvalidDate", "Expiration is in the past")
    return moment, date.isoformat()


def redirect_fault(address: str) -> str | None:
    """Why nobody is sent to *address*; None if it is a plain web address."""
    if len(address) > MAX_REDIRECT or not _URL.fullmatch(address):
        return "is not a web address (characters outside of RFC 3986 are written as %XX)"
    try:
        parts = urlsplit(address)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return "is not a web address"
    has_slashes = address.lower().startswith(f"{parts.scheme}://")
    if parts.scheme not in ("http", "https") or not has_slashes:
        return "does not begin with http:// or https://"
    if not parts.hostname or not has_port or parts.username is not None:
        return "names no host, or more than a host"
    return None


def output_text(output: Json) -> str:
    """*output* as the workflow gets it: the text that the original sends."""
    return json.dumps(output)


def output_fault(text: str) -> str | None:
    """Why Step Functions does not take this output; None if it does."""
    if len(text) > MAX_OUTPUT_BYTES:  # ASCII, so characters are bytes
        return f"takes more than {MAX_OUTPUT_BYTES:,} bytes as JSON"
    return None


def failure_fault(error: str | None, cause: str | None) -> str | None:
    """Why Step Functions does not take this failure; None if it does."""
    if error is not None and len(error) > MAX_ERROR:
        return f"error has more than {MAX_ERROR:,} characters"
    if cause is not None and len(cause) > MAX_CAUSE:
        return f"cause has more than {MAX_CAUSE:,} characters"
    return None


def _action(item: Json, where: str, takes_parameters: bool) -> CallbackAction:
    action = _object(item, where)
    name = _name(action, where)
    kind = _type(action, where, (*_TYPES, "post"))
    content: dict[str, Json] = {}
    if kind == "success":
        if "output" not in action:
            raise _invalid(where, "has no output")
        content["output"] = _output(action, where)
    elif kind == "failure":
        content |= _failure(action, where)
    elif kind == "post":
        outcomes = _array(action, "outcomes", f"{where}.outcomes", MAX_OUTCOMES)
        content["outcomes"] = [
            _outcome(outcome, f"{where}.outcomes[{index}]")
            for index, outcome in enumerate(outcomes)
        ]
    content |= _response(action, where)
    return CallbackAction(name, Callback(kind, content, takes_parameters and kind != "post"))


def _outcome(item: Json, where: str) -> Json:
    outcome = _object(item, where)
    content: dict[str, Json] = {
        "name": _name(outcome, where),
        "type": _type(outcome, where, _TYPES),
        "schema": _object(outcome.get("schema"), f"{where}.schema"),
    }
    if content["type"] == "success":
        content |= _outcome_output(outcome, where)
    elif content["type"] == "failure":
        for name in ("error", "cause"):
            if name in outcome and f"{name}_path" in outcome:
                raise _invalid(where, f"has both {name} and {name}_path")
            content |= _given(f"{name}_path", _text(outcome, f"{name}_path", where))
        content |= _failure(outcome, where)
    return content | _response(outcome, where)


def _outcome_output(outcome: dict[str, Json], where: str) -> dict[str, Json]:
    given = [name for name in ("output", "output_path", "output_body") if name in outcome]
    if len(given) != 1:
        raise _invalid(where, "needs exactly one of output, output_path, output_body")
    if given == ["output"]:
        return {"output": _output(outcome, where)}
    if given == ["output_path"]:
        return {"output_path": _text(outcome, "output_path", where)}
    if outcome["output_body"] is not True:
        raise _invalid(f"{where}.output_body", "is not true")
    return {"output_body": True}


def _output(action: dict[str, Json], where: str) -> Json:
    fault = output_fault(output_text(action["output"]))
    if fault is not None:
        raise _invalid(f"{where}.output", fault)
    return action["output"]


def _failure(action: dict[str, Json], where: str) -> dict[str, Json]:
    error, cause = _text(action, "error", where), _text(action, "cause", where)
    fault = failure_fault(error, cause)
    if fault is not None:
        raise _invalid(where, fault)
    return _given("error", error) | _given("cause", cause)


def _response(action: dict[str, Json], where: str) -> dict[str, Json]:
    if "response" not in action:
        return {}
    where = f"{where}.response"
    response = _object(action["response"], where)
    content = {name: response[name] for name in _RESPONSE if name in response}
    if "json" in content:
        _object(content["json"], f"{where}.json")
    for name in ("html", "text", "redirect"):
        _text(content, name, where)
    fault = redirect_fault(content["redirect"]) if "redirect" in content else None
    if fault is not None:
        raise _invalid(f"{where}.redirect", fault)
    return {"response": content}


def _token(call: dict[str, Json]) -> str:
    token = _text(call, "token", "", MAX_TASK_TOKEN)
    if not token:
        raise _invalid("token", "is missing or empty")
    return token


def _base_url(call: dict[str, Json]) -> str | None:
    value = call.get("base_url")
    if "base_url" not in call or isinstance(value, str):
        return value
    parts = _object(value, "base_url")
    texts = {name: _text(parts, name, "base_url", 100) for name in ("api_id", "stage", "region")}
    if parts.keys() - texts.keys() or not (texts["api_id"] and texts["stage"]):
        raise _invalid("base_url", "needs api_id and stage, and may have region")
    region = texts["region"] or "us-east-1"
    return f"https://{texts['api_id']}.execute-api.{region}.amazonaws.com/{texts['stage']}"


def _name(fields: dict[str, Json], where: str) -> str:
    name = _text(fields, "name", where, MAX_NAME)
    if name is None or not _NAME.fullmatch(name):
        raise _invalid(f"{where}.name", "is missing, or not made of letters, digits and _ alone")
    return name


def _type(fields: dict[str, Json], where: str, known: tuple[str, ...]) -> str:
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in known:
        raise _invalid(f"{where}.type", f"is none of {_names(known)}")
    return kind


def _text(fields: dict[str, Json], name: str, where: str, limit: int | None = None) -> str | None:
    if name not in fields:
        return None
    value, place = fields[name], f"{where}.{name}" if where else name
    if not isinstance(value, str):
        raise _invalid(place, "is not a string")
    if limit is not None and len(value) > limit:
        raise _invalid(place, f"has more than {limit:,} characters")
    return value


def _object(value: Json, where: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _invalid(where, "is not an object")
    return value


def _array(fields: dict[str, Json], name: str, where: str, limit: int) -> list[Json]:
    value = fields.get(name)
    if not isinstance(value, list) or not 1 <= len(value) <= limit:
        raise _invalid(where, f"is not an array of 1 to {limit} entries")
    return value


def _given(name: str, value: str | None) -> dict[str, Json]:
    return {} if value is None else {name: value}


def _names(names: Any) -> str:
    return ", ".join(sorted(names))


def _invalid(where: str, why: str) -> CallbackRefused:
    return CallbackRefused("InvalidJSON", f"{where} {why}.")


def _zone(name: str | None, offset_s: int | None) -> tzinfo | None:
    if offset_s is not None:
        return timezone(timedelta(seconds=offset_s))
    if name is not None:
        # EST and its like mean different hours in different places; guessing ends links early.
        raise ValueError("an unknown time zone")
    return None
