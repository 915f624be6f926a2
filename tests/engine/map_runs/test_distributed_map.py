"""Distributed Maps: child executions, their Map Run, and what its end means to the parent."""

from typing import Any

import pytest

from app.errors import (
    ExecutionDoesNotExist,
    ExecutionNotRedrivable,
    InvalidArn,
    ResourceNotFound,
    ValidationException,
)
from app.strict_json import Json
from tests.engine.driving import NOON, Driver, invoked, only, parked
from tests.engine.mapping import PASS, children_of, counted, distributed, run_of, runs_of

NOW = NOON.timestamp()
PREFIX = "arn:aws:states:us-east-1:123456789012:"
FAIL: Json = {"Type": "Fail", "Error": "Broken", "Cause": "no reason"}
#: fails for the items that are "bad"
PICKY: Json = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName": "picky", "Payload.$": "$"},
    "End": True,
}


async def picky(event: Json, _invocation: object) -> Json:
    """A function that does not take everything."""
    if event == "bad":
        raise ValueError("it is bad")
    return event


@pytest.fixture
async def picking(driver: Driver) -> Driver:
    """An engine with the function ``picky``."""
    await driver.stop()
    driver.functions["picky"] = picky
    await driver.start()
    return driver


async def test_the_parent_waits_for_its_map_run(driver: Driver) -> None:
    """The history of the parent has the run; its output those of the children, in order."""
    arn = await driver.run(only(distributed()), ["a", "b"])

    assert await driver.story(arn) == [
        "1<0 ExecutionStarted",
        "2<0 MapStateEntered",
        "3<2 MapStateStarted",
        "4<3 MapRunStarted",
        "5<4 MapRunSucceeded",
        "6<5 MapStateSucceeded",
        "7<5 MapStateExited",
        "8<7 ExecutionSucceeded",
    ]
    assert await driver.output(arn) == ["a", "b"]
    events = await driver.events(arn)
    assert events[2]["mapStateStartedEventDetails"] == {"length": 2}
    (run,) = await runs_of(driver, arn)
    assert events[3]["mapRunStartedEventDetails"] == {"mapRunArn": run["mapRunArn"]}
    assert "mapRunSucceededEventDetails" not in events[4]


async def test_a_map_that_follows_the_first_state_exits_as_recorded(driver: Driver) -> None:
    """There, and there alone, the exit follows MapRunStarted in AWS's histories."""
    first: Json = {"Type": "Pass", "Next": "Second"}
    second = await driver.run(only(first, Second=distributed()), [1], name="second")
    between: Json = {"Type": "Pass", "Next": "Third"}
    third = await driver.run(only(first, Second=between, Third=distributed()), [1], name="third")

    assert (await driver.story(second))[6:9] == [
        "7<6 MapRunSucceeded",
        "8<7 MapStateSucceeded",
        "9<6 MapStateExited",
    ]
    assert (await driver.story(third))[10] == "11<9 MapStateExited"


async def test_children_are_executions_of_their_own(driver: Driver) -> None:
    """With ARNs, histories and machines of their own; their run lists them, their machine not."""
    arn = await driver.run(only(distributed(Label="each")), ["a"])

    (child,) = await children_of(driver, arn)
    run = (await runs_of(driver, arn))[0]
    machine = f"{PREFIX}stateMachine:machine/each"
    assert run["mapRunArn"].startswith(f"{PREFIX}mapRun:machine/each:")
    assert child == {
        "executionArn": f"{PREFIX}execution:machine/each:{child['name']}",
        "stateMachineArn": machine,
        "name": child["name"],
        "status": "SUCCEEDED",
        "startDate": NOW,
        "stopDate": NOW,
        "redriveCount": 0,
        "mapRunArn": run["mapRunArn"],
        "itemCount": 1,
    }
    described = await driver.describe(child["executionArn"])
    assert (described["mapRunArn"], described["stateMachineArn"]) == (run["mapRunArn"], machine)
    assert (described["input"], described["output"]) == ('"a"', '"a"')
    assert len(await driver.story(child["executionArn"])) == 4
    shown = await driver.call(
        "DescribeStateMachineForExecution", executionArn=child["executionArn"]
    )
    assert (shown["label"], shown["mapRunArn"]) == ("each", run["mapRunArn"])
    assert shown["stateMachineArn"] == machine
    listed = await driver.call("ListExecutions", stateMachineArn=f"{PREFIX}stateMachine:machine")
    assert [entry["executionArn"] for entry in listed["executions"]] == [arn]


