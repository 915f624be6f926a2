"""Step Functions itself: ``states:startExecution``, and ``aws-sdk:sfn`` with all its actions.

With AWS_ENDPOINT_URL_SFN set they go there, as those of any service. Without, they are for the
engine that runs the task, and need neither network nor polling: an execution that ends makes the
task that waits for it due, in the same transaction.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from app.clock import to_ms
from app.engine.failures import TASK_FAILED, StateFailure
from app.engine.language.resource import Pattern
from app.engine.payload import Payload
from app.engine.resources.clients import AwsClients, Refused
from app.engine.resources.connector import (
    Accepted,
    Surroundings,
    attempt_token,
    sdk_metadata,
)
from app.engine.resources.jobs import Job
from app.engine.resources.naming import first_sdk_member
from app.engine.resources.services import (
    SdkNames,
    ServiceConnector,
    ServiceNames,
    sdk_connector,
)
from app.engine.resources.shaping import text_of
from app.engine.steps.execution import Dispatch
from app.errors import StepFunctionsError
from app.strict_json import Json

NAMES = ServiceNames("stepfunctions", "StepFunctions", "AWSStepFunctions")
_SDK_NAMES = SdkNames("stepfunctions", "Sfn")
#: what a result shows of an execution
_SHOWN = ("executionArn", "input", "name", "output", "stateMachineArn", "status", "error", "cause")
_TEXTS = frozenset({"input", "output", "definition"})


def _elsewhere(clients: AwsClients) -> bool:
    """Whether Step Functions has an endpoint of its own: one for all services is not meant."""
    return clients.has_endpoint("stepfunctions", own=True)


def _ended(described: Mapping[str, Json]) -> dict[str, Json]:
    """What a task is told of an execution, from DescribeExecution's answer."""
    shown = {name: described[name] for name in _SHOWN if described.get(name) is not None}
    for name in ("input", "output"):
        if name in shown:
            shown[name + "Details"] = {"Included": True}
    for name in ("startDate", "stopDate"):
        if described.get(name) is not None:
            shown[name] = _ms(described[name])
    return {first_sdk_member(name): shown[name] for name in sorted(shown)}


def _ms(moment: Json) -> int:
    return to_ms(moment) if isinstance(moment, datetime) else round(moment * 1000)


EXECUTION = Job(
    name=lambda answer, _given: {"executionArn": answer["executionArn"]},
    describe=lambda name: ("DescribeExecution", name),
    status=lambda described: described["status"],
    succeeded=frozenset({"SUCCEEDED"}),
    failed=frozenset({"FAILED", "TIMED_OUT", "ABORTED"}),
    cancel=lambda name: ("StopExecution", name),
)


