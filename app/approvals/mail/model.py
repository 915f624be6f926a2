"""Mails to people, and how they fare: frozen values.

Apart from the model of approvals, because who looks at an approval has nothing to do with mails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.approvals.model import Approval, Recipient


class MailState(StrEnum):
    """How far the mail to one recipient got."""

    QUEUED = "queued"
    SENT = "sent"
    REFUSED = "refused"  #: the server said no for good (5xx)
    FAILED = "failed"  #: given up after the last retry


class MailKind(StrEnum):
    """Why a mail is sent."""

    REQUEST = "request"  #: asks a recipient to decide
    NOTICE = "notice"  #: plain words, nothing to decide


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one recipient, owed until it is sent, refused or given up.

    It belongs to an approval or to a notice. Links and words are not stored: the mail is rendered
    from what it belongs to when it is sent.
    """

    id: str  #: the store's own name for it
    approval_id: str | None
    notice_id: str | None
    kind: MailKind
    recipient: int  #: index into the recipients of what it belongs to
    round: int  #: 0 for the first mail, 1 for the first re-send, and so on
    attempts: int  #: how often it was tried, this time included


@dataclass(frozen=True, slots=True)
class MailResult:
    """What became of one attempt to send."""

    id: str
    state: MailState
    next_at: datetime | None = None  #: when to try again, for QUEUED
    note: str | None = None  #: the server's reason, in a few words


@dataclass(frozen=True, slots=True)
class Notice:
    """A plain mail that a workflow asked for."""

    id: str
    to: tuple[Recipient, ...]
    subject: str | None  #: None: said by the approval it is about
    message: str | None
    facts: tuple[tuple[str, str], ...]
    created_at: datetime
    about: str | None = None  #: the id of the approval whose outcome it confirms


MailStates = Mapping[int, MailState]  #: by recipient index


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """What an operator sees: an approval and how its mails fare."""

    approval: Approval
    mails: MailStates
