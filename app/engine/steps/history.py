"""History events: their limit, and the shape in which AWS shows them.

An event is kept as a short tuple (see `execution.Event`) and takes its wire shape when it is read.
"""

from collections.abc import Mapping

from app.engine.language.resource import Family, Resource
from app.engine.steps.execution import Event
from app.strict_json import Json

MAX_EVENTS = 25_000  #: the last event an execution may have
Details = dict[str, Json]
TERMINAL = frozenset(
    {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}
)


def wire(event: Event, *, include_data: bool = True) -> dict[str, Json]:
    """The event as GetExecutionHistory answers it."""
    event_id, previous, at_ms, kind, details = event
    shown: dict[str, Json] = {
        "timestamp": at_ms / 1000,
        "type": kind,
        "id": event_id,
        "previousEventId": previous,
    }
    if details is not None:
        shown[_member(kind)] = _details(details, include_data=include_data)
    return shown


def _member(kind: str) -> str:
    """``taskScheduledEventDetails``; all states share two members."""
    if kind.endswith("StateEntered"):
        return "stateEnteredEventDetails"
    if kind.endswith("StateExited"):
        return "stateExitedEventDetails"
    return f"{kind[0].lower()}{kind[1:]}EventDetails"


def _details(details: Mapping[str, Json], *, include_data: bool) -> dict[str, Json]:
    shown = dict(details)
    for name in ("input", "output", "assignedVariables"):
        if name in shown:
            shown[name + "Details"] = {"truncated": False}
            if not include_data:
                del shown[name]
    return shown


def named(resource: Resource) -> Details:
    """The members that name a task's resource in its events; a function's events have none."""
    if resource.family is Family.SERVICE:
        return {"resourceType": resource.service, "resource": resource.shown}
    return {}


def failed(error: str | None, cause: str | None) -> Details:
    """Error and cause, where there are any."""
    details: Details = {}
    if error is not None:
        details["error"] = error
    if cause is not None:
        details["cause"] = cause
    return details
