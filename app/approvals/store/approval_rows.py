"""Approvals in SQLite. Every move is an UPDATE that names the state it moves from."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import orjson

from app.approvals.attempts import Settled
from app.approvals.audit import GENESIS, AuditEvent, request_digest
from app.approvals.document import read_request_document
from app.approvals.model import Approval, Decision, Payload, Request, State
from app.approvals.payloads import payload_digest
from app.approvals.protocol import next_look
from app.approvals.store.audit_rows import append
from app.approvals.store.interface import Backlog, Ballot, Lease, NewApproval, Owed, Stored
from app.approvals.store.parsed_requests import ParsedRequests
from app.clock import from_ms, to_ms
from app.sqlite import Database, Row
from app.strict_json import Json, dumps

_EXISTS = "SELECT 1 FROM approvals WHERE id = ?"
_INSERT = """
INSERT INTO approvals (id, target, state, created_at, expires_at, look_at, audit_seq, audit_head)
VALUES (?, ?, 'PENDING', ?, ?, ?, 0, x'')
"""
_INSERT_REQUEST = "INSERT INTO requests VALUES (?, ?, ?, ?, ?)"
_NEWEST_OF_EXECUTION = """
SELECT a.id FROM requests r JOIN approvals a ON a.n = r.n
WHERE r.execution_arn = ? ORDER BY r.n DESC LIMIT 1
"""
_INSERT_MAIL = """
INSERT INTO mails (approval, kind, recipient, round, next_at) VALUES (?, 'request', ?, ?, ?)
"""
_SET_HEAD = "UPDATE approvals SET audit_seq = ?, audit_head = ? WHERE n = ?"

_SELECT = """
SELECT a.n, a.id, a.target, a.state, a.created_at, a.expires_at, a.closed_at, a.delivered_at,
       a.needs_operator, a.evidence, a.decided_by, v.id, v.action, v.comment, v.at, r.document
FROM approvals a JOIN requests r ON r.n = a.n
LEFT JOIN votes v ON v.approval = a.n AND v.recipient = a.decided_by
"""
_SECRETS = "SELECT task_token, fingerprint FROM requests WHERE n = ?"
_BY_ID = _SELECT + "WHERE a.id = ?"
_NEWEST = _SELECT + "WHERE a.n < ? ORDER BY a.n DESC LIMIT ?"
_NEWEST_IN_STATE = _SELECT + "WHERE a.state = ? AND a.n < ? ORDER BY a.n DESC LIMIT ?"
# Named, because without statistics SQLite prefers the index on the state, and then has to sort.
_EXPIRED = (
    _SELECT.replace("FROM approvals a", "FROM approvals a INDEXED BY approvals_open")
    + "WHERE a.state = 'PENDING' AND a.expires_at <= ? ORDER BY a.expires_at LIMIT ?"
)

_ANY_TO_LOOK_AT = """
SELECT 1 FROM approvals INDEXED BY approvals_looked_at WHERE state = 'PENDING' AND look_at <= ?
"""
_TO_LOOK_AT = (
    _SELECT.replace("FROM approvals a", "FROM approvals a INDEXED BY approvals_looked_at")
    + "WHERE a.state = 'PENDING' AND a.look_at <= ? ORDER BY a.look_at LIMIT ?"
)
_LOOK_AT = "UPDATE approvals SET look_at = ? WHERE n = ?"

_ROW = """
SELECT n, id, audit_seq, audit_head, state, expires_at, next_at, needs_operator, round
FROM approvals WHERE id = ?
"""
_ROW_TO_DECIDE = """
SELECT n, id, audit_seq, audit_head, state, expires_at, next_at, needs_operator, round,
       (SELECT task_token FROM requests r WHERE r.n = a.n)
FROM approvals a WHERE id = ?
"""
_DECIDE = """
UPDATE approvals SET state = 'DECIDED', decided_by = ?, output = ?, error = ?, cause = ?,
  attempts = 1, next_at = ?, lease_owner = ?, audit_seq = ?, audit_head = ?
