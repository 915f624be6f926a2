"""Optimized integrations and aws-sdk, against moto's server."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.strict_json import Json
from tests.engine.driving import ROLE, Driver, only

Aws = Callable[[str], Any]
ARN = "arn:aws:states:::"


def task(resource: str, parameters: Json, **fields: Json) -> dict[str, Json]:
    """A Task."""
    return {
        "Type": "Task",
        "Resource": ARN + resource,
        "Parameters": parameters,
        "End": True,
        **fields,
    }


async def kinds(driver: Driver, arn: str) -> list[str]:
    """What happened between the state's entered event and the end."""
    return [str(event["type"]) for event in (await driver.events(arn))[2:]]


def without_metadata(output: Json) -> Json:
    assert output["SdkHttpMetadata"]["HttpStatusCode"] == 200
    assert output["SdkResponseMetadata"].keys() == {"RequestId"}
    return {name: output[name] for name in output if not name.startswith("Sdk")}


async def test_dynamodb_items_are_put_updated_read_and_deleted(driver: Driver, aws: Aws) -> None:
    """The four actions; answers carry the members of the first SDK."""
    aws("dynamodb").create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    key = {"TableName": "orders", "Key": {"id": {"S": "1"}}}
    item = {"id": {"S": "1"}, "paid": {"BOOL": True}, "n": {"N": "5"}}
    update = key | {
        "UpdateExpression": "SET n = n + :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
        "ReturnValues": "ALL_NEW",
    }

    async def run(action: str, parameters: Json, name: str = "") -> Json:
        state = task(f"dynamodb:{action}", parameters)
        arn = await driver.run(only(state), name=name or action)
        return without_metadata(await driver.output(arn))

    assert await run("putItem", {"TableName": "orders", "Item": item}) == {}
    assert (await run("updateItem", update))["Attributes"] == item | {"n": {"N": "6"}}
    assert await run("getItem", key) == {"Item": item | {"n": {"N": "6"}}}
    assert await run("deleteItem", key) == {}
    assert "Item" not in await run("getItem", key | {"ConsistentRead": True, "Unknown": 1}, "gone")


async def test_a_refusal_is_told_in_the_words_of_the_integration(driver: Driver, aws: Aws) -> None:
    """Optimized and aws-sdk integrations name the same error differently."""
    parameters = {"TableName": "none", "Key": {"id": {"S": "1"}}}
    optimized = await driver.run(only(task("dynamodb:getItem", parameters)), name="a")
    sdk = await driver.run(only(task("aws-sdk:dynamodb:getItem", parameters)), name="b")

    first, second = await driver.describe(optimized), await driver.describe(sdk)
    request = first["cause"].split("Request ID: ")[1].split(";")[0]
    other = second["cause"].split("Request ID: ")[1].split(")")[0]
    assert await kinds(driver, optimized) == [
        "TaskScheduled",
        "TaskStarted",
        "TaskFailed",
        "ExecutionFailed",
    ]
    assert (first["error"], first["cause"]) == (
        "DynamoDB.ResourceNotFoundException",
        "Requested resource not found (Service: AmazonDynamoDBv2; Status Code: 400; "
        f"Error Code: ResourceNotFoundException; Request ID: {request}; Proxy: null)",
    )
    assert (second["error"], second["cause"]) == (
        "DynamoDb.ResourceNotFoundException",
        f"Requested resource not found (Service: DynamoDb, Status Code: 400, Request ID: {other})",
    )


async def test_sns_hands_out_a_token(driver: Driver, aws: Aws) -> None:
    """An object becomes the message's text; the answer is submitted, the token completes it."""
    topic = aws("sns").create_topic(Name="news")["TopicArn"]
    queue = aws("sqs").create_queue(QueueName="news")["QueueUrl"]
    queue_arn = f"arn:aws:sqs:us-east-1:123456789012:{queue.rsplit('/', 1)[1]}"
    aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    message = {"approve": "me", "token.$": "$$.Task.Token"}

    arn = await driver.run(
        only(task("sns:publish.waitForTaskToken", {"TopicArn": topic, "Message": message}))
    )
    received = aws("sqs").receive_message(QueueUrl=queue)["Messages"][0]
    content = json.loads(json.loads(received["Body"])["Message"])
    await driver.succeed("done", content["token"])

    assert content["approve"] == "me"
    assert await driver.output(arn) == "done"
    assert (await kinds(driver, arn))[:4] == [
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
    ]


async def test_a_missing_topic_fails_the_submission(driver: Driver, aws: Aws) -> None:
    """Nobody got the token: the task is not submitted."""
    topic = "arn:aws:sns:us-east-1:123456789012:none"
    state = task("sns:publish.waitForTaskToken", {"TopicArn": topic, "Message": "x"})

    arn = await driver.run(only(state))

    assert (await driver.describe(arn))["error"] == "SNS.NotFoundException"
    assert (await kinds(driver, arn))[2:] == ["TaskSubmitFailed", "ExecutionFailed"]


