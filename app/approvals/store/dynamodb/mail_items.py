"""The mail outbox in DynamoDB.

The index of what is due is a little late. What this process queued itself it need not look for
there: those mails are claimed by their keys, on the same condition, and whatever is lost with the
process is in the index by then.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import orjson

from app.approvals.audit import AuditEvent
from app.approvals.document import read_recipient_documents, recipient_documents
from app.approvals.mail.model import Mail, MailKind, MailResult, MailState, MailStates, Notice
from app.approvals.store.dynamodb import keys, rows
from app.approvals.store.dynamodb.definition import shard
from app.approvals.store.dynamodb.due import DUE, MAIL, due, first_due
from app.approvals.store.dynamodb.moves import MAX_ROUNDS, Move, make_move
from app.approvals.store.dynamodb.table import ConditionFailed, Table
from app.approvals.store.dynamodb.wire import Condition, Item, Key
from app.approvals.store.dynamodb.writes import Put, Update
from app.clock import from_ms, to_ms
from app.errors import StoreUnavailable
from app.strict_json import dumps

if TYPE_CHECKING:
    from app.approvals.store.dynamodb.running import Run

#: a notice is kept so long after its mails are settled
_NOTICE_KEPT_S = 90 * 86_400

_HOUR_MS = 3_600_000

_EVENTS = {
    MailState.SENT: AuditEvent.MAIL_SENT,
    MailState.REFUSED: AuditEvent.MAIL_REFUSED,
    MailState.FAILED: AuditEvent.MAIL_FAILED,
}


class MailItems:
    """The `Outbox` of a DynamoDB store."""

    _table: Table
    _run: "Run"
    _own_mails: deque[Key]  #: queued by this process, and not claimed by it yet

    async def claim_mails(self, now: datetime, lease_until: datetime, limit: int) -> Sequence[Mail]:
        """Take mails that are due."""
        own = self._own_mails
        return await self._run(partial(_claim, self._table, own, now, lease_until, limit))

    async def finish_mails(self, results: Sequence[MailResult], now: datetime) -> None:
        """Store what became of claimed mails."""

        def finish() -> None:
            for result in results:
                _finish(self._table, result, now)

        await self._run(finish)

    async def resend(self, approval_id: str, now: datetime) -> bool:
        """Queue a new round of mails to all recipients; whether the approval is open."""
        queued: list[Key] = []
        plan = partial(_resend, queued, now)
        sent = await self._run(partial(make_move, self._table, approval_id, plan))
        if sent:
            self._own_mails.extend(queued)
        return sent

    async def count_mails(self, mailboxes: Sequence[bytes], hour: datetime, limit: int) -> bool:
        """Count a mail to each of *mailboxes* in this hour; whether none had *limit* before."""
        return await self._run(partial(_count, self._table, mailboxes, hour, limit))

    async def mail_states(self, approval_id: str) -> MailStates:
        """How the newest mail to each recipient fares."""
        return await self._run(partial(_mail_states, self._table, approval_id))

    async def add_notice(self, notice: Notice) -> bool:
        """Store a plain mail and queue it to each recipient; whether it is new."""
        added = await self._run(partial(_add_notice, self._table, notice))
        if added:
            self._own_mails.extend(mail_keys(keys.notice_key(notice.id).pk, 0, len(notice.to)))
        return added

    async def notice(self, notice_id: str) -> Notice | None:
        """The notice with this id."""
        item = await self._run(partial(self._table.get, keys.notice_key(notice_id)))
        return _read_notice(notice_id, item) if item else None

    async def next_mail_at(self) -> datetime | None:
        """When the next mail is due."""
        return rows.moment(await self._run(partial(first_due, self._table, MAIL)))


def mail_keys(pk: str, round_: int, recipients: int) -> list[Key]:
    """Where the mails of one round about what lies in the partition *pk* are."""
    return [keys.mail_key(pk, round_, recipient) for recipient in range(recipients)]


def request_mails(pk: str, recipients: int, round_: int, now: datetime) -> Iterator[Item]:
    """A queued mail to each recipient of the approval in the partition *pk*."""
    return _mails(pk, MailKind.REQUEST, recipients, round_, now)


def _mails(pk: str, kind: MailKind, recipients: int, round_: int, now: datetime) -> Iterator[Item]:
    for recipient, key in enumerate(mail_keys(pk, round_, recipients)):
        yield {
            **key._asdict(),
            "kind": kind.value,
            "recipient": recipient,
            "round": round_,
            "mail_state": MailState.QUEUED.value,
            "attempts": 0,
            "due": shard(MAIL, pk),
            "due_at": to_ms(now),
        }


def _claim(
    table: Table, own: deque[Key], now: datetime, until: datetime, limit: int
) -> Sequence[Mail]:
    if limit < 1:
        return []
    return _leased(table, _first(own, limit), now, until) or _leased(
        table, (Key(item["pk"], item["sk"]) for item in due(table, MAIL, limit, now)), now, until
    )


def _first(own: deque[Key], limit: int) -> Iterator[Key]:
    """Take up to *limit* keys; other threads may do so too."""
    with suppress(IndexError):
        for _ in range(limit):
            yield own.popleft()


def _leased(table: Table, found: Iterable[Key], now: datetime, until: datetime) -> Sequence[Mail]:
    """The mails at these keys that are ours for a while now; not those somebody else was faster."""
    leased = (_lease(table, key, now, until) for key in found)
    return [_read_mail(item) for item in leased if item is not None]


def _lease(table: Table, key: Key, now: datetime, until: datetime) -> Item | None:
    return table.update(
        Update(
            key,
            conditions=(_queued(), ("due_at", "<=", to_ms(now))),
            sets={"due_at": to_ms(until), "lease": token_hex(8)},
            adds={"attempts": 1},
        )
    )


def _read_mail(item: Item) -> Mail:
    return Mail(
        id=keys.mail_id(Key(item["pk"], item["sk"])),
        approval_id=keys.approval_of(item["pk"]),
        notice_id=keys.notice_of(item["pk"]),
        kind=MailKind(item["kind"]),
        recipient=item["recipient"],
        round=item["round"],
        attempts=item["attempts"],
    )


def _finish(table: Table, result: MailResult, now: datetime) -> None:
    key = keys.mail_of(result.id)
    if key is None:
        return
    approval_id = keys.approval_of(key.pk)
    if result.state is MailState.QUEUED:
        again = {"due_at": to_ms(result.next_at or now)}
        table.update(_result(key, result, again))
    elif approval_id is None:
        kept = to_ms(now) // 1000 + _NOTICE_KEPT_S
        table.update(_result(key, result, {"ttl": kept}))
        table.update(Update(Key(key.pk, "n"), (("pk", "exists", None),), {"ttl": kept}))
    else:
        make_move(table, approval_id, partial(_settle, key, result, now))


def _settle(key: Key, result: MailResult, now: datetime, row: Item) -> Move:
    """The entry about a mail, written with the mail's own change; *row* allows it always."""
    round_, recipient = keys.round_and_recipient(key)
    details = {"recipient": recipient, "round": round_, "note": result.note}
    return Move(_EVENTS[result.state], details, now, others=[_result(key, result, {})])


