"""Map: the same states for each item; events, limits, failures, and what an iteration sees."""

import pytest

from app.engine.steps.step import SLICE
from app.strict_json import Json
from tests.engine.driving import Driver, only, parked


def mapped(inner: dict[str, Json], **fields: Json) -> dict[str, Json]:
    """A machine of one Map over *inner*."""
    processor: Json = {"StartAt": "Inner", "States": {"Inner": inner}}
    return only({"Type": "Map", "ItemProcessor": processor, "End": True} | fields)


PASS: dict[str, Json] = {"Type": "Pass", "End": True}
WAIT: dict[str, Json] = {"Type": "Wait", "Seconds": 60, "End": True}


async def test_iterations_one_after_the_other(driver: Driver) -> None:
    """With MaxConcurrency 1 each begins after the last event of the one before."""
    arn = await driver.run(mapped(PASS, MaxConcurrency=1), ["a", "b"])

    assert await driver.output(arn) == ["a", "b"]
    assert await driver.story(arn) == [
        "1<0 ExecutionStarted",
        "2<0 MapStateEntered",
        "3<2 MapStateStarted",
        "4<3 MapIterationStarted",
        "5<4 PassStateEntered",
        "6<5 PassStateExited",
        "7<6 MapIterationSucceeded",
        "8<6 MapIterationStarted",
        "9<8 PassStateEntered",
        "10<9 PassStateExited",
        "11<10 MapIterationSucceeded",
        "12<11 MapStateSucceeded",
        "13<11 MapStateExited",
        "14<13 ExecutionSucceeded",
    ]
    details = [e.get("mapIterationStartedEventDetails") for e in await driver.events(arn)]
    assert details[7] == {"name": "First", "index": 1}


async def test_nothing_to_iterate_over(driver: Driver) -> None:
    """An empty array gives an empty array."""
    arn = await driver.run(mapped(PASS), [])

    assert await driver.output(arn) == []
    assert (await driver.story(arn))[2:5] == [
        "3<2 MapStateStarted",
        "4<3 MapStateSucceeded",
        "5<3 MapStateExited",
    ]


async def test_forty_run_at_once(driver: Driver) -> None:
    """Without MaxConcurrency forty iterations run side by side; the others wait for room."""
    arn = await driver.run(mapped(WAIT), list(range(50)))
    kinds = [event["type"] for event in await driver.events(arn)]
    assert kinds.count("MapIterationStarted") == 40

    await driver.pass_time(60)
    await driver.pass_time(60)

    assert await driver.output(arn) == list(range(50))


async def test_many_items_are_joined_in_order(driver: Driver) -> None:
    """More items than a slice has work: outputs in order, as history counts them."""
    arn = await driver.run(mapped(PASS), list(range(SLICE * 2)))

    assert await driver.output(arn) == list(range(SLICE * 2))
    assert len(await driver.events(arn)) == 4 * 2 * SLICE + 6


async def test_item_selector_sees_item_and_input(driver: Driver) -> None:
    """The selector sees the item in the context, and the state's input as data."""
    selector: Json = {
        "n.$": "$$.Map.Item.Index",
        "v.$": "$$.Map.Item.Value",
        "all.$": "$.factor",
    }
    definition = mapped(PASS, ItemsPath="$.items", ItemSelector=selector, ResultPath="$.out")

    arn = await driver.run(definition, {"items": ["a", "b"], "factor": 3})

    expected = [{"n": 0, "v": "a", "all": 3}, {"n": 1, "v": "b", "all": 3}]
    assert await driver.output(arn) == {"items": ["a", "b"], "factor": 3, "out": expected}


async def test_states_of_an_iteration_know_their_item(driver: Driver) -> None:
    """``$$.Map.Item`` is that of the innermost Map, also after a wait and a restart."""
    sleep: Json = {"Type": "Wait", "Seconds": 60, "Next": "See"}
    branch: Json = {"StartAt": "Sleep", "States": {"Sleep": sleep, "See": SEE}}
    inner: dict[str, Json] = {"Type": "Parallel", "Branches": [branch], "End": True}
    arn = await driver.run(mapped(inner), ["a", "b"])

    await driver.restart()
    await driver.pass_time(60)

    assert await driver.output(arn) == [[{"Index": 0, "Value": "a"}], [{"Index": 1, "Value": "b"}]]


SEE: dict[str, Json] = {"Type": "Pass", "Parameters": {"i.$": "$$.Map.Item"}, "OutputPath": "$.i"}
SEE |= {"End": True}


