"""RedriveExecution: what did not succeed goes on where it failed."""

from typing import Any

import pytest

from app.engine.steps.history import MAX_EVENTS
from app.errors import ExecutionDoesNotExist, ExecutionNotRedrivable, TaskTimedOut
from app.strict_json import Json
from tests.engine.driving import NOON, Driver, invoked, only, parked

NOW = NOON.timestamp()
DAY_S = 86_400


async def redriven(driver: Driver, arn: str, **members: Json) -> Any:
    """The answer of RedriveExecution, everything done that followed."""
    answer = await driver.call("RedriveExecution", executionArn=arn, **members)
    await driver.engine.idle()
    return answer


async def test_a_failed_task_is_scheduled_again(driver: Driver) -> None:
    """With a new token; its state is not entered again, nor are those before it."""
    before: Json = {"Type": "Pass", "Result": {"a": 1}, "Next": "Ask"}
    arn = await driver.run(only(before, Ask=parked()))
    await driver.fail("E", "why")
    old = driver.tokens[-1]
    await driver.pass_time(60)

    assert await redriven(driver, arn) == {"redriveDate": NOW + 60}

    with pytest.raises(TaskTimedOut):
        await driver.succeed(1, old)
    await driver.succeed({"done": True})
    assert (await driver.story(arn))[8:] == [
        "9<8 ExecutionFailed",
        "10<9 ExecutionRedriven",
        "11<10 TaskScheduled",
        "12<11 TaskStarted",
        "13<12 TaskSubmitted",
        "14<13 TaskSucceeded",
        "15<14 TaskStateExited",
        "16<15 ExecutionSucceeded",
    ]
    events = await driver.events(arn)
    assert events[9]["executionRedrivenEventDetails"] == {"redriveCount": 1}
    described = await driver.describe(arn)
    assert (described["status"], described["output"]) == ("SUCCEEDED", '{"done":true}')
    assert (described["redriveCount"], described["redriveDate"]) == (1, NOW + 60)
    assert "error" not in described and "cause" not in described
    assert (described["startDate"], described["stopDate"]) == (NOW, NOW + 60)


@pytest.mark.parametrize("kind", ["Parallel", "Map"])
async def test_only_failed_branches_run_again(driver: Driver, kind: str) -> None:
    """Those that were done keep their outputs; those that were aborted start over their state."""
    quick: Json = {"Type": "Choice", "Choices": [], "Default": "Quick"}
    quick["Choices"] = [{"Variable": "$.n", "NumericEquals": 0, "Next": "Quick"}]
    quick["Default"] = "Slow"
    inner: Json = {
        "StartAt": "Which",
        "States": {
            "Which": quick,
            "Quick": {"Type": "Pass", "Result": "quick", "End": True},
            "Slow": parked(),
        },
    }
    state: Json = {"Type": "Map", "ItemProcessor": inner, "End": True}
    given: Json = [{"n": 0}, {"n": 1}, {"n": 2}]
    if kind == "Parallel":
        done: Json = {"StartAt": "Q", "States": {"Q": {"Type": "Pass", "Result": "quick"}}}
        done["States"]["Q"]["End"] = True
        slow = [{"StartAt": name, "States": {name: parked()}} for name in ("S1", "S2")]
        state, given = {"Type": "Parallel", "Branches": [done, *slow], "End": True}, {}
    arn = await driver.run({"StartAt": "All", "States": {"All": state}}, given)
    await driver.fail("E")
    assert await driver.status(arn) == "FAILED"

    await redriven(driver, arn)
    assert len(driver.tokens) == 4
    await driver.succeed("b", driver.tokens[3])
    await driver.succeed("a", driver.tokens[2])

    assert await driver.output(arn) == ["quick", "a", "b"]


async def test_nested_branches_are_taken_up(driver: Driver) -> None:
    """However deep."""
    deep: Json = {"StartAt": "Deep", "States": {"Deep": parked()}}
    inner: Json = {"Type": "Parallel", "Branches": [deep], "End": True}
    outer = {"StartAt": "Inner", "States": {"Inner": inner}}
    arn = await driver.run(only({"Type": "Parallel", "Branches": [outer], "End": True}))
    await driver.fail("E")

    await redriven(driver, arn)
    await driver.succeed(1)

    assert await driver.output(arn) == [[1]]


async def test_a_branch_that_fails_again_fails_the_execution_again(driver: Driver) -> None:
    """And it can be redriven again; retries count anew."""
    retry: Json = [{"ErrorEquals": ["E"], "MaxAttempts": 1, "IntervalSeconds": 1}]
    arn = await driver.run(only(parked(Retry=retry)))
    for _ in range(2):
        await driver.fail("E")
        await driver.pass_time(1)
        await driver.fail("E")
        assert await driver.status(arn) == "FAILED"
        await redriven(driver, arn)

    await driver.succeed(1)

    described = await driver.describe(arn)
    assert (described["status"], described["redriveCount"]) == ("SUCCEEDED", 2)


async def test_a_caught_failure_leaves_nothing_to_redrive_behind(driver: Driver) -> None:
    """What was aborted before the catch stays aborted."""
    branch: Json = {"StartAt": "B", "States": {"B": invoked("fail")}}
    catch: Json = [{"ErrorEquals": ["States.ALL"], "Next": "Ask"}]
    state: Json = {"Type": "Parallel", "Branches": [branch], "Catch": catch, "End": True}
    arn = await driver.run(only(state, Ask=parked()))
    await driver.fail("E")

    await redriven(driver, arn)
    await driver.succeed("now")

    assert await driver.output(arn) == "now"
    assert [name for name, _, _ in driver.calls] == ["fail", "park", "park"]


