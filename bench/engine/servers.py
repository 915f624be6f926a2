"""The two servers, each a process of its own, and a client that treats both alike."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter

import boto3
import httpx

from app.strict_json import Json, dumps, loads
from bench.engine.workloads import PARK, queue_and_wait
from bench.load import http_request
from tests.processes import ROLE, SignoffProcess, free_port, wait_for

#: moto routes by the service named here; our engine asks for none on loopback
_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/states/aws4_request, "
    "SignedHeaders=host, Signature=0"
)
IDLE_S = 2.0
_CONTENT_TYPE = "application/x-amz-json-1.0"


def wire_request(operation: str, **members: Json) -> bytes:
    """One call of the Step Functions API as the bytes of its request."""
    return http_request(
        "POST",
        "/",
        dumps(members),
        content_type=_CONTENT_TYPE,
        x_amz_target=f"AWSStepFunctions.{operation}",
        authorization=_AUTHORIZATION,
    )


class Server:
    """A Step Functions API at a port on loopback, asked over one kept connection."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self._asked = 0.0
        self._names = itertools.count(1)
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, operation: str, **members: Json) -> dict[str, Json]:
        """The answer of one call; anything but a 200 ends the benchmark."""
        headers = {
            "Content-Type": _CONTENT_TYPE,
            "X-Amz-Target": f"AWSStepFunctions.{operation}",
            "Authorization": _AUTHORIZATION,
        }
        if perf_counter() - self._asked > IDLE_S:
            self._connection.close()  # servers close idle ones; this opens it again
        self._asked = perf_counter()
        self._connection.request("POST", "/", dumps(members), headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"{self.name}: {operation} answered {response.status}: {body!r}")
        answer = loads(body)
        assert isinstance(answer, dict)
        return answer

    def create(self, name: str, definition: str) -> str:
        """The ARN of a new state machine."""
        made = self.ask("CreateStateMachine", name=name, definition=definition, roleArn=ROLE)
        return str(made["stateMachineArn"])

    def start(self, machine_arn: str, given: str = "{}") -> str:
        """The ARN of a new execution."""
        name = f"run-{next(self._names)}"  # moto makes none of its own
        started = self.ask("StartExecution", stateMachineArn=machine_arn, input=given, name=name)
        return str(started["executionArn"])

    def status(self, execution_arn: str) -> str:
        """RUNNING, SUCCEEDED, ..."""
        return str(self.ask("DescribeExecution", executionArn=execution_arn)["status"])

    def waiting(self, count: int) -> Iterator[tuple[str, str]]:
        """Start *count* executions that wait; their task tokens and ARNs as they come."""
        raise NotImplementedError

    def threads(self) -> int:
        """How many threads the process has."""
        raise NotImplementedError


class Moto(Server):
    """moto's server with its interpreter of state machines switched on."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        super().__init__("moto", port)
        self._process = process

    def waiting(self, count: int) -> Iterator[tuple[str, str]]:
        """As in `Server`; the tokens come through moto's own SQS."""
        url = f"http://127.0.0.1:{self.port}"
        queue = boto3.client(
            "sqs",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        # No message is to come a second time.
        created = queue.create_queue(QueueName="tokens", Attributes={"VisibilityTimeout": "43200"})
        queue_url = created["QueueUrl"]
        machine = self.create("waits", queue_and_wait(queue_url))
        for _ in range(count):
            self.start(machine)
        seen = 0
        while seen < count:
            taken = queue.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
            for message in taken.get("Messages", []):
                body = loads(message["Body"])
                assert isinstance(body, dict)
                yield str(body["token"]), str(body["execution"])
                seen += 1

    def threads(self) -> int:
        """As in `Server`."""
        return len(os.listdir(f"/proc/{self._process.pid}/task"))


class Signoff(Server):
    """`signoff engine` on a data directory of its own."""

    def __init__(self, process: SignoffProcess, tokens: Path) -> None:
        super().__init__("signoff", process.engine_port)
        self.process = process
        self._tokens = tokens

    def waiting(self, count: int) -> Iterator[tuple[str, str]]:
        """As in `Server`; the tokens come through a local function."""
        machine = self.create("waits", PARK)
        for _ in range(count):
            self.start(machine)
        wait_for(lambda: len(self._tokens.read_text().splitlines()) >= count, 120)
        for line in self._tokens.read_text().splitlines():
            token, execution = line.split()
            yield token, execution

    def threads(self) -> int:
        """As in `Server`."""
        assert self.process.process is not None
        return len(os.listdir(f"/proc/{self.process.process.pid}/task"))


@contextmanager
def moto_server(directory: Path) -> Iterator[Moto]:
    """moto's server, until the block ends."""
    port = free_port()
    with (directory / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "MOTO_PORT": str(port)},  # its calls to its own queues
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: _executes(port), 60)
        yield Moto(port, process)
    finally:
        process.kill()
        process.wait()


def _executes(port: int) -> bool:
    setting = {"stepfunctions": {"execute_state_machine": True}}
    try:
        answer = httpx.post(f"http://127.0.0.1:{port}/moto-api/config", json=setting)
    except httpx.HTTPError:
        return False
    return answer.status_code < 300


@contextmanager
def signoff_engine(directory: Path) -> Iterator[Signoff]:
    """Our engine, until the block ends."""
    tokens = directory / "tokens"
    tokens.touch()
    process = SignoffProcess(
        ("engine", "--function", "park=bench.functions:park"),
        directory / "data",
        environment={"BENCH_TOKENS": str(tokens)},
    )
    try:
        yield Signoff(process.start(), tokens)
    finally:
        process.kill()
