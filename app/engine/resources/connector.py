"""What connectors have in common: the interface, and AWS services through boto3."""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from app.engine.arns import Arns
from app.engine.execution import Dispatch
from app.engine.failures import StateFailure
from app.engine.functions import LocalFunction
from app.engine.payload import Payload
from app.strict_json import Json

THREADS = 16  #: blocking calls of one service at the same time; the rest wait their turn


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a connector may use."""

    arns: Arns
    functions: Mapping[str, LocalFunction]
    #: where services answer, by boto3's names; the others where boto3's variables say
    endpoints: Mapping[str, str] = field(default_factory=dict)

    def has_endpoint(self, service: str) -> bool:
        """Whether somebody said where *service* answers."""
        variables = (f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL")
        return service in self.endpoints or any(name in os.environ for name in variables)


class Connector(Protocol):
    """Calls one kind of resource."""

    async def call(self, dispatch: Dispatch) -> Payload:
        """The resource's answer.

        Raises:
            StateFailure: it refused, or failed.
        """


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """How AWS names a service in clients, errors and causes."""

    client: str  #: boto3's: ``sqs``
    error_prefix: str  #: ``SQS``
    service: str  #: ``AmazonSQS``


class AwsService:
    """An AWS service through boto3, which honours AWS_ENDPOINT_URL_<SERVICE>."""

    def __init__(self, names: ServiceNames, surroundings: Surroundings) -> None:
        self._names = names
        self._surroundings = surroundings
        self._client: Any = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=names.client)

    async def call(self, operation: str, parameters: Mapping[str, Json]) -> dict[str, Any]:
        """The service's answer to one operation.

        Raises:
            StateFailure: with AWS's error name and cause.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._call, operation, parameters)

    def failure(self, code: str, status: int, message: str, request_id: str) -> StateFailure:
        """A refusal in the words of Step Functions' optimized integrations."""
        names = self._names
        return StateFailure(
            f"{names.error_prefix}.{code}",
            f"{message} (Service: {names.service}; Status Code: {status}; Error Code: {code}; "
            f"Request ID: {request_id}; Proxy: null)",
        )

    def _call(self, operation: str, parameters: Mapping[str, Json]) -> dict[str, Any]:
        names = self._names
        try:
            if self._client is None:
                self._client = _client(names.client, self._surroundings)
            answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
            return answer
        except ClientError as exc:
            raise self._refusal(exc) from exc
        except BotoCoreError as exc:
            # Unreachable, no credentials, parameters that the client itself refuses.
            raise StateFailure(f"{names.error_prefix}.SdkClientException", str(exc)) from exc

    def _refusal(self, exc: ClientError) -> StateFailure:
        response: Any = exc.response
        error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
        code = str(error.get("Code", "Unknown")).split(".")[-1]
        return self.failure(
            code,
            meta.get("HTTPStatusCode", 400),
            str(error.get("Message", "")),
            str(meta.get("RequestId", "")),
        )


def _client(service: str, surroundings: Surroundings) -> Any:
    session = boto3.session.Session(region_name=surroundings.arns.region)
    more: dict[str, Any] = {
        "endpoint_url": surroundings.endpoints.get(service),
        "config": Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5),
    }
    if surroundings.has_endpoint(service) and session.get_credentials() is None:
        # An endpoint of one's own takes any; boto3 does not sign without.
        more |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return session.client(service, **more)  # type: ignore[call-overload]  # the name is ours


def http_metadata(response: Mapping[str, Any]) -> dict[str, Json]:
    """The members that optimized integrations add to an answer."""
    meta = response.get("ResponseMetadata", {})
    headers = {str(name): str(value) for name, value in meta.get("HTTPHeaders", {}).items()}
    return sdk_metadata(headers, meta.get("HTTPStatusCode", 200), str(meta.get("RequestId", "")))


def sdk_metadata(headers: Mapping[str, str], status: int, request_id: str) -> dict[str, Json]:
    """``SdkHttpMetadata`` and ``SdkResponseMetadata``."""
    return {
        "SdkHttpMetadata": {
            "AllHttpHeaders": {name: [value] for name, value in headers.items()},
            "HttpHeaders": dict(headers),
            "HttpStatusCode": status,
        },
        "SdkResponseMetadata": {"RequestId": request_id},
    }
