"""``lambda:invoke`` and function ARNs: local functions first, then AWS Lambda at its endpoint."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from app.clock import from_ms
from app.engine.expressions.json_faults import JsonFault, parse
from app.engine.failures import StateFailure
from app.engine.functions import (
    Invocation,
    LocalFunction,
    error_document,
    marshal,
    request_id,
)
from app.engine.language.resource import Family
from app.engine.payload import Payload
from app.engine.resources.clients import Refused
from app.engine.resources.connector import (
    Accepted,
    Surroundings,
    http_metadata,
    sdk_metadata,
)
from app.engine.resources.services import Service, ServiceNames
from app.engine.steps.execution import Dispatch
from app.strict_json import Json

NAMES = ServiceNames("lambda", "Lambda", "AWSLambda")
_OPTIONAL = ("InvocationType", "Qualifier", "ClientContext", "LogType")


class LambdaConnector:
    """Invokes functions."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._functions = surroundings.functions
        self._arns = surroundings.arns
        self._clients = surroundings.clients
        self._aws = Service(NAMES, surroundings.clients)

    async def call(self, dispatch: Dispatch) -> Payload | Accepted:
        """The function's result, in the shape of its integration.

        Raises:
            StateFailure: the function failed, or there is none.
        """
        direct = dispatch.resource.family is Family.FUNCTION
        if direct:
            parameters: dict[str, Json] = {
                "FunctionName": dispatch.resource.arn,
                "Payload": orjson.loads(dispatch.arguments.text),
            }
        else:
            parameters = self._parameters(dispatch.arguments)
        name = function_name(parameters["FunctionName"])
        local = self._functions.get(name)
        if local is not None:
            return await self._call_local(local, name, parameters, dispatch, direct=direct)
        if self._clients.has_endpoint("lambda"):
            return await self._call_aws(parameters, dispatch, direct=direct)
        raise self._not_found(parameters)

    def _parameters(self, arguments: Payload) -> dict[str, Json]:
        loaded = orjson.loads(arguments.text)
        given: dict[str, Json] = loaded if isinstance(loaded, dict) else {}
        name = given.get("FunctionName")
        if not isinstance(name, str) or not name:
            wrong = "have length greater than or equal to 1" if name == "" else "not be null"
            raise _refusal("ValidationException", 400, f"{_WRONG_NAME} Member must {wrong}")
        if given.get("Payload") is None:
            given["Payload"] = {}  # AWS invokes with an empty object
        return given

    async def _call_local(
        self,
        function: LocalFunction,
        name: str,
        parameters: Mapping[str, Json],
        dispatch: Dispatch,
        *,
        direct: bool,
    ) -> Payload:
        call_id = request_id(dispatch.execution_arn, dispatch.frame, dispatch.attempt)
        deadline = from_ms(dispatch.deadline_ms) if dispatch.deadline_ms is not None else None
        try:
            invocation = Invocation(call_id, name, deadline, dispatch.heartbeat_s)
            result = await function(parameters["Payload"], invocation)
        except Exception as exc:
            # Whatever a function raises is its own error, which the workflow may catch.
            raise _function_error(error_document(exc, call_id), direct=direct) from exc
        try:
            text = marshal(result)
        except (TypeError, ValueError) as exc:
            document = error_document(exc, call_id) | {
                "errorType": "Runtime.MarshalError",
                "errorMessage": f"Unable to marshal response: {exc}",
            }
            raise _function_error(document, direct=direct) from exc
        value = _parsed(text)
        return value if direct else _invoked(value, _local_metadata(text, call_id), 200)

    async def _call_aws(
        self, parameters: Mapping[str, Json], dispatch: Dispatch, *, direct: bool
    ) -> Payload:
        request = {name: parameters[name] for name in _OPTIONAL if parameters.get(name) is not None}
        request["FunctionName"] = parameters["FunctionName"]
        request["Payload"] = orjson.dumps(parameters["Payload"])
        response, text = await self._aws.call("Invoke", request, dispatch, _read)
        if response.get("FunctionError"):
            raise _aws_function_error(text, direct=direct)
        value = _parsed(text)
        if direct:
            return value
        extra = http_metadata(response["ResponseMetadata"])
        if "LogResult" in response:
            extra["LogResult"] = response["LogResult"]
        return _invoked(value, extra, response["StatusCode"])

    def _not_found(self, parameters: Mapping[str, Json]) -> StateFailure:
        name = str(parameters["FunctionName"])
        if not name.startswith("arn:"):
            where = f"{self._arns.region}:{self._arns.account}"
            name = f"arn:aws:lambda:{where}:function:{function_name(name)}:$LATEST"
        return _refusal("ResourceNotFoundException", 404, f"Function not found: {name}")


_WRONG_NAME = "1 validation error detected: Value at 'functionName' failed to satisfy constraint:"


def _refusal(code: str, status: int, text: str) -> StateFailure:
    return NAMES.refusal(Refused(code, code, status, text, str(uuid.uuid4()), None))


def _read(_model: Any, response: Any) -> tuple[Any, str]:
    # In the thread of the call: the body comes over the network.
    return response, response["Payload"].read().decode()


def function_name(given: str) -> str:
    """The bare name in ``name``, ``name:qualifier``, ``account:function:name`` or a whole ARN."""
    parts = given.split(":")
    if "function" in parts[:-1]:
        return parts[parts.index("function") + 1]
    return parts[0]


def _parsed(text: str) -> Payload:
    """The function's answer: JSON, or the text itself."""
    try:
        return Payload(parse(text).value)
    except JsonFault:
        return Payload(text)


def _invoked(value: Payload, extra: Mapping[str, Json], status: int) -> Payload:
    answer = {"ExecutedVersion": "$LATEST", "Payload": value.value, **extra, "StatusCode": status}
    return Payload(answer)


def _local_metadata(text: str, call_id: str) -> dict[str, Json]:
    headers = {
        "Content-Length": str(len(text.encode())),
        "Content-Type": "application/json",
        "X-Amz-Executed-Version": "$LATEST",
        "x-amzn-RequestId": call_id,
    }
    return sdk_metadata(headers, 200, call_id)


def _function_error(document: dict[str, Any], *, direct: bool) -> StateFailure:
    # AWS hands on Lambda's own text for a function's ARN, and compact JSON for lambda:invoke.
    compact = orjson.dumps(document).decode()
    cause = json.dumps(document, ensure_ascii=False) if direct else compact
    return StateFailure(str(document["errorType"]), cause)


def _aws_function_error(text: str, *, direct: bool) -> StateFailure:
    try:
        document = orjson.loads(text)
        error = document.get("errorType", "Lambda.Unknown")
        compact = orjson.dumps(document).decode()
    except (orjson.JSONDecodeError, AttributeError):
        return StateFailure("Lambda.Unknown", text)
    return StateFailure(error, text if direct else compact)
