"""The original's example: its workflow and glue function, unchanged but for the function's name."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.processes import HTTP, ROLE, SignoffProcess, free_port, wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "callback_urls"
ADDRESS = re.compile(r"(Approve|Reject): (http\S+)")


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Any]:
    """A queue that subscribed to the topic, and the topic."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    known: dict[str, Any] = {
        "region_name": "us-east-1",
        "endpoint_url": f"http://127.0.0.1:{port}",
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
    }
    sns, sqs = boto3.client("sns", **known), boto3.client("sqs", **known)
    topic = sns.create_topic(Name="mails")["TopicArn"]
    queue = sqs.create_queue(QueueName="mails")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])

    def receive() -> Any:
        """The next mail."""
        messages = wait_for(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=messages[0]["ReceiptHandle"])
        return json.loads(messages[0]["Body"])

    yield receive, topic, known["endpoint_url"]
    server.stop()


@pytest.fixture(scope="module")
def running(mailbox: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignoffProcess]:
    """`signoff serve` with the glue function, and the workflow created."""
    _, topic, endpoint = mailbox
    engine_port = free_port()
    process = SignoffProcess(
        ("serve", "--function", "glue=examples.callback_urls.glue:handler"),
        tmp_path_factory.mktemp("example") / "data",
        engine_port=engine_port,
        environment={
            "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{engine_port}",
            "AWS_ENDPOINT_URL_SNS": endpoint,
            "CREATE_URLS_FUNCTION": "signoff",
            "TOPIC_ARN": topic,
        },
    ).start()
    definition = (EXAMPLE / "workflow.asl.json").read_text().replace("${GlueFunction}", "glue")
    process.states("CreateStateMachine", name="example", definition=definition, roleArn=ROLE)
    yield process
    process.stop()


@pytest.mark.parametrize(
    ("choice", "output", "said"),
    [
        ("Approve", {"name_in_output": "Ana"}, "Ana approved it"),
        ("Reject", {"Error": "rejected", "Cause": "Ana rejected it"}, "Ana rejected it"),
    ],
)
def test_the_example_runs(
    running: SignoffProcess, mailbox: Any, choice: str, output: Any, said: str
) -> None:
    """Asked by mail, answered by a link, confirmed by mail; both answers end in success."""
    receive, _, _ = mailbox
    machine = "arn:aws:states:us-east-1:123456789012:stateMachine:example"
    started = running.states("StartExecution", stateMachineArn=machine, input='{"name": "Ana"}')
    request = receive()
    urls = dict(ADDRESS.findall(request["Message"]))

    asked = HTTP.get(urls[choice], headers={"Accept": "text/html"})
    answered = HTTP.post(urls[choice])

    assert request["Subject"] == "Step Functions example approval request"
    assert (asked.status_code, answered.status_code) == (200, 200)
    assert set(urls) == {"Approve", "Reject"} and max(map(len, urls.values())) < 200
    confirmation = receive()
    assert confirmation["Subject"] == "Step Functions example complete"
    assert confirmation["Message"] == said
    arn = started["executionArn"]
    wait_for(lambda: running.states("DescribeExecution", executionArn=arn)["status"] != "RUNNING")
    assert running.states("DescribeExecution", executionArn=arn)["status"] == "SUCCEEDED"
    events = running.states("GetExecutionHistory", executionArn=arn, maxResults=100)["events"]
    [entered] = [
        event["stateEnteredEventDetails"]
        for event in events
        if event.get("stateEnteredEventDetails", {}).get("name") == "SendConfirmation"
    ]
    assert json.loads(entered["input"]) == {"name": "Ana", "output": output}
