"""Answers that workflows have not got yet: claimed, put off, given back, counted."""

from collections.abc import Sequence
from datetime import datetime

from app.approvals.audit import AuditEvent
from app.approvals.store.dynamodb import keys, rows
from app.approvals.store.dynamodb.definition import shard
from app.approvals.store.dynamodb.due import ANSWER, MAIL, count_waiting, due, first_due, waiting
from app.approvals.store.dynamodb.moves import Move, make_move
from app.approvals.store.dynamodb.table import Table
from app.approvals.store.dynamodb.wire import Item, Key
from app.approvals.store.dynamodb.writes import Update
from app.approvals.store.interface import Backlog, Lease, Owed
from app.clock import to_ms


def claim(table: Table, lease: Lease, now: datetime, limit: int) -> Sequence[Owed]:
    """Take answers that are due."""
    if limit < 1:
        return []
    leased = [
        row for item in due(table, ANSWER, limit, now) if (row := _lease(table, item, lease, now))
    ]
    ids = [keys.approval_of(row["pk"]) or "" for row in leased]
    wanted = [key for one in ids for key in (keys.request_key(one), keys.payload_key(one))]
    items = table.get_all(wanted)
    # One whose request is gone (by other hands than ours) must not hold up the others.
    return [
        _owed(row, one, items, lease)
        for row, one in zip(leased, ids, strict=True)
        if keys.request_key(one) in items
    ]


def _lease(table: Table, item: Item, lease: Lease, now: datetime) -> Item | None:
    """The row, now ours for a while; None if somebody else was faster."""
    return table.update(
        Update(
            Key(item["pk"], item["sk"]),
            conditions=(("due", "=", shard(ANSWER, item["pk"])), ("due_at", "<=", to_ms(now))),
            sets={"due_at": to_ms(lease.until), "lease_owner": lease.owner},
            adds={"attempts": 1},
        )
    )


def _owed(row: Item, approval_id: str, items: dict[Key, Item], lease: Lease) -> Owed:
    first = items[keys.request_key(approval_id)]
    return Owed(
        approval_id=approval_id,
        target=row["target"],
        sealed_token=first["token"],
        payload=rows.read_payload(items.get(keys.payload_key(approval_id))),
        decision_id=row.get("decision_id"),
        execution_arn=first.get("execution_arn"),
        attempts=row["attempts"],
        lease=lease,
    )


def postpone(table: Table, owed: Owed, sets: Item, now: datetime) -> None:
    """Give a lease back, with the changes *sets*; call an operator the first time that is asked."""
    held = (("lease_owner", "=", owed.lease.owner), ("due_at", "=", to_ms(owed.lease.until)))

    def call_operator(row: Item) -> Move | None:
        if row.get("needs_operator") or not _holds(row, owed.lease):
            return None
        details = {"reason": sets["evidence"]}
        return Move(
            AuditEvent.NEEDS_OPERATOR,
            details,
            now,
            sets=sets,
            removes=("lease_owner",),
            conditions=held,
        )

    if sets["needs_operator"] and make_move(table, owed.approval_id, call_operator):
        return
    key = keys.row_key(owed.approval_id)
    table.update(Update(key, conditions=held, sets=sets, removes=("lease_owner",)))


def _holds(row: Item, lease: Lease) -> bool:
    held = (row.get("lease_owner"), row.get("due_at"))
    return held == (lease.owner, to_ms(lease.until))


def release(table: Table, owner: str | None, now: datetime) -> None:
    """Give back the leases of *owner* (None: of everyone)."""
    for item in waiting(table, ANSWER):
        holder = item.get("lease_owner")
        if holder is None or owner not in (None, holder):
            continue
        table.update(
            Update(
                Key(item["pk"], item["sk"]),
                conditions=(("due", "=", shard(ANSWER, item["pk"])), ("lease_owner", "=", holder)),
                sets={"due_at": to_ms(now)},
                removes=("lease_owner",),
            )
        )


def backlog(table: Table) -> Backlog:
    """What is owed at the moment."""
    owed = list(waiting(table, ANSWER))
    return Backlog(
        answers=len(owed),
        oldest_answer_at=rows.moment(min((item["owed_since"] for item in owed), default=None)),
        needs_operator=sum(item.get("needs_operator", False) for item in owed),
        mails=count_waiting(table, MAIL),
        oldest_mail_due=rows.moment(first_due(table, MAIL)),
    )
