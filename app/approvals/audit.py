"""The audit: who did what and when, in a form that shows every later change to it.

Two nets, one over the other:

- Each approval has a hash chain. An entry's hash covers the hash before it, so an edited, removed
  or inserted entry breaks the chain, and the head kept with the approval shows a cut-off end.
- A chain has no key: who can write the database can compute a new one. So from time to time a
  *digest* over all entries since the last digest is signed with a key of the ring. It shows
  recomputed chains, and approvals that were removed together with their entries.

Pure: entries in, faults out. A store keeps the entries and appends in the transaction of the move.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING

import orjson

from app.approvals.model import State
from app.clock import iso, to_ms
from app.strict_json import Json, canonical

if TYPE_CHECKING:
    from app.approvals.keyring import KeyRing

GENESIS = bytes(32)  #: the hash before the first entry of a chain, and before the first digest


class AuditEvent(StrEnum):
    """What an entry tells."""

    CREATED = "CREATED"
    MAIL_SENT = "MAIL_SENT"
    MAIL_REFUSED = "MAIL_REFUSED"
    MAIL_FAILED = "MAIL_FAILED"
    RESENT = "RESENT"
    DECIDED = "DECIDED"
    DELIVERED = "DELIVERED"
    TOO_LATE = "TOO_LATE"
    SUPERSEDED = "SUPERSEDED"
    UNRESOLVED = "UNRESOLVED"
    EXPIRED = "EXPIRED"
    EXPIRY_DELIVERED = "EXPIRY_DELIVERED"
    EXPIRY_TOO_LATE = "EXPIRY_TOO_LATE"
    EXPIRY_SUPERSEDED = "EXPIRY_SUPERSEDED"
    EXPIRY_UNRESOLVED = "EXPIRY_UNRESOLVED"
    REVOKED = "REVOKED"
    CLOSED = "CLOSED"
    NEEDS_OPERATOR = "NEEDS_OPERATOR"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of an approval's audit."""

    #: over all approvals, without gaps; 0 if the store gives numbers by signing, and has not yet
    number: int
    approval_id: str
    seq: int  #: within the approval, from 1
    at: datetime
    event: str  #: an `AuditEvent`, unless somebody changed it
    details: Mapping[str, Json]
    hash: bytes

    def document(self) -> Json:
        """The entry as the API shows it."""
        shown: Json = {"seq": self.seq, "at": iso(self.at), "event": self.event}
        return {**shown, **self.details, "hash": self.hash.hex()}


@dataclass(frozen=True, slots=True)
class Chain:
    """An approval's audit, and what the approval's own row says about it."""

    approval_id: str
    state: State
    head_seq: int
    head: bytes
    request_digest: str  #: SHA-256 of the stored request, hex
    payload_digest: str | None  #: SHA-256 of the frozen answer, hex; None if there is none
    entries: Sequence[AuditEntry]


@dataclass(frozen=True, slots=True)
class AuditDigest:
    """A signed statement: these entries existed, with these hashes."""

    number: int  #: from 1
    first: int  #: number of the first entry it covers
    last: int
    at: datetime
    root: bytes  #: SHA-256 over the hashes of the entries, in order
    previous: bytes  #: `digest_hash` of the digest before
    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class AuditFault:
    """Where the audit does not hold."""

    sentence: str
    approval_id: str | None = None
    seq: int | None = None
    number: int | None = None


def entry_hash(
    before: bytes, approval_id: str, seq: int, at: datetime, event: str, details: bytes
) -> bytes:
    """The hash of an entry: over the hash before it and all it says (*details* is canonical)."""
    head = f"{approval_id}\n{seq}\n{to_ms(at)}\n{event}\n".encode()
    return sha256(before + head + details).digest()


def request_digest(document: bytes) -> str:
    """What the CREATED entry says about the stored request."""
    return sha256(document).hexdigest()


