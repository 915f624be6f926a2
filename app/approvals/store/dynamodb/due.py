"""What is due: the index in which everything lies that waits for a date, and its kinds."""

from collections.abc import Iterator
from datetime import datetime

from app.approvals.store.dynamodb.definition import DUE_INDEX, shards
from app.approvals.store.dynamodb.table import Table
from app.approvals.store.dynamodb.wire import Condition, Item
from app.clock import to_ms

EXPIRY = "expiry"  #: a pending approval, due when it expires
LOOK = "look"  #: a pending approval whose task is looked at before that
ANSWER = "answer"  #: an approval whose workflow is to be told something
MAIL = "mail"  #: a queued mail
AUDIT = "audit"  #: an audit entry that no digest covers, since it was written

#: the two attributes that put an item into the index
DUE = ("due", "due_at")


def due(table: Table, kind: str, limit: int, now: datetime | None = None) -> list[Item]:
    """What is due of a kind (at *now*, or at any time), longest ago first, as the index has it."""
    past: list[Condition] = [] if now is None else [("due_at", "<=", to_ms(now))]
    found = [
        item
        for one in shards(kind)
        for item in table.query([("due", "=", one), *past], index=DUE_INDEX, limit=limit)
    ]
    # Within one millisecond the index has no order of its own.
    return sorted(found, key=lambda item: (item["due_at"], item["pk"], item["sk"]))[:limit]


def waiting(table: Table, kind: str) -> Iterator[Item]:
    """All of a kind."""
    for one in shards(kind):
        yield from table.query([("due", "=", one)], index=DUE_INDEX)


def count_waiting(table: Table, kind: str) -> int:
    """How many of a kind there are."""
    return sum(table.count([("due", "=", one)], index=DUE_INDEX) for one in shards(kind))


def first_due(table: Table, kind: str) -> int | None:
    """When the first of a kind is due."""
    return next((int(item["due_at"]) for item in due(table, kind, 1)), None)
