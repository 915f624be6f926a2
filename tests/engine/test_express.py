"""Express workflows: run in memory, answered at once or not at all."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.engine import express
from app.errors import (
    ExecutionLimitExceeded,
    InvalidArn,
    InvalidDefinition,
    StateMachineTypeNotSupported,
)
from app.strict_json import Json
from tests.engine.driving import NOON, ROLE, Driver, StillClock, invoked, only, parked

ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:quick"
NOW = NOON.timestamp()


class HastyClock(StillClock):
    """A clock that moves on whenever it is read, so that nothing has to be waited for."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self.step = timedelta(seconds=step_s)

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


async def made(driver: Driver, definition: Json) -> str:
    """An Express machine's ARN."""
    text = json.dumps(definition)
    answer = await driver.call(
        "CreateStateMachine", name="quick", definition=text, roleArn=ROLE, type="EXPRESS"
    )
    return str(answer["stateMachineArn"])


async def ran(driver: Driver, definition: Json, given: Json = None, **more: Json) -> Any:
    """What StartSyncExecution answers."""
    arn = await made(driver, definition)
    return await driver.call(
        "StartSyncExecution", stateMachineArn=arn, input=json.dumps(given), **more
    )


async def test_a_sync_execution_answers_how_it_ended(driver: Driver) -> None:
    """With its bill: 64 MB, and a tenth of a second at least."""
    answer = await ran(driver, only(invoked("echo", OutputPath="$.Payload")), {"a": 1}, name="n")

    run = answer.pop("executionArn").rpartition(":")
    assert run[0] == "arn:aws:states:us-east-1:123456789012:express:quick:n"
    assert answer == {
        "stateMachineArn": ARN,
        "name": "n",
        "startDate": NOW,
        "stopDate": NOW,
        "status": "SUCCEEDED",
        "input": '{"a": 1}',
        "inputDetails": {"included": True},
        "output": '{"a":1}',
        "outputDetails": {"included": True},
        "billingDetails": {"billedMemoryUsedInMB": 64, "billedDurationInMilliseconds": 100},
    }


async def test_a_failed_sync_execution_is_no_error(driver: Driver) -> None:
    """Its answer has error and cause, and no output."""
    answer = await ran(driver, only({"Type": "Fail", "Error": "E", "Cause": "why"}))

    assert (answer["status"], answer["error"], answer["cause"]) == ("FAILED", "E", "why")
    assert "output" not in answer and "outputDetails" not in answer


async def test_data_can_be_left_out(driver: Driver) -> None:
    """METADATA_ONLY."""
    answer = await ran(driver, only({"Type": "Pass", "End": True}), includedData="METADATA_ONLY")

    assert "input" not in answer and "output" not in answer
    assert answer["inputDetails"] == answer["outputDetails"] == {"included": False}


async def test_an_express_execution_takes_five_minutes_at_most(driver: Driver) -> None:
    """Whatever it waits for."""
    driver.clock = HastyClock(400)
    await driver.restart()

    answer = await ran(driver, only({"Type": "Wait", "Seconds": 3600, "End": True}))

    assert (answer["status"], answer["stopDate"] - answer["startDate"]) == ("TIMED_OUT", 300)
    assert answer["billingDetails"]["billedDurationInMilliseconds"] == 300_000


async def test_branches_retries_and_waits_work_in_memory(driver: Driver) -> None:
    """The same steps as those of Standard executions."""
    driver.clock = HastyClock(2)
    await driver.restart()
    retry: Json = [{"ErrorEquals": ["Flaky"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    catch: Json = [{"ErrorEquals": ["Flaky"], "Next": "Caught"}]
    failing: Json = only(
        invoked("fail", Retry=retry, Catch=catch),
        Caught={"Type": "Pass", "Result": 1, "End": True},
    )
    waiting: Json = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "End": True}}}
    both: Json = {"Type": "Parallel", "Branches": [failing, waiting], "End": True}

    answer = await ran(driver, {"StartAt": "Both", "States": {"Both": both}}, 2)

    assert json.loads(answer["output"]) == [1, 2]
    assert [name for name, _, _ in driver.calls] == ["fail", "fail"]


async def test_an_execution_can_run_by_itself(driver: Driver) -> None:
    """Never idempotent; its ARN is of no use to calls about Standard executions."""
    arn = await made(driver, only(invoked("echo")))

    answers = [await driver.call("StartExecution", stateMachineArn=arn, name="n") for _ in "ab"]
    while len(driver.calls) < 2:
        await asyncio.sleep(0)

    assert answers[0]["executionArn"] != answers[1]["executionArn"]
    for operation in ("DescribeExecution", "StopExecution", "GetExecutionHistory"):
        with pytest.raises(InvalidArn) as caught:
            await driver.call(operation, executionArn=answers[0]["executionArn"])
        assert caught.value.message == (
            "Invalid Arn: 'Resource type not valid in this context: express'"
        )


async def test_the_types_have_calls_of_their_own(driver: Driver) -> None:
    """No sync start of a Standard machine, no list of Express executions."""
    standard = await driver.machine(only({"Type": "Pass", "End": True}))
    quick = await made(driver, only({"Type": "Pass", "End": True}))

    for operation, arn in (("StartSyncExecution", standard), ("ListExecutions", quick)):
        with pytest.raises(StateMachineTypeNotSupported) as caught:
            await driver.call(operation, stateMachineArn=arn)
        assert caught.value.message == (
            "This operation is not supported by this type of state machine"
        )


async def test_express_machines_wait_for_no_one(driver: Driver) -> None:
    """Neither when created nor when changed."""
    with pytest.raises(InvalidDefinition):
        await made(driver, only(parked()))
    arn = await made(driver, only({"Type": "Pass", "End": True}))

    with pytest.raises(InvalidDefinition):
        await driver.call(
            "UpdateStateMachine", stateMachineArn=arn, definition=json.dumps(only(parked()))
        )


async def test_too_many_executions_are_refused(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded."""
    monkeypatch.setattr(express, "MAX_RUNNING", 0)
    with pytest.raises(ExecutionLimitExceeded):
        await ran(driver, only({"Type": "Pass", "End": True}))


async def test_stopping_the_engine_ends_what_runs(driver: Driver) -> None:
    """An endless loop, for example."""
    arn = await made(driver, only({"Type": "Pass", "Next": "First"}))
    await driver.call("StartExecution", stateMachineArn=arn)
    await asyncio.sleep(0)

    await driver.restart()
