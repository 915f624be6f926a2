"""Services that Step Functions calls through AWS's SDKs: the optimized integrations, which add
metadata and have names of their own, and ``aws-sdk``, which has any action of any service.

Both are one call of boto3. They differ in words: the names of members, of errors, and the cause.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.engine.failures import TASK_FAILED, StateFailure
from app.engine.language.resource import Pattern
from app.engine.payload import Payload
from app.engine.resources.clients import (
    AwsClients,
    InvalidParameters,
    NotAssumed,
    NotCalled,
    Refused,
)
from app.engine.resources.connector import (
    Accepted,
    Surroundings,
    attempt_token,
    http_metadata,
    unusable,
)
from app.engine.resources.jobs import Job
from app.engine.resources.naming import (
    boto_service,
    described,
    first_sdk_error,
    first_sdk_member,
    pascal_case,
    second_sdk_error,
    second_sdk_member,
)
from app.engine.resources.shaping import Unsupported, answer, arguments, missing
from app.engine.steps.execution import Dispatch
from app.strict_json import Json

log = logging.getLogger(__name__)

Prepare = Callable[[dict[str, Json], Dispatch], dict[str, Json]]
Finish = Callable[[Json], None]


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """How an optimized integration names its service."""

    client: str  #: boto3's: ``sqs``
    error_prefix: str  #: ``SQS``
    service: str  #: ``AmazonSQS``
    base_error: str = ""  #: of errors without a class: ``AmazonSQSException``, unless said
    missing: tuple[str, str] = (
        "ValidationException",
        "1 validation error detected: Value null at '{member}' failed to satisfy constraint: "
        "Member must not be null",
    )  #: code and text for a required member that is not there

    def refusal(self, refused: Refused) -> StateFailure:
        """A refusal in the words of optimized integrations."""
        named = first_sdk_error(refused.shape) if refused.shape else self.base
        return StateFailure(
            f"{self.error_prefix}.{named}",
            f"{refused.text} (Service: {self.service}; Status Code: {refused.status}; "
            f"Error Code: {refused.code}; Request ID: {refused.request_id}; Proxy: null)",
        )

    @property
    def base(self) -> str:
        """The error that all others of the service derive from."""
        return self.base_error or f"{self.service}Exception"


@dataclass(frozen=True, slots=True)
class SdkNames:
    """How ``aws-sdk`` integrations name a service."""

    client: str  #: boto3's: ``secretsmanager``
    service: str  #: ``SecretsManager``
    missing = (
        "ValidationException",
        "1 validation error detected: Value null at '{member}' failed to satisfy constraint: "
        "Member must not be null",
    )

    @property
    def error_prefix(self) -> str:
        """What its errors begin with."""
        return self.service

    def refusal(self, refused: Refused) -> StateFailure:
        """A refusal in the words of ``aws-sdk`` integrations."""
        named = second_sdk_error(refused.shape) if refused.shape else f"{self.service}Exception"
        extended = f", Extended Request ID: {refused.extended_id}" if refused.extended_id else ""
        # Newer versions of the SDK count attempts; AWS's answers show that for these services.
        attempts = " (SDK Attempt Count: 1)" if self.service in _COUNTING else ""
        return StateFailure(
            f"{self.service}.{named}",
            f"{refused.text} (Service: {self.service}, Status Code: {refused.status}, "
            f"Request ID: {refused.request_id}{extended}){attempts}",
        )


_COUNTING = frozenset({"Sfn"})


class Service:
    """One service, called in the words of an integration."""

    def __init__(self, names: ServiceNames | SdkNames, clients: AwsClients) -> None:
        self.names = names
        self._clients = clients

    async def call(
        self,
        operation: str,
        parameters: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]],
        dispatch: Dispatch,
        read: Callable[[Any, Any], Any] = lambda _model, answer: answer,
    ) -> Any:
        """What *read* makes of the answer to an operation (``SendMessage``), called for a task.

        Raises:
            StateFailure: with AWS's error name and cause.
        """
        names, role_arn = self.names, dispatch.role_arn
        try:
            return await self._clients.call(names.client, operation, parameters, read, role_arn)
        except Refused as refused:
            failure = names.refusal(refused)
            kind = PassingFailure if _passing(refused) else StateFailure
            raise kind(failure.error, failure.cause) from refused
        except NotCalled as exc:
            raise PassingFailure(f"{names.error_prefix}.SdkClientException", exc.message) from exc
        except InvalidParameters as exc:
            raise unusable(dispatch.arguments, exc.message) from exc
        except NotAssumed as exc:
            log.warning("a role cannot be assumed: %s", exc.message)
            cause = (
                f"The role {dispatch.execution_role_arn} is not authorized to assume the task "
                f"state's role, {role_arn}."
            )
            raise StateFailure(TASK_FAILED, cause) from exc


class PassingFailure(StateFailure):
    """The service cannot answer now; asked later, it may."""


def _passing(refused: Refused) -> bool:
    slower = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown")
    return refused.status >= 500 or any(part in refused.code for part in slower)


class ServiceConnector:
    """Calls one action of a service."""

    def __init__(
        self,
        names: ServiceNames | SdkNames,
        surroundings: Surroundings,
        operation: str,
        *,
        prepare: Prepare | None = None,
        finish: Finish | None = None,
        job: Job | None = None,
    ) -> None:
        self.names = names
        self._service = Service(names, surroundings.clients)
        self.operation = operation
        self._prepare = prepare
        self._finish = finish
        self.job = job
        self._optimized = isinstance(names, ServiceNames)

    async def call(self, dispatch: Dispatch) -> Payload | Accepted:
        """What the service answered.

        Raises:
            StateFailure: it refused, or cannot be reached.
        """
        given = dispatch.arguments.value
        if not isinstance(given, dict):
            given = {}
        if self._prepare is not None:
            given = self._prepare(dict(given), dispatch)
        raw, shown = await self._called(given, dispatch)
        if self._finish is not None:
            self._finish(shown)
        if dispatch.resource.pattern in (Pattern.SYNC, Pattern.SYNC_2) and self.job is not None:
            return Accepted(Payload(shown), Payload(self.job.name(raw, given)))
        return Payload(shown)

    async def _called(self, given: Json, dispatch: Dispatch) -> tuple[Any, dict[str, Json]]:
        rename = first_sdk_member if self._optimized else second_sdk_member

        def parameters(model: Any) -> Mapping[str, Any]:
            made = arguments(given, model.input_shape)
            for name in missing(made, model.input_shape):
                raise self._lacks(name)
            for name in getattr(model, "idempotent_members", ()):
                made.setdefault(name, attempt_token(dispatch))
            return made

        def read(model: Any, raw: Any) -> tuple[Any, dict[str, Json]]:
            shown = answer(raw, model.output_shape, rename)
            metadata = http_metadata(raw["ResponseMetadata"]) if self._optimized else {}
            return raw, shown | metadata

        try:
            called: tuple[Any, dict[str, Json]] = await self._service.call(
                self.operation, parameters, dispatch, read
            )
        except Unsupported as exc:
            reason = f"The field '{exc.name}' is not supported by Step Functions"
            raise unusable(dispatch.arguments, reason) from exc
        return called

    def _lacks(self, name: str) -> Refused:
        code, text = self.names.missing
        shown = text.format(member=name[:1].lower() + name[1:], parameter=name)
        return Refused(code, None, 400, shown, str(uuid.uuid4()), None)

    async def poll(self, dispatch: Dispatch) -> Payload | None:
        """The result of the job; None while it runs, or when nobody can tell.

        Raises:
            StateFailure: the job failed.
        """
        assert self.job is not None  # noqa: S101  # only jobs are polled
        described = await self.described(dispatch)
        return None if described is None else self.job.result(*described)

    async def described(self, dispatch: Dispatch) -> tuple[Any, dict[str, Json]] | None:
        """The job as its service describes it, and as results show it; None when nobody can tell.

        Raises:
            StateFailure: the service refuses.
        """
        job, name = self.job, dispatch.job
        assert job is not None and name is not None  # noqa: S101  # only jobs are described

        def read(model: Any, raw: Any) -> tuple[Any, dict[str, Json]]:
            return raw, answer(raw, model.output_shape, first_sdk_member)

        operation, parameters = job.describe(name.value)
        try:
            found: tuple[Any, dict[str, Json]] = await self._service.call(
                operation, parameters, dispatch, read
            )
        except PassingFailure:
            return None
        return found

    async def cancel(self, dispatch: Dispatch) -> None:
        """Stop the job, if it still runs.

        Raises:
            StateFailure: it cannot be stopped.
        """
        job, name = self.job, dispatch.job
        assert job is not None and name is not None  # noqa: S101  # only jobs are cancelled
        if job.cancel is not None:
            operation, parameters = job.cancel(name.value)
            await self._service.call(operation, parameters, dispatch)


def sdk_connector(service: str, action: str, surroundings: Surroundings) -> ServiceConnector:
    """The connector of ``aws-sdk:<service>:<action>``, which is known to exist."""
    client = boto_service(service)
    assert client is not None  # noqa: S101  # see above
    service_id, operations = described(client)
    names = SdkNames(client, pascal_case(service_id))
    return ServiceConnector(names, surroundings, operations[action])


def sdk_knows(service: str, action: str) -> bool:
    """Whether there is such an action of such a service (``secretsmanager``, ``createSecret``)."""
    client = boto_service(service)
    return client is not None and action in described(client)[1]