async def test_events_name_their_sender(driver: Driver, aws: Aws) -> None:
    """Details may be objects; AWS adds the execution and its machine to the resources."""
    queue = aws("sqs").create_queue(QueueName="events")["QueueUrl"]
    aws("events").put_rule(Name="all", EventPattern='{"source":["shop"]}')
    target = {"Id": "1", "Arn": "arn:aws:sqs:us-east-1:123456789012:events"}
    aws("events").put_targets(Rule="all", Targets=[target])
    entry = {"Source": "shop", "DetailType": "sold", "Detail": {"n": 1}, "Resources": ["x"]}

    arn = await driver.run(only(task("events:putEvents", {"Entries": [entry]})))

    output = without_metadata(await driver.output(arn))
    event = json.loads(aws("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"])
    shown = (await driver.events(arn))[2]["taskScheduledEventDetails"]["parameters"]
    assert output["FailedEntryCount"] == 0
    assert [list(made) for made in output["Entries"]] == [["EventId"]]
    assert event["detail"] == {"n": 1}
    assert event["resources"] == ["x", arn, (await driver.describe(arn))["stateMachineArn"]]
    assert json.loads(shown) == {"Entries": [entry]}


async def test_an_event_that_is_refused_fails_the_task(driver: Driver, aws: Aws) -> None:
    """Its cause is the answer."""
    entry = {"Source": "shop", "DetailType": "sold", "Detail": "no JSON"}

    arn = await driver.run(only(task("events:putEvents", {"Entries": [entry]})))

    described = await driver.describe(arn)
    assert described["error"] == "EventBridge.FailedEntry"
    assert json.loads(described["cause"])["FailedEntryCount"] == 1


async def test_aws_sdk_takes_and_gives_blobs_and_moments(driver: Driver, aws: Aws) -> None:
    """Bodies are the JSON of what is given; dates are texts; there is no metadata."""
    aws("s3").create_bucket(Bucket="things")
    where = {"Bucket": "things", "Key": "a"}
    put = task("aws-sdk:s3:putObject", where | {"Body": {"n": 1}}, Next="Get", ResultPath=None)
    del put["End"]
    get = task("aws-sdk:s3:getObject", where)

    output = await driver.output(await driver.run(only(put, Get=get)))

    assert (output["Body"], output["ContentLength"]) == ('{"n":1}', 7)
    assert output["ContentType"] == "text/plain; charset=UTF-8"
    assert output["LastModified"].endswith("Z")
    assert "ResponseMetadata" not in output


async def test_aws_sdk_spells_members_as_the_second_sdk(driver: Driver, aws: Aws) -> None:
    """And takes both spellings."""
    queue = aws("sqs").create_queue(QueueName="sdk")["QueueUrl"]
    state = task("aws-sdk:sqs:sendMessage", {"QueueUrl": queue, "MessageBody": {"a": 1}})

    output = await driver.output(await driver.run(only(state)))

    assert output.keys() == {"MessageId", "Md5OfMessageBody"}


async def test_aws_sdk_waits_for_tokens(driver: Driver, aws: Aws) -> None:
    """Any action may hand one out."""
    queue = aws("sqs").create_queue(QueueName="waits")["QueueUrl"]
    parameters = {"QueueUrl": queue, "MessageBody.$": "$$.Task.Token"}

    arn = await driver.run(only(task("aws-sdk:sqs:sendMessage.waitForTaskToken", parameters)))
    token = aws("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"]
    await driver.succeed(7, token)

    assert await driver.output(arn) == 7


@pytest.mark.parametrize(
    ("resource", "parameters", "error", "cause"),
    [
        (
            "aws-sdk:dynamodb:putItem",
            {"TableName": "t", "Item": None},
            "DynamoDb.DynamoDbException",
            "1 validation error detected: Value null at 'item' failed to satisfy constraint: "
            "Member must not be null (Service: DynamoDb, Status Code: 400, Request ID: ",
        ),
        (
            "aws-sdk:s3:getObject",
            {"Bucket": "none", "Key": "a", "Nonsense": 1},
            "States.Runtime",
            'The Parameters \'{"Bucket":"none","Key":"a","Nonsense":1}\' could not be used to '
            "start the Task: [The field 'Nonsense' is not supported by Step Functions]",
        ),
        (
            "aws-sdk:sqs:sendMessage",
            {"QueueUrl": "x", "MessageBody": "x", "MessageAttributes": [1]},
            "States.Runtime",
            "The Parameters '",
        ),
        (
            "aws-sdk:secretsmanager:getSecretValue",
            {"SecretId": "none"},
            "SecretsManager.ResourceNotFoundException",
            "Secrets Manager can't find the specified secret.",
        ),
    ],
)
async def test_what_aws_sdk_cannot_call_fails_the_task(
    driver: Driver, aws: Aws, resource: str, parameters: Json, error: str, cause: str
) -> None:
    """In AWS's words."""
    described = await driver.describe(await driver.run(only(task(resource, parameters))))

    assert described["error"] == error
    assert described["cause"].startswith(cause)


async def test_a_role_is_assumed(driver: Driver, aws: Aws) -> None:
    """With Credentials, the call is made as that role: in the account that it belongs to."""
    role = "arn:aws:iam::222222222222:role/other"
    state = task("aws-sdk:sts:getCallerIdentity", {}, Credentials={"RoleArn": role})

    output = await driver.output(await driver.run(only(state)))

    assert output["Account"] == "222222222222"
    assert ":assumed-role/other/" in output["Arn"]


async def test_a_role_that_cannot_be_assumed_fails_the_task(
    driver: Driver, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In AWS's words; nothing is called."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    monkeypatch.setattr("app.engine.resources.clients.DEFAULT_ATTEMPTS", 1)
    role = "arn:aws:iam::222222222222:role/other"
    state = task("aws-sdk:sts:getCallerIdentity", {}, Credentials={"RoleArn": role})

    described = await driver.describe(await driver.run(only(state)))

    assert (described["error"], described["cause"]) == (
        "States.TaskFailed",
        f"The role {ROLE} is not authorized to assume the task state's role, {role}.",
    )
