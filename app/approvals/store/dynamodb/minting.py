"""A new approval, with all that belongs to it, in one transaction."""

from secrets import token_hex

from app.approvals.audit import GENESIS, AuditEvent, request_digest
from app.approvals.model import State
from app.approvals.store.dynamodb import keys, rows
from app.approvals.store.dynamodb.mail_items import request_mails
from app.approvals.store.dynamodb.moves import Move, next_entry
from app.approvals.store.dynamodb.table import ConditionFailed, Table
from app.approvals.store.dynamodb.writes import Put, Write
from app.approvals.store.interface import NewApproval
from app.clock import to_ms
from app.errors import StoreUnavailable, StoreUnconfirmed
from app.strict_json import dumps

_LOOKUP_KEPT_S = 400 * 86_400  #: longer than an execution may last


def mint(table: Table, new: NewApproval) -> bool:
    """Store a new approval; whether it is new."""
    writes = _minted(new)
    try:
        # A token of this attempt alone: a repeated mint has other parameters, which DynamoDB would
        # refuse under the same token, instead of saying that the approval is there.
        table.transact(writes, token_hex(16))
    except StoreUnconfirmed:
        if _is_mine(table, new):
            return True
        raise
    except ConditionFailed as failed:
        return failed.after_silence and _is_mine(table, new)
    return True


def _is_mine(table: Table, new: NewApproval) -> bool:
    """Whether what is stored came from this mint: each seals the task token differently."""
    try:
        first = table.get(keys.request_key(new.id))
    except StoreUnavailable as exc:
        raise StoreUnconfirmed() from exc
    return first is not None and bool(first["token"] == new.sealed_token)


def _minted(new: NewApproval) -> list[Write]:
    request, at = new.request, to_ms(new.created_at)
    document = dumps(new.document)
    arn = request.execution_arn
    parts = rows.request_items(new.id, new.sealed_token, new.fingerprint, document, arn)
    details = {
        "request_sha256": request_digest(document),
        "recipients": len(request.recipients),
        "execution_arn": arn,
    }
    created = Move(AuditEvent.CREATED, details, new.created_at)
    entry = next_entry(new.id, 0, GENESIS, created)
    key = keys.row_key(new.id)
    place = keys.place(new.created_at, new.id)
    row = {
        **key._asdict(),
        "target": new.target,
        "state": State.PENDING.value,
        "place": place,
        "created_at": at,
        "expires_at": to_ms(request.expires_at),
        "recipients": len(request.recipients),
        "parts": len(parts),
        "round": 0,
        "audit_seq": entry["seq"],
        "audit_head": entry["hash"],
    }
    row |= rows.pending(row, request, new.created_at)
    items = [row, entry, *parts, *request_mails(key.pk, len(request.recipients), 0, new.created_at)]
    if arn is not None:
        ttl = at // 1000 + _LOOKUP_KEPT_S
        items.append({"pk": keys.execution_partition(arn), "sk": place, "ttl": ttl})
    return [Put(item) for item in items]
