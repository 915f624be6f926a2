"""Local functions: called like Lambda's, failing like Lambda's."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.engine.functions import HandlerContext, handler_function, load_function
from app.engine.resources.functions import function_name
from app.errors import StartRefused
from app.strict_json import Json
from tests.engine.driving import INVOKE, Driver, invoked, only

ARN = "arn:aws:lambda:us-east-1:123456789012:function:"


def told(event: Json, context: HandlerContext) -> Json:
    """A handler as one writes it for Lambda; it says what it was given."""
    event["changed"] = True
    return {
        "event": event,
        "request": context.aws_request_id,
        "name": context.function_name,
        "left": context.get_remaining_time_in_millis(),
        "thread": threading.current_thread().name.split("_")[0],
    }


async def awaited(event: Json, _context: HandlerContext) -> Json:
    await asyncio.sleep(0)
    return [event]


def failing(_event: Json, _context: HandlerContext) -> Json:
    raise KeyError("order")


def unwritable(_event: Json, _context: HandlerContext) -> Json:
    return {1, 2}


def halved(_event: Json, _context: HandlerContext) -> Json:
    return "\ud83d"  # half of a surrogate pair


def raw(_event: Json, _context: HandlerContext) -> Any:
    return b'{"raw": 1}'


def huge(_event: Json, _context: HandlerContext) -> Json:
    return "x" * 263_168


HANDLERS = {
    f.__name__: handler_function(f) for f in (told, awaited, failing, unwritable, halved, raw, huge)
}


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    """An engine with handlers among its functions."""
    driver = Driver(tmp_path, HANDLERS)
    await driver.start()
    yield driver
    await driver.stop()


def direct(function: str, **fields: Json) -> Json:
    return only({"Type": "Task", "Resource": ARN + function, "End": True} | fields)


async def test_a_handler_is_called_as_on_lambda(driver: Driver) -> None:
    """Event and context, in a thread of its own; changing the event changes nothing else."""
    state = invoked("told", TimeoutSeconds=60, ResultPath="$.told", OutputPath="$")

    arn = await driver.run(only(state), {"a": 1})

    output = await driver.output(arn)
    said = output["told"]["Payload"]
    assert output["a"] == 1
    assert "changed" not in output
    assert said["event"] == {"a": 1, "changed": True}
    assert (said["name"], said["thread"]) == ("told", "function")
    assert len(said["request"]) == 36


async def test_the_answer_of_invoke_has_lambdas_shape(driver: Driver) -> None:
    """Status, version and metadata beside the payload; a missing payload is an empty object."""
    state = {
        "Type": "Task",
        "Resource": INVOKE,
        "End": True,
        "Parameters": {"FunctionName": "awaited"},
    }

    output = await driver.output(await driver.run(only(state)))

    assert output["Payload"] == [{}]
    assert (output["StatusCode"], output["ExecutedVersion"]) == (200, "$LATEST")
    assert output["SdkHttpMetadata"]["HttpStatusCode"] == 200
    assert output["SdkHttpMetadata"]["HttpHeaders"]["Content-Length"] == "4"
    assert output["SdkResponseMetadata"].keys() == {"RequestId"}


@pytest.mark.parametrize(
    "name",
    ["echo", "echo:live", "123456789012:function:echo", ARN + "echo", ARN + "echo:$LATEST"],
)
async def test_a_function_is_found_by_all_its_names(driver: Driver, name: str) -> None:
    """Name, qualifier, partial and whole ARN name the same function."""
    state = {
        "Type": "Task",
        "Resource": INVOKE,
        "End": True,
        "Parameters": {"FunctionName": name, "Payload": 5},
    }

    output = await driver.output(await driver.run(only(state)))

    assert output["Payload"] == 5
    assert function_name(name) == "echo"


async def test_an_exception_is_the_functions_error(driver: Driver) -> None:
    """The class is the error name; the cause is Lambda's document, from the handler's line on."""
    arn = await driver.run(only(invoked("failing")))

    described = await driver.describe(arn)
    document = json.loads(described["cause"])
    assert described["error"] == "KeyError"
    assert document.keys() == {"errorMessage", "errorType", "requestId", "stackTrace"}
    assert (document["errorMessage"], document["errorType"]) == ("'order'", "KeyError")
    assert [line.split(", ")[-1] for line in document["stackTrace"]] == [
        'in failing\n    raise KeyError("order")\n'
    ]


async def test_a_functions_error_is_caught_by_its_name(driver: Driver) -> None:
    """What a function raises can be retried and caught."""
    catch = [{"ErrorEquals": ["Flaky"], "Next": "Then", "ResultPath": "$.e"}]
    retry = [{"ErrorEquals": ["Flaky"], "MaxAttempts": 2}]
    arn = await driver.run(
        only(invoked("fail", Retry=retry, Catch=catch), Then={"Type": "Succeed"})
    )
    await driver.pass_time(1)
    await driver.pass_time(2)

    assert (await driver.output(arn))["e"]["Error"] == "Flaky"
    assert len(driver.calls) == 3
    assert len({invocation.request_id for _, _, invocation in driver.calls}) == 3


async def test_a_task_by_function_arn_gets_and_gives_plain_data(driver: Driver) -> None:
    """The state's input is the event, and the result is the result."""
    assert await driver.output(await driver.run(direct("awaited"), 7, "a")) == [7]
    assert await driver.output(await driver.run(direct("raw"), 7, "b")) == {"raw": 1}


