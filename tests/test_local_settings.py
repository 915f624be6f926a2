"""Step Functions Local's variables: by their names, checked at the start."""

from pathlib import Path

import pytest

from app.errors import StartRefused
from app.local_settings import read_env_file
from app.settings import load_settings


def test_endpoints_are_named_by_step_functions_locals_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each names its service; an empty variable, as the documented env file has it, names none."""
    for name in ("LAMBDA", "BATCH", "DYNAMODB", "ECS", "GLUE", "SAGE_MAKER", "SQS", "SNS"):
        monkeypatch.setenv(f"{name}_ENDPOINT", f"http://localhost/{name}")
    monkeypatch.setenv("STEP_FUNCTIONS_ENDPOINT", "")

    assert load_settings().local.endpoints == {
        "lambda": "http://localhost/LAMBDA",
        "batch": "http://localhost/BATCH",
        "dynamodb": "http://localhost/DYNAMODB",
        "ecs": "http://localhost/ECS",
        "glue": "http://localhost/GLUE",
        "sagemaker": "http://localhost/SAGE_MAKER",
        "sqs": "http://localhost/SQS",
        "sns": "http://localhost/SNS",
    }


def test_its_own_address_is_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested executions start without network; those at another address do not."""
    monkeypatch.setenv("STEP_FUNCTIONS_ENDPOINT", "http://localhost:8083")
    itself = load_settings().endpoints
    monkeypatch.setenv("STEP_FUNCTIONS_ENDPOINT", "http://localhost:8084")
    another = load_settings().endpoints

    assert itself == {}
    assert another == {"stepfunctions": "http://localhost:8084"}


WRONG = {
    "an endpoint without a scheme": ("LAMBDA_ENDPOINT", "localhost:3001", "http://localhost:3001"),
    "an endpoint of another kind": ("SQS_ENDPOINT", "sqs://queue", "http://localhost:3001"),
    "an endpoint's port": ("SNS_ENDPOINT", "http://localhost:99999", "http://localhost:3001"),
    "a scale in words": ("WAIT_TIME_SCALE", "fast", "number"),
    "a scale below zero": ("WAIT_TIME_SCALE", "-1", "greater than or equal to 0"),
    "a scale without end": ("WAIT_TIME_SCALE", "inf", "finite"),
}


@pytest.mark.parametrize(("name", "value", "hint"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_variable_is_named_with_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    """The sentence names the variable and what to set, and does not repeat the value."""
    monkeypatch.setenv(name, value)

    with pytest.raises(StartRefused) as refused:
        load_settings()

    assert refused.value.message.startswith(f"{name} cannot be used: ")
    assert hint in refused.value.message


def test_the_engine_is_opened_to_others_only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes any credentials, so an address alone does not open it."""
    monkeypatch.setenv("SIGNOFF_ENGINE_HOST", "0.0.0.0")

    with pytest.raises(StartRefused, match="Set SIGNOFF_ENGINE_OPEN=1"):
        load_settings()

    monkeypatch.setenv("SIGNOFF_ENGINE_OPEN", "1")
    assert load_settings().engine_host == "0.0.0.0"


def test_an_env_file_is_read_as_docker_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments and blank lines pass; nothing is unquoted; a name alone is the process' own."""
    file = tmp_path / "aws-stepfunctions-local-credentials.txt"
    file.write_text("# mine\n\nAWS_DEFAULT_REGION=\nA='x=y'\n  B= z\nHOME_TOWN\nNOT_SET\n")
    monkeypatch.setenv("HOME_TOWN", "Ulm")

    variables = read_env_file(file)

    assert variables == {"AWS_DEFAULT_REGION": "", "A": "'x=y'", "B": " z", "HOME_TOWN": "Ulm"}


@pytest.mark.parametrize("content", [b"=x", b"A B=x", b"\xff\xfe=x", b"A=x\0y"])
def test_an_env_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    """One sentence that names the file."""
    file = tmp_path / "credentials.txt"
    file.write_bytes(content)

    with pytest.raises(StartRefused, match=r"credentials\.txt"):
        read_env_file(file)
