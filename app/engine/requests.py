"""The operations of the API: their members and the constraints AWS puts on them.

One line for each member. A request that breaks constraints is answered with AWS's
ValidationException, naming each of them. Members that AWS calls sensitive are never shown.
"""

import re
import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from app.engine.expressions.json_faults import JsonFault, parse
from app.engine.logs.configuration import normalized
from app.engine.payload import MAX_BYTES, Payload
from app.errors import (
    InvalidEncryptionConfiguration,
    InvalidExecutionInput,
    InvalidName,
    InvalidOutput,
    SerializationException,
    ValidationException,
)
from app.strict_json import Json

OWNED_KEY = "AWS_OWNED_KEY"
DEFAULT_PAGE, MAX_PAGE = 100, 1_000
MAX_NAME_CHARS = 80
SHOWN_CHARS = 4_096  #: of a value, in a message; more than any name, ARN or page token may have
ASCII = r"\p{ASCII}*"
ALIAS_NAME = r"^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$"

#: what AWS allows in no name
FORBIDDEN = re.compile(
    r"""[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff\U0010ffff]"""
)


def check_name(name: str) -> None:
    """Refuse what AWS refuses as a name.

    Raises:
        InvalidName
    """
    if not 1 <= len(name) <= MAX_NAME_CHARS or FORBIDDEN.search(name):
        raise InvalidName(f"Invalid Name: '{name[:SHOWN_CHARS]}'")


def default_name(now_ms: int) -> str:
    """The name of an execution that was given none: a UUID.

    Of version 7: they grow with time, so a million names fill their index from left to right.
    """
    chance = secrets.randbits(74)
    number = now_ms << 80 | 7 << 76 | (chance >> 62) << 64 | 2 << 62 | chance & (1 << 62) - 1
    return str(uuid.UUID(int=number))


def execution_input(text: str) -> Payload:
    """An execution's input.

    Raises:
        InvalidExecutionInput: it is not JSON, or too large.
    """
    prefix = "Invalid State Machine Execution Input"
    if not text.strip():
        raise InvalidExecutionInput(f"{prefix}: 'Invalid execution input.'")
    try:
        payload = parse(text)
    except JsonFault as exc:
        raise InvalidExecutionInput(f"{prefix}: '{exc.message}'") from exc
    if payload.too_large:
        raise InvalidExecutionInput(
            f"{prefix}: 'The input exceeds the maximum number of bytes ({MAX_BYTES}).'"
        )
    return payload


def task_output(text: str) -> Payload:
    """What completes a task.

    Raises:
        InvalidOutput: it is not JSON.
        ValidationException: it is too large.
    """
    if len(text) > MAX_BYTES or len(text.encode()) > MAX_BYTES:
        raise ValidationException(
            "1 validation error detected: Value at 'output' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_BYTES}"
        )
    try:
        return parse(text)
    except JsonFault as exc:
        raise InvalidOutput(f"Invalid Output: '{exc.message}'") from exc


def settings_of(logs: Json, tracing: Json, encryption: Json) -> dict[str, Json]:
    """What was configured beside the definition.

    Raises:
        InvalidLoggingConfiguration, InvalidEncryptionConfiguration
    """
    settings: dict[str, Json] = {}
    if logs is not None:
        settings["loggingConfiguration"] = normalized(logs)
    if tracing is not None:
        settings["tracingConfiguration"] = {"enabled": tracing.get("enabled") is True}
    if encryption is not None:
        check_encryption(encryption)
        settings["encryptionConfiguration"] = {"type": OWNED_KEY}
    return settings


def check_encryption(encryption: Json) -> None:
    """Refuse keys of the customer's own: there is no key management service here.

    Raises:
        InvalidEncryptionConfiguration
    """
    if encryption and encryption.get("type", OWNED_KEY) != OWNED_KEY:
        raise InvalidEncryptionConfiguration(
            "Invalid Encryption Configuration: customer managed keys are not available."
        )