async def test_a_function_is_scheduled_with_its_time_alone(driver: Driver) -> None:
    """The event has no heartbeat, as AWS's has none."""
    state: Json = {**direct("awaited")["States"]["First"], "TimeoutSeconds": 9}

    arn = await driver.run(only(state | {"HeartbeatSeconds": 5}), 7)

    assert (await driver.events(arn))[2]["lambdaFunctionScheduledEventDetails"] == {
        "resource": ARN + "awaited",
        "input": "7",
        "inputDetails": {"truncated": False},
        "timeoutInSeconds": 9,
    }


@pytest.mark.parametrize("function", ["unwritable", "halved"])
async def test_a_result_that_is_not_json_is_a_marshal_error(driver: Driver, function: str) -> None:
    """As on Lambda."""
    described = await driver.describe(await driver.run(direct(function)))

    assert described["error"] == "Runtime.MarshalError"
    assert json.loads(described["cause"])["errorMessage"].startswith("Unable to marshal response:")


async def test_a_result_beyond_the_limit_is_a_failed_task(driver: Driver) -> None:
    """It can be caught, as was seen on AWS."""
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Then"}]

    machine = only(
        {"Type": "Task", "Resource": ARN + "huge", "Catch": catch, "End": True},
        Then={"Type": "Succeed"},
    )
    by_arn = await driver.run(machine, name="a")
    invoked_one = await driver.run(only(invoked("huge")), name="b")

    limit = "returned a result with a size exceeding the maximum number of bytes service limit."
    assert await driver.output(by_arn) == {
        "Error": "States.DataLimitExceeded",
        "Cause": f"The state/task '{ARN}huge' {limit}",
    }
    assert (await driver.describe(invoked_one))["cause"] == f"The state/task 'lambda' {limit}"


async def test_an_unknown_function_is_not_found(driver: Driver) -> None:
    """In the words of Lambda behind Step Functions."""
    described = await driver.describe(await driver.run(only(invoked("nobody"))))

    assert described["error"] == "Lambda.ResourceNotFoundException"
    assert described["cause"].startswith(
        f"Function not found: {ARN}nobody:$LATEST (Service: AWSLambda; Status Code: 404; "
        "Error Code: ResourceNotFoundException; Request ID: "
    )


@pytest.mark.parametrize(
    ("name", "rule"), [(None, "not be null"), ("", "have length greater than or equal to 1")]
)
async def test_an_invoke_without_a_function_name_fails(
    driver: Driver, name: str | None, rule: str
) -> None:
    """The workflow is told; nothing is called."""
    parameters = {"FunctionName": name, "Payload": 1}
    state = {"Type": "Task", "Resource": INVOKE, "Parameters": parameters, "End": True}

    described = await driver.describe(await driver.run(only(state)))

    assert described["error"] == "Lambda.ValidationException"
    assert described["cause"].startswith(
        "1 validation error detected: Value at 'functionName' failed to satisfy constraint: "
        f"Member must {rule} (Service: AWSLambda; Status Code: 400; "
    )


async def test_functions_are_loaded_by_reference(driver: Driver) -> None:
    """``module:callable``, as on the command line."""
    loaded = load_function("tests.engine.test_functions:told")

    assert callable(loaded)


@pytest.mark.parametrize(
    "reference", ["", "nomodule", "no.such:thing", "json:nothing", "json:__name__", ":x", "json:"]
)
def test_references_to_nothing_stop_the_start(reference: str) -> None:
    """A typo is told at the start, not at the first call."""
    with pytest.raises(StartRefused):
        load_function(reference)