WHERE n = ? AND state = 'PENDING' AND expires_at > ?
"""
_INSERT_VOTE = "INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?)"
_EXPIRE = """
UPDATE approvals SET state = 'EXPIRED', closed_at = ?, output = ?, error = ?, cause = ?,
  next_at = ?, audit_seq = ?, audit_head = ?
WHERE n = ? AND state = 'PENDING' AND expires_at <= ?
"""
_REVOKE = """
UPDATE approvals SET state = 'REVOKED', closed_at = ?, audit_seq = ?, audit_head = ?
WHERE n = ? AND state = 'PENDING' AND expires_at > ?
"""
_TASK_CLOSED = """
UPDATE approvals SET state = 'CLOSED', evidence = ?, closed_at = ?, audit_seq = ?, audit_head = ?
WHERE n = ? AND state = 'PENDING'
"""
_SETTLE_DECIDED = """
UPDATE approvals SET state = ?, evidence = ?, closed_at = ?, delivered_at = ?, next_at = NULL,
  lease_owner = NULL, needs_operator = 0, audit_seq = ?, audit_head = ?
WHERE n = ? AND state = 'DECIDED'
"""
_SETTLE_EXPIRED = """
UPDATE approvals SET evidence = ?, delivered_at = ?, next_at = NULL,
  lease_owner = NULL, needs_operator = 0, audit_seq = ?, audit_head = ?
WHERE n = ? AND state = 'EXPIRED' AND next_at IS NOT NULL
"""
_POSTPONE = """
UPDATE approvals SET next_at = ?, lease_owner = NULL, needs_operator = ?, evidence = ?
WHERE id = ? AND lease_owner = ? AND next_at = ?
"""
_ANY_DUE = "SELECT 1 FROM approvals WHERE next_at <= ? LIMIT 1"
_DUE = """
SELECT a.n, a.id, a.target, r.task_token, a.output, a.error, a.cause, v.id, r.document, a.attempts
FROM approvals a
JOIN requests r ON r.n = a.n
LEFT JOIN votes v ON v.approval = a.n AND v.recipient = a.decided_by
WHERE a.next_at <= ? ORDER BY a.next_at LIMIT ?
"""
_LEASE = "UPDATE approvals SET attempts = attempts + 1, next_at = ?, lease_owner = ? WHERE n = ?"
_RELEASE = """
UPDATE approvals SET next_at = ?, lease_owner = NULL
WHERE next_at IS NOT NULL AND lease_owner IS NOT NULL AND lease_owner = coalesce(?, lease_owner)
"""
_ANSWERS = """
SELECT count(*), min(coalesce(v.at, a.closed_at)), coalesce(sum(a.needs_operator), 0)
FROM approvals a LEFT JOIN votes v ON v.approval = a.n AND v.recipient = a.decided_by
WHERE a.next_at IS NOT NULL
"""
_MAILS = "SELECT count(*), min(next_at) FROM mails WHERE next_at IS NOT NULL"

_BEYOND = 2**62  #: above every n


class ApprovalRow(NamedTuple):
    """What a move needs of an approval's row."""

    n: int
    id: str
    audit_seq: int
    audit_head: bytes
    state: str
    expires_at: int
    next_at: int | None
    needs_operator: int
    round: int

    def record(
        self, connection: sqlite3.Connection, now: datetime, event: AuditEvent, details: Json
    ) -> tuple[int, bytes]:
        """Append to this approval's audit; the new head for the UPDATE of the move."""
        return append(connection, self[:4], now, event, details)


def find_row(connection: sqlite3.Connection, approval_id: str) -> ApprovalRow | None:
    """The row with this id, as the running transaction sees it."""
    row = connection.execute(_ROW, (approval_id,)).fetchone()
    return ApprovalRow(*row) if row else None


