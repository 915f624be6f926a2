"""The table: keys and indexes, in one place. Tests make it, and the SAM template must equal it."""

from zlib import crc32

from app.json_value import Json

#: what is due when; only items that wait for a date are in it
DUE_INDEX = "due"
#: approvals by state, in order of creation
STATE_INDEX = "state"
#: DynamoDB deletes an item some time after the date (seconds) in this attribute
TTL_ATTRIBUTE = "ttl"
#: partitions of the index of what is due, for each kind: one takes 1,000 writes a second
SHARDS = 4

#: copied into the index of what is due, so that counting and signing need no further reads
DUE_PROJECTION = ("owed_since", "needs_operator", "lease_owner", "hash")


def table_definition(name: str) -> Json:
    """The members of CreateTable."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
            {"AttributeName": "due", "AttributeType": "S"},
            {"AttributeName": "due_at", "AttributeType": "N"},
            {"AttributeName": "state", "AttributeType": "S"},
            {"AttributeName": "place", "AttributeType": "S"},
        ],
        "KeySchema": _keys("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": DUE_INDEX,
                "KeySchema": _keys("due", "due_at"),
                "Projection": {
                    "ProjectionType": "INCLUDE",
                    "NonKeyAttributes": list(DUE_PROJECTION),
                },
            },
            {
                "IndexName": STATE_INDEX,
                "KeySchema": _keys("state", "place"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
        ],
    }


def shard(kind: str, partition: str) -> str:
    """The partition, in the index of what is due, of a *kind* of thing that lies in *partition*."""
    return f"{kind}#{crc32(partition.encode()) % SHARDS}"


def shards(kind: str) -> list[str]:
    """All partitions of a *kind*."""
    return [f"{kind}#{number}" for number in range(SHARDS)]


def _keys(partition: str, sort: str) -> Json:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]
