"""AWS services through boto3: where calls go, and in which threads.

One rule for all services: a call goes where ``AWS_ENDPOINT_URL_<SERVICE>`` or ``AWS_ENDPOINT_URL``
points. Without either it is refused: a workflow that is tried on a laptop touches no AWS account by
accident. Who wants AWS itself names its endpoint (``https://sqs.eu-west-1.amazonaws.com``).

boto3 takes long to import, so it is imported with the first call. Each service has a bounded pool
of threads of its own: one that is slow holds up no other.
"""

import os
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from app.clock import utc_now
from app.engine.resources.naming import described
from app.engine.threads import Threads
from app.errors import SignoffError

THREADS = 32  #: blocking calls of one service at the same time; the rest wait their turn
CONNECT_S = 5.0
#: Lambda's longest run is 15 minutes; a function that is still at work must not be called again
READ_S: Mapping[str, float] = {"lambda": 910.0, "stepfunctions": 310.0}
DEFAULT_READ_S = 60.0
ATTEMPTS: Mapping[str, int] = {"lambda": 1}
DEFAULT_ATTEMPTS = 3
EARLY_S = 300  #: an assumed role's credentials are renewed so long before they end

T = TypeVar("T")


@dataclass(eq=False)
class Refused(SignoffError):
    """The service refused the call."""

    code: str  #: as it was on the wire: ``NonExistentQueue``
    shape: str | None  #: the error of the service's model that it is: ``QueueDoesNotExist``
    status: int
    text: str
    request_id: str
    extended_id: str | None  #: S3's


class NotCalled(SignoffError):
    """The call could not be made, or brought no answer."""


class NotAssumed(SignoffError):
    """The task's role cannot be assumed."""


class InvalidParameters(SignoffError):
    """boto3 cannot send these parameters."""


@dataclass(slots=True)
class _Assumed:
    keys: Mapping[str, str]
    until: float  #: epoch seconds


