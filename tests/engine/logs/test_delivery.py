"""Histories in moto's CloudWatch Logs, over HTTP."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from app.clock import utc_now
from app.engine.logs import cloudwatch, delivery
from app.engine.logs.cloudwatch import PROBE, requests_of
from app.engine.logs.lines import Line
from app.errors import InvalidLoggingConfiguration
from app.strict_json import Json
from tests.engine.driving import ROLE, Driver, only, parked
from tests.engine.logs.test_configuration import destination

GROUP = "/aws/vendedlogs/states/runs"
ARN = f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}:*"
ALL = {"level": "ALL", "includeExecutionData": True, "destinations": [destination(ARN)]}
FAIL = only({"Type": "Fail", "Error": "Broken", "Cause": "why"})
PASS = only({"Type": "Pass", "End": True})


@pytest.fixture
def logs(moto: str, credentials: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of it; the log group is there, and the engine writes only when it is told."""
    credentials.setenv("AWS_ENDPOINT_URL_LOGS", moto)
    credentials.setattr(delivery, "GATHER_S", 3_600)
    logs = boto3.client("logs", region_name="us-east-1", endpoint_url=moto)
    logs.create_log_group(logGroupName=GROUP)
    yield logs
    if logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]:
        logs.delete_log_group(logGroupName=GROUP)
    logs.close()


@pytest.fixture
async def driver(tmp_path: Path, logs: Any) -> AsyncIterator[Driver]:
    """An engine at the present: logs take nothing that is old."""
    driver = Driver(tmp_path)
    driver.clock.now = utc_now()
    await driver.start()
    yield driver
    await driver.stop()


async def machine(driver: Driver, definition: Json, **members: Json) -> str:
    """A machine that logs; its ARN."""
    made = await driver.call(
        "CreateStateMachine",
        **{"name": "machine", "roleArn": ROLE, "loggingConfiguration": ALL} | members,
        definition=json.dumps(definition),
    )
    return str(made["stateMachineArn"])


async def run(driver: Driver, arn: str) -> str:
    """An execution that went as far as it can; its ARN."""
    started = await driver.call("StartExecution", stateMachineArn=arn)
    await driver.engine.idle()
    return str(started["executionArn"])


def streams(logs: Any) -> list[str]:
    """The names of the streams that have lines."""
    found = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    return [stream["logStreamName"] for stream in found if stream["logStreamName"] != PROBE]


def written(logs: Any) -> list[dict[str, Any]]:
    """All lines, by their stream and time."""
    pages = [
        logs.get_log_events(logGroupName=GROUP, logStreamName=name, startFromHead=True)
        for name in streams(logs)
    ]
    return [json.loads(event["message"]) for page in pages for event in page["events"]]


def ids(logs: Any) -> list[str]:
    """Event ids and types of all lines, in short."""
    return [f"{line['id']} {line['type']}" for line in written(logs)]


async def test_the_whole_history_is_written(driver: Driver, logs: Any) -> None:
    """Each event is a line, in a stream that is named as AWS names it."""
    arn = await run(driver, await machine(driver, PASS))

    await driver.engine.logs.deliver_due()

    history = await driver.events(arn)
    lines = written(logs)
    assert [line["id"] for line in lines] == [str(event["id"]) for event in history]
    assert {line["execution_arn"] for line in lines} == {arn}
    assert lines[0]["details"] == {
        "input": "{}",
        "roleArn": ROLE,
        "inputDetails": {"truncated": False},
    }
    (stream,) = streams(logs)
    assert re.fullmatch(r"states/machine/\d{4}(-\d\d){4}/[0-9a-f]{8}", stream)
    assert PROBE in [
        s["logStreamName"] for s in logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    ]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("ERROR", ["2 FailStateEntered", "3 ExecutionFailed"]),
        ("FATAL", ["3 ExecutionFailed"]),
    ],
)
async def test_a_level_leaves_out_the_rest(
    driver: Driver, logs: Any, level: str, shown: list[str]
) -> None:
    """Of a failure only what the level admits; of a success nothing."""
    wanted = ALL | {"level": level, "includeExecutionData": False}
    await run(driver, await machine(driver, FAIL, loggingConfiguration=wanted))
    await run(driver, await machine(driver, PASS, name="good", loggingConfiguration=wanted))

    await driver.engine.logs.deliver_due()

    assert ids(logs) == shown
    assert written(logs)[-1]["details"] == {"error": "Broken", "cause": "why"}


