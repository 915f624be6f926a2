"""The documented callback example: a task token goes out in an SQS message, and comes back.

The queue is moto's, over HTTP; the consumer is boto3.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.exceptions import ClientError

from app.strict_json import Json
from app.web.stepfunctions import create_stepfunctions_app
from tests.engine.driving import ROLE, Driver, only

SEND = "arn:aws:states:::sqs:sendMessage"
CALLBACK = {
    "Type": "Task",
    "Resource": SEND + ".waitForTaskToken",
    "Parameters": {
        "QueueUrl.$": "$.QueueUrl",
        "MessageBody": {"Message.$": "$.Message", "TaskToken.$": "$$.Task.Token"},
    },
    "End": True,
}


@pytest.fixture
def queue(moto: str, credentials: pytest.MonkeyPatch) -> Iterator[Any]:
    """A queue, and AWS_ENDPOINT_URL_SQS pointing to it."""
    credentials.setenv("AWS_ENDPOINT_URL_SQS", moto)
    resource: Any = boto3.resource("sqs", region_name="us-east-1")
    queue = resource.create_queue(QueueName="approvals")
    yield queue
    queue.delete()  # the next test gets an empty one
    resource.meta.client.close()


async def received(queue: Any) -> Any:
    """The next message's body; it is waited for as long as SQS waits."""
    call: Callable[[], Any] = lambda: queue.receive_messages(WaitTimeSeconds=20)  # noqa: E731
    messages = await asyncio.get_running_loop().run_in_executor(None, call)
    return json.loads(messages[0].body)


def given(queue: Any) -> Json:
    return {"QueueUrl": queue.url, "Message": {"please": "approve"}}


async def test_a_consumer_completes_the_task(driver: Driver, queue: Any) -> None:
    """The message carries the token; completing it completes the execution."""
    arn = await driver.run(only(CALLBACK), given(queue))
    body = await received(queue)

    await driver.engine.send_task_success(body["TaskToken"], '{"ok": true}')
    await driver.engine.idle()

    events = await driver.events(arn)
    submitted = events[4]["taskSubmittedEventDetails"]
    assert body["Message"] == {"please": "approve"}
    assert await driver.output(arn) == {"ok": True}
    assert [event["type"] for event in events[2:6]] == [
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
    ]
    assert (submitted["resourceType"], submitted["resource"]) == (
        "sqs",
        "sendMessage.waitForTaskToken",
    )
    assert json.loads(submitted["output"]).keys() == {
        "MD5OfMessageBody",
        "MessageId",
        "SdkHttpMetadata",
        "SdkResponseMetadata",
    }


async def test_heartbeats_keep_the_task_alive(driver: Driver, queue: Any) -> None:
    """With them it lives; without, it times out."""
    arn = await driver.run(only(CALLBACK | {"HeartbeatSeconds": 5}), given(queue))
    token = (await received(queue))["TaskToken"]

    for _ in range(3):
        await driver.pass_time(4)
        await driver.engine.send_task_heartbeat(token)
    alive = await driver.status(arn)
    await driver.pass_time(5)

    assert alive == "RUNNING"
    assert (await driver.describe(arn))["error"] == "States.Timeout"


@pytest.fixture
async def states(driver: Driver) -> AsyncIterator[Any]:
    """boto3's client of the engine, over HTTP."""
    config = uvicorn.Config(
        create_stepfunctions_app(driver.engine), log_level="error", access_log=False, ws="none"
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listening]))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    client: Any = boto3.client("stepfunctions", region_name="us-east-1", endpoint_url=url)
    yield client
    client.close()
    server.should_exit = True
    await serving