async def test_a_map_run_is_described(driver: Driver) -> None:
    """With its limits and its counts."""
    state = distributed(MaxConcurrency=2, ToleratedFailurePercentage=12.5, ToleratedFailureCount=3)
    arn = await driver.run(only(state), [1, 2, 3])

    described = await run_of(driver, arn)
    counts = dict.fromkeys(
        ("pending", "running", "failed", "timedOut", "aborted", "resultsWritten"), 0
    ) | {"succeeded": 3, "total": 3, "failuresNotRedrivable": 0, "pendingRedrive": 0}
    assert described == {
        "mapRunArn": (await runs_of(driver, arn))[0]["mapRunArn"],
        "executionArn": arn,
        "status": "SUCCEEDED",
        "startDate": NOW,
        "stopDate": NOW,
        "maxConcurrency": 2,
        "toleratedFailurePercentage": 12.5,
        "toleratedFailureCount": 3,
        "itemCounts": counts,
        "executionCounts": counts,
        "redriveCount": 0,
    }


async def test_a_child_sees_its_item_and_itself(driver: Driver) -> None:
    """``$$`` of a child names the child, its machine with the label, and the item."""
    show: Json = {"Type": "Pass", "End": True, "Parameters": {"seen.$": "$$"}}
    selector = {"n.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value"}
    state = distributed(show, Label="l", ItemSelector=selector)
    arn = await driver.run(only(state), ["X", "Y"])

    seen = [entry["seen"] for entry in await driver.output(arn)]
    children = [entry["executionArn"] for entry in await children_of(driver, arn)]
    assert [entry["Execution"]["Id"] for entry in seen] == children[::-1]
    assert [entry["Execution"]["Input"] for entry in seen] == [
        {"n": 0, "v": "X"},
        {"n": 1, "v": "Y"},
    ]
    assert seen[0]["StateMachine"] == {
        "Id": f"{PREFIX}stateMachine:machine/l",
        "Name": "machine/l",
    }
    assert [entry["Map"]["Item"] for entry in seen] == [
        {"Index": 0, "Value": "X", "Source": "STATE_DATA"},
        {"Index": 1, "Value": "Y", "Source": "STATE_DATA"},
    ]


async def test_children_do_not_see_variables_but_their_selector_does(driver: Driver) -> None:
    """A distributed Map's children are executions of their own: nothing of theirs is shared."""
    first: Json = {"Type": "Pass", "Assign": {"who": "me"}, "Next": "Map"}
    selector = {"who.$": "$who", "item.$": "$$.Map.Item.Value"}
    blind: Json = {"Type": "Pass", "Parameters": {"who.$": "$who"}, "End": True}
    arn = await driver.run(
        only(first, Map=distributed(ItemSelector=selector)), [1], name="selector"
    )
    other = await driver.run(only(first, Map=distributed(blind)), [1], name="blind")

    assert await driver.output(arn) == [{"who": "me", "item": 1}]
    assert await driver.status(other) == "FAILED"


async def test_an_empty_array_makes_an_empty_run(driver: Driver) -> None:
    """It succeeds at once, without children."""
    arn = await driver.run(only(distributed()), [])

    assert await driver.output(arn) == []
    assert counted((await run_of(driver, arn))["executionCounts"]) == {}


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_max_concurrency_is_kept(driver: Driver, limit: int) -> None:
    """Never more children than that are under way; as one ends, the next begins."""
    arn = await driver.run(only(distributed(parked(), MaxConcurrency=limit)), [1, 2, 3, 4])

    for done in range(4):
        counts = (await run_of(driver, arn))["executionCounts"]
        running = min(limit, 4 - done)
        assert counts["running"] == running == len(driver.tokens) - done
        assert counts["pending"] == 4 - done - running
        await driver.succeed(done, driver.tokens[done])

    assert await driver.output(arn) == [0, 1, 2, 3]


