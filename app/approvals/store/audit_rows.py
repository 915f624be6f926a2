"""The audit in SQLite: appended in the transaction of each move, read back to be checked."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from app.approvals.audit import (
    AuditDigest,
    AuditEntry,
    AuditEvent,
    Chain,
    entry_hash,
    read_details,
    request_digest,
    sign_digest,
)
from app.approvals.keyring import KeyRing
from app.approvals.model import Payload, State
from app.approvals.payloads import payload_digest
from app.clock import from_ms, to_ms
from app.sqlite import Database
from app.strict_json import Json, canonical

_ENTRIES = """
SELECT audit.n, audit.seq, audit.at, audit.event, audit.details, audit.hash
FROM audit WHERE audit.approval = ? ORDER BY audit.seq
"""
_STRAY = """
SELECT n, seq, at, event, details, hash FROM audit
WHERE approval NOT IN (SELECT n FROM approvals) ORDER BY n LIMIT 1
"""
_CHAIN = """
SELECT a.n, a.id, a.state, a.audit_seq, a.audit_head, r.document, a.output, a.error, a.cause
FROM approvals a JOIN requests r ON r.n = a.n
"""
_CHAIN_OF = _CHAIN + "WHERE a.id = ?"
_CHAINS = _CHAIN + "WHERE a.n > ? ORDER BY a.n LIMIT ?"
_APPEND = "INSERT INTO audit (approval, seq, at, event, details, hash) VALUES (?, ?, ?, ?, ?, ?)"
_LAST_DIGEST = "SELECT * FROM audit_digests ORDER BY number DESC LIMIT 1"
_ALL_DIGESTS = "SELECT * FROM audit_digests ORDER BY number"
_ADD_DIGEST = "INSERT INTO audit_digests VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_UNSIGNED = "SELECT n, hash FROM audit WHERE n > ? ORDER BY n LIMIT ?"
_HASHES = "SELECT n, hash FROM audit WHERE n BETWEEN ? AND ? ORDER BY n"
_LAST_ENTRY = "SELECT max(n) FROM audit"

_BATCH = 200  #: approvals read at once


class AuditRows:
    """The `AuditTrail` of a SQLite store."""

    _db: Database

    async def chain(self, approval_id: str) -> Chain | None:
        """One approval's audit."""
        # Its row and its entries as they were at one instant: it may be moving on just now.
        with self._db.snapshot():
            row = self._db.read_one(_CHAIN_OF, (approval_id,))
            return self._chain(row) if row else None

    async def sign_entries(self, ring: KeyRing, now: datetime, limit: int) -> AuditDigest | None:
        """Sign a digest over up to *limit* entries that no digest covers; None if all are."""

        def sign(connection: sqlite3.Connection) -> AuditDigest | None:
            last = _digest(connection.execute(_LAST_DIGEST).fetchone())
            covered = last.last if last else 0
            hashes = connection.execute(_UNSIGNED, (covered, limit)).fetchall()
            if not hashes:
                return None
            digest = sign_digest(ring, last, hashes, now)
            connection.execute(_ADD_DIGEST, _digest_row(digest))
            return digest

        return await self._db.write(sign)

    async def unsigned_entries(self) -> tuple[int, datetime | None]:
        """How many entries no digest covers, and when the newest digest was signed."""
        last = _digest(self._db.read_one(_LAST_DIGEST))
        newest = self._db.read(_LAST_ENTRY)[0][0] or 0
        return (newest - last.last, last.at) if last else (newest, None)

    async def chains(self) -> AsyncIterator[Chain | AuditEntry]:
        """Each approval's audit in order of creation, then an entry without approval."""
        after = 0
        while batch := self._batch(after):
            for _, chain in batch:
                yield chain
            after = batch[-1][0]
        if stray := self._db.read_one(_STRAY):
            yield _entry("", stray)

    async def digests(self) -> Sequence[AuditDigest]:
        """All digests, oldest first."""
        rows = self._db.read(_ALL_DIGESTS)
        return [digest for row in rows if (digest := _digest(row))]

    async def entry_hashes(self, first: int, last: int) -> Sequence[tuple[int, bytes]]:
        """Number and hash of the entries from *first* to *last*, in order."""
        return [(number, value) for number, value in self._db.read(_HASHES, (first, last))]

    def _batch(self, after: int) -> Sequence[tuple[int, Chain]]:
        """The next approvals' audits, as they were at one instant, with their numbers."""
        with self._db.snapshot():
            rows = self._db.read(_CHAINS, (after, _BATCH))
            return [(row[0], self._chain(row)) for row in rows]

    def _chain(self, row: tuple[Any, ...]) -> Chain:
        n, approval_id, state, head_seq, head, document, output, error, cause = row
        payload = Payload(output, error, cause)
        return Chain(
            approval_id,
            State(state),
            head_seq,
            head,
            request_digest(document),
            None if payload == Payload() else payload_digest(payload),
            [_entry(approval_id, entry) for entry in self._db.read(_ENTRIES, (n,))],
        )


def append(
    connection: sqlite3.Connection,
    approval: tuple[int, str, int, bytes],
    now: datetime,
    event: AuditEvent,
    details: Json,
) -> tuple[int, bytes]:
    """Add an entry to *approval* (n, id, head's seq, head); the new head's seq and the new head.

    The caller writes the new head to the approval's row, together with the move it records.
    """
    n, approval_id, seq, head = approval
    text = canonical(details)
    head = entry_hash(head, approval_id, seq + 1, now, event, text)
    connection.execute(_APPEND, (n, seq + 1, to_ms(now), event, text, head))
    return seq + 1, head


def _entry(approval_id: str, row: tuple[Any, ...]) -> AuditEntry:
    number, seq, at, event, details, value = row
    return AuditEntry(number, approval_id, seq, from_ms(at), event, read_details(details), value)


def _digest(row: tuple[Any, ...] | None) -> AuditDigest | None:
    if row is None:
        return None
    number, first, last, at, root, previous, key_id, signature = row
    return AuditDigest(number, first, last, from_ms(at), root, previous, key_id, signature)


def _digest_row(digest: AuditDigest) -> tuple[Any, ...]:
    return (
        digest.number,
        digest.first,
        digest.last,
        to_ms(digest.at),
        digest.root,
        digest.previous,
        digest.key_id,
        digest.signature,
    )
