"""Much work in one execution is done in slices, and is still one history."""

import pytest

from app.engine.steps import tree
from app.engine.steps.step import SLICE
from tests.engine.driving import Driver, only


async def test_a_wide_parallel_is_joined(driver: Driver) -> None:
    """More branches than a slice has work: outputs in order, one event after the other."""
    wide = SLICE * 2
    branches = [
        {"StartAt": f"B{n}", "States": {f"B{n}": {"Type": "Pass", "Result": n, "End": True}}}
        for n in range(wide)
    ]

    arn = await driver.run(only({"Type": "Parallel", "Branches": branches, "End": True}))

    events = await driver.events(arn)
    assert await driver.output(arn) == list(range(wide))
    assert [event["id"] for event in events] == list(range(1, 2 * wide + 7))
    assert {e["previousEventId"] for e in events if e["type"] == "PassStateEntered"} == {3}


async def test_a_wide_parallel_that_fails_takes_all_along(driver: Driver) -> None:
    """Branches that had not begun leave no trace."""
    branches = [
        {"StartAt": f"B{n}", "States": {f"B{n}": {"Type": "Wait", "Seconds": 60, "End": True}}}
        for n in range(SLICE)
    ] + [{"StartAt": "Bad", "States": {"Bad": {"Type": "Fail", "Error": "E"}}}]

    arn = await driver.run(only({"Type": "Parallel", "Branches": branches, "End": True}))

    described = await driver.describe(arn)
    kinds = [event["type"] for event in await driver.events(arn)]
    assert described["error"] == "E"
    assert kinds.count("WaitStateEntered") == kinds.count("WaitStateAborted") == SLICE
    assert kinds[-2:] == ["ParallelStateFailed", "ExecutionFailed"]
    assert driver.database.read("SELECT count(*) FROM frames") == [(0,)]


async def test_a_loop_over_large_data_is_cut_into_short_slices(driver: Driver) -> None:
    """The more data a transition moves, the fewer are made at a stretch."""
    states = {
        "First": {"Type": "Pass", "Next": "More"},
        "More": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.n", "NumericLessThan": 20, "Next": "Add"}],
            "Default": "End",
        },
        "Add": {
            "Type": "Pass",
            "Parameters": {"n.$": "States.MathAdd($.n, 1)", "data.$": "$.data"},
            "Next": "More",
        },
        "End": {"Type": "Pass", "InputPath": "$.n", "End": True},
    }

    arn = await driver.run({"StartAt": "First", "States": states}, {"n": 0, "data": "x" * 200_000})

    assert await driver.output(arn) == 20
    assert len(driver.database.read("SELECT 1 FROM history")) > 5


async def test_another_execution_is_served_between_slices(driver: Driver) -> None:
    """An endless loop does not keep others from starting and ending."""
    loop = {"First": {"Type": "Pass", "Next": "Back"}, "Back": {"Type": "Pass", "Next": "First"}}
    machine = await driver.machine({"StartAt": "First", "States": loop}, "loop")
    short = await driver.machine(only({"Type": "Succeed"}), "short")

    looping = await driver.engine.start_execution(state_machine_arn=machine)
    other = await driver.engine.start_execution(state_machine_arn=short)

    assert await driver.status(other["executionArn"]) == "SUCCEEDED"
    assert await driver.status(looping["executionArn"]) == "RUNNING"
    await driver.engine.idle()
    assert await driver.status(looping["executionArn"]) == "FAILED"


async def test_retries_of_a_wide_map_do_not_use_up_the_frames(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The iterations of an attempt that failed leave their numbers to the next attempt."""
    monkeypatch.setattr(tree, "MAX_FRAMES", 150)
    retry = {"ErrorEquals": ["E"], "MaxAttempts": 5, "IntervalSeconds": 1, "BackoffRate": 1}
    processor = {"StartAt": "Bad", "States": {"Bad": {"Type": "Fail", "Error": "E"}}}
    wide = {"Type": "Map", "MaxConcurrency": 1, "Retry": [retry], "End": True}
    arn = await driver.run(only(wide | {"ItemProcessor": processor}), [0] * 100)

    for _ in range(5):
        await driver.pass_time(1)

    assert (await driver.describe(arn))["error"] == "E"