async def test_one_failure_fails_the_run_by_default(driver: Driver) -> None:
    """And the Map, with the name of the exceeded threshold; the other children are aborted."""
    arn = await driver.run(only(distributed(parked())), [1, 2, 3])
    await driver.fail("E", "why")

    assert (await driver.story(arn))[4:] == [
        "5<4 MapRunFailed",
        "6<5 MapStateFailed",
        "7<6 ExecutionFailed",
    ]
    described = await driver.describe(arn)
    assert described["error"] == "States.ExceedToleratedFailureThreshold"
    assert described["cause"] == "The specified tolerated failure threshold was exceeded"
    run = await run_of(driver, arn)
    assert run["status"] == "FAILED"
    assert counted(run["itemCounts"]) == {"failed": 1, "aborted": 2, "total": 3}
    statuses = [child["status"] for child in await children_of(driver, arn)]
    assert sorted(statuses) == ["ABORTED", "ABORTED", "FAILED"]


@pytest.mark.parametrize(
    ("fields", "succeeds"),
    [
        ({"ToleratedFailureCount": 2}, True),
        ({"ToleratedFailureCount": 1}, False),
        ({"ToleratedFailurePercentage": 50}, True),
        ({"ToleratedFailurePercentage": 49.9}, False),
        ({"ToleratedFailureCount": 2, "ToleratedFailurePercentage": 10}, False),
        ({"ToleratedFailureCountPath": "$[4]"}, True),
        ({"ToleratedFailurePercentagePath": "$[5]"}, False),
    ],
)
async def test_failures_are_tolerated(picking: Driver, fields: Json, succeeds: bool) -> None:
    """As many as both limits allow; the result is that of the children that succeeded."""
    state = distributed(PICKY, **fields)
    if any(name.endswith("Path") for name in fields):
        state["ItemsPath"] = "$[0:4]"
    items = ["a", "bad", "bad", "b"]
    given = [*items, "2", "49.5"] if "ItemsPath" in state else items
    arn = await picking.run(only(state), given)

    if succeeds:
        assert await picking.output(arn) == [
            {"ExecutedVersion": "$LATEST", "Payload": item, "StatusCode": 200} | rest
            for item, rest in zip("ab", await metadata(picking, arn), strict=True)
        ]
        assert counted((await run_of(picking, arn))["itemCounts"]) == {
            "succeeded": 2,
            "failed": 2,
            "total": 4,
        }
    else:
        error = "States.ExceedToleratedFailureThreshold"
        assert (await picking.describe(arn))["error"] == error


async def metadata(driver: Driver, arn: str) -> list[Json]:
    """What the service adds to each answer."""
    return [
        {name: entry[name] for name in ("SdkHttpMetadata", "SdkResponseMetadata")}
        for entry in await driver.output(arn)
    ]


@pytest.mark.parametrize(
    ("fields", "given", "cause"),
    [
        (
            {"ToleratedFailurePercentagePath": "$.x"},
            100.5,
            "ToleratedFailurePercentage must be between 0 and 100.",
        ),
        (
            {"ToleratedFailurePercentagePath": "$.x"},
            "much",
            "The ToleratedFailurePercentagePath field refers to value "
            '"much" which is not a valid float: $.x',
        ),
        ({"ToleratedFailureCountPath": "$.x"}, -1, "ToleratedFailureCount cannot be negative."),
    ],
)
async def test_a_tolerance_that_is_none_fails_the_started_state(
    driver: Driver, fields: Json, given: Json, cause: str
) -> None:
    """AWS finds out after MapStateStarted, and lets the failure follow the entered event."""
    state = distributed(ItemsPath="$.items", **fields)
    arn = await driver.run(only(state), {"items": [1], "x": given})

    assert (await driver.story(arn))[1:] == [
        "2<0 MapStateEntered",
        "3<2 MapStateStarted",
        "4<2 ExecutionFailed",
    ]
    where = "An error occurred while executing the state 'First' (entered at the event id #2). "
    assert (await driver.describe(arn))["cause"] == where + cause


