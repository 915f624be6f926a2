"""Versions and aliases: revisions that keep their number, and names that lead to them."""

import json
from typing import Any

import pytest

from app.engine.state_machines import aliases, publishing
from app.errors import (
    ConflictException,
    ResourceNotFound,
    ServiceQuotaExceededException,
    StateMachineAlreadyExists,
    StateMachineDoesNotExist,
    ValidationException,
)
from app.strict_json import Json
from tests.engine.driving import NOON, ROLE, Driver, only

ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:machine"
NOW = NOON.timestamp()


def giving(value: Json) -> str:
    """A definition whose output tells which one ran."""
    return json.dumps(only({"Type": "Pass", "Result": value, "End": True}))


async def two_versions(driver: Driver) -> None:
    """Version 1 gives 1, version 2 gives 2, the newest revision gives 3."""
    await driver.call("CreateStateMachine", name="machine", definition=giving(1), roleArn=ROLE)
    await driver.call("PublishStateMachineVersion", stateMachineArn=ARN, description="first")
    await driver.call("UpdateStateMachine", stateMachineArn=ARN, definition=giving(2), publish=True)
    await driver.call("UpdateStateMachine", stateMachineArn=ARN, definition=giving(3))


async def alias(driver: Driver, *weights: int, name: str = "live", **more: Json) -> Any:
    """An alias over versions 1, 2, ..."""
    routing = [
        {"stateMachineVersionArn": f"{ARN}:{number}", "weight": weight}
        for number, weight in enumerate(weights, 1)
    ]
    return await driver.call(
        "CreateStateMachineAlias", name=name, routingConfiguration=routing, **more
    )


async def started(driver: Driver, arn: str) -> Any:
    """An execution that ended, as DescribeExecution answers it."""
    answer = await driver.call("StartExecution", stateMachineArn=arn)
    await driver.engine.idle()
    return await driver.describe(answer["executionArn"])


async def test_a_machine_can_be_published_as_it_is_created(driver: Driver) -> None:
    """Again with the same content gives the same answer; without publishing it differs."""
    given = {"name": "machine", "definition": giving(1), "roleArn": ROLE}
    first = await driver.call("CreateStateMachine", **given, publish=True, versionDescription="d")
    again = await driver.call("CreateStateMachine", **given, publish=True, versionDescription="d")

    assert (
        again
        == first
        == {
            "stateMachineArn": ARN,
            "creationDate": NOW,
            "stateMachineVersionArn": f"{ARN}:1",
        }
    )
    for other in ({}, {"publish": True}):
        with pytest.raises(StateMachineAlreadyExists):
            await driver.call("CreateStateMachine", **given, **other)


async def test_a_description_needs_a_version(driver: Driver) -> None:
    """In AWS's words."""
    with pytest.raises(ValidationException) as caught:
        await driver.call(
            "CreateStateMachine",
            name="machine",
            definition=giving(1),
            roleArn=ROLE,
            versionDescription="d",
        )

    assert caught.value.message == "Version description can only be set when publish is true"


async def test_a_revision_is_published_once(driver: Driver) -> None:
    """Its version is given again; a changed machine gets the next number."""
    await two_versions(driver)

    third = await driver.call("PublishStateMachineVersion", stateMachineArn=ARN)
    again = await driver.call("PublishStateMachineVersion", stateMachineArn=ARN)

    assert third == again == {"stateMachineVersionArn": f"{ARN}:3", "creationDate": NOW}
    listed = await driver.call("ListStateMachineVersions", stateMachineArn=ARN, maxResults=2)
    rest = await driver.call(
        "ListStateMachineVersions", stateMachineArn=ARN, nextToken=listed["nextToken"]
    )
    shown = listed["stateMachineVersions"] + rest["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in shown] == [
        f"{ARN}:3",
        f"{ARN}:2",
        f"{ARN}:1",
    ]


async def test_only_the_newest_revision_is_published(driver: Driver) -> None:
    """A revision id that is not the present one is refused; INITIAL names the first."""
    await driver.call("CreateStateMachine", name="machine", definition=giving(1), roleArn=ROLE)

    with pytest.raises(ConflictException) as caught:
        await driver.call("PublishStateMachineVersion", stateMachineArn=ARN, revisionId="other")

    assert caught.value.message == (
        "Failed to publish the State Machine version for revision other. "
        "The current State Machine revision is INITIAL."
    )
    await driver.call("PublishStateMachineVersion", stateMachineArn=ARN, revisionId="INITIAL")


async def test_a_version_is_described_as_it_was_published(driver: Driver) -> None:
    """With its own ARN and description."""
    await two_versions(driver)

    first = await driver.call("DescribeStateMachine", stateMachineArn=f"{ARN}:1")

    assert (first["stateMachineArn"], first["description"]) == (f"{ARN}:1", "first")
    assert first["definition"] == giving(1)
    second = await driver.call("DescribeStateMachine", stateMachineArn=f"{ARN}:2")
    assert second["definition"] == giving(2)
    assert "description" not in second
    with pytest.raises(StateMachineDoesNotExist):
        await driver.call("DescribeStateMachine", stateMachineArn=f"{ARN}:3")