async def test_the_documented_example_works_with_boto3_alone(
    driver: Driver, queue: Any, states: Any
) -> None:
    """Heartbeats keep it alive; the consumer completes it; without either it times out."""
    call = asyncio.to_thread
    definition = {
        "StartAt": "Send message to SQS",
        "States": {
            "Send message to SQS": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                "HeartbeatSeconds": 60,
                "Parameters": {
                    "QueueUrl": queue.url,
                    "MessageBody": {
                        "Message": "Hello from Step Functions!",
                        "TaskToken.$": "$$.Task.Token",
                    },
                },
                "Next": "Done",
            },
            "Done": {"Type": "Succeed"},
        },
    }
    made = await call(
        states.create_state_machine,
        name="callback",
        definition=json.dumps(definition),
        roleArn=ROLE,
    )
    machine = {"stateMachineArn": made["stateMachineArn"]}
    answered = await call(states.start_execution, **machine, name="answered")
    first = await received(queue)
    silent = await call(states.start_execution, **machine, name="silent")
    await received(queue)

    for _ in range(3):
        await driver.pass_time(50)
        await call(states.send_task_heartbeat, taskToken=first["TaskToken"])
    done = {"taskToken": first["TaskToken"], "output": '{"approved": true}'}
    await call(states.send_task_success, **done)
    late = await call(_refusal, states.send_task_success, done)

    ended = [
        await call(states.describe_execution, executionArn=arn["executionArn"])
        for arn in (answered, silent)
    ]
    assert first["Message"] == "Hello from Step Functions!"
    assert [one["status"] for one in ended] == ["SUCCEEDED", "FAILED"]
    assert (ended[0]["output"], ended[1]["error"]) == ('{"approved": true}', "States.Timeout")
    assert late == "TaskTimedOut"


def _refusal(operation: Callable[..., Any], given: dict[str, str]) -> str:
    with pytest.raises(ClientError) as refused:
        operation(**given)
    return refused.value.response["Error"]["Code"]


async def test_the_plain_form_gives_the_services_answer(driver: Driver, queue: Any) -> None:
    """A text goes out as it is; the answer is the result."""
    state = {
        "Type": "Task",
        "Resource": SEND,
        "Parameters": {"QueueUrl.$": "$.QueueUrl", "MessageBody": "hello"},
        "ResultSelector": {"id.$": "$.MessageId"},
        "End": True,
    }

    arn = await driver.run(only(state), given(queue))

    messages = await asyncio.get_running_loop().run_in_executor(None, queue.receive_messages)
    assert [m.body for m in messages] == ["hello"]
    assert await driver.output(arn) == {"id": messages[0].message_id}


@pytest.mark.parametrize(
    ("parameters", "error", "cause"),
    [
        (
            {"QueueUrl.$": "$.QueueUrl", "MessageBody": None},
            "SQS.AmazonSQSException",
            "The request must contain the parameter MessageBody. (Service: AmazonSQS; "
            "Status Code: 400; Error Code: MissingParameter; Request ID: ",
        ),
        (
            {"QueueUrl": "http://localhost/123456789012/none", "MessageBody": "x"},
            "SQS.QueueDoesNotExistException",
            "The specified queue does not exist",
        ),
        (["no object"], "SQS.AmazonSQSException", "The request must contain the parameter"),
    ],
)
async def test_a_refusal_fails_the_task(
    driver: Driver, queue: Any, parameters: Json, error: str, cause: str
) -> None:
    """With the service's error, in the words of Step Functions; the callback is not awaited."""
    arn = await driver.run(only(CALLBACK | {"Parameters": parameters}), given(queue))

    described = await driver.describe(arn)
    assert described["error"] == error
    assert described["cause"].startswith(cause)
    assert (await driver.events(arn))[4]["type"] == "TaskSubmitFailed"


async def test_an_unreachable_queue_fails_the_task(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workflow is told and may retry."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    state = CALLBACK | {"Parameters": {"QueueUrl": "http://127.0.0.1:9/q", "MessageBody": "x"}}

    arn = await driver.run(only(state))

    assert (await driver.describe(arn))["error"] == "SQS.SdkClientException"
