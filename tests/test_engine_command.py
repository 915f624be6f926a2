"""`signoff engine` in the place of Step Functions Local: real processes, its options, sentences."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.engine_command import engine as engine_command
from app.errors import StartRefused
from app.local_settings import LocalSettings
from app.settings import Settings
from tests.processes import PATIENCE_S, ROLE, SignoffProcess, free_port, wait_for

ROOT = str(Path(__file__).parent.parent)
DEFINITION = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})

#: every option of Step Functions Local in both of its spellings, with a value that can be used
OPTIONS = (
    ("-account", "--aws-account", "111122223333"),
    ("-region", "--aws-region", "eu-central-1"),
    ("-waitTimeScale", "--wait-time-scale", "0.1"),
    ("-lambdaEndpoint", "--lambda-endpoint", "http://localhost:3001"),
    ("-batchEndpoint", "--batch-endpoint", "http://localhost:4566"),
    ("-dynamoDBEndpoint", "--dynamodb-endpoint", "http://localhost:8000"),
    ("-ecsEndpoint", "--ecs-endpoint", "http://localhost:4566"),
    ("-glueEndpoint", "--glue-endpoint", "http://localhost:4566"),
    ("-sageMakerEndpoint", "--sagemaker-endpoint", "http://localhost:4566"),
    ("-sqsEndpoint", "--sqs-endpoint", "http://localhost:9324"),
    ("-snsEndpoint", "--sns-endpoint", "http://localhost:4566"),
    ("-stepFunctionsEndpoint", "--step-functions-endpoint", "http://localhost:8083"),
)
SHORT = tuple(word for short, _, value in OPTIONS for word in (short, value))
LONG = tuple(word for _, long, value in OPTIONS for word in (long, value))


def wrong(*arguments: str) -> str:
    """What the command says about arguments that it cannot start with."""
    result = CliRunner().invoke(app, ["engine", *arguments])
    assert isinstance(result.exception, StartRefused)
    return result.exception.message


def refusal(*arguments: str, data_dir: Path) -> str:
    """What a process says that does not start."""
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ROOT,
        "SIGNOFF_DATA_DIR": str(data_dir),
        "SIGNOFF_ENGINE_PORT": str(free_port()),
    }
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "engine", *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("signoff: "), done.stderr
    return done.stderr.removeprefix("signoff: ").rstrip()


def created(engine: SignoffProcess) -> str:
    """The ARN of a state machine that the engine creates."""
    made: Any = engine.states(
        "CreateStateMachine", name="hello", definition=DEFINITION, roleArn=ROLE
    )
    return str(made["stateMachineArn"])


@pytest.mark.parametrize("options", [SHORT, LONG], ids=["-camelCase", "--kebab-case"])
def test_it_takes_every_option_of_step_functions_local(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Both spellings of its documentation; account and region are those of the ARNs."""
    engine = SignoffProcess(("engine", *options), tmp_path / "data").start()

    assert created(engine) == "arn:aws:states:eu-central-1:111122223333:stateMachine:hello"
    assert engine.stop() == 0


def test_every_option_gives_the_setting_of_its_variable() -> None:
    """What an option is called, what its variable is called, and what it sets belong together."""
    parameters = inspect.signature(engine_command).parameters.keys()
    settings = parameters - {"context", "function", "env_file"}
    text = " ".join(
        CliRunner().invoke(app, ["engine", "--help"], terminal_width=200).output.split()
    )

    assert settings >= LocalSettings.model_fields.keys()
    assert settings <= LocalSettings.model_fields.keys() | Settings.model_fields.keys()
    assert [n for n in LocalSettings.model_fields if f"[env var: {n.upper()}]" not in text] == []
    assert [word for short, long, _ in OPTIONS for word in (short, long) if word not in text] == []


def test_it_takes_an_env_file(tmp_path: Path) -> None:
    """The documented file for Docker, given by name; it goes before the environment."""
    file = tmp_path / "aws-stepfunctions-local-credentials.txt"
    file.write_text(
        "AWS_DEFAULT_REGION=ap-south-1\nAWS_ACCESS_KEY_ID=x\nAWS_SECRET_ACCESS_KEY=y\n"
        "AWS_ACCOUNT_ID=444455556666\nWAIT_TIME_SCALE=0\nLAMBDA_ENDPOINT=\n"
    )
    engine = SignoffProcess(("engine", "--env-file", str(file)), tmp_path / "data").start()

    assert created(engine) == "arn:aws:states:ap-south-1:444455556666:stateMachine:hello"
    assert engine.stop() == 0