class ApprovalRows:
    """The `Approvals` of a SQLite store."""

    _db: Database
    _requests: ParsedRequests[int, Request]

    async def mint(self, new: NewApproval) -> bool:
        """Store a new approval; whether it is new."""
        stored = await self._db.write(partial(_mint, new))
        if stored is None:
            return False
        n, size = stored
        self._requests.keep(n, new.request, size)  # its mails are written next
        return True

    async def stored(self, approval_id: str) -> Stored | None:
        """The approval with this id."""
        row = self._db.read_one(_BY_ID, (approval_id,))
        return None if row is None else self._stored(row)

    async def approval(self, approval_id: str) -> Approval | None:
        """The approval with this id."""
        row = self._db.read_one(_BY_ID, (approval_id,))
        return self._approval(row) if row else None

    async def newest_of_execution(self, execution_arn: str) -> str | None:
        """The id of the execution's newest approval."""
        row = self._db.read_one(_NEWEST_OF_EXECUTION, (execution_arn,))
        return row[0] if row else None

    async def list(
        self, state: State | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[Approval], str | None]:
        """Up to *limit* approvals, newest first, and the cursor for the next ones."""
        start = _BEYOND if cursor is None else _place(cursor)
        if state is None:
            rows = self._db.read(_NEWEST, (start, limit + 1))
        else:
            rows = self._db.read(_NEWEST_IN_STATE, (state.value, start, limit + 1))
        more = str(rows[limit - 1][0]) if len(rows) > limit else None
        return [self._approval(row) for row in rows[:limit]], more

    async def expired(self, now: datetime, limit: int) -> Sequence[Approval]:
        """PENDING approvals whose date has passed, longest ago first."""
        return [self._approval(row) for row in self._db.read(_EXPIRED, (to_ms(now), limit))]

    async def decide(self, ballot: Ballot) -> bytes | None:
        """PENDING -> DECIDED; the sealed task token if this ballot did it."""
        return await self._db.write(partial(_decide, ballot))

    async def expire(self, approval_id: str, payload: Payload | None, now: datetime) -> bool:
        """PENDING -> EXPIRED; whether this call did it."""
        return await self._db.write(partial(_expire, approval_id, payload, now))

    async def revoke(self, approval_id: str, now: datetime) -> bool:
        """PENDING -> REVOKED; whether this call did it."""
        return await self._db.write(partial(_revoke, approval_id, now))

    async def task_closed(self, approval_id: str, evidence: str, now: datetime) -> bool:
        """PENDING -> CLOSED; whether this call did it."""
        return await self._db.write(partial(_task_closed, approval_id, evidence, now))

    async def claim_pending(self, now: datetime, limit: int) -> Sequence[Stored]:
        """PENDING approvals whose task is to be looked at now."""
        if limit < 1 or self._db.read_one(_ANY_TO_LOOK_AT, (to_ms(now),)) is None:
            return []
        rows = await self._db.write(partial(self._claim_pending, now, limit))
        return [self._stored(row) for row in rows]

    async def claim(self, lease: Lease, now: datetime, limit: int) -> Sequence[Owed]:
        """Take answers that are due."""
        if limit < 1 or self._db.read_one(_ANY_DUE, (to_ms(now),)) is None:
            return []
        return await self._db.write(partial(_claim, lease, now, limit))

    async def settle(self, approval_id: str, settled: Settled, now: datetime) -> bool:
        """End what is owed; whether it was still owed."""
        return await self._db.write(partial(_settle, approval_id, settled, now))

    async def postpone(
        self, owed: Owed, next_at: datetime, reason: str, needs_operator: bool, now: datetime
    ) -> None:
        """Give a lease back: due again at *next_at*."""
        await self._db.write(partial(_postpone, owed, next_at, reason, needs_operator, now))

    async def release(self, owner: str | None, now: datetime) -> None:
        """Give back the leases of *owner* (None: of everyone)."""

        def release(connection: sqlite3.Connection) -> None:
            connection.execute(_RELEASE, (to_ms(now), owner))

        await self._db.write(release)

    async def backlog(self) -> Backlog:
        """What is owed at the moment."""
        answers, oldest, needs_operator = self._db.read(_ANSWERS)[0]
        mails, due = self._db.read(_MAILS)[0]
        return Backlog(answers, _moment(oldest), needs_operator, mails, _moment(due))

    def _claim_pending(
        self, now: datetime, limit: int, connection: sqlite3.Connection
    ) -> Sequence[Row]:
        rows = connection.execute(_TO_LOOK_AT, (to_ms(now), limit)).fetchall()
        for row in rows:
            approval = self._approval(row)
            look_at = next_look(approval.request, approval.created_at, now)
            connection.execute(_LOOK_AT, (None if look_at is None else to_ms(look_at), row[0]))
        return rows

    def _stored(self, row: Row) -> Stored:
        token, fingerprint = self._db.read(_SECRETS, row[:1])[0]
        return Stored(self._approval(row), token, fingerprint)

    def _approval(self, row: Row) -> Approval:
        n, approval_id, target, state, created_at, expires_at = row[:6]
        closed_at, delivered_at, needs_operator, evidence, decided_by = row[6:11]
        request = self._request(n, row[15], expires_at)
        decision = None
        if decided_by is not None:
            decision_id, action, comment, at = row[11:15]
            by = request.recipient(decided_by).email
            decision = Decision(decision_id, action, decided_by, by, from_ms(at), comment)
        return Approval(
            id=approval_id,
            target=target,
            request=request,
            state=State(state),
            created_at=from_ms(created_at),
            decision=decision,
            closed_at=_moment(closed_at),
            delivered_at=_moment(delivered_at),
            needs_operator=bool(needs_operator),
            evidence=evidence,
        )

    def _request(self, n: int, document: bytes, expires_at: int) -> Request:
        request = self._requests.get(n)
        if request is None:
            request = read_request_document(orjson.loads(document), from_ms(expires_at))
            self._requests.keep(n, request, len(document))
        return request


