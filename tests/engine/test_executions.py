"""Executions: started once, shown as AWS shows them, stopped for good."""

import asyncio
import json
import uuid

import pytest

from app.engine.executions import PAGE
from app.errors import (
    ExecutionAlreadyExists,
    ExecutionDoesNotExist,
    InvalidArn,
    InvalidExecutionInput,
    InvalidName,
)
from app.strict_json import Json
from tests.engine.driving import INVOKE, ROLE, Driver, invoked, only, parked

PASS: Json = only({"Type": "Pass", "End": True})
ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:machine"
RUN = "arn:aws:states:us-east-1:123456789012:execution:machine:run"


async def start(driver: Driver, name: str | None = None, text: str = "{}") -> Json:
    return await driver.engine.start_execution(state_machine_arn=ARN, name=name, input=text)


async def test_starting_the_same_execution_again_answers_as_before(driver: Driver) -> None:
    """While it runs, the same name and input is the same execution."""
    await driver.machine(only(parked()))
    first = await start(driver, "run", '{"a":1}')
    await driver.pass_time(5)

    again = await start(driver, "run", '{ "a": 1 }')

    assert again == first == {"executionArn": RUN, "startDate": first["startDate"]}
    assert len(driver.tokens) == 1


async def test_another_execution_of_the_same_name_is_refused(driver: Driver) -> None:
    """Other input, or an execution that ended: the name is taken."""
    await driver.machine(only(parked()))
    await start(driver, "run", '{"a":1}')
    await driver.engine.idle()

    with pytest.raises(ExecutionAlreadyExists) as caught:
        await start(driver, "run", '{"a":2}')
    with pytest.raises(ExecutionAlreadyExists):
        await start(driver, "run", '{"a":true}')
    await driver.succeed(1)
    with pytest.raises(ExecutionAlreadyExists):
        await start(driver, "run", '{"a":1}')

    assert caught.value.message == f"Execution Already Exists: '{RUN}'"


async def test_an_execution_without_a_name_gets_a_uuid(driver: Driver) -> None:
    """Names that are made up are UUIDs, each its own."""
    await driver.machine(PASS)

    names = [(await start(driver))["executionArn"].split(":")[-1] for _ in range(50)]

    assert len(set(names)) == 50
    assert all(str(uuid.UUID(name)) == name for name in names)


async def test_an_execution_is_described_as_aws_does(driver: Driver) -> None:
    """The members of a running, a succeeded and a failed execution."""
    await driver.machine(only(parked()))
    await driver.engine.start_execution(
        state_machine_arn=ARN, name="run", input='{"a": 1}', trace_header="t"
    )
    await driver.engine.idle()
    began = driver.clock.now.timestamp()
    running = await driver.describe(RUN)
    await driver.pass_time(3)
    await driver.succeed({"b": 2})

    ended = await driver.describe(RUN)

    common = {
        "executionArn": RUN,
        "stateMachineArn": ARN,
        "name": "run",
        "startDate": began,
        "input": '{"a": 1}',
        "inputDetails": {"included": True},
        "redriveCount": 0,
        "redriveStatus": "NOT_REDRIVABLE",
        "traceHeader": "t",
    }
    assert running == common | {
        "status": "RUNNING",
        "redriveStatusReason": "Execution is RUNNING and cannot be redriven",
    }
    assert ended == common | {
        "status": "SUCCEEDED",
        "stopDate": began + 3,
        "output": '{"b":2}',
        "outputDetails": {"included": True},
        "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
    }
    brief = await driver.engine.describe_execution(execution_arn=RUN, included_data="METADATA_ONLY")
    assert "input" not in brief
    assert "output" not in brief


async def test_a_failed_execution_shows_error_and_cause(driver: Driver) -> None:
    """A failed execution could be redriven on AWS; it has no output."""
    arn = await driver.run(only({"Type": "Fail", "Error": "E", "Cause": "c"}))

    described = await driver.describe(arn)

    assert (described["status"], described["error"], described["cause"]) == ("FAILED", "E", "c")
    assert described["redriveStatus"] == "REDRIVABLE"
    assert "output" not in described
    assert "redriveStatusReason" not in described