class AwsClients:
    """Calls AWS services."""

    def __init__(self, region: str, endpoints: Mapping[str, str] | None = None) -> None:
        self._region = region
        self._endpoints = dict(endpoints or {})
        self._lock = threading.Lock()
        self._session: Any = None
        self._anonymous = False  # there are no credentials
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._threads: dict[str, Threads] = {}
        self._assumed: dict[str, _Assumed] = {}

    def has_endpoint(self, service: str, *, own: bool = False) -> bool:
        """Whether somebody said where a service (of boto3) answers; *own*: that one alone."""
        return self._endpoint(service) is not None or (
            not own and bool(os.environ.get("AWS_ENDPOINT_URL"))
        )

    def _endpoint(self, service: str) -> str | None:
        if service in self._endpoints:
            return self._endpoints[service]
        # boto3 names the variable after the service's id, people after its client.
        names = (_variable(described(service)[0]), _variable(service))
        found = (os.environ.get(f"AWS_ENDPOINT_URL_{name}") for name in names)
        return next((url for url in found if url), None)

    async def call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]],
        read: Callable[[Any, Any], T],
        role_arn: str | None = None,
    ) -> T:
        """What *read* makes of the model of the operation and of its answer.

        *service* and *operation* are boto3's (``sqs``, ``SendMessage``); *parameters* may be made
        of the operation's model. With *role_arn* that role is assumed first.

        Raises:
            Refused, NotCalled, NotAssumed, InvalidParameters
        """
        threads = self._threads.get(service)
        if threads is None:
            threads = self._threads[service] = Threads(THREADS, f"aws-{service}")
        return await threads.run(self._call, service, operation, parameters, read, role_arn)

    def ask(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        read: Callable[[Any, Any], T],
    ) -> T:
        """As `call`, in the thread of the caller, which blocks."""
        return self._call(service, operation, parameters, read, None)

    def _call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]],
        read: Callable[[Any, Any], T],
        role_arn: str | None,
    ) -> T:
        # Imported with the first call: see above.
        from botocore import xform_name  # noqa: PLC0415
        from botocore.exceptions import (  # noqa: PLC0415
            BotoCoreError,
            ClientError,
            ParamValidationError,
        )

        try:
            client = self._client(service, role_arn)
            model = client.meta.service_model.operation_model(operation)
            given = parameters(model) if callable(parameters) else parameters
            answer = getattr(client, xform_name(operation))(**given)
            return read(model, answer)
        except ClientError as exc:
            raise _refused(exc, client.meta.service_model) from exc
        except ParamValidationError as exc:
            raise InvalidParameters(_one_line(exc)) from exc
        except BotoCoreError as exc:
            # Unreachable, no credentials, an answer that breaks off.
            raise NotCalled(_one_line(exc)) from exc

    def _client(self, service: str, role_arn: str | None) -> Any:
        client = self._clients.get((service, role_arn))
        if client is None or self._outlived(role_arn):
            keys = self._assume(role_arn) if role_arn is not None else {}
            client = self._clients[service, role_arn] = self._make(service, keys)
        return client

    def _outlived(self, role_arn: str | None) -> bool:
        if role_arn is None:
            return False
        assumed = self._assumed.get(role_arn)
        return assumed is None or assumed.until - EARLY_S < utc_now().timestamp()

    def _assume(self, role_arn: str) -> Mapping[str, str]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        if self._outlived(role_arn):
            try:
                answer = self._make("sts", {}).assume_role(
                    RoleArn=role_arn, RoleSessionName=f"task-{uuid.uuid4().hex[:16]}"
                )
            except (ClientError, BotoCoreError) as exc:
                raise NotAssumed(_one_line(exc)) from exc
            made = answer["Credentials"]
            keys = {
                "aws_access_key_id": made["AccessKeyId"],
                "aws_secret_access_key": made["SecretAccessKey"],
                "aws_session_token": made["SessionToken"],
            }
            self._assumed[role_arn] = _Assumed(keys, made["Expiration"].timestamp())
        return self._assumed[role_arn].keys

    def _make(self, service: str, keys: Mapping[str, str]) -> Any:
        from boto3.session import Session  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        if not self.has_endpoint(service):
            raise NotCalled(
                f"No endpoint is configured for {service}: set "
                f"AWS_ENDPOINT_URL_{_variable(described(service)[0])} or AWS_ENDPOINT_URL. "
                "AWS itself is called when one of them names its endpoint."
            )
        config = Config(
            retries={
                "mode": "standard",
                "total_max_attempts": ATTEMPTS.get(service, DEFAULT_ATTEMPTS),
            },
            connect_timeout=CONNECT_S,
            read_timeout=READ_S.get(service, DEFAULT_READ_S),
            max_pool_connections=THREADS,
            # AWS's own calls do not ask S3 for checksums, so results have none.
            response_checksum_validation="when_required",
            # StartSyncExecution's and TestState's prefix would name a host that is not there.
            inject_host_prefix=False,
        )
        with self._lock:  # sessions are not made for many threads; clients are
            if self._session is None:
                self._session = Session(region_name=self._region)
                self._anonymous = self._session.get_credentials() is None
            if not keys and self._anonymous:
                # An endpoint of one's own takes any; boto3 does not sign without.
                keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
            return self._session.client(
                service, endpoint_url=self._endpoint(service), config=config, **keys
            )


def _variable(name: str) -> str:
    """A service's id, or its client's name, as variables have it: ``SECRETS_MANAGER``."""
    return name.replace(" ", "_").replace("-", "_").upper()


def _refused(exc: Any, model: Any) -> Refused:
    error, meta = exc.response.get("Error", {}), exc.response.get("ResponseMetadata", {})
    code = str(error.get("Code", "Unknown"))
    # Services that changed their protocol tell the old code and the new one.
    shapes = [model.shape_for_error_code(c) for c in (error.get("QueryErrorCode"), code) if c]
    shape = next((found for found in shapes if found is not None), None)
    return Refused(
        code=code.split(".")[-1],
        shape=shape.name if shape is not None else None,
        status=meta.get("HTTPStatusCode", 400),
        text=str(error.get("Message", "")),
        request_id=str(meta.get("RequestId", "")),
        extended_id=meta.get("HostId") or meta.get("HTTPHeaders", {}).get("x-amz-id-2"),
    )


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())