def queue_request_mails(
    connection: sqlite3.Connection, n: int, recipients: int, round_: int, now: datetime
) -> None:
    """Queue a mail to each recipient of approval *n*."""
    due = to_ms(now)
    for recipient in range(recipients):
        connection.execute(_INSERT_MAIL, (n, recipient, round_, due))


def _mint(new: NewApproval, connection: sqlite3.Connection) -> tuple[int, int] | None:
    """Its number in this store and its document's size; None if there is one with its id."""
    if connection.execute(_EXISTS, (new.id,)).fetchone():
        return None
    request = new.request
    document = dumps(new.document)
    look_at = next_look(request, new.created_at, new.created_at)
    dates = (new.created_at, request.expires_at, look_at)
    row = (new.id, new.target, *(None if date is None else to_ms(date) for date in dates))
    n = connection.execute(_INSERT, row).lastrowid or 0
    kept = (n, new.sealed_token, new.fingerprint, document, request.execution_arn)
    connection.execute(_INSERT_REQUEST, kept)
    details = {
        "request_sha256": request_digest(document),
        "recipients": len(request.recipients),
        "execution_arn": request.execution_arn,
    }
    genesis = (n, new.id, 0, GENESIS)
    head = append(connection, genesis, new.created_at, AuditEvent.CREATED, details)
    connection.execute(_SET_HEAD, (*head, n))
    queue_request_mails(connection, n, len(request.recipients), 0, new.created_at)
    return n, len(document)


def _decide(ballot: Ballot, connection: sqlite3.Connection) -> bytes | None:
    found = connection.execute(_ROW_TO_DECIDE, (ballot.approval_id,)).fetchone()
    row = ApprovalRow(*found[:9]) if found else None
    decision, payload = ballot.decision, ballot.payload
    at = to_ms(decision.at)
    if row is None or row.state != State.PENDING or row.expires_at <= at:
        return None
    head = row.record(connection, decision.at, AuditEvent.DECIDED, ballot.audit_details())
    lease = ballot.lease
    connection.execute(
        _DECIDE,
        (
            decision.recipient,
            payload.output,
            payload.error,
            payload.cause,
            to_ms(lease.until),
            lease.owner,
            *head,
            row.n,
            at,
        ),
    )
    vote = (row.n, decision.recipient, decision.id, decision.action, decision.comment, at)
    connection.execute(_INSERT_VOTE, vote)
    sealed_token: bytes = found[9]
    return sealed_token


