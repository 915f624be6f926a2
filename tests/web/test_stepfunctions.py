"""The Step Functions API over HTTP, as AWS's own clients use it."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError

from app.engine.functions import Invocation
from app.engine.runtime import Engine
from app.engine.state_machines import aliases
from app.engine.store import open_database
from app.strict_json import Json
from app.web import limits
from app.web.limits import Limits
from app.web.stepfunctions import MAX_BODY_BYTES, as_aws, create_stepfunctions_app
from tests.engine.driving import ROLE, only, parked
from tests.processes import HTTP, PATIENCE_S

ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:"
PASS = json.dumps(only({"Type": "Pass", "End": True}))
TARGET = "AWSStepFunctions."


@dataclass
class Server:
    """A served engine."""

    url: str
    tokens: list[str]


class Serving(threading.Thread):
    """Runs an engine and its port on a loop of their own."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.tokens: list[str] = []
        self.started = threading.Event()
        self.server: uvicorn.Server | None = None

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        database = open_database(self.directory)
        engine = Engine(database, functions={"park": self._park})
        await engine.start()
        app = Limits(create_stepfunctions_app(engine), MAX_BODY_BYTES, as_aws)
        config = uvicorn.Config(app, log_level="error", access_log=False, ws="none")
        self.server = uvicorn.Server(config)
        self.started.set()
        await self.server.serve([self.socket])
        await engine.stop()
        await database.close()

    async def _park(self, event: Json, _invocation: Invocation) -> Json:
        self.tokens.append(event["token"])
        return {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One engine for all tests here; they use names of their own."""
    serving = Serving(tmp_path_factory.mktemp("engine"))
    serving.start()
    serving.started.wait(PATIENCE_S)
    port = serving.socket.getsockname()[1]
    yield Server(f"http://127.0.0.1:{port}", serving.tokens)
    assert serving.server is not None
    serving.server.should_exit = True
    serving.join(PATIENCE_S)


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """boto3, with any credentials."""
    client = boto3.client(
        "stepfunctions",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def ended(client: Any, arn: str) -> Any:
    """The execution, once it ended."""
    while True:
        described = client.describe_execution(executionArn=arn)
        if described["status"] != "RUNNING":
            return described


def token_of(server: Server, client: Any, arn: str) -> str:
    """The task token of a waiting execution."""
    while True:
        events = client.get_execution_history(executionArn=arn)["events"]
        for event in events:
            if event["type"] == "TaskSubmitted":
                return server.tokens[-1]


def code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_boto3_drives_a_callback_from_start_to_end(server: Server, client: Any) -> None:
    """Create, start, read, complete, describe: with the SDK as it is."""
    made = client.create_state_machine(
        name="callback", definition=json.dumps(only(parked())), roleArn=ROLE
    )
    started = client.start_execution(
        stateMachineArn=made["stateMachineArn"], name="run", input='{"a": 1}'
    )
    token = token_of(server, client, started["executionArn"])
    client.send_task_heartbeat(taskToken=token)
    client.send_task_success(taskToken=token, output='{"ok": true}')

    described = ended(client, started["executionArn"])

    assert made["stateMachineArn"] == ARN + "callback"
    assert (described["status"], described["output"]) == ("SUCCEEDED", '{"ok": true}')
    assert described["startDate"] == started["startDate"]
    assert described["startDate"].tzinfo is not None
    with pytest.raises(client.exceptions.TaskTimedOut) as caught:
        client.send_task_success(taskToken=token, output="1")
    assert caught.value.response["Error"]["Message"] == (
        "Task Timed Out: 'Provided task does not exist anymore'"
    )


def test_boto3_fails_stops_lists_and_deletes(server: Server, client: Any) -> None:
    """The other verbs, and boto3's paginators."""
    arn = client.create_state_machine(
        name="others", definition=json.dumps(only(parked())), roleArn=ROLE
    )["stateMachineArn"]
    failed = client.start_execution(stateMachineArn=arn, name="failed")["executionArn"]
    token = token_of(server, client, failed)
    client.send_task_failure(taskToken=token, error="No", cause="because")
    stopped = client.start_execution(stateMachineArn=arn, name="stopped")["executionArn"]
    client.stop_execution(executionArn=stopped, error="E")

    pages = client.get_paginator("list_executions").paginate(
        stateMachineArn=arn, PaginationConfig={"PageSize": 1}
    )
    listed = [(e["name"], e["status"]) for page in pages for e in page["executions"]]
    history = client.get_paginator("get_execution_history").paginate(
        executionArn=failed, reverseOrder=True, PaginationConfig={"PageSize": 3}
    )
    kinds = [event["type"] for page in history for event in page["events"]]
    client.update_state_machine(stateMachineArn=arn, definition=PASS)
    definition = client.describe_state_machine(stateMachineArn=arn)["definition"]
    old = client.describe_state_machine_for_execution(executionArn=failed)["definition"]
    client.delete_state_machine(stateMachineArn=arn)

    assert listed == [("stopped", "ABORTED"), ("failed", "FAILED")]
    assert kinds[0] == "ExecutionFailed"
    assert kinds[-1] == "ExecutionStarted"
    assert (definition, json.loads(old)) == (PASS, only(parked()))
    assert arn not in [m["stateMachineArn"] for m in client.list_state_machines()["stateMachines"]]


def test_errors_are_boto3s_own_classes(client: Any) -> None:
    """Each refusal is the class that code written for AWS catches."""
    exceptions = client.exceptions
    missing = "arn:aws:states:us-east-1:123456789012:execution:none:none"

    with pytest.raises(exceptions.StateMachineDoesNotExist):
        client.start_execution(stateMachineArn=ARN + "none")
    with pytest.raises(exceptions.ExecutionDoesNotExist):
        client.describe_execution(executionArn=missing)
    with pytest.raises(exceptions.InvalidToken):
        client.send_task_success(taskToken="nonsense", output="{}")
    with pytest.raises(exceptions.InvalidArn):
        client.describe_execution(executionArn="no-arn")
    with pytest.raises(exceptions.InvalidName):
        client.create_state_machine(name="a b", definition=PASS, roleArn=ROLE)
    with pytest.raises(exceptions.InvalidDefinition):
        client.create_state_machine(name="bad", definition="{}", roleArn=ROLE)
    with pytest.raises(exceptions.InvalidArn):
        client.create_state_machine(name="bad", definition=PASS, roleArn="nobody")
    checked = client.validate_state_machine_definition(definition="{}")
    assert (checked["result"], checked["truncated"]) == ("FAIL", False)


@pytest.mark.parametrize(
    ("operation", "parameters", "message"),
    [
        (
            "list_state_machines",
            {"maxResults": 1001},
            "1 validation error detected: Value '1001' at 'maxResults' failed to satisfy "
            "constraint: Member must have value less than or equal to 1000",
        ),
        (
            "list_activities",
            {"nextToken": "x" * 1025},
            f"1 validation error detected: Value '{'x' * 1025}' at 'nextToken' failed to satisfy "
            "constraint: Member must have length less than or equal to 1024",
        ),
        (
            "start_execution",
            {"stateMachineArn": ARN + "x", "traceHeader": "é"},
            "1 validation error detected: Value 'é' at 'traceHeader' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: \\p{ASCII}*",
        ),
        (
            "redrive_execution",
            {"executionArn": ARN + "x", "clientToken": "a b"},
            "1 validation error detected: Value 'a b' at 'clientToken' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: [!-~]+",
        ),
        (
            "list_executions",
            {"stateMachineArn": ARN + "x", "statusFilter": "succeeded"},
            "1 validation error detected: Value 'succeeded' at 'statusFilter' failed to satisfy "
            "constraint: Member must satisfy enum value set: "
            "[SUCCEEDED, TIMED_OUT, PENDING_REDRIVE, ABORTED, FAILED, RUNNING]",
        ),
        (
            "send_task_failure",
            {"taskToken": "t" * 3000, "error": "e" * 300, "cause": "c" * 33_000},
            "3 validation errors detected: Value at 'taskToken' failed to satisfy constraint: "
            "Member must have length less than or equal to 2048; "
            "Value at 'error' failed to satisfy constraint: "
            "Member must have length less than or equal to 256; "
            "Value at 'cause' failed to satisfy constraint: "
            "Member must have length less than or equal to 32768",
        ),
        (
            "send_task_success",
            {"taskToken": "t", "output": '"' + "x" * 262_144 + '"'},
            "1 validation error detected: Value at 'output' failed to satisfy constraint: "
            "Member must have length less than or equal to 262144",
        ),
    ],
)
def test_broken_constraints_are_all_named(
    client: Any, operation: str, parameters: Json, message: str
) -> None:
    """In AWS's words; what is sensitive is not shown."""
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**parameters)

    assert code(caught) == "ValidationException"
    assert caught.value.response["Error"]["Message"] == message


