"""Distributed Maps and S3: items that are read, results that are written. The S3 is moto's."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from app.strict_json import Json
from tests.engine.driving import Driver, only
from tests.engine.mapping import PASS, children_of, counted, distributed, run_of

BUCKET = "bucket"
READ = "arn:aws:states:::s3:getObject"
FAIL_ON_TWO: Json = {
    "StartAt": "Which",
    "States": {
        "Which": {
            "Type": "Choice",
            "Choices": [{"Variable": "$", "NumericEquals": 2, "Next": "Bad"}],
            "Default": "Good",
        },
        "Bad": {"Type": "Fail", "Error": "Two", "Cause": "why"},
        "Good": PASS,
    },
}


@pytest.fixture
def bucket(moto: str, credentials: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket, and AWS_ENDPOINT_URL_S3 pointing to its server."""
    credentials.setenv("AWS_ENDPOINT_URL_S3", moto)
    resource: Any = boto3.resource("s3", region_name="us-east-1")
    found = resource.Bucket(BUCKET)
    found.create()
    yield found
    found.objects.all().delete()
    resource.meta.client.close()


def reading(config: Json, **fields: Json) -> dict[str, Json]:
    """A Map over the items of the object ``items``."""
    parameters = {"Bucket": BUCKET, "Key": "items"}
    reader: Json = {"Resource": READ, "Parameters": parameters, "ReaderConfig": config}
    return distributed(ItemReader=reader, **fields)


GIVEN: Json = {"CSVHeaderLocation": "GIVEN", "CSVHeaders": ["a", "b"]}