async def test_a_failed_run_is_caught_or_retried(driver: Driver) -> None:
    """A retry begins another Map Run; a catcher gets the error."""
    threshold = ["States.ExceedToleratedFailureThreshold"]
    state = distributed(
        FAIL,
        Retry=[{"ErrorEquals": threshold, "MaxAttempts": 1, "IntervalSeconds": 1}],
        Catch=[{"ErrorEquals": ["States.ALL"], "Next": "After", "ResultPath": "$[0]"}],
    )
    arn = await driver.run(only(state, After=PASS), ["item"])
    await driver.pass_time(1)

    assert (await driver.output(arn))[0]["Error"] == threshold[0]
    runs = await runs_of(driver, arn)
    assert len({run["mapRunArn"] for run in runs}) == 2
    page = await driver.call("ListMapRuns", executionArn=arn, maxResults=1)
    rest = await driver.call("ListMapRuns", executionArn=arn, nextToken=page["nextToken"])
    assert page["mapRuns"] + rest["mapRuns"] == runs


async def test_items_are_batched(driver: Driver) -> None:
    """Each child gets as many as fit, beside the BatchInput."""
    batcher: Json = {"MaxItemsPerBatch": 2, "BatchInput": {"all.$": "$.all"}}
    state = distributed(ItemsPath="$.items", ItemBatcher=batcher)
    arn = await driver.run(only(state), {"items": [1, 2, 3], "all": "of us"})

    given = {"all": "of us"}
    assert await driver.output(arn) == [
        {"BatchInput": given, "Items": [1, 2]},
        {"BatchInput": given, "Items": [3]},
    ]
    run = await run_of(driver, arn)
    assert (run["itemCounts"]["total"], run["executionCounts"]["total"]) == (3, 2)
    assert [child["itemCount"] for child in await children_of(driver, arn)] == [1, 2]


@pytest.mark.parametrize(
    ("batcher", "sizes"),
    [
        ({"MaxInputBytesPerBatch": 60}, [2, 1]),
        ({"MaxInputBytesPerBatch": 1_000, "MaxItemsPerBatch": 1}, [1, 1, 1]),
        ({"MaxItemsPerBatchPath": "$[0]"}, [2, 1]),
    ],
)
async def test_batches_are_bounded_in_bytes_and_items(
    driver: Driver, batcher: Json, sizes: list[int]
) -> None:
    """Whichever bound comes first."""
    selector = {"value.$": "$$.Map.Item.Value"}
    arn = await driver.run(
        only(distributed(ItemBatcher=batcher, ItemSelector=selector)), [2, "b", "c"]
    )

    assert [len(batch["Items"]) for batch in await driver.output(arn)] == sizes


async def test_an_item_larger_than_its_batch_fails_the_run(driver: Driver) -> None:
    """Rather than being cut or lost."""
    state = distributed(ItemBatcher={"MaxInputBytesPerBatch": 50})
    arn = await driver.run(only(state), ["x" * 100])

    described = await driver.describe(arn)
    assert described["error"] == "States.DataLimitExceeded"
    assert counted((await run_of(driver, arn))["itemCounts"]) == {}


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 50_000])
async def test_a_result_that_is_too_large_fails_the_run(driver: Driver, text: str) -> None:
    """AWS's remedy is a ResultWriter; bytes count, not characters."""
    big: Json = {"Type": "Pass", "Result": text, "End": True}
    arn = await driver.run(only(distributed(big)), [1, 2, 3])

    described = await driver.describe(arn)
    assert described["error"] == "States.DataLimitExceeded"
    assert (await run_of(driver, arn))["status"] == "FAILED"


@pytest.mark.parametrize(
    ("transformation", "expected"),
    [("COMPACT", [["a"], ["b", "c"]]), ("FLATTEN", ["a", "b", "c"])],
)
async def test_results_are_shaped_without_being_exported(
    driver: Driver, transformation: str, expected: Json
) -> None:
    """A ResultWriter with a WriterConfig alone shapes the state's output."""
    config = {"Transformation": transformation, "OutputType": "JSON"}
    state = distributed(ResultWriter={"WriterConfig": config})
    arn = await driver.run(only(state), [["a"], ["b", "c"]])

    assert await driver.output(arn) == expected


