"""Tags: set, replaced, taken, listed; on state machines and activities."""

from functools import partial

import pytest

from app.engine.tags import MAX_TAGS
from app.errors import (
    InvalidArn,
    ResourceNotFound,
    SerializationException,
    TooManyTags,
    ValidationException,
)
from app.strict_json import Json
from tests.engine.driving import Driver, only

DEFINITION: Json = only({"Type": "Pass", "End": True})


async def test_tags_are_added_replaced_and_taken(driver: Driver) -> None:
    """The last value of a key counts; taking what is not there is no error."""
    arn = await driver.machine(DEFINITION)
    both = [{"key": "team", "value": "a"}, {"key": "cost", "value": ""}]
    await driver.call("TagResource", resourceArn=arn, tags=both)
    await driver.call("TagResource", resourceArn=arn, tags=[{"key": "team", "value": "b"}])
    listed = await driver.call("ListTagsForResource", resourceArn=arn)
    assert listed == {"tags": [{"key": "team", "value": "b"}, {"key": "cost", "value": ""}]}

    await driver.call("UntagResource", resourceArn=arn, tagKeys=["team", "other"])

    listed = await driver.call("ListTagsForResource", resourceArn=arn)
    assert listed == {"tags": [{"key": "cost", "value": ""}]}


@pytest.mark.parametrize("tag", [{"key": "a"}, {"key": "a", "value": None}])
async def test_a_tag_without_a_value_has_an_empty_one(driver: Driver, tag: Json) -> None:
    """Be it left out or null."""
    arn = await driver.machine(DEFINITION)

    await driver.call("TagResource", resourceArn=arn, tags=[tag])

    assert await driver.call("ListTagsForResource", resourceArn=arn) == {
        "tags": [{"key": "a", "value": ""}]
    }


async def test_a_resource_has_at_most_fifty_tags(driver: Driver) -> None:
    """The fifty-first is refused, and nothing of that request is kept."""
    arn = await driver.machine(DEFINITION)
    tags: Json = [{"key": f"k{number}", "value": "v"} for number in range(MAX_TAGS)]
    await driver.call("TagResource", resourceArn=arn, tags=tags)

    with pytest.raises(TooManyTags):
        await driver.call("TagResource", resourceArn=arn, tags=[{"key": "more", "value": "v"}])

    listed = await driver.call("ListTagsForResource", resourceArn=arn)
    assert listed == {"tags": tags}


async def test_tags_of_what_does_not_exist_are_not_found(driver: Driver) -> None:
    """The answer names the ARN."""
    arn = "arn:aws:states:us-east-1:123456789012:stateMachine:none"

    with pytest.raises(ResourceNotFound) as caught:
        await driver.call("TagResource", resourceArn=arn, tags=[])

    assert caught.value.message == f"Resource not found: '{arn}'"
    with pytest.raises(ResourceNotFound):
        await driver.call("ListTagsForResource", resourceArn=arn.replace("123", "321"))


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("nothing", "Invalid Arn: 'Invalid ARN prefix: nothing'"),
        (
            "arn:aws:states:us-east-1:123456789012:execution:a:b",
            "Invalid Arn: 'Resource type not valid in this context: execution'",
        ),
    ],
)
async def test_only_machines_and_activities_have_tags(
    driver: Driver, arn: str, message: str
) -> None:
    """Another ARN is refused in AWS's words."""
    with pytest.raises(InvalidArn) as caught:
        await driver.call("ListTagsForResource", resourceArn=arn)

    assert caught.value.message == message


async def test_a_tag_that_breaks_a_constraint_is_named_by_its_place(driver: Driver) -> None:
    """Places count from one, as AWS's do."""
    arn = await driver.machine(DEFINITION)
    tags = [{"key": "a", "value": "b"}, {"key": "", "value": "b"}]

    with pytest.raises(ValidationException) as caught:
        await driver.call("TagResource", resourceArn=arn, tags=tags)

    assert caught.value.message == (
        "1 validation error detected: Value '' at 'tags.2.member.key' failed to satisfy "
        "constraint: Member must have length greater than or equal to 1"
    )


async def test_a_key_to_take_breaks_the_same_constraints(driver: Driver) -> None:
    """AWS names both for a list of texts; what is no text is no list of keys."""
    arn = await driver.machine(DEFINITION)
    call = partial(driver.call, "UntagResource", resourceArn=arn)

    with pytest.raises(ValidationException) as caught:
        await call(tagKeys=["a", ""])
    with pytest.raises(SerializationException):
        await call(tagKeys=[1])

    assert caught.value.message == (
        "1 validation error detected: Value '[a, ]' at 'tagKeys' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must have length less than or equal to 128, "
        "Member must have length greater than or equal to 1]"
    )
