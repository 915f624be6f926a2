"""AWS Step Functions as a target, or whatever answers its API (AWS_ENDPOINT_URL_SFN).

boto3 does not retry here: an answer that was lost must be known as lost, because the call may have
been applied (`reconcile.py`). It blocks, so calls run in threads of this adapter's own; when all of
them are taken for long, more calls are refused as busy instead of piling up.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from app.approvals.targets import (
    Event,
    TargetBusy,
    TargetDown,
    TargetRefused,
    translate,
    unreadable,
)
from app.boto_client import boto_client

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.client import SFNClient

CONNECT_S = 2
READ_S = 5
THREADS = 32
#: calls that may wait for a thread; with all threads hanging, the last one still begins in time
WAITING = 32
_PAGE = 1000  #: events

#: no answer, or one that is none: the call may have been applied
_UNCLEAR = (HTTPClientError, BotoConnectionError, IncompleteReadError, ResponseParserError)
#: of these, nobody was there, or went away
_DOWN = (BotoConnectionError, ConnectTimeoutError, ConnectionClosedError)


def connect() -> "SFNClient":
    """A client by the standard AWS variables.

    Raises:
        StartRefused: they are incomplete.
    """
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=THREADS,
        tcp_keepalive=True,
    )
    client: SFNClient = boto_client("stepfunctions", config, needed_by="The target aws")
    return client


class StepFunctionsTarget:
    """Delivers to the Step Functions API."""

    def __init__(self, client: "SFNClient") -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stepfunctions")
        self._calls = 0

    def close(self) -> None:
        """Let go of the threads; calls under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def succeed(self, token: str, output: str) -> None:
        """Complete the task with *output* (JSON text)."""
        await self._send(partial(self._client.send_task_success, taskToken=token, output=output))

    async def fail(self, token: str, error: str | None, cause: str | None) -> None:
        """Fail the task."""
        # boto3 takes no None for what is left out.
        said = {"error": error, "cause": cause}
        members: dict[str, Any] = {name: text for name, text in said.items() if text is not None}
        await self._send(partial(self._client.send_task_failure, taskToken=token, **members))

    async def heartbeat(self, token: str) -> None:
        """Tell that the task is still worked on."""
        await self._send(partial(self._client.send_task_heartbeat, taskToken=token))

    async def history(self, execution_arn: str) -> AsyncIterator[Event]:
        """The execution's events with their data, oldest first."""
        position: dict[str, Any] = {}
        while True:
            page = await self._page(execution_arn, position)
            for event in page.get("events", []):
                yield event
            if "nextToken" not in page:
                return
            position = {"nextToken": page["nextToken"]}

    async def _send(self, call: partial[Any]) -> None:
        try:
            await self._call(call)
        except ClientError as exc:
            raise translate(*_code(exc)) from exc

    async def _page(self, execution_arn: str, position: dict[str, Any]) -> Any:
        call = partial(
            self._client.get_execution_history,
            executionArn=execution_arn,
            maxResults=_PAGE,
            includeExecutionData=True,
            **position,
        )
        try:
            return await self._call(call)
        except ClientError as exc:
            raise unreadable(*_code(exc)) from exc

    async def _call(self, call: partial[Any]) -> Any:
        if self._calls >= THREADS + WAITING:
            raise TargetBusy("all threads are waiting for the service")
        self._calls += 1
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except _DOWN as exc:
            raise TargetDown(type(exc).__name__) from exc
        except _UNCLEAR as exc:
            raise TargetBusy(type(exc).__name__) from exc
        except BotoCoreError as exc:
            # No credentials, no region: it never left this machine.
            raise TargetRefused(type(exc).__name__) from exc
        finally:
            self._calls -= 1
        if not _is_of_the_service(answer):
            raise TargetBusy("an answer that is not the service's")
        return answer


def _is_of_the_service(answer: Any) -> bool:
    # A proxy's page with status 200 is read by boto3 as an empty answer; it is no proof.
    metadata = answer["ResponseMetadata"]
    content_type = metadata.get("HTTPHeaders", {}).get("content-type", "")
    return "json" in content_type or bool(metadata.get("RequestId"))


def _code(exc: ClientError) -> tuple[str, int]:
    metadata = exc.response.get("ResponseMetadata", {})
    code = exc.response.get("Error", {}).get("Code", "Unknown")
    return str(code), int(metadata.get("HTTPStatusCode", 0))