async def test_express_children_have_express_arns(driver: Driver) -> None:
    """And five minutes at most; they can be described, and have no history."""
    wait: Json = {"Type": "Wait", "Seconds": 400, "End": True}
    arn = await driver.run(only(distributed(wait, "EXPRESS", Label="fast")), [1])
    (child,) = await children_of(driver, arn)
    assert child["executionArn"].startswith(f"{PREFIX}express:machine/fast:{child['name']}:")
    described = await driver.describe(child["executionArn"])
    for operation in ("GetExecutionHistory", "StopExecution"):
        with pytest.raises(InvalidArn):
            await driver.call(operation, executionArn=child["executionArn"])
    with pytest.raises(ExecutionDoesNotExist):
        await driver.describe(f"{child['executionArn']}x")

    await driver.pass_time(300)

    assert (described["status"], described["input"]) == ("RUNNING", "1")
    assert described["mapRunArn"] == child["mapRunArn"]

    assert counted((await run_of(driver, arn))["executionCounts"]) == {"timedOut": 1, "total": 1}
    assert await driver.status(arn) == "FAILED"


async def test_maps_are_nested(driver: Driver) -> None:
    """A child has Map Runs of its own."""
    inner = distributed(named="Inner", Label="inner")
    arn = await driver.run(only(distributed(inner, Label="outer")), [[1, 2], [], [3]])

    assert await driver.output(arn) == [[1, 2], [], [3]]
    (first, *_) = (await children_of(driver, arn))[::-1]
    grandchildren = await children_of(driver, first["executionArn"])
    assert grandchildren[0]["stateMachineArn"] == f"{PREFIX}stateMachine:machine/inner"
    assert len(grandchildren) == 2


async def test_jsonata_fields(driver: Driver) -> None:
    """Items, selector, limits and batches may all be expressions."""
    state = distributed(
        {"Type": "Pass", "End": True, "Output": "{% $states.input.Items %}"},
        Items="{% [1..$states.input.n] %}",
        ItemSelector={"v": "{% $states.context.Map.Item.Value * 10 %}"},
        ItemBatcher={"MaxItemsPerBatch": "{% 1 + 1 %}"},
        MaxConcurrency="{% 2 %}",
        ToleratedFailureCount="{% 1 %}",
        ToleratedFailurePercentage="{% 99.5 %}",
    )
    machine: Json = {"QueryLanguage": "JSONata", **only(state)}
    arn = await driver.run(machine, {"n": 3})

    assert await driver.output(arn) == [[{"v": 10}, {"v": 20}], [{"v": 30}]]
    run = await run_of(driver, arn)
    assert (run["toleratedFailureCount"], run["toleratedFailurePercentage"]) == (1, 99.5)


async def test_items_may_be_the_members_of_an_object(driver: Driver) -> None:
    """Written in the definition, with expressions among them, as well as computed."""
    state = distributed(Items={"a": 1, "b": "{% $states.input.n %}"})
    arn = await driver.run({"QueryLanguage": "JSONata", **only(state)}, {"n": 3})

    assert await driver.output(arn) == [{"Key": "a", "Value": 1}, {"Key": "b", "Value": 3}]


# Stopping


async def test_stopping_the_parent_stops_its_run_and_children(driver: Driver) -> None:
    """What had not begun stays pending; tokens of the children are dead."""
    arn = await driver.run(only(distributed(parked(), MaxConcurrency=2)), [1, 2, 3])
    await driver.call("StopExecution", executionArn=arn, error="Enough")
    await driver.engine.idle()

    run = await run_of(driver, arn)
    assert (run["status"], run["stopDate"]) == ("ABORTED", NOW)
    assert counted(run["executionCounts"]) == {"aborted": 2, "pending": 1, "total": 3}
    assert {child["status"] for child in await children_of(driver, arn)} == {"ABORTED"}
    assert (await driver.story(arn))[-1] == "5<0 ExecutionAborted"


