"""A request as people see it, and an honest stand-in for the approval service behind the pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from app.approvals.keyring import KeyRing
from app.approvals.language_files import load_languages
from app.approvals.links import LinkSigner
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.mime import Mailbox
from app.approvals.mail.model import Mail, MailKind
from app.approvals.model import (
    Action,
    Approval,
    CommentRule,
    Decision,
    Failure,
    Holder,
    Person,
    Recipient,
    Request,
    State,
    Success,
)
from app.approvals.pages.decision_pages import DecisionPages
from app.approvals.pages.frame import PageFrame
from app.errors import UnknownLink
from app.templating import environment

NOW = datetime(2025, 11, 12, 8, 41, tzinfo=UTC)
BASE_URL = "https://signoff.example.com"
TEMPLATES = environment()
LANGUAGES = load_languages()

MARC = Recipient("marc@example.com", "Marc", "en", "Europe/Berlin")
LENA = Recipient("lena@example.com", "Lena Vogt", None, "Europe/Berlin")
ANA = Person("ana@example.com", "Ana Ruiz")
APPROVE = Action("approve", "Approve deployment", "primary", CommentRule.OPTIONAL, Success({}))
REJECT = Action("reject", "Reject", "danger", CommentRule.REQUIRED, Failure("Rejected"))

REQUEST = Request(
    title="Deploy billing 4.2 to production",
    message="Release notes are in CHG-1182.",
    facts=(("Change", "CHG-1182"), ("Risk", "medium")),
    requester=ANA,
    recipients=(MARC, LENA),
    actions=(APPROVE, REJECT),
    expires_at=datetime(2025, 11, 14, 16, 0, tzinfo=UTC),
    on_expiry=None,
    execution_arn=None,
)
APPROVAL = Approval("abcdefghijklmnopqrstuvwx23", "embedded", REQUEST, State.PENDING, NOW)


def approval(**changes: Any) -> Approval:
    """The approval above, with other fields of its request."""
    return replace(APPROVAL, request=replace(REQUEST, **changes))


def decided(
    state: State = State.DELIVERED,
    *,
    action: str = "approve",
    recipient: int = 0,
    comment: str | None = None,
    of: Approval = APPROVAL,
) -> Approval:
    """*of* after a decision at NOW."""
    by = of.request.recipients[recipient].email
    decision = Decision("d" * 32, action, recipient, by, NOW, comment)
    return replace(of, state=state, decision=decision)


def mail(**changes: Any) -> Mail:
    """The first attempt at the first mail to the first recipient."""
    first = Mail("1", APPROVAL.id, None, MailKind.REQUEST, recipient=0, round=0, attempts=1)
    return replace(first, **changes)


def signer(base_url: str = BASE_URL) -> LinkSigner:
    """A signer with a key of its own."""
    return LinkSigner(KeyRing(["uT3-Vq0_nM7xL1kZc9RbYw5sHd8fGj2p"]), base_url)


def writer(base_url: str = BASE_URL, mail_from: str = "signoff@example.com") -> MailWriter:
    """A mail writer with real links."""
    links = signer(base_url)
    return MailWriter(
        TEMPLATES,
        LANGUAGES,
        mail_from=Mailbox(mail_from),
        link=lambda of, recipient, action: links.url(Holder(of.id, recipient, action)),
    )


@dataclass
class Recorded:
    """What `FakeService.decide` answers."""

    approval: Approval


@dataclass
class FakeService:
    """Approvals in a dict and real links: what the pages see of the service, and no more."""

    links: LinkSigner
    approvals: dict[str, Approval] = field(default_factory=lambda: {APPROVAL.id: APPROVAL})
    decisions: list[Mapping[str, Any]] = field(default_factory=list)
    now: datetime = NOW
    fails_with: Exception | None = None
    ids: Any = field(default_factory=count)

    def holder(self, link: str) -> Holder:
        return self.links.holder(link)

    async def find(self, holder: Holder) -> Approval:
        try:
            return self.approvals[holder.approval_id]
        except KeyError:
            raise UnknownLink from None

    async def decide(
        self,
        holder: Holder,
        approval: Approval,
        *,
        comment: str | None,
        from_ip: str | None,
        user_agent: str | None,
    ) -> Recorded:
        if self.fails_with is not None:
            raise self.fails_with
        found = self.approvals[holder.approval_id]
        if found.state is State.PENDING and self.now < found.request.expires_at:
            action = found.request.actions[holder.action].name
            self.decisions.append(
                {"action": action, "comment": comment, "ip": from_ip, "agent": user_agent}
            )
            found = decided(action=action, recipient=holder.recipient, comment=comment, of=found)
            self.approvals[found.id] = found
        return Recorded(found)

    def link(self, approval: Approval, recipient: int, action: int) -> str:
        return self.links.url(Holder(approval.id, recipient, action))

    def later(self, **of_timedelta: float) -> None:
        """Let time pass."""
        self.now += timedelta(**of_timedelta)


def fake_service(*approvals: Approval, base_url: str = BASE_URL) -> FakeService:
    """A service that knows *approvals*, or the one above."""
    known = approvals or (APPROVAL,)
    return FakeService(signer(base_url), {one.id: one for one in known})


def pages(service: FakeService, base_url: str = BASE_URL) -> DecisionPages:
    """The pages in front of *service*, on its clock."""
    return DecisionPages(
        service=service,
        nonces=service.links,
        languages=LANGUAGES,
        frame=PageFrame(TEMPLATES),
        clock=lambda: service.now,
        base_url=base_url,
    )