async def test_a_stopped_execution_goes_on(driver: Driver) -> None:
    """Its Wait starts over."""
    arn = await driver.run(only({"Type": "Wait", "Seconds": 60, "End": True}))
    await driver.pass_time(30)
    await driver.engine.stop_execution(execution_arn=arn)
    await redriven(driver, arn)

    await driver.pass_time(59)
    assert await driver.status(arn) == "RUNNING"
    await driver.pass_time(1)

    assert await driver.status(arn) == "SUCCEEDED"


async def test_a_timed_out_execution_gets_its_time_anew(driver: Driver) -> None:
    """From the redrive on."""
    arn = await driver.run(only(parked()) | {"TimeoutSeconds": 100})
    await driver.pass_time(100)
    assert await driver.status(arn) == "TIMED_OUT"
    await redriven(driver, arn)

    await driver.pass_time(99)
    assert await driver.status(arn) == "RUNNING"
    await driver.pass_time(1)

    assert await driver.status(arn) == "TIMED_OUT"


async def test_a_redrive_survives_a_restart(driver: Driver) -> None:
    """Before it and after it."""
    arn = await driver.run(only(parked()))
    await driver.fail("E")
    await driver.restart()
    await redriven(driver, arn)
    await driver.restart()

    await driver.succeed(1)

    assert await driver.output(arn) == 1


async def test_the_context_counts_redrives(driver: Driver) -> None:
    """And says when the last one was."""
    state = invoked("park", Parameters={"FunctionName": "echo", "Payload.$": "$$.Execution"})
    failing: Json = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Next": "Say"}
    failing["Parameters"] = {"FunctionName": "once"}
    attempts: list[Json] = []

    async def once(event: Json, _invocation: object) -> Json:
        attempts.append(event)
        if len(attempts) == 1:
            raise ValueError("not yet")
        return {}

    driver.functions["once"] = once
    await driver.restart()
    arn = await driver.run(only(failing, Say=state))

    await redriven(driver, arn)

    said = (await driver.output(arn))["Payload"]
    assert (said["RedriveCount"], said["RedriveTime"]) == (1, "2025-11-12T12:00:00.000Z")


async def test_the_same_client_token_redrives_once(driver: Driver) -> None:
    """For a quarter of an hour."""
    arn = await driver.run(only(parked()))
    await driver.fail("E")
    first = await redriven(driver, arn, clientToken="t")
    await driver.pass_time(5)

    assert await redriven(driver, arn, clientToken="t") == first
    with pytest.raises(ExecutionNotRedrivable):
        await redriven(driver, arn, clientToken="u")


async def test_an_earlier_client_token_does_not_redrive_again(driver: Driver) -> None:
    """A request that was sent again and comes late, after another redrive failed too."""
    arn = await driver.run(only(parked()))
    await driver.fail("E")
    first = await redriven(driver, arn, clientToken="t")
    await driver.fail("E")
    await driver.pass_time(5)
    await redriven(driver, arn, clientToken="u")
    await driver.fail("E")

    assert await redriven(driver, arn, clientToken="t") == first
    assert (await driver.describe(arn))["redriveCount"] == 2
    await driver.pass_time(896)
    assert await redriven(driver, arn, clientToken="t") != first


async def test_what_runs_or_succeeded_is_not_redriven(driver: Driver) -> None:
    """DescribeExecution gives the same reason."""
    arn = await driver.run(only(parked()))
    for status in ("RUNNING", "SUCCEEDED"):
        with pytest.raises(ExecutionNotRedrivable) as caught:
            await redriven(driver, arn)
        reason = f"Execution is {status} and cannot be redriven"
        assert caught.value.message == reason
        described = await driver.describe(arn)
        assert (described["redriveStatus"], described["redriveStatusReason"]) == (
            "NOT_REDRIVABLE",
            reason,
        )
        if status == "RUNNING":
            await driver.succeed(1)
    with pytest.raises(ExecutionDoesNotExist):
        await redriven(driver, arn + "x")


async def test_after_two_weeks_it_is_too_late(driver: Driver) -> None:
    """Counted from the first end."""
    arn = await driver.run(only(parked()))
    await driver.fail("E")
    await driver.pass_time(13 * DAY_S)
    await redriven(driver, arn)
    await driver.fail("E")
    assert (await driver.describe(arn))["redriveStatus"] == "REDRIVABLE"
    await driver.pass_time(DAY_S + 1)

    with pytest.raises(ExecutionNotRedrivable) as caught:
        await redriven(driver, arn)

    assert caught.value.message == "Execution redrivable period exceeded"


async def test_a_full_history_leaves_no_room(driver: Driver) -> None:
    """AWS needs two more events."""
    arn = await driver.run(only({"Type": "Pass", "Next": "First"}))
    assert len(await driver.events(arn)) == MAX_EVENTS

    with pytest.raises(ExecutionNotRedrivable) as caught:
        await redriven(driver, arn)

    assert caught.value.message == "Execution history event limit exceeded"


async def test_lists_tell_what_was_redriven(driver: Driver) -> None:
    """And can be asked for it."""
    arn = await driver.run(only(parked()))
    await driver.fail("E")
    await redriven(driver, arn)
    machine = await driver.machine(only(parked()))
    await driver.engine.start_execution(state_machine_arn=machine, name="other")
    await driver.engine.idle()

    async def counts(filter_: str) -> list[int]:
        listed = await driver.call("ListExecutions", stateMachineArn=machine, redriveFilter=filter_)
        return [found["redriveCount"] for found in listed["executions"]]

    assert (await counts("REDRIVEN"), await counts("NOT_REDRIVEN")) == ([1], [0])