def test_a_refusal_names_awss_reason(client: Any) -> None:
    """Where AWS has a name for the rule."""
    labeled = "arn:aws:states:us-east-1:123456789012:stateMachine:any/label"
    with pytest.raises(ClientError) as caught:
        client.start_execution(stateMachineArn=labeled)
    response: Any = caught.value.response
    assert response["reason"] == "API_DOES_NOT_SUPPORT_LABELED_ARNS"


def post(server: Server, operation: str | None, body: bytes, **headers: str) -> httpx.Response:
    """A request without an SDK to mend it."""
    if operation is not None:
        headers["X-Amz-Target"] = TARGET + operation
    return HTTP.post(server.url + "/", content=body, headers=headers)


def test_an_answer_has_awss_headers(server: Server) -> None:
    """Content type and a request id of its own."""
    first, second = (post(server, "ListStateMachines", b"{}") for _ in range(2))

    assert first.status_code == 200
    assert first.headers["content-type"] == "application/x-amz-json-1.0"
    assert len(first.headers["x-amzn-requestid"]) == 36
    assert first.headers["x-amzn-requestid"] != second.headers["x-amzn-requestid"]


def test_the_trace_header_of_the_request_goes_first(server: Server, client: Any) -> None:
    """AWS prefers it to the member, where both are given."""
    arn = client.create_state_machine(name="traced", definition=PASS, roleArn=ROLE, type="EXPRESS")[
        "stateMachineArn"
    ]
    body = json.dumps({"stateMachineArn": arn, "traceHeader": "member"}).encode()

    plain = post(server, "StartSyncExecution", body)
    traced = post(server, "StartSyncExecution", body, **{"X-Amzn-Trace-Id": "Root=1-2-3"})

    assert plain.json()["traceHeader"] == "member"
    assert traced.json()["traceHeader"] == "Root=1-2-3"


