"""What a store of approvals must do, and what must happen in one piece.

Every method that writes is one transaction: all of it is durable when it returns, or nothing is
and it raises `StoreUnavailable`. When nobody can know, it raises `StoreUnconfirmed`: read back.
Reads see committed state only. Several processes may use one store at the same time.

To add a store: a class with these methods, and a factory in `tests/approvals/store/factories.py`;
the contract tests run over every factory there.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from app.approvals.attempts import Settled
from app.approvals.mail.model import Mail, MailResult, MailStates, Notice
from app.approvals.model import Approval, Decision, Payload, Request, State
from app.approvals.payloads import payload_digest
from app.strict_json import Json

if TYPE_CHECKING:
    from app.approvals.audit import AuditDigest, AuditEntry, Chain
    from app.approvals.keyring import KeyRing


@dataclass(frozen=True, slots=True)
class NewApproval:
    """What a mint stores."""

    id: str
    target: str
    request: Request
    document: Json  #: of the request (`document.py`)
    fingerprint: bytes
    sealed_token: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """An approval with what only the service needs of it."""

    approval: Approval
    sealed_token: bytes
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """For a while, one process delivers: this saves double calls, safety does not rest on it."""

    owner: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Ballot:
    """A decision, ready to be recorded."""

    approval_id: str
    decision: Decision
    payload: Payload
    lease: Lease  #: whoever records it delivers it at once
    from_ip: str | None
    user_agent: str | None

    def audit_details(self) -> dict[str, str | int | None]:
        """What the audit keeps of it."""
        return {
            "by": self.decision.by,
            "recipient": self.decision.recipient,
            "action": self.decision.action,
            "decision_id": self.decision.id,
            "payload_sha256": payload_digest(self.payload),
            "from_ip": self.from_ip,
            "user_agent": self.user_agent,
        }


@dataclass(frozen=True, slots=True)
class Owed:
    """An answer that the workflow has not got yet, as far as we know."""

    approval_id: str
    target: str
    sealed_token: bytes
    payload: Payload
    decision_id: str | None  #: None for the answer that the mint asked for on expiry
    execution_arn: str | None
    attempts: int  #: this one included
    lease: Lease


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is owed at the moment; for health checks and metrics."""

    answers: int  #: to workflows
    oldest_answer_at: datetime | None  #: when the oldest of them was recorded
    needs_operator: int  #: how many of them wait for an operator
    mails: int
    oldest_mail_due: datetime | None


class Approvals(Protocol):
    """Approvals and the moves of their lives."""

    async def mint(self, new: NewApproval) -> bool:
        """Store *new*, its CREATED entry and a queued mail for each recipient; whether it is new.

        When an approval with this id exists, nothing is written, whatever its content.
        """

    async def stored(self, approval_id: str) -> Stored | None:
        """The approval with this id."""

    async def approval(self, approval_id: str) -> Approval | None:
        """The approval with this id."""

    async def newest_of_execution(self, execution_arn: str) -> str | None:
        """The id of the newest approval that was minted with this execution ARN."""

    async def list(
        self, state: State | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[Approval], str | None]:
        """Up to *limit* approvals, newest first, and the cursor for the next ones.

        Raises:
            ValueError: *cursor* is none of this store's.
        """

    async def decide(self, ballot: Ballot) -> bytes | None:
        """PENDING -> DECIDED, if it is PENDING and not expired at the decision's date.

        The sealed task token if that was so, else None. The vote, the frozen payload, the lease
        (attempt 1) and the DECIDED entry come with it. This is the instant at which a decision
        counts.
        """

    async def expire(self, approval_id: str, payload: Payload | None, now: datetime) -> bool:
        """PENDING -> EXPIRED, if it is PENDING and past its date; whether that was so.

        With a *payload*, that is owed to the workflow from *now* on.
        """

    async def revoke(self, approval_id: str, now: datetime) -> bool:
        """PENDING -> REVOKED, if it is PENDING and not expired; whether that was so."""

    async def task_closed(self, approval_id: str, evidence: str, now: datetime) -> bool:
        """PENDING -> CLOSED, if it is PENDING; whether that was so."""

    async def expired(self, now: datetime, limit: int) -> Sequence[Approval]:
        """PENDING approvals whose date has passed, longest ago first."""

    async def claim_pending(self, now: datetime, limit: int) -> Sequence[Stored]:
        """PENDING approvals whose task is to be looked at now (`protocol.next_look`).

        Each is handed to one caller only, and next when the rule says so.
        """

    async def claim(self, lease: Lease, now: datetime, limit: int) -> Sequence[Owed]:
        """Take answers that are due; they are not due again before the lease ends.

        Each is handed to one caller only, and counts one attempt more (before anything is sent, so
        that no attempt is ever forgotten).
        """

    async def settle(self, approval_id: str, settled: Settled, now: datetime) -> bool:
        """End what is owed: DECIDED -> the proven state; EXPIRED stays, with the proof.

        Whether it was still owed. The entry in the audit comes with it.
        """

    async def postpone(
        self, owed: Owed, next_at: datetime, reason: str, needs_operator: bool, now: datetime
    ) -> None:
        """Give a lease back: due again at *next_at*. Nothing if the lease is another's by now."""

    async def release(self, owner: str | None, now: datetime) -> None:
        """Give back the leases of *owner* (None: of everyone): their answers are due *now*."""

    async def backlog(self) -> Backlog:
        """What is owed at the moment."""