async def test_the_machine_timeout_ends_at_its_moment(driver: Driver) -> None:
    """However late the engine looks, the execution stopped when its time was up."""
    arn = await driver.run({"TimeoutSeconds": 5, **only(parked())})
    began = driver.clock.now.timestamp()

    await driver.pass_time(500)

    described = await driver.describe(arn)
    assert described["status"] == "TIMED_OUT"
    assert described["stopDate"] == began + 5
    assert "error" not in described


async def test_no_execution_lasts_longer_than_a_year(driver: Driver) -> None:
    """A task that nobody answers ends with the execution."""
    arn = await driver.run(only(parked()))

    await driver.pass_time(365 * 86_400)

    assert await driver.status(arn) == "TIMED_OUT"


async def test_stopping_aborts_and_names_why(driver: Driver) -> None:
    """A stop is the last event; stopping again answers as before."""
    arn = await driver.run(only({"Type": "Wait", "Seconds": 60, "End": True}))
    stopped = await driver.engine.stop_execution(execution_arn=arn, error="E", cause="c")
    await driver.pass_time(100)

    again = await driver.engine.stop_execution(execution_arn=arn)

    assert again == stopped
    assert await driver.story(arn) == [
        "1<0 ExecutionStarted",
        "2<0 WaitStateEntered",
        "3<0 ExecutionAborted",
    ]
    assert (await driver.events(arn))[-1]["executionAbortedEventDetails"] == {
        "error": "E",
        "cause": "c",
    }
    assert await driver.status(arn) == "ABORTED"


async def test_executions_are_listed_newest_first(driver: Driver) -> None:
    """Page by page, filtered by status."""
    await driver.machine(only(parked()))
    for n in range(5):
        await start(driver, f"run{n}")
    await driver.engine.idle()
    await driver.succeed(1, driver.tokens[2])

    first = await driver.engine.list_executions(state_machine_arn=ARN, max_results=3)
    second = await driver.engine.list_executions(
        state_machine_arn=ARN, max_results=3, next_token=first["nextToken"]
    )
    running = await driver.engine.list_executions(state_machine_arn=ARN, status_filter="RUNNING")

    assert [e["name"] for e in first["executions"]] == ["run4", "run3", "run2"]
    assert [e["name"] for e in second["executions"]] == ["run1", "run0"]
    assert [e["name"] for e in running["executions"]] == ["run4", "run3", "run1", "run0"]
    assert first["executions"][2] == {
        "executionArn": RUN + "2",
        "stateMachineArn": ARN,
        "name": "run2",
        "status": "SUCCEEDED",
        "startDate": driver.clock.now.timestamp(),
        "stopDate": driver.clock.now.timestamp(),
        "redriveCount": 0,
    }


async def test_the_latest_end_or_beginning_is_listed_first(driver: Driver) -> None:
    """Those that run count from when they began or were redriven, the others from their end."""
    await driver.machine(only(parked()))
    for n in range(4):
        await start(driver, f"run{n}")
        await driver.pass_time(1)
    await driver.succeed(1, driver.tokens[1])
    await driver.pass_time(1)
    await driver.engine.stop_execution(execution_arn=RUN + "0")
    await driver.pass_time(1)
    await start(driver, "run4")
    await driver.pass_time(1)
    ended_first = await listed(driver, pages_of=2)
    await driver.engine.verbs["RedriveExecution"](execution_arn=RUN + "0")
    await driver.engine.idle()

    assert ended_first == ["run4", "run0", "run1", "run3", "run2"]
    assert await listed(driver, pages_of=2) == ["run0", "run4", "run1", "run3", "run2"]


async def listed(driver: Driver, pages_of: int) -> list[str]:
    """The names that all pages have."""
    names: list[str] = []
    token: str | None = None
    while token is not None or not names:
        page = await driver.engine.list_executions(
            state_machine_arn=ARN, max_results=pages_of, next_token=token
        )
        names += [execution["name"] for execution in page["executions"]]
        token = page.get("nextToken")
    return names


async def test_a_list_of_executions_is_read_from_its_index(driver: Driver) -> None:
    """However many there are, a page costs a page."""
    (_, _, _, step), *others = driver.database.read(
        f"EXPLAIN QUERY PLAN {PAGE}", (1, 0, 0, 0, None, None, 1)
    )

    assert others == []
    assert step == (
        "SEARCH executions USING INDEX executions_by_moment (machine=? AND status=? AND <expr><?)"
    )


VALUE = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


