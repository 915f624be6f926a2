"""Rights as IAM judges them: what a call needs, and whether a function's role has it.

Only what the template uses: actions and resources by pattern. Conditions are not judged.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from app.strict_json import Json, loads
from tests.aws.intrinsics import ACCOUNT, REGION

#: an action and the ARN of what it is done to
Need = tuple[str, str]

_CREDENTIAL = re.compile(r"Credential=([^/]+)/")


@dataclass
class Rights:
    """The rights of one function, and those that it made use of."""

    statements: list[dict[str, Any]]
    used: set[str] = field(default_factory=set)

    def cover(self, needs: list[Need]) -> bool:
        """Whether all of *needs* are allowed; notes those that are."""
        allowed = [(action, arn) for action, arn in needs if self._allows(action, arn)]
        self.used.update(action for action, _ in allowed)
        return allowed == needs

    @property
    def granted(self) -> set[str]:
        """All actions that are allowed."""
        return {action for statement in self.statements for action in _list(statement["Action"])}

    def _allows(self, action: str, arn: str) -> bool:
        return any(
            action in _list(statement["Action"])
            and any(fnmatchcase(arn, pattern) for pattern in _list(statement["Resource"]))
            for statement in self.statements
        )


def caller(authorization: str) -> str | None:
    """The access key that signed a request."""
    match = _CREDENTIAL.search(authorization)
    return match[1] if match else None


def needs(target: str, path: str, body: bytes) -> list[Need]:
    """What IAM asks for, for a call with this X-Amz-Target (or REST path) and *body*."""
    if path.startswith("/v2/email/outbound-emails"):
        sent = loads(body)
        identity = f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/{sent['FromEmailAddress']}"
        return [("ses:SendRawEmail" if "Raw" in sent["Content"] else "ses:SendEmail", identity)]
    api, _, operation = target.rpartition(".")
    members = loads(body)
    if api == "DynamoDB_20120810":
        return list(_table_needs(operation, members))
    if api == "secretsmanager":
        return [(f"secretsmanager:{operation}", members["SecretId"])]
    if api == "AWSStepFunctions":
        # Of a task token only Step Functions knows the state machine.
        machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:any"
        return [(f"states:{operation}", members.get("executionArn", machine))]
    return []


def _table_needs(operation: str, members: Json) -> Iterator[Need]:
    if operation == "TransactWriteItems":
        for item in members["TransactItems"]:
            [(kind, write)] = item.items()
            yield f"dynamodb:{kind}Item", _table_arn(write["TableName"])
    elif operation == "BatchGetItem":
        for table in members["RequestItems"]:
            yield "dynamodb:BatchGetItem", _table_arn(table)
    else:
        index = f"/index/{members['IndexName']}" if "IndexName" in members else ""
        yield f"dynamodb:{operation}", _table_arn(members["TableName"]) + index


def _table_arn(name: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


def _list(value: Json) -> list[Any]:
    return value if isinstance(value, list) else [value]