@pytest.mark.parametrize(
    ("config", "content", "items"),
    [
        ({"InputType": "JSON"}, '[1, {"a": null}, "x"]', [1, {"a": None}, "x"]),
        (
            {"InputType": "JSON", "ItemsPointer": "/a"},
            '{"a": {"k": 1}}',
            [{"Key": "k", "Value": 1}],
        ),
        ({"InputType": "JSON", "MaxItems": 2}, "[1, 2, 3]", [1, 2]),
        ({"InputType": "JSON", "ItemsPointer": "/a/1/b~1c"}, '{"a":[0,{"b/c":[7]}]}', [7]),
        ({"InputType": "JSONL"}, '{"a":1}\n\n2\n"x"', [{"a": 1}, 2, "x"]),
        (
            {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
            '\ufeffH1,H2\nx,"y, ""z""\nnew"\n\n1\n1,2,3',
            [{"H1": "x", "H2": 'y, "z"\nnew'}, {"H1": "1", "H2": ""}, {"H1": "1", "H2": "2"}],
        ),
        ({"InputType": "CSV", **GIVEN}, "1,2\n", [{"a": "1", "b": "2"}]),
        ({"InputType": "CSV", "CSVDelimiter": "TAB", **GIVEN}, "1\t2,3", [{"a": "1", "b": "2,3"}]),
        ({"InputType": "CSV", "CSVDelimiter": "PIPE", **GIVEN}, "1|2", [{"a": "1", "b": "2"}]),
    ],
)
async def test_items_are_read(
    driver: Driver, bucket: Any, config: Json, content: str, items: Json
) -> None:
    """In the formats that AWS reads; the state's length is not known when it starts."""
    bucket.put_object(Key="items", Body=content.encode())
    arn = await driver.run(only(reading(config)))

    assert await driver.output(arn) == items
    assert (await driver.events(arn))[2]["mapStateStartedEventDetails"] == {"length": 0}


async def test_fields_of_a_row_come_in_awss_order(driver: Driver, bucket: Any) -> None:
    """That of its documentation's example."""
    bucket.put_object(Key="items", Body=b"userId,movieId,rating,timestamp\n1,307,3.5,12566")
    config = {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}
    arn = await driver.run(only(reading(config)))

    assert (await driver.describe(arn))["output"] == (
        '[{"rating":"3.5","movieId":"307","userId":"1","timestamp":"12566"}]'
    )


@pytest.mark.parametrize(
    ("config", "content", "cause"),
    [
        ({"InputType": "JSON"}, "7", "Attempting to map over non-iterable node."),
        ({"InputType": "JSON"}, "{}", "Attempting to map over non-iterable node."),
        (
            {"InputType": "MANIFEST"},
            '{"fileFormat":"CSV","files":[{}]}',
            "The item source cannot be read to its end: 'key'",
        ),
        ({"InputType": "JSON"}, "[1", "The item source is not valid JSON: The text is not JSON."),
        ({"InputType": "JSONL"}, "{", "The item source is not valid JSON: The text is not JSON."),
        (
            {"InputType": "JSON", "ItemsPointer": "/a/9"},
            '{"a": [1]}',
            "The ItemsPointer '/a/9' leads to nothing in the JSON data.",
        ),
        (
            {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
            "a,b,a\n1,2,3",
            "CSV headers cannot contain duplicates.",
        ),
        ({"InputType": "CSV", **GIVEN}, "\xff", "The item source is not text in UTF-8."),
        (
            {"InputType": "PARQUET"},
            "PAR1",
            "Items of type PARQUET cannot be read here. "
            "Supported types: [JSON, JSONL, CSV, MANIFEST]",
        ),
        (
            {"InputType": "JSON", "MaxItemsPath": "$.less"},
            "[1]",
            "field MaxItems must be positive",
        ),
    ],
)
async def test_items_that_cannot_be_read_fail_the_run(
    driver: Driver, bucket: Any, config: Json, content: str, cause: str
) -> None:
    """With States.ItemReaderFailed, which can be caught."""
    bucket.put_object(Key="items", Body=content.encode("latin-1"))
    arn = await driver.run(only(reading(config)), {"less": -1})

    assert (await driver.story(arn))[3:] == [
        "4<3 MapRunStarted",
        "5<4 MapRunFailed",
        "6<5 MapStateFailed",
        "7<6 ExecutionFailed",
    ]
    described = await driver.describe(arn)
    assert (described["error"], described["cause"]) == ("States.ItemReaderFailed", cause)
    assert (await run_of(driver, arn))["status"] == "FAILED"


async def test_a_number_of_items_that_is_none_fails_the_state(driver: Driver) -> None:
    """Before a Map Run begins, and as other numbers of a Map do."""
    config: Json = {"InputType": "JSON", "MaxItemsPath": "$.max"}

    arn = await driver.run(only(reading(config)), {"max": 1.5})

    assert (await driver.story(arn))[2:] == ["3<2 ExecutionFailed"]
    described = await driver.describe(arn)
    assert described["error"] == "States.Runtime"
    assert described["cause"].endswith(
        'The MaxItemsPath field refers to value "1.5" which is not a valid integer: $.max'
    )


async def test_an_object_that_is_not_there_fails_the_run(driver: Driver, bucket: Any) -> None:
    """In S3's words."""
    arn = await driver.run(only(reading({"InputType": "JSON"})))

    described = await driver.describe(arn)
    assert described["error"] == "States.ItemReaderFailed"
    assert described["cause"].startswith(
        "The specified key does not exist. (Service: S3, Status Code: 404, Request ID: "
    )


async def test_reading_is_tried_again_by_a_redrive(driver: Driver, bucket: Any) -> None:
    """The same Map Run goes on."""
    arn = await driver.run(only(reading({"InputType": "JSON"})))
    bucket.put_object(Key="items", Body=b"[1, 2]")
    await driver.call("RedriveExecution", executionArn=arn)
    await driver.engine.idle()

    assert await driver.output(arn) == [1, 2]
    run = await run_of(driver, arn)
    assert (run["redriveCount"], run["itemCounts"]["succeeded"]) == (1, 2)


async def test_a_child_knows_where_its_item_comes_from(driver: Driver, bucket: Any) -> None:
    """``$$.Map.Item`` has the S3 URI; the object's key may be told in JSONata."""
    bucket.put_object(Key="items", Body=b"[5]")
    reader: Json = {
        "Resource": READ,
        "Arguments": {"Bucket": BUCKET, "Key": "{% 'it' & 'ems' %}"},
        "ReaderConfig": {"InputType": "JSON", "MaxItems": "{% 1 %}"},
    }
    state = distributed(
        {"Type": "Pass", "Output": "{% $states.context.Map.Item %}", "End": True},
        ItemReader=reader,
    )
    arn = await driver.run({"QueryLanguage": "JSONata", **only(state)})

    assert await driver.output(arn) == [{"Index": 0, "Value": 5, "Source": "S3://bucket/items"}]


async def test_objects_are_listed(driver: Driver, bucket: Any) -> None:
    """Page by page; each is an item."""
    for key in ("b/2", "b/1", "other"):
        bucket.put_object(Key=key, Body=key.encode())
    parameters: Json = {"Bucket": BUCKET, "Prefix": "b/", "MaxKeys": 1}
    reader: Json = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": parameters}
    arn = await driver.run(only(distributed(ItemReader=reader)))

    entries = await driver.output(arn)
    assert [list(entry) for entry in entries] == [
        ["Etag", "LastModified", "Key", "Size", "StorageClass"]
    ] * 2
    assert [(e["Key"], e["Size"], e["StorageClass"]) for e in entries] == [
        ("b/1", 3, "STANDARD"),
        ("b/2", 3, "STANDARD"),
    ]


async def test_listed_objects_are_read(driver: Driver, bucket: Any) -> None:
    """With LOAD_AND_FLATTEN their items are the run's; gzip is unpacked."""
    bucket.put_object(Key="b/1", Body=b"[1, 2]")
    bucket.put_object(Key="b/2.gz", Body=gzip.compress(b"[3]"))
    bucket.put_object(Key="b/empty", Body=b"")
    reader: Json = {
        "Resource": "arn:aws:states:::s3:listObjectsV2",
        "Parameters": {"Bucket": BUCKET, "Prefix": "b/"},
        "ReaderConfig": {"InputType": "JSON", "Transformation": "LOAD_AND_FLATTEN"},
    }
    arn = await driver.run(only(distributed(ItemReader=reader)))

    assert await driver.output(arn) == [1, 2, 3]


async def test_an_object_that_breaks_off_fails_the_run(driver: Driver, bucket: Any) -> None:
    """Nothing begins with a part of the items."""
    bucket.put_object(Key="b/1.gz", Body=gzip.compress(b"[1]" + b" " * 9_999)[:-9])
    reader: Json = {
        "Resource": READ,
        "Parameters": {"Bucket": BUCKET, "Key": "b/1.gz"},
        "ReaderConfig": {"InputType": "JSONL"},
    }
    arn = await driver.run(only(distributed(ItemReader=reader)))

    described = await driver.describe(arn)
    assert described["error"] == "States.ItemReaderFailed"
    assert described["cause"].startswith("The item source cannot be read to its end: ")
    assert counted((await run_of(driver, arn))["itemCounts"]) == {}


async def test_an_inventory_is_read(driver: Driver, bucket: Any) -> None:
    """Its manifest lists files of CSV, its schema names their columns."""
    manifest = {
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size",
        "files": [{"key": "data/1.csv.gz"}],
    }
    bucket.put_object(Key="items", Body=json.dumps(manifest).encode())
    rows = gzip.compress(b'"b","a%20key","12"\n"b","other","0"\n')
    bucket.put_object(Key="data/1.csv.gz", Body=rows)
    arn = await driver.run(only(reading({"InputType": "MANIFEST"})))

    assert await driver.output(arn) == [
        {"Bucket": "b", "Key": "a key", "Size": "12"},
        {"Bucket": "b", "Key": "other", "Size": "0"},
    ]


async def test_an_athena_manifest_is_read(driver: Driver, bucket: Any) -> None:
    """It lists the files that hold the items."""
    bucket.put_object(Key="items", Body=b"s3://bucket/one\ns3://bucket/two\n")
    bucket.put_object(Key="one", Body=b"1\n2\n")
    bucket.put_object(Key="two", Body=b"3\n")
    config = {"InputType": "JSONL", "ManifestType": "ATHENA_DATA"}
    arn = await driver.run(only(reading(config)))

    assert await driver.output(arn) == [1, 2, 3]


# Results


def writing(config: Json = None, **fields: Json) -> dict[str, Json]:
    """A Map that fails for 2 and writes what came of the others."""
    parameters = {"Bucket": BUCKET, "Prefix": "out"}
    writer: Json = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": parameters}
    if config is not None:
        writer["WriterConfig"] = config
    state = distributed(ResultWriter=writer, Label="w", **fields)
    state["ItemProcessor"] |= FAIL_ON_TWO
    return state


def objects(bucket: Any) -> dict[str, str]:
    """What the bucket holds, by the last part of its key."""
    found = {entry.key: entry.get()["Body"].read().decode() for entry in bucket.objects.all()}
    return {key.rsplit("/", 1)[-1]: body for key, body in found.items()}


async def test_results_are_written(driver: Driver, bucket: Any) -> None:
    """Files by status and a manifest; the output says where."""
    arn = await driver.run(only(writing(ToleratedFailureCount=1)), [1, 2])

    run = await run_of(driver, arn)
    prefix = f"out/{run['mapRunArn'].rsplit(':', 1)[1]}/"
    assert await driver.output(arn) == {
        "MapRunArn": run["mapRunArn"],
        "ResultWriterDetails": {"Bucket": BUCKET, "Key": f"{prefix}manifest.json"},
    }
    found = objects(bucket)
    assert sorted(found) == ["FAILED_0.json", "SUCCEEDED_0.json", "manifest.json"]
    sizes = {kind: len(found[f"{kind}_0.json"]) for kind in ("SUCCEEDED", "FAILED")}
    assert json.loads(found["manifest.json"]) == {
        "DestinationBucket": BUCKET,
        "MapRunArn": run["mapRunArn"],
        "ResultFiles": {
            kind: [{"Key": f"{prefix}{kind}_0.json", "Size": sizes[kind]}] for kind in sizes
        }
        | {"PENDING": []},
    }
    failed, succeeded = await children_of(driver, arn)
    when = "2025-11-12T12:00:00.000Z"
    shared: Json = {
        "InputDetails": {"Included": True},
        "RedriveCount": 0,
        "StartDate": when,
        "StateMachineArn": succeeded["stateMachineArn"],
        "StopDate": when,
    }
    assert json.loads(found["SUCCEEDED_0.json"]) == [
        shared
        | {
            "ExecutionArn": succeeded["executionArn"],
            "Input": "1",
            "Name": succeeded["name"],
            "Output": "1",
            "OutputDetails": {"Included": True},
            "RedriveStatus": "NOT_REDRIVABLE",
            "RedriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
            "Status": "SUCCEEDED",
        }
    ]
    assert json.loads(found["FAILED_0.json"]) == [
        shared
        | {
            "Cause": "why",
            "Error": "Two",
            "ExecutionArn": failed["executionArn"],
            "Input": "2",
            "Name": failed["name"],
            "RedriveStatus": "REDRIVABLE_BY_MAP_RUN",
            "Status": "FAILED",
        }
    ]
    assert counted(run["executionCounts"]) == {
        "succeeded": 1,
        "failed": 1,
        "total": 2,
        "resultsWritten": 1,
    }


@pytest.mark.parametrize(
    ("config", "name", "content"),
    [
        ({"Transformation": "COMPACT", "OutputType": "JSON"}, "SUCCEEDED_0.json", "[1,[3,4]]"),
        ({"Transformation": "FLATTEN", "OutputType": "JSON"}, "SUCCEEDED_0.json", "[1,3,4]"),
        ({"Transformation": "FLATTEN", "OutputType": "JSONL"}, "SUCCEEDED_0.jsonl", "1\n3\n4\n"),
    ],
)
async def test_written_results_are_shaped(
    driver: Driver, bucket: Any, config: Json, name: str, content: str
) -> None:
    """As the WriterConfig says."""
    await driver.run(only(writing(config)), [1, [3, 4]])

    assert objects(bucket)[name] == content


async def test_results_of_a_failed_run_are_written(driver: Driver, bucket: Any) -> None:
    """With what was still pending."""
    arn = await driver.run(only(writing(MaxConcurrency=1)), [1, 2, 3])

    found = objects(bucket)
    assert sorted(found) == [
        "FAILED_0.json",
        "PENDING_0.json",
        "SUCCEEDED_0.json",
        "manifest.json",
    ]
    assert [entry["Input"] for entry in json.loads(found["PENDING_0.json"])] == ["3"]
    assert (await driver.describe(arn))["error"] == "States.ExceedToleratedFailureThreshold"


async def test_results_that_cannot_be_written_fail_the_run(driver: Driver, bucket: Any) -> None:
    """With States.ResultWriterFailed."""
    state = writing()
    state["ResultWriter"]["Parameters"]["Bucket"] = "nowhere"
    arn = await driver.run(only(state), [1])

    described = await driver.describe(arn)
    assert described["error"] == "States.ResultWriterFailed"
    assert described["cause"].startswith("The specified bucket does not exist (Service: S3, ")


async def test_without_an_endpoint_nothing_is_read(driver: Driver) -> None:
    """The cause says what to set."""
    arn = await driver.run(only(reading({"InputType": "JSON"})))

    described = await driver.describe(arn)
    assert described["error"] == "States.ItemReaderFailed"
    assert "AWS_ENDPOINT_URL_S3" in described["cause"]
