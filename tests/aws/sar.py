"""The rules of the Serverless Application Repository, as AWS documents them.

Sources: "Publishing applications", "AWS SAM template properties for SAR", "IAM capabilities".
"""

import re
from collections.abc import Iterator
from typing import Any

from app.strict_json import Json, dumps
from tests.aws.rules import Template, resources
from tests.aws.tools import REPOSITORY

METADATA = "AWS::ServerlessRepo::Application"
_BOUNDS = {"Name": 140, "Description": 256, "Author": 127}
_SEMANTIC = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
#: of those that create permissions, the ones that SAR refuses on every resource
_REFUSED = frozenset({"iam:*", "iam:AttachRolePolicy", "iam:PutRolePolicy", "*"})


def complaints(template: Template) -> Iterator[str]:
    """What SAR would refuse, or hold against an application."""
    about: dict[str, Any] = template.get("Metadata", {}).get(METADATA, {})
    yield from _metadata(about)
    yield from _files(about)
    yield from _resources(template)


def _metadata(about: dict[str, Any]) -> Iterator[str]:
    for field, longest in _BOUNDS.items():
        if not 1 <= len(about.get(field, "")) <= longest:
            yield f"{field} must have 1 to {longest} characters"
    if not re.fullmatch(r"[A-Za-z0-9-]+", about.get("Name", "")):
        yield "Name has other characters than letters, digits and dashes"
    if not _SEMANTIC.fullmatch(str(about.get("SemanticVersion", ""))):
        yield "SemanticVersion is none"
    if "SpdxLicenseId" not in about:
        yield "SpdxLicenseId is missing"
    if len(about.get("Labels", ())) > 10:
        yield "there are more than ten labels"
    if "Fn::" in dumps(about).decode() or '"Ref"' in dumps(about).decode():
        yield "the metadata holds functions"


def _files(about: dict[str, Any]) -> Iterator[str]:
    for field in ("LicenseUrl", "ReadmeUrl"):
        path = REPOSITORY / about.get(field, "missing")
        if not path.is_file() or path.stat().st_size > 5 * 2**20:
            yield f"{field} names no file of at most 5 MB"


def _resources(template: Template) -> Iterator[str]:
    for name, properties in resources(template, "AWS::IAM::Role").items():
        for field in ("RoleName", "ManagedPolicyArns"):
            yield from _naming(name, field, properties)
    for name, properties in resources(template, "AWS::IAM::ManagedPolicy").items():
        yield from _naming(name, "ManagedPolicyName", properties)
    for statement in _every_statement(template):
        actions = statement["Action"]
        broad = _REFUSED.intersection([actions] if isinstance(actions, str) else actions)
        if broad and statement.get("Resource") == "*":
            yield f"SAR refuses {', '.join(sorted(broad))} on *"


def _naming(name: str, field: str, properties: dict[str, Any]) -> Iterator[str]:
    told = dumps(properties.get(field, "")).decode()
    if field == "ManagedPolicyArns":
        if "FullAccess" in told:
            yield f"{name}: SAR refuses full access"
    elif field in properties:
        yield f"{name}: {field} needs CAPABILITY_NAMED_IAM"


def _every_statement(node: Json) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "Effect" in node and "Action" in node:
            yield node
        for child in node.values():
            yield from _every_statement(child)
    elif isinstance(node, list):
        for child in node:
            yield from _every_statement(child)
