"""Requests: what each operation takes is what the service model of the SDKs says."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.session import Session

from app.engine.requests import OPERATIONS, Member, checked
from app.errors import SerializationException

MODEL: Any = Session().get_service_model("stepfunctions")
KINDS = {
    "string": str,
    "integer": int,
    "long": int,
    "float": float,
    "boolean": bool,
    "list": list,
    "structure": dict,
}
#: where the model says less than the service's documentation, or another member's rule
OURS = {
    "required": {"tags.key"},  # a tag without a key is no tag
    "least": {"ValidateStateMachineDefinition.definition"},  # an empty one gets a diagnostic
}


def ours(member: Member) -> dict[str, Any]:
    """A member as the table has it."""
    return {
        "kind": member.kind,
        "least": member.least or None,
        "most": member.most,
        "required": member.required,
        "sensitive": member.sensitive,
        "values": set(member.values),
        "pattern": member.pattern,
    }


def modelled(shape: Any, *, required: bool) -> dict[str, Any]:
    """A member as the model has it."""
    limits = shape.metadata
    return {
        "kind": KINDS[shape.type_name],
        "least": limits.get("min") or None,
        "most": limits.get("max"),
        "required": required,
        "sensitive": limits.get("sensitive", False),
        "values": set(limits.get("enum", ())),
        "pattern": limits.get("pattern"),
    }


def differences(place: str, members: Mapping[str, Member], shape: Any) -> Iterator[str]:
    """Where the table and a structure of the model are not the same."""
    if members.keys() != shape.members.keys():
        yield f"{place}: {members.keys() ^ shape.members.keys()}"
    for name in members.keys() & shape.members.keys():
        yield from differing(
            f"{place}.{name}", members[name], shape.members[name], name in shape.required_members
        )


def differing(place: str, member: Member, shape: Any, required: bool) -> Iterator[str]:
    """Where a member and its model are not the same."""
    found, wanted = ours(member), modelled(shape, required=required)
    for rule in found:
        excused = any(place.endswith(name) for name in OURS.get(rule, ()))
        if found[rule] != wanted[rule] and not excused:
            yield f"{place}: {rule} is {found[rule]}, not {wanted[rule]}"
    inner = shape.member if shape.type_name == "list" else shape
    if inner.type_name == "structure":
        yield from differences(place, member.items or {}, inner)
    elif shape.type_name == "list":
        assert member.each is not None
        assert (member.each.least, member.each.most) == (
            inner.metadata.get("min"),
            inner.metadata.get("max"),
        )


@pytest.mark.parametrize("operation", MODEL.operation_names)
def test_members_have_the_constraints_of_the_model(operation: str) -> None:
    """Types, lengths, bounds, values, patterns, and what must not be shown."""
    shape = MODEL.operation_model(operation).input_shape

    assert list(differences(operation, OPERATIONS[operation], shape)) == []


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 1.5, True, "1"])
def test_what_is_no_long_is_refused(number: object) -> None:
    """Numbers that neither AWS nor the database can hold, and what is no whole number."""
    arn = "arn:aws:states:us-east-1:123456789012:mapRun:m/l:u"

    with pytest.raises(SerializationException):
        checked("UpdateMapRun", {"mapRunArn": arn, "toleratedFailureCount": number})


def test_every_operation_is_there() -> None:
    """All of the API, and nothing else."""
    assert set(OPERATIONS) == set(MODEL.operation_names)