async def test_executions_of_a_version_run_its_revision(driver: Driver) -> None:
    """And say so in answers, lists and history; without a number the newest revision runs."""
    await two_versions(driver)

    described = await started(driver, f"{ARN}:1")

    assert (described["output"], described["stateMachineArn"]) == ("1", ARN)
    assert described["stateMachineVersionArn"] == f"{ARN}:1"
    assert (await started(driver, ARN))["output"] == "3"
    listed = await driver.call("ListExecutions", stateMachineArn=f"{ARN}:1")
    assert [found["stateMachineVersionArn"] for found in listed["executions"]] == [f"{ARN}:1"]
    first = (await driver.events(described["executionArn"]))[0]
    assert first["executionStartedEventDetails"]["stateMachineVersionArn"] == f"{ARN}:1"


async def test_an_alias_routes_by_weight(driver: Driver) -> None:
    """All to one version, or some to each."""
    await two_versions(driver)
    await alias(driver, 0, 100, name="second")
    await alias(driver, 50, 50)

    described = await started(driver, f"{ARN}:second")
    outputs = {(await started(driver, f"{ARN}:live"))["output"] for _ in range(64)}

    assert described["output"] == "2"
    assert described["stateMachineAliasArn"] == f"{ARN}:second"
    assert described["stateMachineVersionArn"] == f"{ARN}:2"
    assert outputs == {"1", "2"}
    listed = await driver.call("ListExecutions", stateMachineArn=f"{ARN}:second")
    assert len(listed["executions"]) == 1


async def test_an_alias_is_created_once(driver: Driver) -> None:
    """The same again gives the same answer, another routing is a conflict."""
    await two_versions(driver)
    first = await alias(driver, 100, description="d")
    await driver.pass_time(5)

    assert await alias(driver, 100, description="d") == first
    with pytest.raises(ConflictException) as caught:
        await alias(driver, 50, 50, description="d")

    assert first == {"stateMachineAliasArn": f"{ARN}:live", "creationDate": NOW}
    assert caught.value.message == (
        "Failed to create alias because an alias with the same name and a different "
        "routing configuration already exists."
    )


async def test_an_alias_is_changed_and_described(driver: Driver) -> None:
    """What is not given stays."""
    await two_versions(driver)
    arn = (await alias(driver, 100, description="d"))["stateMachineAliasArn"]
    await driver.pass_time(5)
    routing = [{"stateMachineVersionArn": f"{ARN}:2", "weight": 100}]

    updated = await driver.call(
        "UpdateStateMachineAlias", stateMachineAliasArn=arn, routingConfiguration=routing
    )

    assert updated == {"updateDate": NOW + 5}
    assert await driver.call("DescribeStateMachineAlias", stateMachineAliasArn=arn) == {
        "stateMachineAliasArn": arn,
        "name": "live",
        "description": "d",
        "routingConfiguration": routing,
        "creationDate": NOW,
        "updateDate": NOW + 5,
    }


async def test_a_version_that_an_alias_leads_to_stays(driver: Driver) -> None:
    """Until the alias is gone; deleting either twice is no error; numbers are not reused."""
    await two_versions(driver)
    arn = (await alias(driver, 100, 0))["stateMachineAliasArn"]
    with pytest.raises(ConflictException) as caught:
        await driver.call("DeleteStateMachineVersion", stateMachineVersionArn=f"{ARN}:2")
    assert caught.value.message == (
        "Version to be deleted must not be referenced by an alias. Current list of aliases "
        "referencing this version: [live]"
    )

    for _ in range(2):
        await driver.call("DeleteStateMachineAlias", stateMachineAliasArn=arn)
        await driver.call("DeleteStateMachineVersion", stateMachineVersionArn=f"{ARN}:2")

    published = await driver.call("PublishStateMachineVersion", stateMachineArn=ARN)
    assert published["stateMachineVersionArn"] == f"{ARN}:3"
    with pytest.raises(ResourceNotFound) as missing:
        await driver.call("DescribeStateMachineAlias", stateMachineAliasArn=arn)
    assert missing.value.message == "Request references a resource that does not exist."


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        (
            [("1", 70), ("2", 29)],
            "Sum of routing configuration weights must equal 100. Received: [70, 29]",
        ),
        (
            [("live", 100)],
            "Routing configuration must contain state machine version ARNs. "
            f"Received: [{ARN}:live]",
        ),
        (
            [("1", 50), ("1", 50)],
            "Routing configuration must contain distinct state machine version ARNs. "
            f"Received: [{ARN}:1, {ARN}:1]",
        ),
        (
            [("1", 101)],
            "1 validation error detected: Value '101' at 'routingConfiguration.1.member.weight' "
            "failed to satisfy constraint: Member must have value less than or equal to 100",
        ),
    ],
)
async def test_a_routing_that_aws_refuses_is_refused(
    driver: Driver, routes: list[tuple[str, int]], message: str
) -> None:
    """In AWS's words."""
    await two_versions(driver)
    routing = [
        {"stateMachineVersionArn": f"{ARN}:{number}", "weight": weight} for number, weight in routes
    ]

    with pytest.raises(ValidationException) as caught:
        await driver.call("CreateStateMachineAlias", name="a", routingConfiguration=routing)

    assert caught.value.message == message


