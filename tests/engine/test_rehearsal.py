"""Test cases of a mock file, and scaled waiting: driven as Step Functions Local's users do."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.engine.mock_file import read_mock_file
from app.engine.rehearsal import ACTIVITY_MOCKED, Rehearsal
from app.errors import ExecutionAlreadyExists, InvalidName
from app.strict_json import Json
from tests.engine.driving import Driver, invoked, only, parked
from tests.engine.mapping import distributed

OK = {"StatusCode": 200, "Payload": {"paid": True}}
RESPONSES: Mapping[str, Json] = {
    "Paid": {"0-9": {"Return": OK}},
    "SlowThenPaid": {
        "0": {"Throw": {"Error": "Lambda.ResourceNotReadyException", "Cause": "not yet"}},
        "1-2": {"Throw": {"Error": "Lambda.TimeoutException", "Cause": "slow"}},
        "3": {"Return": OK},
    },
    "Numbered": {str(number): {"Return": number} for number in range(4)},
    "Refused": {"0": {"Throw": {"Error": "Refused", "Cause": "no money"}}},
    "Once": {"0": {"Return": OK}},
}
CASES: Mapping[str, Json] = {name: {"First": name} for name in RESPONSES}
RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 4, "MaxAttempts": 3, "BackoffRate": 1}]


def rehearsal(directory: Path, scale: float = 1.0) -> Rehearsal:
    """Every response is a test case of the state First."""
    path = directory / "MockConfigFile.json"
    machines = {"machine": {"TestCases": CASES}}
    path.write_bytes(orjson.dumps({"StateMachines": machines, "MockedResponses": RESPONSES}))
    return Rehearsal(read_mock_file(path), scale)


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    """An engine with a mock file."""
    driver = Driver(tmp_path, rehearsal=rehearsal(tmp_path))
    await driver.start()
    yield driver
    await driver.stop()


async def started(driver: Driver, definition: Json, case: str, **members: Any) -> str:
    """Start an execution of a test case and let it go as far as it can; its ARN."""
    arn = await driver.machine(definition)
    answer = await driver.call("StartExecution", stateMachineArn=f"{arn}#{case}", **members)
    await driver.engine.idle()
    return str(answer["executionArn"])


async def test_a_mocked_task_is_not_called(driver: Driver) -> None:
    """Its Return is the task's result, in the events that AWS writes; the ARNs are plain."""
    arn = await started(driver, only(invoked("echo", ResultSelector={"p.$": "$.Payload"})), "Paid")

    assert await driver.output(arn) == {"p": {"paid": True}}
    assert driver.calls == []
    assert await driver.story(arn) == [
        "1<0 ExecutionStarted",
        "2<0 TaskStateEntered",
        "3<2 TaskScheduled",
        "4<3 TaskStarted",
        "5<4 TaskSucceeded",
        "6<5 TaskStateExited",
        "7<6 ExecutionSucceeded",
    ]
    assert "#" not in str(await driver.describe(arn))


async def test_retries_take_the_numbered_answers(driver: Driver) -> None:
    """Call 0 is the first try; the answers to 1 and 2 are one range."""
    arn = await started(driver, only(invoked("echo", Retry=RETRY)), "SlowThenPaid")
    for _ in range(3):
        await driver.pass_time(4)

    events = await driver.events(arn)
    errors = [e["taskFailedEventDetails"]["error"] for e in events if "taskFailedEventDetails" in e]
    assert errors == [
        "Lambda.ResourceNotReadyException",
        "Lambda.TimeoutException",
        "Lambda.TimeoutException",
    ]
    assert await driver.output(arn) == OK


async def test_a_throw_is_caught_like_an_error_of_the_task(driver: Driver) -> None:
    """The catcher gets error and cause."""
    state = invoked("echo", Catch=[{"ErrorEquals": ["Refused"], "Next": "Sorry"}])
    arn = await started(driver, only(state, Sorry={"Type": "Pass", "End": True}), "Refused")

    assert await driver.output(arn) == {"Error": "Refused", "Cause": "no money"}


async def test_a_call_without_an_answer_fails_the_execution(driver: Driver) -> None:
    """Nothing catches that: the file does not say what to do."""
    state = invoked("echo", Next="First", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "First"}])
    del state["End"]

    arn = await started(driver, only(state), "Once")

    shown = await driver.describe(arn)
    assert (shown["status"], shown["error"], shown["cause"]) == (
        "FAILED",
        "States.Runtime",
        "The mocked response of the state 'First' has no answer to call 1.",
    )