def _expire(
    approval_id: str, payload: Payload | None, now: datetime, connection: sqlite3.Connection
) -> bool:
    row = find_row(connection, approval_id)
    at = to_ms(now)
    if row is None or row.state != State.PENDING or row.expires_at > at:
        return False
    told = payload or Payload()
    details = {"payload_sha256": payload_digest(payload) if payload else None}
    head = row.record(connection, now, AuditEvent.EXPIRED, details)
    due = at if payload else None
    values = (row.expires_at, told.output, told.error, told.cause, due, *head, row.n, at)
    connection.execute(_EXPIRE, values)
    return True


def _revoke(approval_id: str, now: datetime, connection: sqlite3.Connection) -> bool:
    row = find_row(connection, approval_id)
    at = to_ms(now)
    if row is None or row.state != State.PENDING or row.expires_at <= at:
        return False
    head = row.record(connection, now, AuditEvent.REVOKED, {})
    connection.execute(_REVOKE, (at, *head, row.n, at))
    return True


def _task_closed(
    approval_id: str, evidence: str, now: datetime, connection: sqlite3.Connection
) -> bool:
    row = find_row(connection, approval_id)
    if row is None or row.state != State.PENDING:
        return False
    head = row.record(connection, now, AuditEvent.CLOSED, {"evidence": evidence})
    connection.execute(_TASK_CLOSED, (evidence, to_ms(now), *head, row.n))
    return True


def _claim(
    lease: Lease, now: datetime, limit: int, connection: sqlite3.Connection
) -> Sequence[Owed]:
    rows = connection.execute(_DUE, (to_ms(now), limit)).fetchall()
    until = to_ms(lease.until)
    for row in rows:
        connection.execute(_LEASE, (until, lease.owner, row[0]))
    return [_owed(row, lease) for row in rows]


def _owed(row: tuple[Any, ...], lease: Lease) -> Owed:
    _, approval_id, target, token, output, error, cause, decision_id, document, attempts = row
    arn = orjson.loads(document).get("execution_arn")
    payload = Payload(output, error, cause)
    return Owed(approval_id, target, token, payload, decision_id, arn, attempts + 1, lease)


def _settle(
    approval_id: str, settled: Settled, now: datetime, connection: sqlite3.Connection
) -> bool:
    row = find_row(connection, approval_id)
    if row is None or row.next_at is None:
        return False
    at = to_ms(now)
    delivered_at = at if settled.state is State.DELIVERED else None
    details = {"evidence": settled.evidence}
    if row.state == State.DECIDED:
        event = AuditEvent(settled.state.value)
        head = row.record(connection, now, event, details)
        values = (settled.state.value, settled.evidence, at, delivered_at, *head, row.n)
        connection.execute(_SETTLE_DECIDED, values)
    else:
        event = AuditEvent(f"EXPIRY_{settled.state}")
        head = row.record(connection, now, event, details)
        connection.execute(_SETTLE_EXPIRED, (settled.evidence, delivered_at, *head, row.n))
    return True


def _postpone(
    owed: Owed,
    next_at: datetime,
    reason: str,
    needs_operator: bool,
    now: datetime,
    connection: sqlite3.Connection,
) -> None:
    lease = (owed.approval_id, owed.lease.owner, to_ms(owed.lease.until))
    values = (to_ms(next_at), int(needs_operator), reason, *lease)
    row = find_row(connection, owed.approval_id)
    held = connection.execute(_POSTPONE, values).rowcount == 1
    if row is not None and held and needs_operator and not row.needs_operator:
        head = row.record(connection, now, AuditEvent.NEEDS_OPERATOR, {"reason": reason})
        connection.execute(_SET_HEAD, (*head, row.n))


def _place(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise ValueError("not a cursor of this store")
    return int(cursor)


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)