async def test_an_alias_leads_only_to_versions_that_exist(driver: Driver) -> None:
    """Of a machine that exists."""
    with pytest.raises(ResourceNotFound):
        await alias(driver, 100)
    await driver.call("CreateStateMachine", name="machine", definition=giving(1), roleArn=ROLE)
    with pytest.raises(ResourceNotFound):
        await alias(driver, 100)


async def test_an_alias_leads_to_two_versions_at_most(driver: Driver) -> None:
    """The refused value is written as AWS writes it."""
    with pytest.raises(ValidationException) as caught:
        await alias(driver, 50, 25, 25)

    items = ", ".join(
        f"RoutingConfigurationListItem(stateMachineVersionArn={ARN}:{number}, weight={weight})"
        for number, weight in ((1, 50), (2, 25), (3, 25))
    )
    assert caught.value.message == (
        f"1 validation error detected: Value '[{items}]' at 'routingConfiguration' failed to "
        "satisfy constraint: Member must have length less than or equal to 2"
    )


async def test_the_name_of_an_alias_is_no_number(driver: Driver) -> None:
    """It could not be told from a version."""
    await two_versions(driver)

    with pytest.raises(ValidationException) as caught:
        await alias(driver, 100, name="12")

    assert caught.value.message == (
        "1 validation error detected: Value '12' at 'name' failed to satisfy constraint: Member "
        r"must satisfy regular expression pattern: ^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$"
    )


async def test_versions_and_aliases_have_quotas(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is there already is given again; one more is refused."""
    await two_versions(driver)
    await alias(driver, 100)
    monkeypatch.setattr(publishing, "MAX_VERSIONS", 2)
    monkeypatch.setattr(aliases, "MAX_ALIASES", 1)

    await alias(driver, 100)
    with pytest.raises(ServiceQuotaExceededException):
        await alias(driver, 100, name="next")
    with pytest.raises(ServiceQuotaExceededException):
        await driver.call("PublishStateMachineVersion", stateMachineArn=ARN)
    await driver.call("DeleteStateMachineVersion", stateMachineVersionArn=f"{ARN}:2")
    third = await driver.call("PublishStateMachineVersion", stateMachineArn=ARN)

    assert third["stateMachineVersionArn"] == f"{ARN}:3"


async def test_aliases_are_listed_newest_first(driver: Driver) -> None:
    """Of a machine, or of one version."""
    await two_versions(driver)
    await alias(driver, 100, name="a")
    await alias(driver, 100, 0, name="b")
    await alias(driver, 0, 100, name="c")

    async def listed(arn: str, **more: Json) -> Any:
        return await driver.call("ListStateMachineAliases", stateMachineArn=arn, **more)

    first = await listed(ARN, maxResults=2)
    rest = await listed(ARN, nextToken=first["nextToken"])
    second = await listed(f"{ARN}:2")

    def names(page: Any) -> list[str]:
        return [
            found["stateMachineAliasArn"].split(":")[-1] for found in page["stateMachineAliases"]
        ]

    assert (names(first), names(rest), names(second)) == (["c", "b"], ["a"], ["c", "b"])


async def test_a_deleted_machine_takes_versions_and_aliases_along(driver: Driver) -> None:
    """A new machine of the name has none."""
    await two_versions(driver)
    await alias(driver, 100)
    await driver.call("DeleteStateMachine", stateMachineArn=ARN)
    assert await driver.call("ListStateMachineVersions", stateMachineArn=ARN) == {
        "stateMachineVersions": []
    }

    await driver.call("CreateStateMachine", name="machine", definition=giving(4), roleArn=ROLE)

    with pytest.raises(StateMachineDoesNotExist):
        await driver.call("StartExecution", stateMachineArn=f"{ARN}:live")


async def test_a_labelled_machine_is_not_started(driver: Driver) -> None:
    """It belongs to a Map Run."""
    with pytest.raises(ValidationException):
        await driver.call("StartExecution", stateMachineArn=f"{ARN}/label")


@pytest.mark.parametrize("number", ["9" * 40, "\u00b2", "\u0661", "-1"])
async def test_what_is_no_version_number_is_refused(driver: Driver, number: str) -> None:
    """However much it looks like one."""
    await two_versions(driver)
    arn = f"{ARN}:{number}"

    for operation in ("StartExecution", "DescribeStateMachine"):
        with pytest.raises(StateMachineDoesNotExist):
            await driver.call(operation, stateMachineArn=arn)
    with pytest.raises(ValidationException):
        await driver.call("DeleteStateMachineVersion", stateMachineVersionArn=arn)
    routing = [{"stateMachineVersionArn": arn, "weight": 100}]
    with pytest.raises(ValidationException):
        await driver.call("CreateStateMachineAlias", name="a", routingConfiguration=routing)
    listed = await driver.call("ListExecutions", stateMachineArn=arn)
    assert listed["executions"] == []