def unclosed(kind: str, text: str, column: int) -> str:
    """What AWS's parser says of a bracket that is not closed."""
    begin = f'[Source: (String)"{text}"; line: 1, column: {column}]'
    return f"Unexpected end-of-input: expected close marker for {kind} (start marker at {begin})"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "not some json",
            "Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token "
            "'null', 'true' or 'false')",
        ),
        (
            "{'not': 'json'",
            "Unexpected character (''' (code 39)): was expecting double-quote to start field name",
        ),
        ("", "Invalid execution input."),
        ("  ", "Invalid execution input."),
        ('{"a": 1', unclosed("Object", '{"a": 1', 1)),
        ('{"a": [true', unclosed("Array", '{"a": [true', 7)),
        ('{"a": {"b": "]"}', unclosed("Object", '{"a": {"b": "]"}', 1)),
        ('{"a', "Unexpected end-of-input in field name"),
        ('["a', "Unexpected end-of-input: was expecting closing quote for a string value"),
        ('{"a":"\\"', "Unexpected end-of-input: was expecting closing quote for a string value"),
        ('{"a"', "Unexpected end-of-input within/between Object entries"),
        ('{"a":', "Unexpected end-of-input within/between Object entries"),
        ('{"a":[1,', "Unexpected end-of-input within/between Array entries"),
        ('{"a": nul', f"Unrecognized token 'nul': was expecting {VALUE}"),
        ("nulls", f"Unrecognized token 'nulls': was expecting {VALUE}"),
        ('{"a":}', f"Unexpected character ('}}' (code 125)): expected a valid value {VALUE}"),
        ("[1, ]", f"Unexpected character (']' (code 93)): expected a valid value {VALUE}"),
        ("'a'", f"Unexpected character (''' (code 39)): expected a valid value {VALUE}"),
        (
            '{"a":1,}',
            "Unexpected character ('}' (code 125)): was expecting double-quote to start field name",
        ),
        (
            '{"a" 1}',
            "Unexpected character ('1' (code 49)): was expecting a colon to separate field name "
            "and value",
        ),
        (
            "[1 2]",
            "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries",
        ),
        (
            '{"a":1 "b":2}',
            "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries",
        ),
        ('"\\x"', "Unrecognized character escape 'x' (code 120)"),
        (
            '"\t"',
            "Illegal unquoted character ((CTRL-CHAR, code 9)): has to be escaped using backslash "
            "to be included in string value",
        ),
        ("012", "Invalid numeric value: Leading zeroes not allowed"),
        ("[" * 300 + "]" * 300, "Document nesting depth exceeds the maximum allowed (200)"),
        ("[" * 90_000, "Document nesting depth exceeds the maximum allowed (200)"),
        ('"' + "x" * 262_143 + '"', "The input exceeds the maximum number of bytes (262144)."),
    ],
)
async def test_input_that_cannot_be_used_is_refused(driver: Driver, text: str, reason: str) -> None:
    """What is wrong is said in the words of AWS's parser."""
    await driver.machine(PASS)

    with pytest.raises(InvalidExecutionInput) as caught:
        await start(driver, None, text)

    assert caught.value.message == f"Invalid State Machine Execution Input: '{reason}'"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", '"\\ud800"', "{} {}", "01", "nul"])
async def test_what_is_nearly_json_is_refused(driver: Driver, text: str) -> None:
    """Nothing gets in that could not be written again."""
    await driver.machine(PASS)

    with pytest.raises(InvalidExecutionInput):
        await start(driver, None, text)


@pytest.mark.parametrize("text", ["2", '"some text"', "null", "[]", " {} ", '{"a":1,"a":2}'])
async def test_any_json_is_an_input(driver: Driver, text: str) -> None:
    """An input need not be an object."""
    await driver.machine(PASS)

    started = await start(driver, None, text)

    assert (await driver.describe(started["executionArn"]))["input"] == text


async def test_unknown_executions_and_bad_names_are_refused(driver: Driver) -> None:
    """Each in AWS's words."""
    await driver.machine(PASS)

    with pytest.raises(ExecutionDoesNotExist) as caught:
        await driver.describe(RUN)
    with pytest.raises(ExecutionDoesNotExist):
        await driver.engine.stop_execution(execution_arn=RUN)
    with pytest.raises(ExecutionDoesNotExist):
        await driver.engine.get_execution_history(RUN)
    with pytest.raises(InvalidArn):
        await driver.describe(ARN)
    with pytest.raises(InvalidName):
        await start(driver, "a b")

    assert caught.value.message == f"Execution Does Not Exist: '{RUN}'"