async def test_a_waiting_task_needs_nobody(driver: Driver) -> None:
    """Its Return is what SendTaskSuccess would send."""
    arn = await started(driver, only(parked()), "Paid")

    assert await driver.output(arn) == OK
    assert driver.tokens == []
    assert (await driver.story(arn))[3:6] == [
        "4<3 TaskStarted",
        "5<4 TaskSubmitted",
        "6<5 TaskSucceeded",
    ]


async def test_a_waiting_task_may_be_refused(driver: Driver) -> None:
    """Its Throw is what SendTaskFailure would send."""
    arn = await started(driver, only(parked()), "Refused")

    shown = await driver.describe(arn)
    assert (shown["status"], shown["error"], shown["cause"]) == ("FAILED", "Refused", "no money")
    assert (await driver.story(arn))[4:6] == ["5<4 TaskSubmitted", "6<5 TaskFailed"]


async def test_a_job_is_neither_started_nor_watched(driver: Driver) -> None:
    """Its Return is the job as it ended, its Throw the end that it did not reach."""
    job = {"Type": "Task", "Resource": "arn:aws:states:::glue:startJobRun.sync", "End": True}
    definition = only(job | {"Parameters": {"JobName": "nightly"}})

    ended = await started(driver, definition, "Numbered")
    failed = await started(driver, definition, "Refused")

    assert await driver.output(ended) == 0
    assert (await driver.story(ended))[2:6] == [
        "3<2 TaskScheduled",
        "4<3 TaskStarted",
        "5<4 TaskSubmitted",
        "6<5 TaskSucceeded",
    ]
    assert (await driver.describe(failed))["error"] == "Refused"


async def test_a_nested_execution_may_be_of_a_test_case(driver: Driver) -> None:
    """Its machine's ARN is given with the test case, as StartExecution takes it."""
    child = await driver.machine(only(invoked("echo")))
    start = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": child + "#Paid"},
        "OutputPath": "$.Output",
        "End": True,
    }

    arn = await driver.run(only(start), name="parent")

    assert await driver.output(arn) == OK
    assert driver.calls == []


async def test_a_functions_own_arn_is_mocked_too(driver: Driver) -> None:
    """With the events of a Lambda function."""
    resource = "arn:aws:lambda:us-east-1:123456789012:function:nobody"
    arn = await started(
        driver, only({"Type": "Task", "Resource": resource, "End": True}), "Numbered"
    )

    assert await driver.output(arn) == 0
    assert (await driver.story(arn))[4] == "5<4 LambdaFunctionSucceeded"


async def test_iterations_share_the_numbers_of_their_state(driver: Driver) -> None:
    """One after the other they take one answer each; states of other branches have their own."""
    each = {"StartAt": "First", "States": {"First": invoked("echo")}}
    mapped = {
        "Type": "Map",
        "MaxConcurrency": 1,
        "ItemProcessor": each,
        "End": True,
    }
    arn = await started(
        driver, {"StartAt": "All", "States": {"All": mapped}}, "Numbered", input="[7,7,7]"
    )

    assert await driver.output(arn) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"])
async def test_children_of_a_map_run_share_them_too(driver: Driver, kind: str) -> None:
    """They are iterations of the Map, however they run."""
    state = distributed(invoked("echo"), kind, named="First", MaxConcurrency=1)
    definition = {"StartAt": "All", "States": {"All": state}}

    arn = await started(driver, definition, "Numbered", input="[7,7,7]")

    assert await driver.output(arn) == [0, 1, 2]
    assert driver.calls == []


async def test_states_beside_the_test_case_are_called(driver: Driver) -> None:
    """Only what the case names is mocked."""
    first = invoked("echo", Next="Second", OutputPath="$.Payload") | {"End": None}
    del first["End"]
    arn = await started(driver, only(first, Second=invoked("echo")), "Paid")

    assert (await driver.output(arn))["Payload"] == {"paid": True}
    assert [(name, event) for name, event, _ in driver.calls] == [("echo", {"paid": True})]


async def test_an_activity_cannot_be_mocked(driver: Driver) -> None:
    """The execution fails in Step Functions Local's words."""
    made = await driver.call("CreateActivity", name="work")
    state = {"Type": "Task", "Resource": made["activityArn"], "End": True}

    shown = await driver.describe(await started(driver, only(state), "Paid"))

    assert (shown["status"], shown["error"], shown["cause"]) == (
        "FAILED",
        "States.Runtime",
        ACTIVITY_MOCKED,
    )


