"""Executions that tasks start: in the engine itself, waited for without polling."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.engine.steps.execution import Phase
from app.errors import ExecutionAlreadyExists
from app.strict_json import Json
from tests.engine.driving import Driver, only, parked
from tests.engine.resources.test_table import dispatched

START = "arn:aws:states:::states:startExecution"
ECHO = only({"Type": "Pass", "Assign": {"a": 1}, "End": True})


def starting(pattern: str, machine: str, **parameters: Json) -> dict[str, Json]:
    """A Task that starts an execution."""
    return {
        "Type": "Task",
        "Resource": START + pattern,
        "Parameters": {"StateMachineArn": machine, **parameters},
        "End": True,
    }


async def kinds(driver: Driver, arn: str) -> list[str]:
    return [str(event["type"]) for event in (await driver.events(arn))[2:]]


async def children(driver: Driver, machine: str) -> list[Any]:
    listed = await driver.engine.list_executions(state_machine_arn=machine)
    return list(listed["executions"])


async def test_the_plain_form_is_done_when_it_started(driver: Driver) -> None:
    """Its result names the execution; Input may be any JSON."""
    child = await driver.machine(only(parked()), "child")

    arn = await driver.run(only(starting("", child, Input={"n": 1}, Name="one")))

    output = await driver.output(arn)
    assert output["ExecutionArn"] == child.replace(":stateMachine:", ":execution:") + ":one"
    assert output["StartDate"] == int(driver.clock.now.timestamp() * 1000)
    assert {"SdkHttpMetadata", "SdkResponseMetadata"} < output.keys()
    assert (await driver.describe(output["ExecutionArn"]))["input"] == '{"n":1}'


async def test_sync_gives_texts_and_sync_2_gives_json(driver: Driver) -> None:
    """Of input and output; all else is the same."""
    child = await driver.machine(ECHO, "child")
    text = await driver.output(
        await driver.run(only(starting(".sync", child, Input=[1])), name="a")
    )
    second = only(starting(".sync:2", child, Input=[1]))

    arn = await driver.run(second, name="b")

    output = await driver.output(arn)
    assert list(output) == [
        "ExecutionArn",
        "Input",
        "InputDetails",
        "Name",
        "Output",
        "OutputDetails",
        "StartDate",
        "StateMachineArn",
        "Status",
        "StopDate",
    ]
    assert (text["Input"], text["Output"]) == ("[1]", "[1]")
    assert (output["Input"], output["Output"], output["Status"]) == ([1], [1], "SUCCEEDED")
    assert output["InputDetails"] == {"Included": True}
    assert (await kinds(driver, arn))[:4] == [
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
    ]


async def test_null_input_starts_with_an_empty_object(driver: Driver) -> None:
    """As AWS does."""
    child = await driver.machine(ECHO, "child")

    output = await driver.output(await driver.run(only(starting(".sync:2", child, Input=None))))

    assert output["Output"] == {}


async def test_a_parent_waits_without_being_due(driver: Driver) -> None:
    """Until its child ends; then it goes on at once, also after a restart."""
    child = await driver.machine(only(parked()), "child")
    arn = await driver.run(only(starting(".sync:2", child)))
    frames = driver.database.read(
        "SELECT phase, due_ms FROM frames JOIN executions ON key >> 17 = id "
        "WHERE machine <> (SELECT machine FROM executions WHERE name = ?)",
        ((await children(driver, child))[0]["name"],),
    )
    rest_ms = [due - int(driver.clock.now.timestamp() * 1000) for _, due in frames]

    await driver.restart()
    await driver.succeed("yes")

    assert [phase for phase, _ in frames] == [Phase.SUBMITTED]
    assert rest_ms == [3_600_000]
    assert (await driver.output(arn))["Output"] == "yes"
    assert driver.database.read("SELECT * FROM parents") == []


async def test_a_child_that_fails_fails_the_task(driver: Driver) -> None:
    """The cause is its description."""
    child = await driver.machine(only({"Type": "Fail", "Error": "E", "Cause": "C"}), "child")

    described = await driver.describe(await driver.run(only(starting(".sync:2", child))))

    cause = json.loads(described["cause"])
    assert described["error"] == "States.TaskFailed"
    assert (cause["Error"], cause["Cause"], cause["Status"]) == ("E", "C", "FAILED")
    assert (cause["Input"], "Output" in cause) == ("{}", False)


async def test_a_child_that_timed_out_fails_the_task(driver: Driver) -> None:
    """Its clock is its own."""
    child = await driver.machine(only(parked()) | {"TimeoutSeconds": 5}, "child")
    arn = await driver.run(only(starting(".sync", child)))

    await driver.pass_time(5)

    described = await driver.describe(arn)
    assert described["error"] == "States.TaskFailed"
    assert json.loads(described["cause"])["Status"] == "TIMED_OUT"


@pytest.mark.parametrize("parent", ["stop", "timeout", "sibling"])
async def test_a_child_is_stopped_with_its_parent(driver: Driver, parent: str) -> None:
    """Whatever ends the parent."""
    child = await driver.machine(only(parked()), "child")
    start = starting(".sync", child)
    wait = {"Type": "Wait", "Seconds": 9, "Next": "Bad"}
    fail = {"StartAt": "W", "States": {"W": wait, "Bad": {"Type": "Fail", "Error": "E"}}}
    both = {
        "Type": "Parallel",
        "Branches": [{"StartAt": "Child", "States": {"Child": start}}, fail],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        "End": True,
    }
    definition = only(both, Caught={"Type": "Succeed"}) if parent == "sibling" else only(start)
    arn = await driver.run(definition | {"TimeoutSeconds": 10 if parent == "timeout" else 99})

    if parent == "stop":
        await driver.engine.stop_execution(execution_arn=arn)
    await driver.pass_time(0 if parent == "stop" else 11)

    assert [one["status"] for one in await children(driver, child)] == ["ABORTED"]
    assert driver.database.read("SELECT * FROM cancellations") == []


async def test_other_children_go_on_without_their_parent(driver: Driver) -> None:
    """AWS stops those only that are waited for."""
    child = await driver.machine(only(parked()), "child")
    token = {"Token.$": "$$.Task.Token"}
    arn = await driver.run(only(starting(".waitForTaskToken", child, Input=token)))

    await driver.engine.stop_execution(execution_arn=arn)
    await driver.engine.idle()

    assert [one["status"] for one in await children(driver, child)] == ["RUNNING"]


async def test_a_child_answers_with_the_token(driver: Driver) -> None:
    """Through Step Functions' own actions, in the same engine."""
    send = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sfn:sendTaskSuccess",
        "Parameters": {"TaskToken.$": "$.Token", "Output": {"by": "child"}},
        "End": True,
    }
    child = await driver.machine(only(send), "child")
    token = {"Token.$": "$$.Task.Token"}

    arn = await driver.run(only(starting(".waitForTaskToken", child, Input=token)))

    assert await driver.output(arn) == {"by": "child"}


