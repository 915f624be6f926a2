"""What the service answers, as values."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.approvals.mail.model import ApprovalView
from app.approvals.model import Approval
from app.clock import iso
from app.strict_json import Json


@dataclass(frozen=True, slots=True)
class MintedLink:
    """One link: this recipient, this action."""

    recipient: str  #: the address
    action: str  #: the action's name
    url: str


@dataclass(frozen=True, slots=True)
class Minted:
    """The answer to a mint."""

    approval: Approval
    links: tuple[MintedLink, ...]
    created: bool  #: False for a repeated request
    warnings: tuple[str, ...]

    def document(self) -> Json:
        """The answer as JSON: what the API and the function `signoff` return."""
        return {
            "id": self.approval.id,
            "state": self.approval.state.value,
            "expires_at": iso(self.approval.request.expires_at),
            "links": [
                {"recipient": link.recipient, "action": link.action, "url": link.url}
                for link in self.links
            ],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Decided:
    """What is recorded after somebody tried to decide."""

    approval: Approval
    mine: bool  #: the recorded decision is the one that was asked for, by the same recipient
    recorded: bool  #: this very attempt recorded it


@dataclass(frozen=True, slots=True)
class Page:
    """Some approvals, newest first."""

    approvals: Sequence[ApprovalView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class AuditView:
    """An approval's audit, and whether it holds."""

    entries: Sequence[Json]  #: `seq`, `at`, `event`, and what else the event tells
    verified: bool


@dataclass(frozen=True, slots=True)
class Notified:
    """The answer to a request for a plain mail."""

    notice_id: str
    recipients: int
