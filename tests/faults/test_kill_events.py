"""kill -9 between a commit and the delivery of what it told: no event and no log line is missed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.engine.events.receiver import Receiver
from tests.engine.events.test_webhook import NEW
from tests.moto_server import moto_server
from tests.processes import HTTP, ROLE, SignoffProcess, wait_for

PASS = json.dumps({"StartAt": "First", "States": {"First": {"Type": "Pass", "End": True}}})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Holds what it is sent until it may go on."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def engine(tmp_path: Path, receiver: Receiver) -> Iterator[SignoffProcess]:
    """An engine that tells it."""
    environment = {
        "SIGNOFF_EVENT_WEBHOOK_URL": receiver.url,
        "SIGNOFF_EVENT_WEBHOOK_SECRETS": NEW,
    }
    process = SignoffProcess(("engine",), tmp_path / "data", environment=environment)
    yield process.start()
    process.kill()


def test_a_killed_engine_delivers_what_it_had_recorded(
    engine: SignoffProcess, receiver: Receiver
) -> None:
    """Three kills with events under way: all arrive, and a repeated one keeps its id."""
    members = {"name": "machine", "definition": PASS, "roleArn": ROLE}
    machine = engine.states("CreateStateMachine", **members)["stateMachineArn"]
    for number in range(3):
        receiver.go_on.clear()
        before = len(receiver.received)
        engine.states("StartExecution", stateMachineArn=machine, name=f"run{number}")
        wait_for(lambda before=before: len(receiver.received) > before)
        engine.kill()
        receiver.go_on.set()
        engine.start()

    expected = {(f"run{n}", status) for n in range(3) for status in ("RUNNING", "SUCCEEDED")}
    wait_for(lambda: {r.told for r in receiver.received} == expected)
    ids = {(r.told, r.headers["webhook-id"]) for r in receiver.received}
    assert len(ids) == 6
    assert len(receiver.received) > 6


def ready(engine: SignoffProcess) -> Any:
    """What the engine's port says of itself."""
    answer = HTTP.get(f"{engine.engine_url}/readyz")
    assert answer.status_code == 200
    return answer.json()


def test_a_receiver_that_refuses_is_told_again(engine: SignoffProcess, receiver: Receiver) -> None:
    """What met a 503 arrives soon after."""
    receiver.judge = lambda number, _event: 503 if number < 2 else 204
    members = {"name": "machine", "definition": PASS, "roleArn": ROLE}
    machine = engine.states("CreateStateMachine", **members)["stateMachineArn"]

    engine.states("StartExecution", stateMachineArn=machine, name="run")

    wait_for(lambda: len(receiver.received) == 4)
    wait_for(lambda: ready(engine)["events"]["webhook"]["owed"] == 0)
    assert {r.told for r in receiver.received[2:]} == {("run", "RUNNING"), ("run", "SUCCEEDED")}


@pytest.fixture
def logs_url() -> Iterator[str]:
    """CloudWatch Logs."""
    with moto_server() as url:
        yield url


def test_a_killed_engine_writes_the_lines_it_owes(tmp_path: Path, logs_url: str) -> None:
    """Killed before it could write, it writes the whole history after its next start."""
    session = boto3.Session("test", "test", region_name="us-east-1")
    logs = session.client("logs", endpoint_url=logs_url)
    logs.create_log_group(logGroupName="killed")
    process = SignoffProcess(
        ("engine",), tmp_path / "data", environment={"AWS_ENDPOINT_URL_LOGS": logs_url}
    ).start()
    arn = "arn:aws:logs:us-east-1:123456789012:log-group:killed:*"
    wanted = {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]}
    members = {"name": "machine", "definition": PASS, "roleArn": ROLE}
    made = process.states("CreateStateMachine", **members, loggingConfiguration=wanted)

    process.states("StartExecution", stateMachineArn=made["stateMachineArn"])
    process.kill()
    process.start()

    wait_for(lambda: len(logs.filter_log_events(logGroupName="killed")["events"]) >= 4)
    lines = [
        json.loads(e["message"]) for e in logs.filter_log_events(logGroupName="killed")["events"]
    ]
    process.stop()
    logs.close()
    assert sorted({(line["id"], line["type"]) for line in lines}) == [
        ("1", "ExecutionStarted"),
        ("2", "PassStateEntered"),
        ("3", "PassStateExited"),
        ("4", "ExecutionSucceeded"),
    ]
