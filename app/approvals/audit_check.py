"""Checking the whole audit of a store: what `signoff audit verify` does. Reads only.

Every chain is checked against its approval, every digest against the entries it covers, and the
newest digest's signature against the key ring.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.approvals.audit import (
    AuditDigest,
    AuditEntry,
    AuditFault,
    Chain,
    check_chain,
    check_digest,
    check_signature,
)
from app.approvals.keyring import KeyRing
from app.approvals.store.interface import AuditTrail


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a check found."""

    approvals: int
    entries: int
    digests: int
    signed_entries: int  #: how many of the entries a digest covers
    fault: AuditFault | None  #: the first one; None if everything holds
    notes: tuple[str, ...]  #: what could not be checked

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return self.fault is None


async def chain_fault(store: AuditTrail, chain: Chain) -> AuditFault | None:
    """What does not hold of *chain*.

    A store without snapshots may have read it in the middle of a move, so it is read once more.
    """
    if check_chain(chain) is None:
        return None
    return check_chain(await store.chain(chain.approval_id) or chain)


async def check_audit(store: AuditTrail, ring: KeyRing) -> AuditReport:
    """Whether the audit of *store* holds, and the first entry that does not."""
    approvals = entries = 0
    fault: AuditFault | None = None
    async for found in store.chains():
        if isinstance(found, AuditEntry):
            fault = _stray_fault(found)
        else:
            approvals += 1
            entries += len(found.entries)
            fault = await chain_fault(store, found)
        if fault is not None:
            break
    digests = await store.digests()
    fault = fault or await _digest_fault(store, digests)
    notes: tuple[str, ...] = ()
    if fault is None and digests:
        fault, notes = _signature_fault(digests, ring)
    signed = digests[-1].last if digests else 0
    return AuditReport(approvals, entries, len(digests), signed, fault, notes)


def _stray_fault(entry: AuditEntry) -> AuditFault:
    which = f"entry number {entry.number}" if entry.number else f"entry {entry.seq}"
    sentence = f"{which} belongs to an approval that was removed"
    return AuditFault(sentence, entry.approval_id or None, entry.seq, entry.number or None)


async def _digest_fault(store: AuditTrail, digests: Sequence[AuditDigest]) -> AuditFault | None:
    previous: AuditDigest | None = None
    for digest in digests:
        entries = await store.entry_hashes(digest.first, digest.last)
        fault = check_digest(digest, previous, entries)
        if fault is not None:
            return fault
        previous = digest
    return None


def _signature_fault(
    digests: Sequence[AuditDigest], ring: KeyRing
) -> tuple[AuditFault | None, tuple[str, ...]]:
    """The newest digest with a known key vouches for all before it; later ones are noted."""
    unknown = 0
    for digest in reversed(digests):
        good = check_signature(digest, ring)
        if good is None:
            unknown += 1
            continue
        if not good:
            return AuditFault(f"the signature of digest {digest.number} does not hold"), ()
        break
    if unknown:
        return None, (
            f"the last {unknown} digests were signed with a key that is not in the key ring",
        )
    return None, ()
