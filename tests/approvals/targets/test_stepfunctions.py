"""What only the AWS target has: a client, threads, and answers that are none."""

import asyncio

import boto3
import pytest
from botocore.config import Config

from app.approvals.targets import (
    TargetBusy,
    TargetDown,
    TargetRefused,
    TaskGone,
    translate,
    unreadable,
)
from app.approvals.targets.stepfunctions import (
    THREADS,
    WAITING,
    StepFunctionsTarget,
    connect,
)
from app.errors import StartRefused
from tests.processes import PATIENCE_S, free_port

TRIES = Config(
    retries={"total_max_attempts": 1},
    inject_host_prefix=False,
    connect_timeout=PATIENCE_S,
    read_timeout=PATIENCE_S,
    max_pool_connections=THREADS,
)


def target_at(endpoint: str) -> StepFunctionsTarget:
    """A target for whatever is at *endpoint*."""
    return StepFunctionsTarget(
        boto3.client(
            "stepfunctions",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=TRIES,
        )
    )


async def test_a_service_that_is_not_there_is_down() -> None:
    """Nobody listens: try again soon."""
    target = target_at(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TargetDown):
        await target.succeed("token", "{}")
    target.close()


async def test_a_service_that_hangs_up_is_down() -> None:
    """Whether it was applied is not known; who hung up can be called again soon."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        target = target_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(TargetDown):
            await target.succeed("token", "{}")
        target.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 500 -\r\nContent-Length: 4\r\n\r\noops", TargetBusy),
        (b"HTTP/1.1 503 -\r\nContent-Length: 0\r\n\r\n", TargetBusy),
        (b"HTTP/1.1 429 -\r\nContent-Length: 2\r\n\r\n{}", TargetBusy),
        (b"HTTP/1.1 200 -\r\nContent-Length: 6\r\n\r\n<html>", TargetBusy),
        (b"HTTP/1.1 200 -\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", TargetBusy),
        (b"not HTTP at all\r\n\r\n", TargetBusy),
        (b"HTTP/1.1 403 -\r\nContent-Length: 2\r\n\r\n{}", TargetRefused),
        (
            b"HTTP/1.1 400 -\r\nContent-Length: 44\r\n\r\n"
            b'{"__type":"com.amazonaws.swf#TaskTimedOut"}\n',
            TaskGone,
        ),
    ],
)
async def test_odd_answers_are_never_taken_for_a_success(
    answer: bytes, error: type[Exception]
) -> None:
    """Only an answer of the service itself is a proof."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        target = target_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(error):
            await target.succeed("token", "{}")
        target.close()


async def test_more_calls_than_threads_and_waiting_room_are_busy() -> None:
    """A service that hangs does not pile up calls without end."""
    arrived = 0
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        await go.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        target = target_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        calls = [
            asyncio.create_task(target.succeed("token", "{}")) for _ in range(THREADS + WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(TargetBusy) as refusal:
            await target.succeed("token", "{}")
        go.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        target.close()

    assert refusal.value.code == "all threads are waiting for the service"
    assert {type(result) for result in results} == {TargetDown}


async def test_missing_credentials_are_for_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never left this machine needs somebody to set it up."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", "http://127.0.0.1:8083")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    target = StepFunctionsTarget(connect())

    with pytest.raises(TargetRefused) as refusal:
        await target.succeed("token", "{}")

    assert refusal.value.code == "NoCredentialsError"
    target.close()


def test_the_client_goes_where_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard variables name region and endpoint; the client never retries by itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SFN", "http://127.0.0.1:8083")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    client = connect()

    assert client.meta.endpoint_url == "http://127.0.0.1:8083"
    assert client.meta.region_name == "eu-central-1"
    assert vars(client.meta.config)["_user_provided_options"]["retries"] == {
        "total_max_attempts": 1,
        "mode": "standard",
    }
    client.close()


def test_without_a_region_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to set."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(StartRefused, match="AWS_REGION"):
        connect()


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("TaskTimedOut", 400, TaskGone),
        ("TaskDoesNotExist", 400, TaskGone),
        ("InvalidToken", 400, TaskGone),
        ("ThrottlingException", 400, TargetBusy),
        ("KmsThrottlingException", 400, TargetBusy),
        ("Unknown", 500, TargetBusy),
        ("Unknown", 429, TargetBusy),
        ("AccessDeniedException", 400, TargetRefused),
        ("KmsAccessDeniedException", 400, TargetRefused),
        ("ExpiredTokenException", 403, TargetRefused),
        ("InvalidOutput", 400, TargetRefused),
        ("ValidationException", 400, TargetRefused),
    ],
)
def test_codes_are_translated(code: str, status: int, error: type[Exception]) -> None:
    """Gone is reconciled, busy is tried again, the rest is for an operator."""
    assert type(translate(code, status)) is error


def test_an_invalid_token_for_a_history_is_no_task_that_is_gone() -> None:
    """A bad page token is a history that cannot be read."""
    assert type(unreadable("InvalidToken", 400)) is TargetRefused