async def test_a_token_completes_a_sync_task_early(driver: Driver) -> None:
    """When it was handed out; the child goes on."""
    child = await driver.machine(only(parked()), "child")
    token = {"Token.$": "$$.Task.Token"}
    arn = await driver.run(only(starting(".sync", child, Input=token)))
    given = (await driver.describe((await children(driver, child))[0]["executionArn"]))["input"]

    await driver.succeed("early", json.loads(given)["Token"])
    running = [one["status"] for one in await children(driver, child)]
    await driver.succeed("late")

    assert await driver.output(arn) == "early"
    assert running == ["RUNNING"]
    assert driver.database.read("SELECT * FROM parents") == []


@pytest.mark.parametrize(
    ("pattern", "parameters", "error", "cause"),
    [
        (
            "",
            {"StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:none"},
            "StepFunctions.StateMachineDoesNotExistException",
            "State Machine Does Not Exist: "
            "'arn:aws:states:us-east-1:123456789012:stateMachine:none' "
            "(Service: AWSStepFunctions; Status Code: 400; Error Code: StateMachineDoesNotExist; "
            "Request ID: ",
        ),
        (".sync", {"Name": "a b"}, "StepFunctions.InvalidNameException", "Invalid Name: 'a b'"),
        (
            ".sync",
            {"StateMachineArn": None},
            "StepFunctions.ValidationException",
            "1 validation error detected: Value null at 'stateMachineArn'",
        ),
    ],
)
async def test_a_start_that_is_refused_fails_the_task(
    driver: Driver, pattern: str, parameters: Json, error: str, cause: str
) -> None:
    """In the words of the integration."""
    child = await driver.machine(ECHO, "child")

    arn = await driver.run(
        only(
            starting(pattern, child, **parameters)
            if "StateMachineArn" not in parameters
            else starting(pattern, parameters["StateMachineArn"])
        )
    )

    described = await driver.describe(arn)
    assert described["error"] == error
    assert described["cause"].startswith(cause)
    assert (await kinds(driver, arn))[2] == ("TaskSubmitFailed" if pattern else "TaskFailed")