def page_size(max_results: int | None) -> int:
    """How many items a page has."""
    return max_results or DEFAULT_PAGE


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a request and its constraints."""

    kind: type
    least: int | None = None  #: a number's value, a string's length
    most: int | None = None
    required: bool = False
    sensitive: bool = False  #: its value is never shown
    values: tuple[str, ...] = ()
    pattern: str | None = None
    items: "Mapping[str, Member] | None" = None  #: of a structure, or a list of structures
    item_type: str = ""  #: AWS's name of such a structure
    each: "Member | None" = None  #: what is in a list of texts

    def shown(self, value: Json) -> str:
        """*value* as AWS writes it into a message."""
        if self.sensitive:
            return "Value"
        if self.each is not None:
            return f"Value '[{', '.join(map(str, value))[:SHOWN_CHARS]}]'"
        if self.items is None:
            return f"Value '{str(value)[:SHOWN_CHARS]}'"
        items = (", ".join(f"{name}={item.get(name)}" for name in self.items) for item in value)
        return f"Value '[{', '.join(f'{self.item_type}({item})' for item in items)}]'"

    def faults(self, value: Json) -> Iterator[str]:
        """The constraints that *value* breaks."""
        size, what = (value, "value") if self.kind in (int, float) else (_length(value), "length")
        if self.least is not None and size < self.least:
            yield f"Member must have {what} greater than or equal to {self.least}"
        if self.most is not None and size > self.most:
            yield f"Member must have {what} less than or equal to {self.most}"
        if self.values and value not in self.values:
            yield f"Member must satisfy enum value set: [{', '.join(self.values)}]"
        if self.pattern is not None and not _matches(self.pattern, value):
            yield f"Member must satisfy regular expression pattern: {self.pattern}"
        if self.each is not None and any(
            fault for item in value for fault in self.each.faults(item)
        ):
            # The greatest first, as AWS has them.
            yield (
                "Member must satisfy constraint: "
                f"[Member must have length less than or equal to {self.each.most}, "
                f"Member must have length greater than or equal to {self.each.least}]"
            )


def _matches(pattern: str, value: str) -> bool:
    # Python's expressions have no such class.
    return value.isascii() if pattern == ASCII else re.fullmatch(pattern, value) is not None


def _length(value: Json) -> int:
    return len(value) if isinstance(value, str | list) else 0


def _text(most: int, least: int = 0, *, required: bool = False, sensitive: bool = False) -> Member:
    return Member(str, least, most, required, sensitive)


def _one_of(*values: str) -> Member:
    return Member(str, values=values)


_ARN = _text(256, 1, required=True)
_NAME = _text(MAX_NAME_CHARS, 1)
_ROLE = _text(256, 1)
_DEFINITION = _text(1_048_576, 1, sensitive=True)
_DATA = _text(262_144, sensitive=True)
_ERROR = _text(256, sensitive=True)
_CAUSE = _text(32_768, sensitive=True)
_TOKEN = _text(2_048, 1, required=True, sensitive=True)
_PAGE = Member(int, 0, MAX_PAGE)
_TRACE_HEADER = Member(str, 0, 256, pattern=ASCII)
_PAGE_TOKEN = _text(1_024, 1)
_TYPE = _one_of("STANDARD", "EXPRESS")
_INCLUDED = _one_of("ALL_DATA", "METADATA_ONLY")
# In AWS's order.
_STATUS = _one_of("SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE", "ABORTED", "FAILED", "RUNNING")
_FLAG = Member(bool)
_DESCRIPTION = _text(256, sensitive=True)
_LONG_ARN = _text(2_000, 1, required=True)
_ROUTING = Member(
    list,
    1,
    2,
    item_type="RoutingConfigurationListItem",
    items={"stateMachineVersionArn": _ARN, "weight": Member(int, 0, 100, required=True)},
)
_MOCK = Member(
    dict,
    items={
        "result": _DATA,
        "errorOutput": Member(dict, items={"error": _ERROR, "cause": _CAUSE}),
        "fieldValidationMode": _one_of("STRICT", "PRESENT", "NONE"),
    },
)
_COUNT = Member(int, 0)
_STATE_CONFIGURATION = Member(
    dict,
    items={
        "retrierRetryCount": _COUNT,
        "errorCausedByState": replace(_NAME, sensitive=True),
        "mapIterationFailureCount": _COUNT,
        "mapItemReaderData": _DATA,
    },
)
_LOG_GROUP = Member(dict, items={"logGroupArn": _ROLE})
_LOGGING = Member(
    dict,
    items={
        "level": _one_of("ALL", "ERROR", "FATAL", "OFF"),
        "includeExecutionData": _FLAG,
        "destinations": Member(list, items={"cloudWatchLogsLogGroup": _LOG_GROUP}),
    },
)
_TRACING = Member(dict, items={"enabled": _FLAG})
_ENCRYPTION = Member(
    dict,
    items={
        "type": Member(str, required=True, values=(OWNED_KEY, "CUSTOMER_MANAGED_KMS_KEY")),
        "kmsKeyId": _text(2_048, 1),
        "kmsDataKeyReusePeriodSeconds": Member(int, 60, 900),
    },
)
_TAG_KEY = _text(128, 1, required=True)
_TAGS = Member(list, items={"key": _TAG_KEY, "value": _text(256)})

OPERATIONS: Mapping[str, Mapping[str, Member]] = {
    "CreateStateMachine": {
        "name": _text(MAX_NAME_CHARS, 1, required=True),
        "definition": _text(1_048_576, 1, required=True, sensitive=True),
        "roleArn": _text(256, 1, required=True),
        "type": _TYPE,
        "loggingConfiguration": _LOGGING,
        "tracingConfiguration": _TRACING,
        "encryptionConfiguration": _ENCRYPTION,
        "tags": _TAGS,
        "publish": _FLAG,
        "versionDescription": _DESCRIPTION,
    },
    "UpdateStateMachine": {
        "stateMachineArn": _ARN,
        "definition": _DEFINITION,
        "roleArn": _ROLE,
        "loggingConfiguration": _LOGGING,
        "tracingConfiguration": _TRACING,
        "encryptionConfiguration": _ENCRYPTION,
        "publish": _FLAG,
        "versionDescription": _DESCRIPTION,
    },
    "DescribeStateMachine": {"stateMachineArn": _ARN, "includedData": _INCLUDED},
    "DescribeStateMachineForExecution": {"executionArn": _ARN, "includedData": _INCLUDED},
    "DeleteStateMachine": {"stateMachineArn": _ARN},
    "ListStateMachines": {"maxResults": _PAGE, "nextToken": _PAGE_TOKEN},
    "ValidateStateMachineDefinition": {
        # An empty one gets a diagnostic.
        "definition": _text(1_048_576, required=True, sensitive=True),
        "type": _TYPE,
        "severity": _one_of("ERROR", "WARNING"),
        "maxResults": Member(int, 0, 100),
    },
    "StartExecution": {
        "stateMachineArn": _ARN,
        "name": _NAME,
        "input": _DATA,
        "traceHeader": _TRACE_HEADER,
    },
    "StartSyncExecution": {
        "stateMachineArn": _ARN,
        "name": _NAME,
        "input": _DATA,
        "traceHeader": _TRACE_HEADER,
        "includedData": _INCLUDED,
    },
    "TestState": {
        "definition": _text(1_048_576, 1, required=True, sensitive=True),
        "roleArn": _ROLE,
        "input": _DATA,
        "inspectionLevel": _one_of("INFO", "DEBUG", "TRACE"),
        "revealSecrets": _FLAG,
        "variables": _DATA,
        "stateName": _text(MAX_NAME_CHARS, 1, sensitive=True),
        "mock": _MOCK,
        "context": _DATA,
        "stateConfiguration": _STATE_CONFIGURATION,
    },
    "DescribeExecution": {"executionArn": _ARN, "includedData": _INCLUDED},
    "ListExecutions": {
        "stateMachineArn": _text(256, 1),
        "mapRunArn": _text(2_000, 1),
        "statusFilter": _STATUS,
        "redriveFilter": _one_of("REDRIVEN", "NOT_REDRIVEN"),
        "maxResults": _PAGE,
        "nextToken": _text(3_096, 1),
    },
    "StopExecution": {"executionArn": _ARN, "error": _ERROR, "cause": _CAUSE},
    "RedriveExecution": {
        "executionArn": _ARN,
        "clientToken": Member(str, 1, 64, pattern="[!-~]+"),
    },
    "GetExecutionHistory": {
        "executionArn": _ARN,
        "maxResults": _PAGE,
        "nextToken": _PAGE_TOKEN,
        "reverseOrder": _FLAG,
        "includeExecutionData": _FLAG,
    },
    "DescribeMapRun": {"mapRunArn": _LONG_ARN},
    "ListMapRuns": {"executionArn": _ARN, "maxResults": _PAGE, "nextToken": _PAGE_TOKEN},
    "UpdateMapRun": {
        "mapRunArn": _LONG_ARN,
        "maxConcurrency": _COUNT,
        "toleratedFailurePercentage": Member(float, 0, 100),
        "toleratedFailureCount": _COUNT,
    },
    "SendTaskSuccess": {
        "taskToken": _TOKEN,
        "output": _text(262_144, required=True, sensitive=True),
    },
    "SendTaskFailure": {"taskToken": _TOKEN, "error": _ERROR, "cause": _CAUSE},
    "SendTaskHeartbeat": {"taskToken": _TOKEN},
    "CreateActivity": {
        "name": _text(MAX_NAME_CHARS, 1, required=True),
        "tags": _TAGS,
        "encryptionConfiguration": _ENCRYPTION,
    },
    "DescribeActivity": {"activityArn": _ARN},
    "DeleteActivity": {"activityArn": _ARN},
    "ListActivities": {"maxResults": _PAGE, "nextToken": _PAGE_TOKEN},
    "GetActivityTask": {"activityArn": _ARN, "workerName": _NAME},
    "PublishStateMachineVersion": {
        "stateMachineArn": _ARN,
        "revisionId": Member(str),
        "description": _DESCRIPTION,
    },
    "ListStateMachineVersions": {
        "stateMachineArn": _ARN,
        "maxResults": _PAGE,
        "nextToken": _PAGE_TOKEN,
    },
    "DeleteStateMachineVersion": {"stateMachineVersionArn": _LONG_ARN},
    "CreateStateMachineAlias": {
        "name": Member(str, 1, MAX_NAME_CHARS, required=True, pattern=ALIAS_NAME),
        "description": _DESCRIPTION,
        "routingConfiguration": replace(_ROUTING, required=True),
    },
    "UpdateStateMachineAlias": {
        "stateMachineAliasArn": _ARN,
        "description": _DESCRIPTION,
        "routingConfiguration": _ROUTING,
    },
    "DescribeStateMachineAlias": {"stateMachineAliasArn": _ARN},
    "DeleteStateMachineAlias": {"stateMachineAliasArn": _ARN},
    "ListStateMachineAliases": {
        "stateMachineArn": _ARN,
        "maxResults": _PAGE,
        "nextToken": _PAGE_TOKEN,
    },
    "TagResource": {"resourceArn": _ARN, "tags": replace(_TAGS, required=True)},
    "UntagResource": {"resourceArn": _ARN, "tagKeys": Member(list, required=True, each=_TAG_KEY)},
    "ListTagsForResource": {"resourceArn": _ARN},
}


def checked(operation: str, body: Mapping[str, Json]) -> dict[str, Json]:
    """The members of a request as keyword arguments of the engine's verb.

    Unknown members are left out at any depth, as AWS does; so are those that are null.

    Raises:
        SerializationException: a member is of the wrong type.
        ValidationException: members are missing or break constraints.
    """
    members = OPERATIONS[operation]
    faults: list[str] = []
    for name, member in members.items():
        faults.extend(_faults(name, member, body.get(name)))
    if faults:
        plural = "error" if len(faults) == 1 else "errors"
        raise ValidationException(
            f"{len(faults)} validation {plural} detected: {'; '.join(faults)}"
        )
    return {snake(name): value for name, value in _known(members, body).items()}


def _known(members: Mapping[str, Member], given: Mapping[str, Json]) -> dict[str, Json]:
    """What of a structure has a meaning, and its structures' likewise."""
    return {
        name: _known_within(member, given[name])
        for name, member in members.items()
        if given.get(name) is not None
    }