def test_timestamps_are_numbers_with_milliseconds(server: Server, client: Any) -> None:
    """Seconds since the epoch, as AWS JSON has them."""
    client.create_state_machine(name="stamps", definition=PASS, roleArn=ROLE)

    body = json.dumps({"stateMachineArn": ARN + "stamps"}).encode()
    created = post(server, "DescribeStateMachine", body).json()["creationDate"]

    assert isinstance(created, float)
    assert created == round(created, 3)


@pytest.mark.parametrize(
    ("operation", "body", "answered"),
    [
        ("Nope", b"{}", "UnknownOperationException"),
        (None, b"{}", "UnknownOperationException"),
        ("__class__", b"{}", "UnknownOperationException"),
        ("idle", b"{}", "UnknownOperationException"),
        ("ListStateMachines", b"{", "SerializationException"),
        ("ListStateMachines", b"[]", "SerializationException"),
        ("ListStateMachines", b"null", "SerializationException"),
        ("ListStateMachines", b"\xff\xfe", "SerializationException"),
        ("ListStateMachines", b'{"maxResults": NaN}', "SerializationException"),
        ("CreateActivity", b'{"name": "half \\uD83D"}', "InvalidName"),
        ("CreateActivity", b'{"name": ["\\ud83d"]}', "SerializationException"),
        ("CreateActivity", b'{"name": "\\ud83d" ' + b"[" * 90_000, "SerializationException"),
        ("ListStateMachines", b"[" * 100_000, "SerializationException"),
        ("ListStateMachines", b'{"maxResults": "5"}', "SerializationException"),
        ("ListStateMachines", b'{"maxResults": true}', "SerializationException"),
        ("ListStateMachines", b'{"maxResults": 1e99}', "SerializationException"),
        ("StartExecution", b'{"stateMachineArn": {"a": 1}}', "SerializationException"),
        ("StartExecution", b'{"stateMachineArn": ["x"]}', "SerializationException"),
        ("CreateStateMachine", b'{"loggingConfiguration": 1}', "SerializationException"),
        ("StartExecution", b"{}", "ValidationException"),
        ("StartExecution", b'{"stateMachineArn": null}', "ValidationException"),
        ("SendTaskSuccess", b'{"taskToken": "x"}', "ValidationException"),
        ("SendTaskHeartbeat", b'{"taskToken": "\\u00e9\\u0000"}', "InvalidToken"),
        ("ListStateMachines", b'{"nextToken": "AAAA"}', "InvalidToken"),
        ("DescribeExecution", b'{"executionArn": "arn:aws:states"}', "InvalidArn"),
        ("ListExecutions", b"{}", "ValidationException"),
    ],
)
def test_bad_requests_have_awss_codes(
    server: Server, operation: str | None, body: bytes, answered: str
) -> None:
    """400 and a code, whatever was sent; never a 500, and never an echo."""
    response = post(server, operation, body)

    assert response.status_code == 400
    assert response.json()["__type"] == answered
    assert response.json()["message"]