def _result(key: Key, result: MailResult, changes: Item) -> Update:
    noted = {} if result.note is None else {"note": result.note}
    return Update(
        key,
        conditions=(_queued(),),
        sets={"mail_state": result.state.value, **noted, **changes},
        removes=() if result.state is MailState.QUEUED else DUE,
    )


def _queued() -> Condition:
    return ("mail_state", "=", MailState.QUEUED.value)


def _count(table: Table, mailboxes: Sequence[bytes], hour: datetime, limit: int) -> bool:
    number = to_ms(hour) // _HOUR_MS
    ttl = (number + 2) * _HOUR_MS // 1000
    counted = [keys.mail_count_key(mailbox, number) for mailbox in mailboxes]
    for _ in range(MAX_ROUNDS):
        items = table.get_all(counted)
        if any(item["mails"] >= limit for item in items.values()):
            return False
        try:
            table.transact([_one_more(key, items.get(key), ttl) for key in counted], token_hex(16))
        except ConditionFailed:
            continue  # others counted meanwhile
        return True
    raise StoreUnavailable()


def _one_more(key: Key, item: Item | None, ttl: int) -> Put | Update:
    if item is None:
        return Put({**key._asdict(), "mails": 1, "ttl": ttl})
    return Update(key, (("mails", "=", item["mails"]),), {"mails": item["mails"] + 1})


def _resend(queued: list[Key], now: datetime, row: Item) -> Move | None:
    """A new round of mails, whose keys are put into *queued*."""
    if not rows.is_open(row, now):
        return None
    round_ = row["round"] + 1
    queued[:] = mail_keys(row["pk"], round_, row["recipients"])
    mails = request_mails(row["pk"], row["recipients"], round_, now)
    return Move(
        AuditEvent.RESENT,
        {"round": round_},
        now,
        sets={"round": round_},
        others=[Put(mail) for mail in mails],
    )


def _mail_states(table: Table, approval_id: str) -> MailStates:
    # In the order of their keys, so that a later round counts.
    mails = table.query([("pk", "=", keys.partition(approval_id)), ("sk", "between", ("m", "m~"))])
    return {mail["recipient"]: MailState(mail["mail_state"]) for mail in mails}


def _add_notice(table: Table, notice: Notice) -> bool:
    key = keys.notice_key(notice.id)
    document = {
        "to": recipient_documents(notice.to),
        "subject": notice.subject,
        "message": notice.message,
        "facts": dict(notice.facts),
        "about": notice.about,
    }
    created = to_ms(notice.created_at)
    item = {**key._asdict(), "document": dumps(document), "created_at": created}
    mails = _mails(key.pk, MailKind.NOTICE, len(notice.to), 0, notice.created_at)
    try:
        table.transact([Put(item), *map(Put, mails)], token_hex(16))
    except ConditionFailed:
        return False
    return True


def _read_notice(notice_id: str, item: Any) -> Notice:
    document = orjson.loads(item["document"])
    return Notice(
        id=notice_id,
        to=read_recipient_documents(document["to"]),
        subject=document["subject"],
        message=document["message"],
        facts=tuple(document["facts"].items()),
        created_at=from_ms(item["created_at"]),
        about=document.get("about"),
    )