async def test_a_failing_sibling_aborts_the_run(driver: Driver) -> None:
    """The history of the parent says so."""
    branches = [{"StartAt": "M", "States": {"M": distributed(parked())}}]
    branches.append({"StartAt": "T", "States": {"T": parked()}})
    arn = await driver.run(only({"Type": "Parallel", "Branches": branches, "End": True}), [1])
    mine = [token for token in driver.tokens if token.startswith(driver.tokens[0][:12])]
    await driver.engine.send_task_failure(mine[0], "E", None)
    await driver.engine.idle()

    kinds = [event["type"] for event in await driver.events(arn)]
    assert kinds[-5:] == [
        "TaskStateAborted",
        "MapRunAborted",
        "MapStateAborted",
        "ParallelStateFailed",
        "ExecutionFailed",
    ]
    run = await run_of(driver, arn)
    assert run["status"] == "ABORTED"
    assert counted(run["executionCounts"]) == {"aborted": 1, "total": 1}


async def test_a_child_can_be_stopped(driver: Driver) -> None:
    """It counts as an item that failed."""
    arn = await driver.run(only(distributed(parked(), ToleratedFailureCount=1)), [1, 2])
    child = (await children_of(driver, arn))[0]["executionArn"]
    await driver.call("StopExecution", executionArn=child)
    await driver.engine.idle()
    assert counted((await run_of(driver, arn))["itemCounts"]) == {
        "running": 1,
        "aborted": 1,
        "total": 2,
    }

    await driver.succeed("one", driver.tokens[0])

    assert await driver.output(arn) == ["one"]


# UpdateMapRun


async def test_a_changed_limit_takes_effect_at_once(driver: Driver) -> None:
    """More children begin; fewer do as those that run end."""
    arn = await driver.run(only(distributed(parked(), MaxConcurrency=1)), [1, 2, 3])
    (run,) = await runs_of(driver, arn)
    answer = await driver.call("UpdateMapRun", mapRunArn=run["mapRunArn"], maxConcurrency=2)
    await driver.engine.idle()

    assert answer == {}
    assert (await run_of(driver, arn))["maxConcurrency"] == 2
    assert len(driver.tokens) == 2


async def test_a_changed_tolerance_takes_effect_at_once(driver: Driver) -> None:
    """What failed already may be too much by then; a completed run cannot be changed."""
    arn = await driver.run(only(distributed(parked(), ToleratedFailureCount=2)), [1, 2])
    await driver.fail("E")
    (run,) = await runs_of(driver, arn)
    members: Json = {"mapRunArn": run["mapRunArn"], "toleratedFailureCount": 0}
    await driver.call("UpdateMapRun", **members)
    await driver.engine.idle()

    assert await driver.status(arn) == "FAILED"
    with pytest.raises(ValidationException) as refused:
        await driver.call("UpdateMapRun", **members)
    assert refused.value.reason == "CANNOT_UPDATE_COMPLETED_MAP_RUN"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxConcurrency", -1),
        ("toleratedFailureCount", -1),
        ("toleratedFailurePercentage", 100.5),
        ("toleratedFailurePercentage", -0.5),
    ],
)
async def test_a_limit_out_of_range_is_refused(driver: Driver, name: str, value: float) -> None:
    """By AWS's constraint of the member."""
    arn = f"{PREFIX}mapRun:machine/label:uuid"
    with pytest.raises(ValidationException, match=f"at '{name}' failed"):
        await driver.call("UpdateMapRun", mapRunArn=arn, **{name: value})


# What is not there


@pytest.mark.parametrize(
    "tail", ["mapRun:machine/x:y", "mapRun:other", "mapRun:machine/each:no-uuid"]
)
async def test_an_unknown_map_run_is_not_found(driver: Driver, tail: str) -> None:
    """By DescribeMapRun, UpdateMapRun and ListExecutions."""
    await driver.run(only(distributed(Label="each")), [1])
    for operation in ("DescribeMapRun", "UpdateMapRun", "ListExecutions"):
        with pytest.raises(ResourceNotFound):
            await driver.call(operation, mapRunArn=PREFIX + tail)


async def test_another_arn_is_no_map_run(driver: Driver) -> None:
    """An execution's ARN is refused as such."""
    arn = await driver.run(only(PASS))
    with pytest.raises(InvalidArn):
        await driver.call("DescribeMapRun", mapRunArn=arn)
    assert await runs_of(driver, arn) == []


