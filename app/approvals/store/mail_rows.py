"""The mail outbox in SQLite."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial

import orjson

from app.approvals.audit import AuditEvent
from app.approvals.document import read_recipient_documents, recipient_documents
from app.approvals.mail.model import Mail, MailKind, MailResult, MailState, MailStates, Notice
from app.approvals.model import State
from app.approvals.store.approval_rows import find_row, queue_request_mails
from app.clock import from_ms, to_ms
from app.sqlite import Database
from app.strict_json import dumps

_ANY_DUE = "SELECT 1 FROM mails WHERE next_at <= ? LIMIT 1"
_DUE = """
SELECT m.n, a.id, t.id, m.kind, m.recipient, m.round, m.attempts
FROM mails m
LEFT JOIN approvals a ON a.n = m.approval
LEFT JOIN notices t ON t.n = m.notice
WHERE m.next_at <= ? ORDER BY m.next_at, m.n LIMIT ?
"""
_LEASE = "UPDATE mails SET attempts = attempts + 1, next_at = ? WHERE n = ?"
_FINISH = "UPDATE mails SET state = ?, next_at = ?, note = ? WHERE n = ? AND state = 'queued'"
_MAIL = """
SELECT a.id, m.recipient, m.round FROM mails m JOIN approvals a ON a.n = m.approval WHERE m.n = ?
"""
_STATES = "SELECT recipient, state FROM mails WHERE approval = ? ORDER BY n"
_NUMBER = "SELECT n FROM approvals WHERE id = ?"
_NEXT = "SELECT min(next_at) FROM mails WHERE next_at IS NOT NULL"
_SET_HEAD = "UPDATE approvals SET audit_seq = ?, audit_head = ? WHERE n = ?"
_NEW_ROUND = "UPDATE approvals SET round = ?, audit_seq = ?, audit_head = ? WHERE n = ?"
_RECIPIENTS = "SELECT document FROM requests WHERE n = ?"
_INSERT_NOTICE = "INSERT OR IGNORE INTO notices (id, document, created_at) VALUES (?, ?, ?)"
_INSERT_MAIL = """
INSERT INTO mails (notice, kind, recipient, round, next_at) VALUES (?, 'notice', ?, 0, ?)
"""
_NOTICE = "SELECT document, created_at FROM notices WHERE id = ?"

_FORGET = "DELETE FROM mail_counts WHERE hour < ?"
_COUNT = "SELECT mails FROM mail_counts WHERE hour = ? AND mailbox = ?"
_COUNT_ONE_MORE = """
INSERT INTO mail_counts VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET mails = mails + 1
"""

_EVENTS = {
    MailState.SENT: AuditEvent.MAIL_SENT,
    MailState.REFUSED: AuditEvent.MAIL_REFUSED,
    MailState.FAILED: AuditEvent.MAIL_FAILED,
}


class MailRows:
    """The `Outbox` of a SQLite store."""

    _db: Database

    async def claim_mails(self, now: datetime, lease_until: datetime, limit: int) -> Sequence[Mail]:
        """Take mails that are due."""
        if limit < 1 or self._db.read_one(_ANY_DUE, (to_ms(now),)) is None:
            return []
        return await self._db.write(partial(_claim, to_ms(now), to_ms(lease_until), limit))

    async def finish_mails(self, results: Sequence[MailResult], now: datetime) -> None:
        """Store what became of claimed mails."""

        def finish(connection: sqlite3.Connection) -> None:
            for result in results:
                _finish(connection, result, now)

        await self._db.write(finish)

    async def resend(self, approval_id: str, now: datetime) -> bool:
        """Queue a new round of mails to all recipients; whether the approval is open."""
        return await self._db.write(partial(_resend, approval_id, now))

    async def count_mails(self, mailboxes: Sequence[bytes], hour: datetime, limit: int) -> bool:
        """Count a mail to each of *mailboxes* in this hour; whether none had *limit* before."""
        return await self._db.write(partial(_count, mailboxes, to_ms(hour), limit))

    async def mail_states(self, approval_id: str) -> MailStates:
        """How the newest mail to each recipient fares."""
        row = self._db.read_one(_NUMBER, (approval_id,))
        if row is None:
            return {}
        return {recipient: MailState(state) for recipient, state in self._db.read(_STATES, row)}

    async def add_notice(self, notice: Notice) -> bool:
        """Store a plain mail and queue it to each recipient; whether it is new."""
        return await self._db.write(partial(_add_notice, notice))

    async def notice(self, notice_id: str) -> Notice | None:
        """The notice with this id."""
        row = self._db.read_one(_NOTICE, (notice_id,))
        if row is None:
            return None
        document = orjson.loads(row[0])
        return Notice(
            id=notice_id,
            to=read_recipient_documents(document["to"]),
            subject=document["subject"],
            message=document["message"],
            facts=tuple(document["facts"].items()),
            created_at=from_ms(row[1]),
            about=document.get("about"),
        )

    async def next_mail_at(self) -> datetime | None:
        """When the next mail is due."""
        due = self._db.read(_NEXT)[0][0]
        return None if due is None else from_ms(due)


def _claim(
    now: int, lease_until: int, limit: int, connection: sqlite3.Connection
) -> Sequence[Mail]:
    rows = connection.execute(_DUE, (now, limit)).fetchall()
    connection.executemany(_LEASE, [(lease_until, row[0]) for row in rows])
    return [
        Mail(str(n), approval_id, notice_id, MailKind(kind), recipient, round_, attempts + 1)
        for n, approval_id, notice_id, kind, recipient, round_, attempts in rows
    ]


def _finish(connection: sqlite3.Connection, result: MailResult, now: datetime) -> None:
    next_at = to_ms(result.next_at or now) if result.state is MailState.QUEUED else None
    n = int(result.id)
    values = (result.state.value, next_at, result.note, n)
    if connection.execute(_FINISH, values).rowcount == 0 or result.state is MailState.QUEUED:
        return
    mail = connection.execute(_MAIL, (n,)).fetchone()
    row = find_row(connection, mail[0]) if mail else None
    if row is None:
        return
    details = {"recipient": mail[1], "round": mail[2], "note": result.note}
    head = row.record(connection, now, _EVENTS[result.state], details)
    connection.execute(_SET_HEAD, (*head, row.n))


def _count(
    mailboxes: Sequence[bytes], hour: int, limit: int, connection: sqlite3.Connection
) -> bool:
    counts = (connection.execute(_COUNT, (hour, mailbox)).fetchone() for mailbox in mailboxes)
    if any(count is not None and count[0] >= limit for count in counts):
        return False
    connection.execute(_FORGET, (hour,))
    connection.executemany(_COUNT_ONE_MORE, [(hour, mailbox) for mailbox in mailboxes])
    return True


def _resend(approval_id: str, now: datetime, connection: sqlite3.Connection) -> bool:
    row = find_row(connection, approval_id)
    if row is None or row.state != State.PENDING or row.expires_at <= to_ms(now):
        return False
    document = connection.execute(_RECIPIENTS, (row.n,)).fetchone()[0]
    recipients = len(orjson.loads(document)["recipients"])
    round_ = row.round + 1
    head = row.record(connection, now, AuditEvent.RESENT, {"round": round_})
    connection.execute(_NEW_ROUND, (round_, *head, row.n))
    queue_request_mails(connection, row.n, recipients, round_, now)
    return True


def _add_notice(notice: Notice, connection: sqlite3.Connection) -> bool:
    document = {
        "to": recipient_documents(notice.to),
        "subject": notice.subject,
        "message": notice.message,
        "facts": dict(notice.facts),
        "about": notice.about,
    }
    at = to_ms(notice.created_at)
    added = connection.execute(_INSERT_NOTICE, (notice.id, dumps(document), at))
    if added.rowcount == 0:
        return False
    for recipient in range(len(notice.to)):
        connection.execute(_INSERT_MAIL, (added.lastrowid, recipient, at))
    return True