def _known_within(member: Member, value: Json) -> Json:
    if member.items is None:
        return value
    if isinstance(value, list):
        return [_known(member.items, item) for item in value]
    return _known(member.items, value)


def _faults(name: str, member: Member, value: Json) -> Iterator[str]:
    if value is None:
        if member.required:
            yield f"Value at '{name}' failed to satisfy constraint: Member must not be null"
        return
    _check_type(name, member, value)
    if member.each is not None:
        for item in value:
            _check_type(f"{name}.member", member.each, item)
    within = _items_faults(name, member.items, value) if member.items is not None else []
    for fault in member.faults(value):
        yield f"{member.shown(value)} at '{name}' failed to satisfy constraint: {fault}"
    yield from within


def _check_type(name: str, member: Member, value: Json) -> None:
    kind = int | float if member.kind is float else member.kind
    wrong = not isinstance(value, kind) or (isinstance(value, bool) and member.kind is not bool)
    if wrong or (member.kind is int and not -(2**63) <= value < 2**63):
        raise SerializationException(f"The value of '{name}' is of the wrong type.")


def _items_faults(name: str, members: Mapping[str, Member], items: Json) -> list[str]:
    if isinstance(items, dict):
        return list(_item_faults(name, members, items))
    faults: list[str] = []
    for position, item in enumerate(items, 1):
        faults.extend(_item_faults(f"{name}.{position}.member", members, item))
    return faults


def _item_faults(place: str, members: Mapping[str, Member], item: Json) -> Iterator[str]:
    if not isinstance(item, dict):
        raise SerializationException(f"The value of '{place}' is of the wrong type.")
    for name, member in members.items():
        yield from _faults(f"{place}.{name}", member, item.get(name))


def snake(name: str) -> str:
    """``stateMachineArn`` as ``state_machine_arn``: AWS's names as Python's."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
