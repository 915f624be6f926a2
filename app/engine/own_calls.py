"""Calls to AWS services on the engine's own account: events and log lines, not tasks.

boto3 blocks, so each service has one thread; whoever calls waits no longer than `CALL_S`.
"""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.errors import SignoffError
from app.strict_json import Json

CONNECT_S, READ_S = 3, 8
CALL_S = 12.0  #: for one call, waiting for the thread included
_CONFIG = Config(
    connect_timeout=CONNECT_S,
    read_timeout=READ_S,
    # Whoever calls tries again later, when others had their turn.
    retries={"mode": "standard", "total_max_attempts": 1},
)


#: boto3 names the variable after the service's id, people after its client
_VARIABLES = {
    "events": ("AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL_EVENTS"),
    "logs": ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "AWS_ENDPOINT_URL_LOGS"),
}


def endpoint_of(service: str) -> str | None:
    """Where the variables say that *service* answers; None: at AWS, or where a profile says."""
    for name in (*_VARIABLES[service], "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return os.environ[name]
    return None


class CallFailed(SignoffError):
    """The service refused, or did not answer."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code  #: AWS's error code, or the client's name for what went wrong


class OwnCalls:
    """One AWS service (``events`` or ``logs``) by boto3's usual credentials and variables."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._client: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"own-{service}")

    async def call(self, operation: str, parameters: Mapping[str, Json]) -> Any:
        """The service's answer.

        Raises:
            CallFailed
        """
        loop = asyncio.get_running_loop()
        work = partial(self._call, operation, parameters)
        try:
            async with asyncio.timeout(CALL_S):
                return await loop.run_in_executor(self._thread, work)
        except TimeoutError as exc:
            raise CallFailed("timeout") from exc

    def close(self) -> None:
        """Let go of the thread; a call under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _call(self, operation: str, parameters: Mapping[str, Json]) -> Any:
        try:
            if self._client is None:
                self._client = self._connected()
            return getattr(self._client, operation)(**parameters)
        except ClientError as exc:
            raise CallFailed(str(exc.response.get("Error", {}).get("Code", "Unknown"))) from exc
        except (BotoCoreError, ValueError) as exc:
            # Unreachable, no credentials, an endpoint that is no address.
            raise CallFailed(type(exc).__name__) from exc

    def _connected(self) -> Any:
        session = boto3.session.Session(region_name=self._region)
        endpoint = endpoint_of(self._service)
        given: dict[str, Any] = {"config": _CONFIG, "endpoint_url": endpoint}
        if endpoint is not None and session.get_credentials() is None:
            # An endpoint of one's own takes any; boto3 does not sign without.
            given |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        client: Any = session.client(self._service, **given)  # type: ignore[call-overload]
        return client