async def test_an_express_child_cannot_be_waited_for(driver: Driver) -> None:
    """It is refused; StartSyncExecution runs it."""
    made = await driver.call(
        "CreateStateMachine",
        name="quick",
        type="EXPRESS",
        definition=json.dumps(ECHO),
        roleArn="arn:aws:iam::123456789012:role/r",
    )
    child = made["stateMachineArn"]
    sync = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sfn:startSyncExecution",
        "Parameters": {"StateMachineArn": child, "Input": {"n": 1}},
        "End": True,
    }

    refused = await driver.describe(await driver.run(only(starting(".sync", child)), name="a"))
    output = await driver.output(await driver.run(only(sync), name="b"))

    assert refused["error"] == "StepFunctions.StateMachineTypeNotSupportedException"
    assert (output["Status"], output["Output"]) == ("SUCCEEDED", '{"n":1}')
    assert output["StartDate"].endswith("Z")
    assert output["InputDetails"] == {"Included": True}


async def test_a_refused_sdk_action_counts_its_attempts(driver: Driver) -> None:
    """As AWS words it."""
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sfn:sendTaskSuccess",
        "Parameters": {"TaskToken": "none", "Output": "{}"},
        "End": True,
    }

    described = await driver.describe(await driver.run(only(state)))

    assert described["error"] == "Sfn.InvalidTokenException"
    assert described["cause"].startswith(
        "Invalid Token: 'Invalid token' (Service: Sfn, Status Code: 400, Request ID: "
    )
    assert described["cause"].endswith(") (SDK Attempt Count: 1)")


async def test_a_start_whose_answer_was_lost_is_not_repeated(driver: Driver) -> None:
    """The same attempt, made again, finds its execution though that ended; others are refused."""
    await driver.run(only(parked()))
    rows = driver.database.read("SELECT key >> 17, attempt FROM frames")
    await driver.database.write(lambda c: c.execute("UPDATE frames SET phase = 1").rowcount)
    child = await driver.machine(ECHO, "child")
    parent = replace(dispatched(START + ".sync"), execution_id=rows[0][0], attempt=rows[0][1])
    members = {"stateMachineArn": child, "name": "once"}

    first = await driver.engine.start_child(members, parent)
    again = await driver.engine.start_child(members, parent)
    with pytest.raises(ExecutionAlreadyExists):
        await driver.engine.start_child(members, replace(parent, attempt=99))

    assert first == again
    assert [one["status"] for one in await children(driver, child)] == ["SUCCEEDED"]


async def test_a_child_that_ended_before_a_crash_wakes_its_parent(driver: Driver) -> None:
    """Even if it could not be told when it ended."""
    child = await driver.machine(only(parked()), "child")
    arn = await driver.run(only(starting(".sync:2", child)))
    rows = driver.database.read("SELECT * FROM parents")
    await driver.database.write(lambda c: c.execute("DELETE FROM parents").rowcount)
    await driver.succeed("late")
    add = "INSERT INTO parents VALUES (?, ?, ?)"
    await driver.database.write(lambda c: c.executemany(add, rows).rowcount)
    waiting = await driver.status(arn)

    await driver.restart()
    await driver.engine.idle()

    assert waiting == "RUNNING"
    assert (await driver.output(arn))["Output"] == "late"


async def test_a_parent_that_was_woken_before_a_crash_is_woken_again(driver: Driver) -> None:
    """Its answer was not recorded: who waits is remembered until then."""
    child = await driver.machine(only(parked()), "child")
    arn = await driver.run(only(starting(".sync:2", child)))
    await driver.engine.stop()
    await driver.engine.send_task_success(driver.tokens[-1], '"late"')
    woken = driver.database.read("SELECT due_ms FROM frames")
    looking = "UPDATE frames SET due_ms = 9999999999999"
    await driver.database.write(lambda c: c.execute(looking).rowcount)
    await driver.database.close()

    await driver.start()
    await driver.engine.idle()

    assert woken == [(0,)]
    assert (await driver.output(arn))["Output"] == "late"
    assert driver.database.read("SELECT * FROM parents") == []


async def test_a_submission_that_comes_too_late_is_stopped(driver: Driver) -> None:
    """The parent was stopped while its child began: nobody waits for it."""
    child = await driver.machine(only(parked()), "child")
    machine = await driver.machine(only(starting(".sync", child)))
    started = await driver.engine.start_execution(state_machine_arn=machine)
    await driver.engine.stop_execution(execution_arn=started["executionArn"])

    await driver.engine.idle()

    assert {one["status"] for one in await children(driver, child)} <= {"ABORTED"}
