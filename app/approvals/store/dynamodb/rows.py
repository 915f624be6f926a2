"""An approval as items, and back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, NamedTuple

from app.approvals.document import read_request_document
from app.approvals.model import Approval, Decision, Payload, Request, State
from app.approvals.protocol import next_look
from app.approvals.store.dynamodb import keys
from app.approvals.store.dynamodb.definition import shard
from app.approvals.store.dynamodb.due import ANSWER, EXPIRY, LOOK
from app.approvals.store.dynamodb.wire import Item
from app.clock import from_ms, to_ms
from app.errors import TooLarge

#: of a request's document in one item; DynamoDB takes 400 KiB with names and all
PART_BYTES = 350 * 1024
#: of a whole request; DynamoDB takes 4 MB in one transaction, mails and all
MAX_REQUEST_BYTES = 3_500_000
SEEN_ROWS = 512  #: of about a kilobyte each


class Kept(NamedTuple):
    """What never changes about an approval."""

    request: Request
    sealed_token: bytes
    fingerprint: bytes
    size: int  #: of the document, in bytes


class SeenRows:
    """The rows that were seen last, as they were then; what is built on one must ask if it is."""

    def __init__(self) -> None:
        self._rows: dict[str, Item] = {}
        self._changing = Lock()

    def get(self, approval_id: str) -> Item | None:
        """The row of this approval, if it was among the last."""
        return self._rows.get(keys.partition(approval_id))

    def keep(self, row: Item) -> None:
        """This is what the row looks like now."""
        with self._changing:
            self._rows.pop(row["pk"], None)
            self._rows[row["pk"]] = row
            while len(self._rows) > SEEN_ROWS:
                self._rows.pop(next(iter(self._rows)))


def request_items(
    approval_id: str,
    sealed_token: bytes,
    fingerprint: bytes,
    document: bytes,
    execution_arn: str | None,
) -> list[Item]:
    """The items that hold a request.

    Raises:
        TooLarge: DynamoDB would not take it in one transaction.
    """
    if len(document) > MAX_REQUEST_BYTES:
        raise TooLarge("The request is too large to be stored.")
    parts = [document[at : at + PART_BYTES] for at in range(0, len(document), PART_BYTES)]
    first = {"token": sealed_token, "fingerprint": fingerprint, "execution_arn": execution_arn}
    return [
        {**keys.request_key(approval_id, number)._asdict(), "doc": part, **first}
        if number == 0
        else {**keys.request_key(approval_id, number)._asdict(), "doc": part}
        for number, part in enumerate(parts)
    ]


def document_of(parts: Iterable[Item]) -> bytes:
    """The request's document in its items, which come in order."""
    return b"".join(part["doc"] for part in parts)


def read_kept(row: Item, parts: Sequence[Item]) -> Kept:
    """What `request_items` wrote."""
    document = document_of(parts)
    request = read_request_document(json.loads(document), from_ms(row["expires_at"]))
    return Kept(request, parts[0]["token"], parts[0]["fingerprint"], len(document))


def read_approval(row: Item, request: Request) -> Approval:
    """The approval in its row."""
    return Approval(
        id=keys.approval_of(row["pk"]) or "",
        target=row["target"],
        request=request,
        state=State(row["state"]),
        created_at=from_ms(row["created_at"]),
        decision=_decision(row, request),
        closed_at=moment(row.get("closed_at")),
        delivered_at=moment(row.get("delivered_at")),
        needs_operator=row.get("needs_operator", False),
        evidence=row.get("evidence"),
    )


def _decision(row: Item, request: Request) -> Decision | None:
    if "decision_id" not in row:
        return None
    recipient = row["recipient"]
    return Decision(
        row["decision_id"],
        row["action"],
        recipient,
        request.recipient(recipient).email,
        from_ms(row["decided_at"]),
        row.get("comment"),
    )


def payload_item(approval_id: str, payload: Payload) -> Item:
    """The frozen answer as an item."""
    key = keys.payload_key(approval_id)
    answer = {"output": payload.output, "error": payload.error, "cause": payload.cause}
    return {**key._asdict(), **answer}


def read_payload(item: Mapping[str, Any] | None) -> Payload:
    """The answer that `payload_item` wrote; an empty one if there is none."""
    item = item or {}
    return Payload(item.get("output"), item.get("error"), item.get("cause"))


def pending(row: Item, request: Request, now: datetime) -> Item:
    """The attributes that say when a pending approval is due: at its next look, or its expiry."""
    look_at = next_look(request, from_ms(row["created_at"]), now)
    if look_at is None or look_at >= request.expires_at:
        return {"due": shard(EXPIRY, row["pk"]), "due_at": to_ms(request.expires_at)}
    return {"due": shard(LOOK, row["pk"]), "due_at": to_ms(look_at)}


def is_open(row: Item, now: datetime) -> bool:
    """Whether somebody may decide."""
    return bool(row["state"] == State.PENDING and row["expires_at"] > to_ms(now))


def is_owed(row: Item) -> bool:
    """Whether the workflow is still to be told."""
    return bool(row.get("due") == shard(ANSWER, row["pk"]))


def moment(ms: int | None) -> datetime | None:
    """The date in a column that may be empty."""
    return None if ms is None else from_ms(ms)