async def test_what_goes_on_is_written_as_it_goes(driver: Driver, logs: Any) -> None:
    """Lines are written once each, over a restart too; then nothing is owed."""
    await run(driver, await machine(driver, only(parked())))
    await driver.engine.logs.deliver_due()
    before = ids(logs)
    await driver.succeed({"done": True})
    await driver.restart()

    await driver.engine.logs.deliver_due()
    after = await driver.engine.logs.deliver_due()

    assert before == [
        "1 ExecutionStarted",
        "2 TaskStateEntered",
        "3 TaskScheduled",
        "4 TaskStarted",
        "5 TaskSubmitted",
    ]
    assert sorted(ids(logs)) == sorted(
        [*before, "6 TaskSucceeded", "7 TaskStateExited", "8 ExecutionSucceeded"]
    )
    assert after == 0


async def test_a_redrive_goes_on_where_the_log_ended(driver: Driver, logs: Any) -> None:
    """Lines of the second attempt carry its count."""
    arn = await run(driver, await machine(driver, FAIL))
    await driver.engine.logs.deliver_due()
    await driver.call("RedriveExecution", executionArn=arn)

    await driver.engine.logs.deliver_due()

    counts = [(line["id"], line["redrive_count"]) for line in written(logs)]
    assert counts == [(str(n), "0" if n <= 3 else "1") for n in range(1, len(counts) + 1)]


async def test_a_deleted_group_holds_up_nothing(driver: Driver, logs: Any) -> None:
    """Executions run on; lines wait, and are written when the group is there again."""
    arn = await machine(driver, PASS)
    logs.delete_log_group(logGroupName=GROUP)
    execution = await run(driver, arn)
    await driver.engine.logs.deliver_due()
    logs.create_log_group(logGroupName=GROUP)
    await driver.pass_time(2)

    await driver.engine.logs.deliver_due()

    assert await driver.status(execution) == "SUCCEEDED"
    assert len(ids(logs)) == 4


async def test_what_stays_refused_is_given_up(driver: Driver, logs: Any) -> None:
    """After three days nothing is owed any more."""
    arn = await machine(driver, PASS)
    logs.delete_log_group(logGroupName=GROUP)
    await run(driver, arn)
    await driver.pass_time(3 * 86_400)

    tried = [await driver.engine.logs.deliver_due() for _ in range(2)]

    assert tried == [1, 0]


async def test_express_executions_are_logged_too(driver: Driver, logs: Any) -> None:
    """Their only history is there."""
    arn = await machine(driver, PASS, type="EXPRESS")
    answer = await driver.call("StartSyncExecution", stateMachineArn=arn)

    await driver.engine.logs.deliver_due()

    assert ids(logs) == [
        "1 ExecutionStarted",
        "2 PassStateEntered",
        "3 PassStateExited",
        "4 ExecutionSucceeded",
    ]
    assert {line["execution_arn"] for line in written(logs)} == {answer["executionArn"]}


async def test_logging_is_shown_changed_and_turned_off(driver: Driver, logs: Any) -> None:
    """DescribeStateMachine and UpdateStateMachine."""
    arn = await machine(driver, PASS, loggingConfiguration=None)
    shown = []
    for wanted in (ALL, {"level": "OFF"}):
        await driver.call("UpdateStateMachine", stateMachineArn=arn, loggingConfiguration=wanted)
        described = await driver.call("DescribeStateMachine", stateMachineArn=arn)
        shown.append(described["loggingConfiguration"])

    assert shown == [ALL, {"level": "OFF", "includeExecutionData": False}]


async def test_a_group_that_is_not_there_is_refused(driver: Driver, logs: Any) -> None:
    """When the machine is made, not when its lines are lost."""
    logs.delete_log_group(logGroupName=GROUP)

    with pytest.raises(InvalidLoggingConfiguration) as refused:
        await machine(driver, PASS)

    assert refused.value.message == "Invalid Logging Configuration: Log Destination not found."


def test_requests_stay_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte, a day, and a number of lines; by time."""
    day = cloudwatch.MAX_SPAN_MS
    monkeypatch.setattr(cloudwatch, "MAX_LINES", 3)
    large = [Line(1, "x" * 600_000), Line(0, "x" * 600_000)]
    small = [Line(n, "x") for n in range(4)]
    apart = [Line(0, "x"), Line(day - 1, "x"), Line(day, "x")]

    sizes = [[len(some) for some in requests_of(lines)] for lines in (large, small, apart, [])]

    assert sizes == [[1, 1], [3, 1], [2, 1], []]
    assert next(requests_of(large))[0].at_ms == 0