def read_details(text: bytes) -> Json:
    """The details of a stored entry."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # Somebody changed it; its hash will not fit whatever stands here.
        return {"unreadable": True}


def check_chain(chain: Chain) -> AuditFault | None:
    """The first entry of one approval that does not hold; None if all do."""
    if not chain.entries:
        return AuditFault("there is no entry", chain.approval_id, 1)
    before = GENESIS
    for expected, entry in enumerate(chain.entries, 1):
        if entry.seq != expected:
            sentence = f"entry {expected} is missing"
            return AuditFault(sentence, chain.approval_id, expected)
        details = canonical(dict(entry.details))
        found = entry_hash(before, chain.approval_id, entry.seq, entry.at, entry.event, details)
        if found != entry.hash:
            sentence = f"entry {entry.seq} was changed, inserted or moved"
            return AuditFault(sentence, chain.approval_id, entry.seq)
        before = entry.hash
    if (len(chain.entries), before) != (chain.head_seq, chain.head):
        seq = len(chain.entries) + 1
        return AuditFault(f"the end of the audit is missing from entry {seq} on", chain.approval_id)
    return _check_record(chain)


def entries_root(hashes: Iterable[bytes]) -> bytes:
    """One hash over the hashes of many entries."""
    root = sha256(b"signoff audit entries\0")
    for value in hashes:
        root.update(value)
    return root.digest()


def sign_digest(
    ring: "KeyRing",
    previous: AuditDigest | None,
    numbered_hashes: Sequence[tuple[int, bytes]],
    at: datetime,
) -> AuditDigest:
    """The digest over these entries, signed with the newest key."""
    unsigned = AuditDigest(
        number=previous.number + 1 if previous else 1,
        first=numbered_hashes[0][0],
        last=numbered_hashes[-1][0],
        at=at,
        root=entries_root(value for _, value in numbered_hashes),
        previous=digest_hash(previous) if previous else GENESIS,
        key_id=ring.newest.id,
        signature=b"",
    )
    return _signed(unsigned, ring)


def digest_hash(digest: AuditDigest) -> bytes:
    """What the next digest says about this one."""
    return sha256(_statement(digest) + digest.signature).digest()


def check_digest(
    digest: AuditDigest,
    previous: AuditDigest | None,
    numbered_hashes: Sequence[tuple[int, bytes]],
) -> AuditFault | None:
    """Whether a digest follows the one before and fits the entries; its signature aside."""
    first = previous.last + 1 if previous else 1
    before = digest_hash(previous) if previous else GENESIS
    if digest.first != first or digest.previous != before:
        return AuditFault(f"a digest before digest {digest.number} was changed or removed")
    numbers = [number for number, _ in numbered_hashes]
    for expected in range(digest.first, digest.last + 1):
        position = expected - digest.first
        if position >= len(numbers) or numbers[position] != expected:
            return AuditFault(f"entry number {expected} was removed", number=expected)
    if entries_root(value for _, value in numbered_hashes) != digest.root:
        sentence = f"entries {digest.first} to {digest.last} are not those that digest "
        return AuditFault(f"{sentence}{digest.number} was signed over", number=digest.first)
    return None


def check_signature(digest: AuditDigest, ring: "KeyRing") -> bool | None:
    """Whether the signature holds; None if its key is not in the ring any more.

    A newer digest vouches for the older ones, so one good signature at the end is enough.
    """
    if digest.key_id not in ring:
        return None
    return compare_digest(_signature(digest, ring), digest.signature)


def _check_record(chain: Chain) -> AuditFault | None:
    """Whether the approval's row says what its audit says."""
    events = [entry.event for entry in chain.entries]
    created = chain.entries[0]
    if created.details.get("request_sha256") != chain.request_digest:
        return AuditFault("the request is not the one that was created", chain.approval_id, 1)
    told = [event for event in events if event in _STATE_OF]
    state = _STATE_OF[told[-1]] if told else State.PENDING
    if state is not chain.state:
        sentence = f"the record says {chain.state}, the audit {state}"
        return AuditFault(sentence, chain.approval_id, len(events))
    if events.count(AuditEvent.DECIDED) > 1:
        return AuditFault("there are two decisions", chain.approval_id, len(events))
    return _check_payload(chain)


def _check_payload(chain: Chain) -> AuditFault | None:
    for entry in chain.entries:
        if entry.event in (AuditEvent.DECIDED, AuditEvent.EXPIRED) and (
            entry.details.get("payload_sha256") != chain.payload_digest
        ):
            sentence = "the answer to the workflow is not the one that was recorded"
            return AuditFault(sentence, chain.approval_id, entry.seq)
    return None


_STATE_OF = {state.value: state for state in State if state is not State.PENDING}


def _signed(digest: AuditDigest, ring: "KeyRing") -> AuditDigest:
    return AuditDigest(
        digest.number,
        digest.first,
        digest.last,
        digest.at,
        digest.root,
        digest.previous,
        digest.key_id,
        _signature(digest, ring),
    )


def _signature(digest: AuditDigest, ring: "KeyRing") -> bytes:
    return hmac_digest(ring[digest.key_id].derive("audit digest"), _statement(digest), "sha256")


def _statement(digest: AuditDigest) -> bytes:
    parts = [
        digest.number,
        digest.first,
        digest.last,
        to_ms(digest.at),
        digest.root.hex(),
        digest.previous.hex(),
        digest.key_id,
    ]
    return b"signoff audit digest\n" + canonical(parts)
