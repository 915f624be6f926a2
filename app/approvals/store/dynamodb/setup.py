"""Making the table, and looking whether it is as it should be: for operators, not for requests."""

import time
from collections.abc import Callable, Iterator

from app.approvals.store.dynamodb.definition import TTL_ATTRIBUTE, table_definition
from app.approvals.store.dynamodb.table import Client
from app.aws_json import AwsRefused
from app.strict_json import Json

READY_S = 120.0  #: how long a new table may take
_LOOK_EVERY_S = 1.0


def create_table(client: Client, name: str, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Make the table *name*, with TTL and point-in-time recovery; whether it is new.

    Raises:
        AwsRefused, AwsSilent: DynamoDB does not do so.
    """
    new = _create(client, name)
    for _ in range(int(READY_S / _LOOK_EVERY_S)):
        if _describe(client, name).get("TableStatus") == "ACTIVE":
            break
        sleep(_LOOK_EVERY_S)
    ttl = {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
    if not _has_ttl(client, name):
        client.call("UpdateTimeToLive", {"TableName": name, "TimeToLiveSpecification": ttl})
    recovery = {"PointInTimeRecoveryEnabled": True}
    client.call(
        "UpdateContinuousBackups",
        {"TableName": name, "PointInTimeRecoverySpecification": recovery},
    )
    return new


def table_faults(client: Client, name: str) -> Iterator[str]:
    """What is wrong with the table, in sentences.

    Raises:
        AwsRefused, AwsSilent: DynamoDB does not tell.
    """
    table = _describe(client, name)
    if table.get("TableStatus") not in ("ACTIVE", "UPDATING"):
        yield f"Its status is {table.get('TableStatus')}."
    wanted = table_definition(name)
    if _sorted(table.get("KeySchema", [])) != _sorted(wanted["KeySchema"]):
        yield "Its key is not pk and sk: it was not made for Signoff."
    indexes = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", [])}
    for index in wanted["GlobalSecondaryIndexes"]:
        if not _fits(indexes.get(index["IndexName"]), index):
            yield f"Its index {index['IndexName']} is missing or made otherwise."
    if not _has_ttl(client, name):
        yield f"Time to live is not enabled on {TTL_ATTRIBUTE}: notices are kept for ever."
    if not _has_recovery(client, name):
        yield "Point-in-time recovery is off: a deleted decision could not be brought back."


def _create(client: Client, name: str) -> bool:
    try:
        client.call("CreateTable", table_definition(name))
    except AwsRefused as exc:
        if exc.code != "ResourceInUseException":
            raise
        return False
    return True


def _describe(client: Client, name: str) -> Json:
    return client.call("DescribeTable", {"TableName": name})["Table"]


def _has_ttl(client: Client, name: str) -> bool:
    told = client.call("DescribeTimeToLive", {"TableName": name})["TimeToLiveDescription"]
    enabled = told.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return enabled and bool(told.get("AttributeName") == TTL_ATTRIBUTE)


def _has_recovery(client: Client, name: str) -> bool:
    told = client.call("DescribeContinuousBackups", {"TableName": name})
    recovery = told["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    return bool(recovery.get("PointInTimeRecoveryStatus") == "ENABLED")


def _fits(found: Json, wanted: Json) -> bool:
    if found is None or _sorted(found["KeySchema"]) != _sorted(wanted["KeySchema"]):
        return False
    there, needed = found["Projection"], wanted["Projection"]
    if there["ProjectionType"] == "ALL":
        return True
    copied = set(there.get("NonKeyAttributes", []))
    return copied >= set(needed.get("NonKeyAttributes", []))


def _sorted(schema: Json) -> list[tuple[str, str]]:
    return sorted((key["KeyType"], key["AttributeName"]) for key in schema)