class ExecutionConnector:
    """Starts executions."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._here = surroundings.here
        self._clients = surroundings.clients
        self._elsewhere = ServiceConnector(
            NAMES, surroundings, "StartExecution", prepare=_named, job=EXECUTION
        )

    async def call(self, dispatch: Dispatch) -> Payload | Accepted:
        """What StartExecution answered.

        Raises:
            StateFailure: it refused.
        """
        if _elsewhere(self._clients):
            return await self._elsewhere.call(dispatch)
        given = dispatch.arguments.value if isinstance(dispatch.arguments.value, dict) else {}
        members = _wire(_named(dict(given), dispatch))
        if "stateMachineArn" not in members:
            raise _refusal("ValidationException", _LACKS_MACHINE)
        answer = await self._started(members, dispatch)
        started: dict[str, Json] = {
            "ExecutionArn": answer["executionArn"],
            "StartDate": _ms(answer["startDate"]),
        }
        request_id = str(uuid.uuid4())
        output = Payload(started | sdk_metadata({"x-amzn-RequestId": request_id}, 200, request_id))
        if dispatch.resource.pattern in (Pattern.SYNC, Pattern.SYNC_2):
            job = Payload({"executionArn": answer["executionArn"]})
            return Accepted(output, job, polled=False)
        return output

    async def _started(self, members: Mapping[str, Json], dispatch: Dispatch) -> Json:
        sync = dispatch.resource.pattern in (Pattern.SYNC, Pattern.SYNC_2)
        try:
            if sync:
                return await self._here.start_child(members, dispatch)
            return await self._here.operate("StartExecution", members)
        except StepFunctionsError as exc:
            raise _refusal(exc.code, exc.message) from exc

    async def poll(self, dispatch: Dispatch) -> Payload | None:
        """How the execution ended; None while it runs.

        Raises:
            StateFailure: not well.
        """
        job = dispatch.job
        assert job is not None  # noqa: S101  # only jobs are polled
        if _elsewhere(self._clients):
            found = await self._elsewhere.described(dispatch)
            described = found[0] if found is not None else None
        else:
            described = await self._describe(job.value)
        if described is None or described["status"] == "RUNNING":
            return None
        shown = _ended(described)
        if described["status"] not in EXECUTION.succeeded:
            raise StateFailure(TASK_FAILED, orjson.dumps(shown).decode())
        if dispatch.resource.pattern is Pattern.SYNC_2:
            for name in ("Input", "Output"):
                shown[name] = orjson.loads(shown[name])
        return Payload(shown)

    async def _describe(self, name: Json) -> Json:
        try:
            return await self._here.operate("DescribeExecution", name)
        except StepFunctionsError as exc:
            raise _refusal(exc.code, exc.message) from exc

    async def cancel(self, dispatch: Dispatch) -> None:
        """Stop the execution.

        Raises:
            StateFailure: it cannot be stopped.
        """
        if _elsewhere(self._clients):
            await self._elsewhere.cancel(dispatch)
            return
        assert dispatch.job is not None  # noqa: S101  # only jobs are cancelled
        try:
            await self._here.operate("StopExecution", dispatch.job.value)
        except StepFunctionsError as exc:
            raise _refusal(exc.code, exc.message) from exc


_LACKS_MACHINE = (
    "1 validation error detected: Value null at 'stateMachineArn' failed to satisfy constraint: "
    "Member must not be null"
)


def _named(given: dict[str, Json], dispatch: Dispatch) -> dict[str, Json]:
    """The parameters with a name that a repeated call has too: it starts nothing twice."""
    if given.get("Name") is None:
        given["Name"] = attempt_token(dispatch)
    if given.get("Input") is None:
        given.pop("Input", None)
    return given


def _wire(given: Mapping[str, Json]) -> dict[str, Json]:
    """Parameters as the API has its members."""
    made: dict[str, Json] = {}
    for name, value in given.items():
        member = name[:1].lower() + name[1:]
        if value is not None:
            made[member] = text_of(value) if member in _TEXTS else value
    return made


def _refused(code: str, text: str) -> Refused:
    return Refused(code, code, 400, text, str(uuid.uuid4()), None)


def _refusal(code: str, text: str) -> StateFailure:
    return NAMES.refusal(_refused(code, text))


class SdkExecutionsConnector:
    """Any action of Step Functions, as ``aws-sdk:sfn`` has it."""

    def __init__(self, action: str, surroundings: Surroundings) -> None:
        self._operation = action[:1].upper() + action[1:]
        self._here = surroundings.here
        self._clients = surroundings.clients
        self._elsewhere = sdk_connector("sfn", action, surroundings)

    async def call(self, dispatch: Dispatch) -> Payload | Accepted:
        """What the operation answered.

        Raises:
            StateFailure: it refused.
        """
        if _elsewhere(self._clients):
            return await self._elsewhere.call(dispatch)
        given = dispatch.arguments.value if isinstance(dispatch.arguments.value, dict) else {}
        try:
            answer = await self._here.operate(self._operation, _wire(given))
        except StepFunctionsError as exc:
            raise _SDK_NAMES.refusal(_refused(exc.code, exc.message)) from exc
        return Payload(_shown(answer))


def _shown(value: Json) -> Json:
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        first_sdk_member(name): _instant(member) if _is_moment(name, member) else _shown(member)
        for name, member in value.items()
        if member is not None
    }


def _is_moment(name: str, value: Json) -> bool:
    return isinstance(value, float | int) and (name.endswith("Date") or name == "timestamp")


def _instant(seconds: float) -> str:
    moment = datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
