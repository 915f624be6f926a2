"""A move of an approval: its row and its next audit entry, in one transaction.

The row's audit head is the version that is compared: a transaction counts only on top of the head
it was planned on. When it does not count, the answer holds the row as it is, and the move is
planned once more on that. A lost answer is read back: the entry with our hash is there, or not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from secrets import token_hex
from typing import Any

from app.approvals.audit import AuditEvent, entry_hash
from app.approvals.store.dynamodb import keys
from app.approvals.store.dynamodb.definition import shard
from app.approvals.store.dynamodb.due import AUDIT
from app.approvals.store.dynamodb.rows import SeenRows
from app.approvals.store.dynamodb.table import ConditionFailed, Table
from app.approvals.store.dynamodb.wire import Condition, Item, Key
from app.approvals.store.dynamodb.writes import Put, Update, Write
from app.clock import to_ms
from app.errors import StoreUnavailable, StoreUnconfirmed
from app.strict_json import Json, canonical

MAX_ROUNDS = 50  #: so often other moves may come first


@dataclass(frozen=True, slots=True)
class Move:
    """What changes, and what the audit says about it."""

    event: AuditEvent
    details: Json
    at: datetime
    sets: Mapping[str, Any] = field(default_factory=dict)
    removes: Sequence[str] = ()
    conditions: Sequence[Condition] = ()  #: on the row, beside its audit head
    others: Sequence[Write] = ()  #: what is written with it


#: the move that is to be made of a row as it is; None if there is none to be made
Plan = Callable[[Item], Move | None]


def make_move(
    table: Table,
    approval_id: str,
    plan: Plan,
    *,
    token: str | None = None,
    seen: SeenRows | None = None,
) -> bool:
    """Carry out *plan*; whether its move was made.

    *token* names the first attempt to DynamoDB, so that it counts once however often it arrives.
    A row of *seen* saves reading it: where it is out of date, the transaction says so.
    """
    token = token or token_hex(16)
    row = seen.get(approval_id) if seen else None
    # That there is nothing to do is believed of a row that was just read, of no other.
    if row is None or plan(row) is None:
        row = table.get(keys.row_key(approval_id))
    for number in range(MAX_ROUNDS):
        move = plan(row) if row else None
        if row is None or move is None:
            return False
        entry = next_entry(approval_id, row["audit_seq"], row["audit_head"], move)
        try:
            # Other parameters need another token; the same ones have the same.
            table.transact(_writes(row, move, entry), token if number == 0 else _nth(token, number))
            if seen is not None:
                seen.keep(_after(row, move, entry))
            return True
        except StoreUnconfirmed:
            # Not there proves nothing here: what was sent may still arrive.
            if _is_there(table, entry):
                return True
            raise
        except ConditionFailed as failed:
            if failed.after_silence and _is_there(table, entry):
                return True
            if not failed.reasons[0].failed:
                return _refused_by_others(failed)
            row = failed.reasons[0].old
    raise StoreUnavailable()


def next_entry(approval_id: str, seq: int, head: bytes, move: Move) -> Item:
    """The audit entry of *move* after the one with number *seq* and hash *head*."""
    details = canonical(move.details)
    key = keys.entry_key(approval_id, seq + 1)
    return {
        **key._asdict(),
        "seq": seq + 1,
        "at": to_ms(move.at),
        "event": move.event.value,
        "details": details,
        "hash": entry_hash(head, approval_id, seq + 1, move.at, move.event, details),
        "due": shard(AUDIT, key.pk),
        "due_at": to_ms(move.at),
    }


def _after(row: Item, move: Move, entry: Item) -> Item:
    """The row as *move* leaves it."""
    after = {**row, **move.sets, **_head(entry)}
    return {name: value for name, value in after.items() if name not in move.removes}


def _head(entry: Item) -> Item:
    return {"audit_seq": entry["seq"], "audit_head": entry["hash"]}


def _writes(row: Item, move: Move, entry: Item) -> list[Write]:
    change = Update(
        Key(row["pk"], row["sk"]),
        conditions=(("audit_seq", "=", row["audit_seq"]), *move.conditions),
        sets={**move.sets, **_head(entry)},
        removes=move.removes,
    )
    return [change, Put(entry), *move.others]


def _is_there(table: Table, entry: Item) -> bool:
    try:
        found = table.get(Key(entry["pk"], entry["sk"]))
    except StoreUnavailable as exc:
        raise StoreUnconfirmed() from exc
    return found is not None and bool(found["hash"] == entry["hash"])


def _refused_by_others(failed: ConditionFailed) -> bool:
    """False, if what is written with the move was there, or done, before."""
    if failed.reasons[1].failed:
        # An entry beyond the head: the table was changed by something that is not this program.
        raise StoreUnavailable("The audit of this approval does not fit its record.")
    return False


def _nth(token: str, number: int) -> str:
    return sha256(f"{token}.{number}".encode()).hexdigest()[:32]