def test_a_body_beyond_the_limit_is_not_read_to_its_end(server: Server) -> None:
    """More than a definition can need is refused, with a length or while it streams."""
    parts = (b"x" * MAX_BODY_BYTES for _ in range(2))
    headers = {"X-Amz-Target": TARGET + "CreateStateMachine"}
    sized = post(server, "CreateStateMachine", b"x" * (MAX_BODY_BYTES + 1))
    streamed = HTTP.post(server.url + "/", content=parts, headers=headers)

    for response in (sized, streamed):
        assert response.status_code == 413
        assert response.json() == {
            "__type": "RequestEntityTooLargeException",
            "message": "The body is too large.",
        }


def test_a_client_that_sends_all_before_it_reads_is_told_why(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection reset under its hands would tell it nothing."""
    monkeypatch.setattr(limits, "LINGER_S", PATIENCE_S)
    connection = HTTPConnection("127.0.0.1", httpx.URL(server.url).port)
    parts = (bytes(1_048_576) for _ in range(64))

    connection.request("POST", "/", parts, {"Content-Length": str(64 * 1_048_576)})
    response = connection.getresponse()

    assert response.status == 413
    assert json.loads(response.read())["__type"] == "RequestEntityTooLargeException"
    connection.close()


def test_a_definition_that_is_too_long_is_told_so(server: Server) -> None:
    """Its escapes do not count."""
    body = {"name": "long", "roleArn": ROLE, "definition": '"' * 1_048_577}

    response = post(server, "CreateStateMachine", json.dumps(body).encode())

    assert (response.status_code, response.json()) == (
        400,
        {
            "__type": "ValidationException",
            "message": "1 validation error detected: Value at 'definition' failed to satisfy "
            "constraint: Member must have length less than or equal to 1048576",
        },
    )


def test_what_cannot_be_read_is_refused_in_awss_shape(server: Server) -> None:
    """With a code, and the id that every answer has."""
    response = post(server, "ListStateMachines", b"", **{"Content-Encoding": "gzip"})

    assert (response.status_code, response.json()["__type"]) == (415, "SerializationException")
    assert response.headers["content-type"] == "application/x-amz-json-1.0"
    assert len(response.headers["x-amzn-requestid"]) == 36


def test_a_quota_is_awss_only_402(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the documentation of ServiceQuotaExceededException has it."""
    monkeypatch.setattr(aliases, "MAX_ALIASES", 0)
    given = {"name": "quota", "definition": PASS, "roleArn": ROLE, "publish": True}
    version = client.create_state_machine(**given)["stateMachineVersionArn"]

    with pytest.raises(client.exceptions.ServiceQuotaExceededException) as caught:
        routing = [{"stateMachineVersionArn": version, "weight": 100}]
        client.create_state_machine_alias(name="live", routingConfiguration=routing)

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 402


def test_a_refusal_names_the_resource(client: Any) -> None:
    """As the model of ResourceNotFound and TooManyTags has it."""
    client.create_activity(name="tagged")
    arn = "arn:aws:states:us-east-1:123456789012:activity:"

    with pytest.raises(client.exceptions.ResourceNotFound) as missing:
        client.list_tags_for_resource(resourceArn=arn + "missing")
    with pytest.raises(client.exceptions.TooManyTags) as tagged:
        tags = [{"key": str(n), "value": ""} for n in range(51)]
        client.tag_resource(resourceArn=arn + "tagged", tags=tags)

    assert missing.value.response["resourceName"] == arn + "missing"
    assert tagged.value.response["resourceName"] == arn + "tagged"


def test_other_routes_and_methods_do_not_exist(server: Server) -> None:
    """One route, and liveness."""
    assert HTTP.get(server.url + "/healthz").json() == {"status": "ok"}
    assert HTTP.head(server.url + "/healthz").status_code == 200
    assert HTTP.get(server.url + "/").status_code == 404
    assert HTTP.put(server.url + "/", content=b"{}").status_code == 404
    assert HTTP.post(server.url + "/other", content=b"{}").status_code == 404


def test_unknown_members_are_ignored(server: Server) -> None:
    """As AWS does: newer clients send more."""
    assert post(server, "ListStateMachines", b'{"new": {"a": 1}}').status_code == 200


def aws(server: Server, *arguments: str) -> Any:
    """The AWS command line; its answer."""
    environment = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "PATH": "/usr/bin:/bin",
    }
    command = [str(Path(sys.executable).parent / "aws"), "stepfunctions", *arguments]
    command += ["--endpoint-url", server.url, "--output", "json"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def test_the_aws_command_line_drives_an_execution(server: Server, client: Any) -> None:
    """Create, start, complete and read with ``aws stepfunctions``."""
    made = aws(
        server,
        "create-state-machine",
        *("--name", "cli", "--definition", json.dumps(only(parked())), "--role-arn", ROLE),
    )
    started = aws(
        server, "start-execution", "--state-machine-arn", made["stateMachineArn"], "--name", "run"
    )
    token = token_of(server, client, started["executionArn"])
    aws(server, "send-task-success", "--task-token", token, "--task-output", '{"by": "cli"}')
    ended(client, started["executionArn"])

    described = aws(server, "describe-execution", "--execution-arn", started["executionArn"])
    history = aws(server, "get-execution-history", "--execution-arn", started["executionArn"])

    assert (described["status"], described["output"]) == ("SUCCEEDED", '{"by": "cli"}')
    assert [event["id"] for event in history["events"]] == list(range(1, 9))


async def test_a_worker_that_hangs_up_leaves_the_task_to_others(tmp_path: Path) -> None:
    """A held poll ends with its connection, so no task is given to nobody."""
    database = open_database(tmp_path)
    engine = Engine(database)
    await engine.start()
    arn = (await engine.verbs["CreateActivity"](name="weigh"))["activityArn"]
    body = json.dumps({"activityArn": arn}).encode()
    incoming = iter([{"type": "http.request", "body": body}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"x-amz-target", b"AWSStepFunctions.GetActivityTask")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    await create_stepfunctions_app(engine)(scope, receive, send)
    await engine.stop()
    await database.close()

    assert sent[1]["body"] == b"{}"


def test_boto3_polls_for_an_activity(client: Any) -> None:
    """The task comes as soon as it is there."""
    arn = client.create_activity(name="boto3-weigh")["activityArn"]
    state = {"Type": "Task", "Resource": arn, "End": True}
    machine = client.create_state_machine(
        name="boto3-weigh", definition=json.dumps(only(state)), roleArn=ROLE
    )["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=machine, input="[1]")["executionArn"]

    task = client.get_activity_task(activityArn=arn, workerName="scale")
    client.send_task_success(taskToken=task["taskToken"], output=task["input"])

    assert ended(client, execution)["output"] == "[1]"
