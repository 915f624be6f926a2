"""The shape of execution status events, as EventBridge shows AWS's own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.clock import to_ms
from app.engine.events import EventRouting
from app.engine.events.status_change import MAX_DATA_BYTES, began, ended
from app.engine.payload import Payload
from app.engine.steps.execution import Status
from app.strict_json import Json
from tests.engine.driving import NOON, Driver, only, parked
from tests.engine.events.recording import WHERE, Shelf, execution
from tests.engine.mapping import distributed

NOON_MS = to_ms(NOON)


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Driver]:
    """An engine with a destination that takes nothing, so that all stays in the log."""
    shelf = Shelf(refuses=set(range(100)), batch=1)
    driver = Driver(tmp_path, events=EventRouting((shelf,)))
    await driver.start()
    yield driver
    await driver.stop()


def events(driver: Driver) -> list[Any]:
    """All events that were recorded."""
    return [json.loads(text) for _, text in driver.engine.changes.page(0, None, 100)]


def statuses(driver: Driver) -> list[tuple[str, int]]:
    """Their statuses and redrive counts."""
    return [(e["detail"]["status"], e["detail"]["redriveCount"]) for e in events(driver)]


async def test_a_run_gives_running_and_then_its_end(told: Driver) -> None:
    """Two events of exactly AWS's members."""
    arn = await told.run(only({"Type": "Pass", "Result": {"done": True}, "End": True}), {"a": 1})

    began, ended = events(told)

    name = arn.rpartition(":")[2]
    envelope = {
        "version": "0",
        "detail-type": "Step Functions Execution Status Change",
        "source": "signoff.states",
        "account": "123456789012",
        "time": "2025-11-12T12:00:00Z",
        "region": "us-east-1",
        "resources": [arn],
    }
    detail = {
        "executionArn": arn,
        "stateMachineArn": f"{WHERE}:stateMachine:machine",
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "name": name,
        "status": "RUNNING",
        "startDate": NOON_MS,
        "stopDate": None,
        "input": '{"a":1}',
        "inputDetails": {"included": True},
        "output": None,
        "outputDetails": None,
        "error": None,
        "cause": None,
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": "Execution is RUNNING and cannot be redriven",
    }
    assert began == envelope | {"id": began["id"], "detail": detail}
    assert ended == envelope | {
        "id": ended["id"],
        "detail": detail
        | {
            "status": "SUCCEEDED",
            "stopDate": NOON_MS,
            "output": '{"done":true}',
            "outputDetails": {"included": True},
            "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
        },
    }
    assert began["id"] != ended["id"]


async def test_a_failure_has_its_error_and_can_be_redriven(told: Driver) -> None:
    """Error and cause are in the event; after a redrive it runs, and fails, again."""
    arn = await told.run(only({"Type": "Fail", "Error": "Broken", "Cause": "why"}))
    told.clock.now = told.clock.now.replace(hour=13)
    await told.call("RedriveExecution", executionArn=arn)

    failed, redriven = (e["detail"] for e in events(told)[1:3])

    assert (failed["error"], failed["cause"]) == ("Broken", "why")
    assert (failed["redriveStatus"], failed["redriveStatusReason"]) == ("REDRIVABLE", None)
    assert (redriven["error"], redriven["stopDate"]) == (None, None)
    assert redriven["redriveDate"] == NOON_MS + 3_600_000
    assert events(told)[2]["time"] == "2025-11-12T13:00:00Z"
    assert statuses(told) == [("RUNNING", 0), ("FAILED", 0), ("RUNNING", 1), ("FAILED", 1)]


@pytest.mark.parametrize(
    ("machine", "seconds", "status", "error"),
    [
        (only(parked()) | {"TimeoutSeconds": 60}, 60, "TIMED_OUT", None),
        (only(parked(TimeoutSeconds=60)), 60, "FAILED", "States.Timeout"),
    ],
)
async def test_what_ends_by_itself_is_told(
    told: Driver, machine: Json, seconds: int, status: str, error: str | None
) -> None:
    """A timeout ends an execution without any call, and is told all the same."""
    await told.run(machine)

    await told.pass_time(seconds)

    detail = events(told)[1]["detail"]
    assert (detail["status"], detail["error"]) == (status, error)
    assert detail["stopDate"] == NOON_MS + seconds * 1000


