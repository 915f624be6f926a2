"""The moves of an approval's life: what each changes in its row, if the row allows it.

Pure: a row in, a `Move` or nothing out. `moves.py` carries them out.
"""

from datetime import datetime

from app.approvals.attempts import Settled
from app.approvals.audit import AuditEvent
from app.approvals.model import Payload, State
from app.approvals.payloads import payload_digest
from app.approvals.store.dynamodb import keys, rows
from app.approvals.store.dynamodb.definition import shard
from app.approvals.store.dynamodb.due import ANSWER, DUE
from app.approvals.store.dynamodb.moves import Move
from app.approvals.store.dynamodb.wire import Item
from app.approvals.store.dynamodb.writes import Put
from app.approvals.store.interface import Ballot
from app.clock import to_ms


def decide(ballot: Ballot, row: Item) -> Move | None:
    """PENDING -> DECIDED, before the expiry; the answer is owed, and leased, from now on."""
    decision, lease = ballot.decision, ballot.lease
    if not rows.is_open(row, decision.at):
        return None
    at = to_ms(decision.at)
    return Move(
        AuditEvent.DECIDED,
        ballot.audit_details(),
        decision.at,
        sets={
            "state": State.DECIDED.value,
            "decision_id": decision.id,
            "action": decision.action,
            "recipient": decision.recipient,
            "decided_at": at,
            "attempts": 1,
            "lease_owner": lease.owner,
            "owed_since": at,
            "due": shard(ANSWER, row["pk"]),
            "due_at": to_ms(lease.until),
            **({} if decision.comment is None else {"comment": decision.comment}),
        },
        conditions=(("state", "=", State.PENDING.value), ("expires_at", ">", at)),
        others=[Put(rows.payload_item(ballot.approval_id, ballot.payload))],
    )


def expire(payload: Payload | None, now: datetime, row: Item) -> Move | None:
    """PENDING -> EXPIRED, at the expiry; *payload* is owed from *now* on."""
    at = to_ms(now)
    if row["state"] != State.PENDING or row["expires_at"] > at:
        return None
    owed = {"owed_since": row["expires_at"], "due": shard(ANSWER, row["pk"]), "due_at": at}
    approval_id = keys.approval_of(row["pk"]) or ""
    return Move(
        AuditEvent.EXPIRED,
        {"payload_sha256": payload_digest(payload) if payload else None},
        now,
        sets={
            "state": State.EXPIRED.value,
            "closed_at": row["expires_at"],
            **(owed if payload else {}),
        },
        removes=() if payload else DUE,
        conditions=(("state", "=", State.PENDING.value), ("expires_at", "<=", at)),
        others=[Put(rows.payload_item(approval_id, payload))] if payload else [],
    )


def revoke(now: datetime, row: Item) -> Move | None:
    """PENDING -> REVOKED, before the expiry."""
    if not rows.is_open(row, now):
        return None
    return Move(
        AuditEvent.REVOKED,
        {},
        now,
        sets={"state": State.REVOKED.value, "closed_at": to_ms(now)},
        removes=DUE,
        conditions=(("state", "=", State.PENDING.value), ("expires_at", ">", to_ms(now))),
    )


def task_closed(evidence: str, now: datetime, row: Item) -> Move | None:
    """PENDING -> CLOSED."""
    if row["state"] != State.PENDING:
        return None
    closed = {"state": State.CLOSED.value, "closed_at": to_ms(now), "evidence": evidence}
    return Move(
        AuditEvent.CLOSED,
        {"evidence": evidence},
        now,
        sets=closed,
        removes=DUE,
        conditions=(("state", "=", State.PENDING.value),),
    )


def settle(settled: Settled, now: datetime, row: Item) -> Move | None:
    """The end of what is owed: DECIDED -> the proven state; EXPIRED stays."""
    if not rows.is_owed(row):
        return None
    at = to_ms(now)
    sets = {"evidence": settled.evidence, "needs_operator": False}
    if settled.state is State.DELIVERED:
        sets["delivered_at"] = at
    event = f"EXPIRY_{settled.state}"
    if row["state"] == State.DECIDED:
        sets |= {"state": settled.state.value, "closed_at": at}
        event = settled.state.value
    return Move(
        AuditEvent(event),
        {"evidence": settled.evidence},
        now,
        sets=sets,
        removes=(*DUE, "lease_owner", "owed_since"),
        conditions=(("state", "=", row["state"]), ("due", "=", row["due"])),
    )