@pytest.mark.parametrize("name", ["nobody", "00000000-0009-8000-8000-000000000000", "0" * 36])
async def test_an_unknown_child_does_not_exist(driver: Driver, name: str) -> None:
    """Nor does one of another label."""
    arn = await driver.run(only(distributed(Label="each")), [1])
    (child,) = await children_of(driver, arn)
    for wrong in (
        f"{PREFIX}execution:machine/each:{name}",
        child["executionArn"].replace("/each", "/other"),
        child["executionArn"].replace("/each", ""),
    ):
        with pytest.raises(ExecutionDoesNotExist):
            await driver.describe(wrong)


# Redrive


async def redriven(driver: Driver, arn: str) -> Any:
    """The answer of RedriveExecution, everything done that followed."""
    answer = await driver.call("RedriveExecution", executionArn=arn)
    await driver.engine.idle()
    return answer


async def test_a_redrive_lets_unsuccessful_children_go_on(driver: Driver) -> None:
    """Where they failed; what succeeded keeps its result, what was pending begins."""
    state = distributed(parked(), MaxConcurrency=2)
    arn = await driver.run(only(state), ["a", "b", "c"])
    await driver.succeed("A", driver.tokens[0])
    await driver.fail("E")
    failed = await run_of(driver, arn)
    assert counted(failed["itemCounts"]) == {"succeeded": 1, "failed": 1, "aborted": 1, "total": 3}

    await redriven(driver, arn)

    run = await run_of(driver, arn)
    assert (run["status"], run["redriveCount"], run["redriveDate"]) == ("RUNNING", 1, NOW)
    assert counted(run["itemCounts"]) == {"succeeded": 1, "running": 2, "total": 3}
    events = await driver.events(arn)
    assert [event["type"] for event in events[7:]] == ["ExecutionRedriven", "MapRunRedriven"]
    assert events[8]["mapRunRedrivenEventDetails"] == {
        "mapRunArn": run["mapRunArn"],
        "redriveCount": 1,
    }
    for token in driver.tokens[3:]:
        await driver.succeed("again", token)
    assert await driver.output(arn) == ["A", "again", "again"]
    children = (await children_of(driver, arn))[::-1]
    assert [child["redriveCount"] for child in children] == [0, 1, 1]


async def test_express_children_are_begun_anew_by_a_redrive(picking: Driver) -> None:
    """Nothing is left of them to go on with."""
    state = distributed(PICKY, "EXPRESS", ResultSelector={"n.$": "States.ArrayLength($)"})
    arn = await picking.run(only(state), ["a", "bad"])
    old = {child["name"] for child in await children_of(picking, arn)}

    async def kind(event: Json, _invocation: object) -> Json:
        return event

    await picking.stop()
    picking.functions["picky"] = kind
    await picking.start()
    await redriven(picking, arn)

    assert await picking.output(arn) == {"n": 2}
    new = {child["name"] for child in await children_of(picking, arn)}
    assert len(new) == 2 and len(new & old) == 1


async def test_a_stopped_parent_is_redriven_with_its_run(driver: Driver) -> None:
    """Its aborted children go on."""
    arn = await driver.run(only(distributed(parked())), [1, 2])
    await driver.call("StopExecution", executionArn=arn)
    await driver.engine.idle()

    await redriven(driver, arn)
    for token in driver.tokens[2:]:
        await driver.succeed("done", token)

    assert await driver.output(arn) == ["done", "done"]


async def test_a_child_is_redriven_by_its_run_alone(driver: Driver) -> None:
    """DescribeExecution says so, and RedriveExecution refuses."""
    arn = await driver.run(only(distributed(FAIL)), [1])
    (child,) = await children_of(driver, arn)

    described = await driver.describe(child["executionArn"])
    assert described["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
    with pytest.raises(ExecutionNotRedrivable):
        await driver.call("RedriveExecution", executionArn=child["executionArn"])


async def test_local_functions_answer_children(driver: Driver) -> None:
    """A child's tasks are tasks like any other's."""
    arn = await driver.run(only(distributed(invoked("echo", OutputPath="$.Payload"))), [1, 2])

    assert await driver.output(arn) == [1, 2]
    assert len(driver.calls) == 2