async def test_without_a_test_case_nothing_is_mocked(driver: Driver) -> None:
    """The same machine calls the real function."""
    arn = await driver.run(only(invoked("echo")), {"a": 1})

    assert (await driver.output(arn))["Payload"] == {"a": 1}


@pytest.mark.parametrize("case", ["Unknown", "", "Paid#Paid"])
async def test_an_unknown_test_case_is_refused(driver: Driver, case: str) -> None:
    """At the start, with its name: the execution would call real services."""
    with pytest.raises(InvalidName, match="is no test case of the state machine 'machine'"):
        await started(driver, only(invoked("echo")), case)


async def test_an_engine_without_a_mock_file_knows_no_test_case(tmp_path: Path) -> None:
    """The refusal says what to set."""
    driver = Driver(tmp_path)
    await driver.start()

    with pytest.raises(InvalidName, match="without SFN_MOCK_CONFIG"):
        await started(driver, only(invoked("echo")), "Paid")
    await driver.stop()


async def test_the_same_name_is_another_execution_with_another_test_case(driver: Driver) -> None:
    """A repeated start is the same one only if it asks for the same."""
    definition = only(parked(), Rest={"Type": "Wait", "Seconds": 60, "End": True})
    definition["States"]["First"] |= {"Next": "Rest"}
    del definition["States"]["First"]["End"]

    first = await started(driver, definition, "Paid", name="run")
    again = await started(driver, definition, "Paid", name="run")

    assert first == again
    with pytest.raises(ExecutionAlreadyExists):
        await started(driver, definition, "Once", name="run")


async def test_a_test_case_outlives_a_restart(driver: Driver) -> None:
    """The execution keeps its case and how far the numbers are."""
    arn = await started(driver, only(invoked("echo", Retry=RETRY)), "SlowThenPaid")
    await driver.pass_time(4)

    await driver.restart()
    for _ in range(2):
        await driver.pass_time(4)

    assert await driver.output(arn) == OK
    assert driver.calls == []


async def test_a_test_case_that_went_away_calls_nothing(driver: Driver) -> None:
    """After a start without its mock file the execution fails, rather than calling for real."""
    arn = await started(driver, only(invoked("echo", Retry=RETRY)), "SlowThenPaid")
    await driver.stop()
    driver.options = {}
    await driver.start()

    await driver.pass_time(4)

    shown = await driver.describe(arn)
    assert (shown["status"], shown["error"]) == ("FAILED", "States.Runtime")
    assert shown["cause"] == "The test case 'SlowThenPaid' is not in the mock file any more."
    assert driver.calls == []


async def test_express_executions_are_mocked_too(driver: Driver) -> None:
    """StartSyncExecution takes a test case as well."""
    text = orjson.dumps(only(invoked("echo"))).decode()
    made = await driver.call(
        "CreateStateMachine",
        name="machine",
        definition=text,
        roleArn="arn:aws:iam::123456789012:role/DummyRole",
        type="EXPRESS",
    )

    answer = await driver.call(
        "StartSyncExecution", stateMachineArn=made["stateMachineArn"] + "#Paid"
    )

    assert orjson.loads(answer["output"]) == OK


async def test_waiting_is_scaled(tmp_path: Path) -> None:
    """Wait states and pauses before retries; a tenth of the time is enough."""
    driver = Driver(tmp_path, rehearsal=rehearsal(tmp_path, 0.1))
    await driver.start()
    wait = {"Type": "Wait", "Seconds": 100, "Next": "Then"}
    flaky = invoked("fail", Retry=[RETRY[0] | {"MaxAttempts": 1, "IntervalSeconds": 20}])
    arn = await driver.run(only(wait, Then=flaky))

    await driver.pass_time(9)
    assert len(driver.calls) == 0
    await driver.pass_time(1)
    assert len(driver.calls) == 1
    await driver.pass_time(2)

    assert len(driver.calls) == 2
    assert await driver.status(arn) == "FAILED"
    await driver.stop()


async def test_a_scale_of_zero_waits_for_nothing(tmp_path: Path) -> None:
    """A Wait until next year is over at once."""
    driver = Driver(tmp_path, rehearsal=Rehearsal(wait_time_scale=0))
    await driver.start()

    arn = await driver.run(only({"Type": "Wait", "Timestamp": "2026-11-12T12:00:00Z", "End": True}))

    assert await driver.status(arn) == "SUCCEEDED"
    await driver.stop()