class Outbox(Protocol):
    """Mails that are owed to recipients."""

    async def claim_mails(self, now: datetime, lease_until: datetime, limit: int) -> Sequence[Mail]:
        """Take mails that are due; they are not due again before *lease_until*.

        Each is handed to one caller only, and counts one attempt more.
        """

    async def finish_mails(self, results: Sequence[MailResult], now: datetime) -> None:
        """Store what became of claimed mails, with MAIL_... entries for those of approvals.

        A mail that is not queued any more stays as it is.
        """

    async def resend(self, approval_id: str, now: datetime) -> bool:
        """Queue a new round of mails to all recipients, if PENDING and not expired.

        Whether that was so. The RESENT entry comes with it.
        """

    async def count_mails(self, mailboxes: Sequence[bytes], hour: datetime, limit: int) -> bool:
        """Count a mail to each of *mailboxes* in this hour; whether none had *limit* before.

        If one had, none is counted. Counts of earlier hours are forgotten.
        """

    async def mail_states(self, approval_id: str) -> MailStates:
        """How the newest mail to each recipient fares."""

    async def add_notice(self, notice: Notice) -> bool:
        """Store a plain mail and queue it to each recipient; nothing if its id is known."""

    async def notice(self, notice_id: str) -> Notice | None:
        """The notice with this id."""

    async def approval(self, approval_id: str) -> Approval | None:
        """The approval with this id: mails are rendered from it."""

    async def next_mail_at(self) -> datetime | None:
        """When the next mail is due."""


class AuditTrail(Protocol):
    """What was done, for those who check it."""

    async def chain(self, approval_id: str) -> "Chain | None":
        """One approval's audit."""

    async def sign_entries(
        self, ring: "KeyRing", now: datetime, limit: int
    ) -> "AuditDigest | None":
        """Sign a digest over up to *limit* entries that no digest covers; None if there are none.

        Atomic: two processes never sign the same entries.
        """

    async def unsigned_entries(self) -> tuple[int, datetime | None]:
        """How many entries no digest covers, and when the newest digest was signed."""

    def chains(self) -> "AsyncIterator[Chain | AuditEntry]":
        """Each approval's audit, once; and entries whose approval does not exist."""

    async def digests(self) -> "Sequence[AuditDigest]":
        """All digests, oldest first."""

    async def entry_hashes(self, first: int, last: int) -> Sequence[tuple[int, bytes]]:
        """Number and hash of the entries from *first* to *last*, in order."""


#: the data key under each ring key, by the ring key's id
Wraps = Mapping[str, bytes]


class WrapStore(Protocol):
    """Where the wrapped data key is kept."""

    async def keep_wraps(self, wraps: Wraps) -> Wraps:
        """The wraps that are stored: *wraps* if there were none before. Atomic."""

    async def replace_wraps(self, old: Wraps, new: Wraps) -> bool:
        """Store *new* if *old* is what is stored; whether that was so. Atomic."""


class ApprovalStore(Approvals, Outbox, AuditTrail, WrapStore, Protocol):
    """All of it."""

    async def probe(self) -> None:
        """The smallest write there is: for health checks."""

    async def close(self) -> None:
        """Let go of files, threads and connections."""