async def test_an_object_is_no_array_of_items(driver: Driver) -> None:
    """An inline Map iterates over arrays only, as recorded from AWS."""
    whole = await driver.run(mapped(PASS), {"x": 1}, name="whole")
    by_path = await driver.run(mapped(PASS, ItemsPath="$.x"), {"x": {"y": 1}}, name="path")

    causes = [(await driver.describe(arn))["cause"] for arn in (whole, by_path)]
    assert [cause.split(". ", 1)[1] for cause in causes] == [
        'Map state input must be an array but was: {"x":1}',
        'Reference path "$.x" must point to array.',
    ]


async def test_a_failed_iteration_takes_the_others_along(driver: Driver) -> None:
    """The Map fails with the same error; what ran is aborted, what waited never begins."""
    definition = mapped(parked(), MaxConcurrency=2)
    arn = await driver.run(definition, ["a", "b", "c"])

    await driver.fail("Broken", "why")

    described = await driver.describe(arn)
    assert (described["error"], described["cause"]) == ("Broken", "why")
    kinds = [event["type"] for event in await driver.events(arn)]
    assert kinds[-6:] == [
        "TaskFailed",
        "MapIterationFailed",
        "TaskStateAborted",
        "MapIterationAborted",
        "MapStateFailed",
        "ExecutionFailed",
    ]
    assert kinds.count("MapIterationStarted") == 2


async def test_a_map_is_retried_and_caught(driver: Driver) -> None:
    """A retry starts over with a Started event; then the catcher takes the error."""
    definition = mapped(
        {"Type": "Fail", "Error": "Broken"},
        Retry=[{"ErrorEquals": ["Broken"], "MaxAttempts": 1}],
        Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
    )
    definition["States"]["Caught"] = PASS
    arn = await driver.run(definition, [1])
    await driver.pass_time(1)

    assert await driver.output(arn) == {"Error": "Broken", "Cause": None}
    assert (await driver.story(arn))[2:11] == [
        "3<2 MapStateStarted",
        "4<3 MapIterationStarted",
        "5<4 FailStateEntered",
        "6<5 MapIterationFailed",
        "7<5 MapStateStarted",
        "8<7 MapIterationStarted",
        "9<8 FailStateEntered",
        "10<9 MapIterationFailed",
        "11<9 MapStateFailed",
    ]


async def test_a_selector_that_fails_later_aborts_what_runs(driver: Driver) -> None:
    """An item that the selector cannot read fails the execution, whenever its turn comes."""
    definition = mapped(PASS, MaxConcurrency=1, ItemSelector={"n.$": "$$.Map.Item.Value.n"})
    arn = await driver.run(definition, [{"n": 1}, {}])

    assert (await driver.describe(arn))["error"] == "States.Runtime"
    assert driver.database.read("SELECT count(*) FROM frames") == [(0,)]


@pytest.mark.parametrize(
    ("given", "fields", "cause"),
    [
        ({"x": 5}, {"ItemsPath": "$.x"}, 'Reference path "$.x" must point to array.'),
        (5, {}, "Map state input must be an array but was: 5"),
        (
            {"n": "many", "x": [1]},
            {"ItemsPath": "$.x", "MaxConcurrencyPath": "$.n"},
            'The MaxConcurrencyPath field refers to value "many" which is not a valid integer: $.n',
        ),
        (
            {"n": 2**31, "x": [1]},
            {"ItemsPath": "$.x", "MaxConcurrencyPath": "$.n"},
            'The MaxConcurrencyPath field refers to value "2147483648" which is not a valid '
            "integer: $.n",
        ),
    ],
)
async def test_what_cannot_be_iterated(
    driver: Driver, given: Json, fields: dict[str, Json], cause: str
) -> None:
    """AWS's causes for items that are none, and for a limit that is no number."""
    arn = await driver.run(mapped(PASS, **fields), given)

    described = await driver.describe(arn)
    assert described["error"] == "States.Runtime"
    assert described["cause"].endswith(f"(entered at the event id #2). {cause}")


async def test_a_number_may_be_written_as_text(driver: Driver) -> None:
    """AWS takes "1" for MaxConcurrencyPath."""
    definition = mapped(WAIT, ItemsPath="$.x", MaxConcurrencyPath="$.n")
    arn = await driver.run(definition, {"n": "1", "x": [1, 2]})

    kinds = [event["type"] for event in await driver.events(arn)]
    assert kinds.count("MapIterationStarted") == 1


async def test_a_redriven_map_goes_on_with_the_items_that_wait(driver: Driver) -> None:
    """Iterations that ended are kept, the failed one runs again, the others follow."""
    definition = mapped(parked(), MaxConcurrency=1)
    arn = await driver.run(definition, ["a", "b", "c"])
    await driver.succeed(1)
    await driver.fail("Broken")
    assert await driver.status(arn) == "FAILED"

    await driver.call("RedriveExecution", executionArn=arn)
    await driver.engine.idle()
    await driver.succeed(2)
    await driver.succeed(3)

    assert await driver.output(arn) == [1, 2, 3]
