"""The audit in DynamoDB: read back to be checked, and signed.

An entry gets its number when a digest covers it: one counter for all entries would be the one item
that every transaction waits for. Until then it lies in the index of what is due. A digest and the
numbers it gives are one transaction, of at most `DIGEST_ENTRIES`.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from app.approvals.audit import (
    AuditDigest,
    AuditEntry,
    Chain,
    read_details,
    request_digest,
    sign_digest,
)
from app.approvals.model import Payload, State
from app.approvals.payloads import payload_digest
from app.approvals.store.dynamodb import keys, rows
from app.approvals.store.dynamodb.due import AUDIT, DUE, count_waiting, due
from app.approvals.store.dynamodb.table import ConditionFailed, Table
from app.approvals.store.dynamodb.wire import Condition, Item, Key
from app.approvals.store.dynamodb.writes import Put, Update
from app.clock import from_ms, to_ms
from app.errors import StoreUnavailable

if TYPE_CHECKING:
    from app.approvals.keyring import KeyRing
    from app.approvals.store.dynamodb.running import Run

DIGEST_ENTRIES = 99  #: DynamoDB takes 100 writes in one transaction; one is the digest
_ROUNDS = 20  #: so often another process may sign first
_ALL_DIGESTS: Condition = ("pk", "=", keys.DIGESTS)


class AuditItems:
    """The `AuditTrail` of a DynamoDB store."""

    _table: Table
    _run: "Run"

    async def chain(self, approval_id: str) -> Chain | None:
        """One approval's audit."""

        def read() -> Chain | None:
            items = list(self._table.query([("pk", "=", keys.partition(approval_id))]))
            return _chain(approval_id, items) if _row(items) else None

        return await self._run(read)

    async def sign_entries(self, ring: "KeyRing", now: datetime, limit: int) -> AuditDigest | None:
        """Sign a digest over up to *limit* entries that no digest covers; None if all are."""
        return await self._run(partial(_sign, self._table, ring, now, min(limit, DIGEST_ENTRIES)))

    async def unsigned_entries(self) -> tuple[int, datetime | None]:
        """How many entries no digest covers, and when the newest digest was signed."""

        def unsigned() -> tuple[int, datetime | None]:
            last = _last_digest(self._table)
            return count_waiting(self._table, AUDIT), last.at if last else None

        return await self._run(unsigned)

    async def chains(self) -> AsyncIterator[Chain | AuditEntry]:
        """Each approval's audit, and the entries whose approval does not exist."""
        found = _chains(self._table)
        while (chain := await self._run(partial(next, found, None))) is not None:
            yield chain

    async def digests(self) -> Sequence[AuditDigest]:
        """All digests, oldest first."""

        def read() -> Sequence[AuditDigest]:
            return [_read_digest(item) for item in self._table.query([_ALL_DIGESTS])]

        return await self._run(read)

    async def entry_hashes(self, first: int, last: int) -> Sequence[tuple[int, bytes]]:
        """Number and hash of the entries from *first* to *last*, in order."""
        return await self._run(partial(_entry_hashes, self._table, first, last))


def _sign(table: Table, ring: "KeyRing", now: datetime, limit: int) -> AuditDigest | None:
    signed: set[Key] = set()  # that the index still has
    for _ in range(_ROUNDS):
        found = due(table, AUDIT, limit + len(signed))
        entries = [item for item in found if Key(item["pk"], item["sk"]) not in signed][:limit]
        if not entries:
            return None
        last = _last_digest(table)
        after = last.last if last else 0
        hashes = [(number, item["hash"]) for number, item in enumerate(entries, after + 1)]
        digest = sign_digest(ring, last, hashes, now)
        try:
            table.transact(_digest_writes(digest, entries), token_hex(16))
        except ConditionFailed as failed:
            if failed.after_silence and _last_digest(table) == digest:
                return digest
            others = zip(entries, failed.reasons[1:], strict=True)
            signed |= {Key(item["pk"], item["sk"]) for item, reason in others if reason.failed}
        else:
            return digest
    raise StoreUnavailable()


def _digest_writes(digest: AuditDigest, entries: Sequence[Item]) -> list[Put | Update]:
    covered = [Key(item["pk"], item["sk"]) for item in entries]
    item = {
        **keys.digest_key(digest.first)._asdict(),
        "number": digest.number,
        "last": digest.last,
        "at": to_ms(digest.at),
        "root": digest.root,
        "previous": digest.previous,
        "key_id": digest.key_id,
        "signature": digest.signature,
        "covers": [f"{key.pk}|{key.sk}" for key in covered],
    }
    numbered = (
        Update(key, (("due", "exists", None),), {"number": number}, DUE)
        for number, key in enumerate(covered, digest.first)
    )
    return [Put(item), *numbered]


def _last_digest(table: Table) -> AuditDigest | None:
    newest = table.query([_ALL_DIGESTS], limit=1, newest_first=True)
    return next(map(_read_digest, newest), None)


def _read_digest(item: Item) -> AuditDigest:
    return AuditDigest(
        number=item["number"],
        first=int(item["sk"][1:]),
        last=item["last"],
        at=from_ms(item["at"]),
        root=item["root"],
        previous=item["previous"],
        key_id=item["key_id"],
        signature=item["signature"],
    )


def _entry_hashes(table: Table, first: int, last: int) -> Sequence[tuple[int, bytes]]:
    start = ("sk", "<=", keys.digest_key(first).sk)
    covering = next(table.query([_ALL_DIGESTS, start], limit=1, newest_first=True), None)
    if covering is None:
        return []
    until = ("sk", "between", (covering["sk"], keys.digest_key(last).sk))
    covered = [
        Key(*name.split("|"))
        for digest in table.query([_ALL_DIGESTS, until])
        for name in digest["covers"]
    ]
    entries = table.get_all(covered).values()
    hashes = [(entry.get("number", 0), entry["hash"]) for entry in entries]
    return sorted((number, value) for number, value in hashes if first <= number <= last)


def _chains(table: Table) -> Iterator[Chain | AuditEntry]:
    for pk, group in groupby(table.scan(), key=lambda item: item["pk"]):
        approval_id = keys.approval_of(pk)
        if approval_id is None:
            continue
        items = list(group)
        if _row(items):
            yield _chain(approval_id, items)
        else:
            yield from _entries(approval_id, items)


def _row(items: Sequence[Item]) -> Item | None:
    return items[0] if items and items[0]["sk"] == keys.ROW else None


def _chain(approval_id: str, items: Sequence[Item]) -> Chain:
    row = items[0]
    parts = [item for item in items if item["sk"].startswith("b")]
    answer = next((item for item in items if item["sk"] == keys.PAYLOAD), None)
    payload = rows.read_payload(answer)
    return Chain(
        approval_id,
        State(row["state"]),
        row["audit_seq"],
        row["audit_head"],
        request_digest(rows.document_of(parts)),
        None if payload == Payload() else payload_digest(payload),
        list(_entries(approval_id, items)),
    )


def _entries(approval_id: str, items: Sequence[Item]) -> Iterator[AuditEntry]:
    return (_entry(approval_id, item) for item in items if item["sk"].startswith("t"))


def _entry(approval_id: str, item: Any) -> AuditEntry:
    return AuditEntry(
        item.get("number", 0),
        approval_id,
        item["seq"],
        from_ms(item["at"]),
        item["event"],
        read_details(item["details"]),
        item["hash"],
    )
