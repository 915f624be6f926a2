"""A history event as AWS writes it to a log: one JSON object, numbers as text. Pure.

Source: AWS Step Functions, "Logging to CloudWatch Logs", the structure of a log.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from app.engine.steps.execution import Event
from app.strict_json import Json

MAX_LINE_BYTES = 256 * 1024 - 26  #: CloudWatch Logs counts 26 bytes for each line's frame
#: what an execution works with; error and cause say what went wrong and are always shown
_DATA = ("input", "output", "parameters", "assignedVariables")
_MARKED = ("input", "output", "assignedVariables")  #: AWS says whether these are whole


@dataclass(frozen=True, slots=True)
class Line:
    """A line and its moment."""

    at_ms: int
    text: str

    @property
    def size(self) -> int:
        """Bytes, as CloudWatch Logs counts them."""
        return len(self.text.encode()) + 26


def line(event: Event, execution_arn: str, redrives: int, *, include_data: bool) -> Line:
    """The event as a line; data that is too long for one is cut short."""
    event_id, previous, at_ms, kind, details = event
    body: dict[str, Json] = {
        "id": str(event_id),
        "type": kind,
        "details": _details(details or {}, include_data=include_data),
        "previous_event_id": str(previous),
        "event_timestamp": str(at_ms),
        "execution_arn": execution_arn,
        "redrive_count": str(redrives),
    }
    text = orjson.dumps(body)
    room = MAX_LINE_BYTES
    while len(text) > MAX_LINE_BYTES:
        room //= 2
        body["details"] = _cut(body["details"], room)
        text = orjson.dumps(body)
    return Line(at_ms, text.decode())


def lines(
    events: list[Event], execution_arn: str, redrives: int, *, include_data: bool
) -> list[Line]:
    """Events in their order as lines; *redrives* is the count when the last of them came."""
    counted = redrives - sum(kind == "ExecutionRedriven" for _, _, _, kind, _ in events)
    found = []
    for event in events:
        counted += event[3] == "ExecutionRedriven"
        found.append(line(event, execution_arn, counted, include_data=include_data))
    return found


def _details(details: Mapping[str, Json], *, include_data: bool) -> dict[str, Json]:
    if not include_data:
        return {name: value for name, value in details.items() if name not in _DATA}
    marks = {f"{name}Details": {"truncated": False} for name in _MARKED if name in details}
    return {**details, **marks}


def _cut(details: Mapping[str, Json], room: int) -> dict[str, Json]:
    """Each member in at most *room* characters, and marks where that cut one short."""
    shown = dict(details)
    for name, value in details.items():
        if isinstance(value, str):
            shown[name] = value[:room]
        elif isinstance(value, dict) and not name.endswith("Details"):
            shown[name] = _fitting(value, room)
        if name in _MARKED and shown[name] != value:
            shown[f"{name}Details"] = {"truncated": True}
    return shown


def _fitting(members: Mapping[str, Json], room: int) -> dict[str, Json]:
    """The first members that have room: a variable is shown whole, or not at all."""
    shown: dict[str, Json] = {}
    for name, value in members.items():
        room -= len(name) + len(str(value))
        if room < 0:
            break
        shown[name] = value
    return shown
