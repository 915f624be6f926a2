"""What connectors have in common: the interface, and what they may use."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from app.engine.arns import Arns
from app.engine.failures import StateFailure
from app.engine.functions import LocalFunction
from app.engine.payload import Payload
from app.engine.resources.clients import AwsClients
from app.engine.steps.execution import Dispatch
from app.strict_json import Json

_TOKENS = uuid.UUID("0c5ad1c5-8a53-4c28-9d6e-6e2f1f7d1a4b")


class Here(Protocol):
    """The engine that the connectors belong to, for tasks that start executions in it."""

    async def operate(self, operation: str, members: Mapping[str, Json]) -> Json:
        """The answer of an operation of the Step Functions API.

        Raises:
            StepFunctionsError
        """

    async def start_child(self, members: Mapping[str, Json], parent: Dispatch) -> Json:
        """StartExecution; *parent* is told when the execution ends.

        Raises:
            StepFunctionsError
        """


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a connector may use."""

    arns: Arns
    functions: Mapping[str, LocalFunction]
    clients: AwsClients
    here: Here
    #: reached by HTTP tasks although they are not on the internet
    http_hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a service answered to the start of a job that is waited for."""

    output: Payload
    job: Payload  #: what names it; kept until it ends
    polled: bool = True  #: False: we are told when it ends


class Connector(Protocol):
    """Calls one kind of resource."""

    async def call(self, dispatch: Dispatch) -> Payload | Accepted:
        """The resource's answer; `Accepted` for the start of a job (``.sync``).

        Raises:
            StateFailure: it refused, or failed.
        """


class JobConnector(Connector, Protocol):
    """Calls one kind of resource that starts jobs."""

    async def poll(self, dispatch: Dispatch) -> Payload | None:
        """The result of the dispatch's job; None while it runs, or when nobody can tell.

        Raises:
            StateFailure: the job failed.
        """

    async def cancel(self, dispatch: Dispatch) -> None:
        """Stop the dispatch's job, if it still runs.

        Raises:
            StateFailure: it cannot be stopped.
        """


def attempt_token(dispatch: Dispatch) -> str:
    """What is the same whenever this attempt is dispatched again, and for no other."""
    named = f"{dispatch.execution_arn}:{dispatch.frame}:{dispatch.attempt}"
    return str(uuid.uuid5(_TOKENS, named))


def machine_arn(dispatch: Dispatch) -> str:
    """The ARN of the state machine whose task it is."""
    parts = dispatch.execution_arn.split(":")
    return ":".join([*parts[:5], "stateMachine", parts[6]])


def unusable(arguments: Payload, reason: str) -> StateFailure:
    """The failure of parameters that cannot be sent at all."""
    cause = f"The Parameters '{arguments.text}' could not be used to start the Task: [{reason}]"
    return StateFailure("States.Runtime", cause)


def http_metadata(meta: Mapping[str, Json]) -> dict[str, Json]:
    """The members that optimized integrations add to an answer, from boto3's metadata."""
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
