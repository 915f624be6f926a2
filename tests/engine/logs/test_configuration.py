"""``loggingConfiguration``: what is taken, what is refused, and which events a level admits."""

import pytest

from app.engine.logs.configuration import Level, Logging, LogGroup, logging_of, normalized
from app.errors import InvalidLoggingConfiguration
from app.strict_json import Json

ARN = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vendedlogs/states/runs:*"


def destination(arn: str) -> Json:
    """A destination that names a log group."""
    return {"cloudWatchLogsLogGroup": {"logGroupArn": arn}}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, {"level": "OFF", "includeExecutionData": False}),
        ({"level": "OFF"}, {"level": "OFF", "includeExecutionData": False}),
        (
            {"level": "OFF", "includeExecutionData": True, "destinations": [destination(ARN)]},
            {"level": "OFF", "includeExecutionData": True, "destinations": [destination(ARN)]},
        ),
        (
            {"level": "ALL", "destinations": [destination(ARN)]},
            {"level": "ALL", "includeExecutionData": False, "destinations": [destination(ARN)]},
        ),
    ],
)
def test_a_configuration_is_shown_with_its_defaults(given: Json, shown: Json) -> None:
    """As DescribeStateMachine shows it on AWS."""
    assert normalized(given) == shown


@pytest.mark.parametrize(
    ("destinations", "reason"),
    [
        (None, "Must specify exactly one Log Destination."),
        ([], "Must specify exactly one Log Destination."),
        ([destination(ARN), destination(ARN)], "Must specify exactly one Log Destination."),
        ([{}], "Log Destination not found."),
        ([{"cloudWatchLogsLogGroup": {}}], "Log Destination not found."),
        ([destination(ARN.removesuffix(":*"))], "Log Destination not found."),
        ([destination("arn:aws:s3:::bucket:*")], "Log Destination not found."),
    ],
)
@pytest.mark.parametrize("level", ["ALL", "ERROR", "FATAL"])
def test_a_level_needs_one_destination(level: str, destinations: Json, reason: str) -> None:
    """In AWS's words."""
    with pytest.raises(InvalidLoggingConfiguration) as refused:
        normalized({"level": level, "destinations": destinations})

    assert refused.value.message == f"Invalid Logging Configuration: {reason}"


def test_the_group_is_read_from_its_arn() -> None:
    """Name and region."""
    given = {"level": "ERROR", "destinations": [destination(ARN)], "includeExecutionData": True}

    group = LogGroup("us-east-1", "/aws/vendedlogs/states/runs")
    assert logging_of({"loggingConfiguration": given}) == Logging(group, Level.ERROR, True)
    assert logging_of({"loggingConfiguration": given | {"level": "OFF"}}) is None
    assert logging_of({}) is None


@pytest.mark.parametrize(
    ("kind", "levels"),
    [
        ("ExecutionStarted", {"ALL"}),
        ("PassStateEntered", {"ALL"}),
        ("TaskSucceeded", {"ALL"}),
        ("FailStateEntered", {"ALL", "ERROR"}),
        ("TaskFailed", {"ALL", "ERROR"}),
        ("LambdaFunctionScheduleFailed", {"ALL", "ERROR"}),
        ("TaskTimedOut", {"ALL", "ERROR"}),
        ("MapIterationAborted", {"ALL", "ERROR"}),
        ("ExecutionFailed", {"ALL", "ERROR", "FATAL"}),
        ("ExecutionTimedOut", {"ALL", "ERROR", "FATAL"}),
        ("ExecutionAborted", {"ALL", "ERROR", "FATAL"}),
        ("ExecutionSucceeded", {"ALL"}),
    ],
)
def test_levels_admit_what_the_documentation_lists(kind: str, levels: set[str]) -> None:
    """The table "log levels for Step Functions execution events"."""
    assert {level.value for level in Level if level.admits(kind)} == levels
