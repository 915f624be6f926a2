"""What TestState is told instead of making a call, and whether it could be a real answer."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from app.engine.expressions.json_faults import JsonFault, parse
from app.engine.failures import StateFailure
from app.engine.language.distributed_map import DistributedMap
from app.engine.language.iteration import Map
from app.engine.language.resource import Family, Pattern, Resource
from app.engine.language.states import Parallel, State, Task
from app.engine.payload import Payload
from app.errors import ValidationException
from app.strict_json import Json

STRICT, PRESENT, NONE = "STRICT", "PRESENT", "NONE"

#: what Step Functions calls a service, where boto3 has another name
_SERVICES = {"states": "stepfunctions", "sfn": "stepfunctions", "elasticmapreduce": "emr"}
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "a string"),
    "timestamp": ((str,), "a string"),
    "blob": ((str,), "a string"),
    "list": ((list,), "an array"),
    "structure": ((dict,), "an object"),
    "map": ((dict,), "an object"),
    "boolean": ((bool,), "a boolean"),
    **dict.fromkeys(("integer", "long", "float", "double"), ((int, float), "a number")),
}


def read_mock(
    mock: Json, state: State, failed_iterations: int = 0
) -> Payload | StateFailure | None:
    """What the state's work gave; None if it is to be done.

    Raises:
        ValidationException: there can be no such answer.
    """
    if mock is None:
        return None
    if mock.get("result") is not None and mock.get("errorOutput") is not None:
        raise ValidationException(
            "A test mock should have only one of the following fields: [result, errorOutput]."
        )
    if not isinstance(state, Task | Map | Parallel):
        raise ValidationException(
            f"State type '{state.type}' is not supported when a mock is specified"
        )
    error = mock.get("errorOutput")
    if error is not None:
        return StateFailure(error.get("error"), error.get("cause"))
    result = _result(mock.get("result"))
    if isinstance(state, Task):
        _check_answer(state.resource, result.value, mock.get("fieldValidationMode", STRICT))
    else:
        _check_branches(state, result.value, failed_iterations)
    return result


def _result(text: Json) -> Payload:
    try:
        return parse(text or "")
    except JsonFault as exc:
        raise ValidationException("Mocked result must be valid JSON") from exc


def _check_branches(state: State, result: Json, failed_iterations: int) -> None:
    if _is_exported(state):
        _check_object(result)  # AWS's Map Run answers with where the results lie
        return
    if not isinstance(result, list):
        raise ValidationException("Mocked result must be an array.")
    if isinstance(state, Map) and failed_iterations > len(result):
        raise ValidationException(
            "Map iteration failure count must be less than or equal to the number of Map iterations"
        )
    if isinstance(state, Parallel) and len(result) != len(state.branches):
        raise ValidationException(
            "Mocked result must contain the same number of items as number of Parallel branches."
        )


def _is_exported(state: State) -> bool:
    """Whether a ResultWriter puts the results elsewhere."""
    return isinstance(state, DistributedMap) and state.writer is not None and state.writer.exports


def _check_object(result: Json) -> None:
    if not isinstance(result, dict):
        raise ValidationException("Mocked result must be a JSON object.")


def _check_answer(resource: Resource, result: Json, mode: str) -> None:
    """Compare a mock with the model of the service's answer, where there is one."""
    operation = _answered_by(resource)
    if operation is None:
        return
    _check_object(result)
    # Texts to the API; the integrations give the JSON that they hold.
    told = {name: value for name, value in result.items() if name not in _PARSED.get(operation, ())}
    shape = None if mode == NONE else _answer_shape(*operation)
    fault = next(_faults(shape, told, strict=mode == STRICT), None) if shape else None
    if fault is not None:
        raise ValidationException(f"Mock result schema validation error: {fault}")


def _answered_by(resource: Resource) -> tuple[str, str] | None:
    """The service and the action whose answer a mock stands for; None where any JSON will do.

    A nested execution's is the answer that describes it: source, the Developer Guide on mocks of
    ``.sync`` integrations. A callback's is whatever the holder of the token sends.
    """
    if resource.family is not Family.SERVICE or resource.waits_for_token:
        return None
    if resource.pattern is Pattern.REQUEST_RESPONSE:
        return resource.service, resource.action
    nested = (resource.service, resource.action) == ("states", "startExecution")
    return ("states", "describeExecution") if nested else None


_PARSED = {("lambda", "invoke"): {"Payload"}, ("states", "describeExecution"): {"Input", "Output"}}


@lru_cache(maxsize=64)
def _answer_shape(service: str, action: str) -> Any:
    name = service.removeprefix("aws-sdk:")
    # An engine that nobody asks for TestState does without it.
    from botocore import xform_name  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    from botocore.session import get_session  # noqa: PLC0415

    try:
        model = get_session().get_service_model(_SERVICES.get(name, name))
    except BotoCoreError:
        return None
    wanted = xform_name(action)
    found = (operation for operation in model.operation_names if xform_name(operation) == wanted)
    operation = next(found, None)
    return model.operation_model(operation).output_shape if operation else None


def _faults(shape: Any, value: Json, *, strict: bool) -> Iterator[str]:
    """What a structure lacks or has wrong; members that the model does not know are no fault."""
    if strict:
        for name in shape.required_members:
            if _pascal(name) not in value:
                yield f"Required field '{_pascal(name)}' is missing"
    for name, member in shape.members.items():
        shown = _pascal(name)
        if value.get(shown) is not None:
            yield from _member_faults(shown, member, value[shown], strict=strict)


def _member_faults(name: str, shape: Any, value: Json, *, strict: bool) -> Iterator[str]:
    types, article = _KINDS.get(shape.type_name, ((object,), ""))
    fits = isinstance(value, types) and (not isinstance(value, bool) or bool in types)
    if not fits:
        yield f"Field '{name}' must be {article}"
    elif shape.type_name == "structure":
        yield from _faults(shape, value, strict=strict)
    elif shape.type_name == "list":
        items: Json = value
        for item in items:
            yield from _member_faults(name, shape.member, item, strict=strict)


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]