async def test_a_stop_is_told_with_its_reason(told: Driver) -> None:
    """An aborted execution carries what StopExecution was given."""
    arn = await told.run(only(parked()))

    await told.call("StopExecution", executionArn=arn, error="Enough", cause="asked to")

    detail = events(told)[1]["detail"]
    assert detail["status"] == "ABORTED"
    assert (detail["error"], detail["cause"]) == ("Enough", "asked to")


async def test_a_version_and_an_alias_are_named(told: Driver) -> None:
    """An execution that was started through an alias says so."""
    arn = await told.machine(only({"Type": "Pass", "End": True}))
    version = await told.call("PublishStateMachineVersion", stateMachineArn=arn)
    version_arn = version["stateMachineVersionArn"]
    routes = [{"stateMachineVersionArn": version_arn, "weight": 100}]
    await told.call("CreateStateMachineAlias", name="live", routingConfiguration=routes)

    await told.call("StartExecution", stateMachineArn=f"{arn}:live")

    detail = events(told)[0]["detail"]
    assert detail["stateMachineVersionArn"] == version_arn
    assert detail["stateMachineAliasArn"] == f"{arn}:live"


async def test_express_executions_tell_nothing(told: Driver) -> None:
    """AWS emits no events for them."""
    definition = json.dumps(only({"Type": "Pass", "End": True}))
    made = await told.call(
        "CreateStateMachine",
        name="quick",
        definition=definition,
        roleArn="arn:aws:iam::123456789012:role/workflow",
        type="EXPRESS",
    )

    await told.call("StartSyncExecution", stateMachineArn=made["stateMachineArn"])

    assert events(told) == []


@pytest.mark.parametrize(("kind", "told_of"), [("STANDARD", 4), ("EXPRESS", 2)])
async def test_children_of_a_map_run_are_executions_too(
    told: Driver, kind: str, told_of: int
) -> None:
    """A Standard child is told of under its own ARN; who redrives it is its Map Run."""
    await told.run(only(distributed({"Type": "Fail"}, kind=kind)), [1])

    found = events(told)
    redrivable = {e["detail"]["stateMachineArn"]: e["detail"]["redriveStatus"] for e in found[1:]}

    assert len(found) == told_of
    assert redrivable[f"{WHERE}:stateMachine:machine"] == "REDRIVABLE"
    if kind == "STANDARD":
        (child,) = redrivable.keys() - {f"{WHERE}:stateMachine:machine"}
        assert child.startswith(f"{WHERE}:stateMachine:machine/")
        assert redrivable[child] == "REDRIVABLE_BY_MAP_RUN"


@pytest.mark.parametrize(
    ("given", "output", "shows_input", "shows_output"),
    [
        (MAX_DATA_BYTES - 4, 2, True, True),
        (MAX_DATA_BYTES - 3, 2, False, True),
        (10, MAX_DATA_BYTES, False, True),
        (10, MAX_DATA_BYTES + 1, False, False),
    ],
)
def test_large_data_is_left_out(
    given: int, output: int, shows_input: bool, shows_output: bool
) -> None:
    """Input goes first, then output; sizes are those of escaped text."""
    run = execution()
    run.input, run.output = Payload.of_text("1" * given), Payload.of_text("2" * (output - 2))
    run.status, run.stopped_ms = Status.SUCCEEDED, NOON_MS

    detail = ended(run)

    assert (detail["input"] is not None) is shows_input
    assert detail["inputDetails"] == {"included": shows_input}
    assert (detail["output"] is not None) is shows_output
    assert detail["outputDetails"] == {"included": shows_output}


def test_escapes_count() -> None:
    """A quote takes two bytes in the event."""
    run = execution()
    run.input = Payload.of_text('"' * (MAX_DATA_BYTES // 2))

    assert began(run)["inputDetails"] == {"included": False}