async def test_the_context_object_names_everything(driver: Driver) -> None:
    """All of it, from a Pass; the retry count and the token from a Task."""
    arn = await driver.run(
        only({"Type": "Pass", "Parameters": {"all.$": "$$"}, "End": True}), {"in": 1}
    )
    name = arn.split(":")[-1]

    assert await driver.output(arn) == {
        "all": {
            "Execution": {
                "Id": arn,
                "Input": {"in": 1},
                "Name": name,
                "RoleArn": ROLE,
                "StartTime": "2025-11-12T12:00:00.000Z",
                "RedriveCount": 0,
            },
            "State": {"Name": "First", "EnteredTime": "2025-11-12T12:00:00.000Z"},
            "StateMachine": {"Id": ARN, "Name": "machine"},
        }
    }


async def test_the_retry_count_and_the_token_are_in_the_context(driver: Driver) -> None:
    """Each attempt sees its own; the entered time stays."""
    payload = {
        "token.$": "$$.Task.Token",
        "retries.$": "$$.State.RetryCount",
        "entered.$": "$$.State.EnteredTime",
    }
    state = parked(
        Parameters={"FunctionName": "park", "Payload": payload},
        Retry=[{"ErrorEquals": ["Busy"]}],
        ResultSelector={"token.$": "$$.Task.Token", "retries.$": "$$.State.RetryCount"},
    )
    arn = await driver.run(only(state))
    await driver.fail("Busy")
    await driver.pass_time(1)
    await driver.succeed(1)

    seen = [(event["retries"], event["entered"]) for _, event, _ in driver.calls]
    assert seen == [(0, "2025-11-12T12:00:00.000Z"), (1, "2025-11-12T12:00:00.000Z")]
    assert await driver.output(arn) == {"token": driver.tokens[1], "retries": 1}


async def test_the_token_is_nowhere_but_in_callback_tasks(driver: Driver) -> None:
    """Elsewhere it is a missing path."""
    state = {
        "Type": "Task",
        "Resource": INVOKE,
        "End": True,
        "Parameters": {"FunctionName": "echo", "Payload.$": "$$.Task.Token"},
    }

    arn = await driver.run(only(state))

    assert (await driver.describe(arn))["error"] == "States.Runtime"


async def test_credentials_are_shown_with_the_scheduled_task(driver: Driver) -> None:
    """The role a task assumes is part of its scheduled event."""
    arn = await driver.run(
        only(invoked("echo", Credentials={"RoleArn.$": "$.role"})), {"role": ROLE}
    )

    scheduled = (await driver.events(arn))[2]["taskScheduledEventDetails"]
    assert scheduled["taskCredentials"] == {"roleArn": ROLE}


async def test_a_result_beyond_the_limit_fails_the_state(driver: Driver) -> None:
    """262,144 bytes and no more, whoever made them."""
    arn = await driver.run(
        only({"Type": "Pass", "End": True, "Parameters": {"a.$": "$", "b.$": "$"}}), "x" * 200_000
    )

    described = await driver.describe(arn)
    assert described["error"] == "States.DataLimitExceeded"
    assert described["cause"] == (
        "The state/task 'First' returned a result with a size exceeding "
        "the maximum number of bytes service limit."
    )


async def test_data_that_grows_too_deep_fails_the_execution(driver: Driver) -> None:
    """A loop that wraps its data once more each time ends in an error of its own."""
    wrap = {"Type": "Pass", "Parameters": {"x.$": "$"}, "Next": "First"}

    arn = await driver.run(only(wrap))

    assert (await driver.describe(arn))["error"] == "States.Runtime"


async def test_many_starts_at_once_are_each_their_own(driver: Driver) -> None:
    """Concurrent starts share commits, not executions; of equal names only one wins."""
    await driver.machine(only(parked()))

    answers = await asyncio.gather(*(start(driver) for _ in range(200)))
    named = await asyncio.gather(
        *(start(driver, "run", json.dumps(n)) for n in range(10)), return_exceptions=True
    )
    await driver.engine.idle()

    assert len({answer["executionArn"] for answer in answers}) == 200
    assert sum(isinstance(answer, ExecutionAlreadyExists) for answer in named) == 9
    assert len(driver.tokens) == len(set(driver.tokens)) == 201