def test_a_test_case_survives_kill_9(tmp_path: Path) -> None:
    """Killed between two tries, it goes on with the next answer: the documented walk."""
    slow = {"Throw": {"Error": "Lambda.TooManyRequestsException", "Cause": "slow down"}}
    responses = {"Third": {"0-1": slow, "2": {"Return": {"StatusCode": 200}}}}
    machines = {"Orders": {"TestCases": {"Slow": {"Charge": "Third"}}}}
    mocks = tmp_path / "MockConfigFile.json"
    mocks.write_text(json.dumps({"StateMachines": machines, "MockedResponses": responses}))
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "charge"},
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 10, "BackoffRate": 1}],
        "End": True,
    }
    environment = {"SFN_MOCK_CONFIG": str(mocks), "WAIT_TIME_SCALE": "0.05"}
    engine = SignoffProcess(("engine",), tmp_path / "data", environment=environment).start()
    definition = json.dumps({"StartAt": "Charge", "States": {"Charge": task}})
    made = engine.states("CreateStateMachine", name="Orders", definition=definition, roleArn=ROLE)

    started = engine.states("StartExecution", stateMachineArn=made["stateMachineArn"] + "#Slow")
    engine.kill()
    engine.start()

    def ended() -> Any:
        shown = engine.states("DescribeExecution", executionArn=started["executionArn"])
        return shown["status"] != "RUNNING" and shown

    assert wait_for(ended)["output"] == '{"StatusCode":200}'
    history = engine.states("GetExecutionHistory", executionArn=started["executionArn"])
    types = [event["type"] for event in history["events"]]
    assert (types.count("TaskFailed"), types.count("TaskSucceeded")) == (2, 1)
    assert engine.stop() == 0


def test_an_unknown_option_is_named_whole() -> None:
    """A typo is no silent default."""
    assert wrong("-lambdaEndpont=http://localhost:3001") == (
        "-lambdaEndpont is not understood by signoff engine. "
        "signoff engine --help lists its options."
    )


WRONG = {
    "an account": (("-account", "12"), "SIGNOFF_ACCOUNT cannot be used"),
    "a region": (("--aws-region", "moon"), "SIGNOFF_REGION cannot be used"),
    "a scale": (("-waitTimeScale", "fast"), "WAIT_TIME_SCALE cannot be used"),
    "an endpoint": (("-snsEndpoint", "here"), "SNS_ENDPOINT cannot be used"),
    "a port": (("--port", "http"), "SIGNOFF_ENGINE_PORT cannot be used"),
    "a retention": (("--retention", "5"), "SIGNOFF_ENGINE_RETENTION cannot be used"),
    "a host": (("--host", "0.0.0.0"), "SIGNOFF_ENGINE_OPEN=1"),
    "an env file": (("--env-file", "/nowhere"), "The env file /nowhere cannot be read"),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_refused_with_a_sentence(
    arguments: tuple[str, ...], sentence: str
) -> None:
    """It names the variable and what is needed."""
    assert sentence in wrong(*arguments)


def test_it_says_where_it_listens(tmp_path: Path) -> None:
    """The first line of its log."""
    engine = SignoffProcess(("engine",), tmp_path / "data").start()
    port = engine.engine_port
    assert engine.stop() == 0

    first = json.loads(engine.log().splitlines()[0])
    assert (first["event"], first["addresses"]) == ("listening", [f"127.0.0.1:{port}"])


def test_it_says_why_it_cannot_start(tmp_path: Path) -> None:
    """A taken directory or port, a damaged database, a wrong mock file: one sentence each."""
    first = SignoffProcess(("engine",), tmp_path / "taken").start()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "engine.sqlite3").write_bytes(b"this is no database" * 500)

    mocks = tmp_path / "MockConfigFile.json"
    mocks.write_text('{"MockedResponses": {"R": {"1": {"Return": 1}}}}')

    second = refusal(*LONG, data_dir=first.data_dir)
    port = refusal(*LONG, "--port", str(first.engine_port), data_dir=tmp_path / "other")
    database = refusal(*LONG, data_dir=damaged)

    nowhere = refusal(*LONG, data_dir=mocks)
    mocked = refusal(*LONG, "--mock-config", str(mocks), data_dir=tmp_path / "other")

    assert mocked.startswith(f"The mock file {mocks} is wrong at MockedResponses.R: ")
    assert nowhere.startswith(f"The data directory {mocks} cannot be written (File exists).")
    assert "Another engine is using the data directory" in second
    assert f"Port {first.engine_port} on 127.0.0.1 cannot be used" in port
    assert "engine.sqlite3 cannot be opened" in database and "backup" in database
    assert first.stop() == 0
