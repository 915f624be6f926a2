"""A state machine's ``loggingConfiguration``: what it may be, and what it admits. Pure.

Source: AWS Step Functions, "Logging to CloudWatch Logs", levels of event types.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.errors import InvalidLoggingConfiguration
from app.strict_json import Json

_GROUP = re.compile(r"^arn:aws[\w-]*:logs:([\w-]+):(\d{12}):log-group:([\w./#-]{1,512}):\*$")
_ENDED_BADLY = frozenset({"ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut"})
_WRONG = ("Aborted", "Failed", "TimedOut")


class Level(StrEnum):
    """Which events are logged, in AWS's words."""

    ALL = "ALL"
    ERROR = "ERROR"  #: what failed, was aborted or timed out, and Fail states
    FATAL = "FATAL"  #: executions that ended without success
    OFF = "OFF"

    def admits(self, kind: str) -> bool:
        """Whether events of type *kind* are logged."""
        if self is Level.ERROR:
            return kind.endswith(_WRONG) or kind == "FailStateEntered"
        return self is Level.ALL or (self is Level.FATAL and kind in _ENDED_BADLY)


@dataclass(frozen=True, slots=True)
class LogGroup:
    """Where lines go."""

    region: str
    name: str


@dataclass(frozen=True, slots=True)
class Logging:
    """What a machine wants to have logged."""

    group: LogGroup
    level: Level
    include_data: bool


def normalized(given: Json) -> dict[str, Json]:
    """A configuration as DescribeStateMachine shows it.

    Raises:
        InvalidLoggingConfiguration: there is a level, but no destination for it; or several.
    """
    level = given.get("level") or Level.OFF.value
    destinations = given.get("destinations") or []
    if len(destinations) > 1 or (level != Level.OFF and not destinations):
        raise _invalid("Must specify exactly one Log Destination.")
    if level != Level.OFF and log_group(destinations[0]) is None:
        raise _invalid("Log Destination not found.")
    shown = {"level": level, "includeExecutionData": bool(given.get("includeExecutionData"))}
    return shown | ({"destinations": destinations} if destinations else {})


def not_found() -> InvalidLoggingConfiguration:
    """The refusal of a log group that is not there."""
    return _invalid("Log Destination not found.")


def logging_of(settings: Mapping[str, Json]) -> Logging | None:
    """What the stored settings of a machine ask for; None: nothing."""
    given = settings.get("loggingConfiguration") or {}
    level = Level(given.get("level", "OFF"))
    destinations = given.get("destinations") or [{}]
    group = log_group(destinations[0])
    if level is Level.OFF or group is None:
        return None
    return Logging(group, level, bool(given.get("includeExecutionData")))


def log_group(destination: Mapping[str, Json]) -> LogGroup | None:
    """The log group that a destination names by its ARN, which ends with ``:*``."""
    arn = (destination.get("cloudWatchLogsLogGroup") or {}).get("logGroupArn")
    match = _GROUP.match(arn or "")
    return LogGroup(match[1], match[3]) if match else None


def _invalid(reason: str) -> InvalidLoggingConfiguration:
    return InvalidLoggingConfiguration(f"Invalid Logging Configuration: {reason}")
