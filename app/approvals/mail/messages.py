"""What a mail says: approvals and notices become mails, in the words of `templates/mail`.

The sender is always the configured address; of what workflows say only the requester's name stands
beside it, and only if it looks like a name. The HTML part is kept small enough that no mail client
cuts it off before the buttons; the plain part always has everything.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2s
from typing import Any

from jinja2 import Environment, Template
from markupsafe import escape

from app.approvals.asking import asks, deadline, requester_name, style_of, writes
from app.approvals.channels import OutgoingMail
from app.approvals.language import Languages, Reader
from app.approvals.mail.mime import (
    Header,
    Mailbox,
    alternative,
    ascii_address,
    mailbox_header,
    text_header,
    token_header,
)
from app.approvals.mail.model import Mail, MailKind, Notice
from app.approvals.model import Approval, Person, Recipient, State
from app.approvals.plain_text import clip, lines, one_line

# Bounds of the HTML part. Escaped, a character takes at most five octets, so that message and facts
# together stay below 60 kB and the whole below 80 kB, where no client clips.
_HTML_MESSAGE = 4_000
_HTML_FACT = 1_000
_HTML_FACTS_OCTETS = 28_000

#: a button's fill, edge and ink in light; dark ones are in the template
_LOOKS = {
    "primary": ("#0f7a3a", "#083f1e", "#ffffff"),
    "danger": ("#ffffff", "#b42318", "#b42318"),
    "default": ("#ffffff", "#0b0c0c", "#0b0c0c"),
}

#: a decision was made, but the workflow went another way
_NOT_USED = frozenset({State.TOO_LATE, State.SUPERSEDED})

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Content:
    """What the templates say, before it is cut to size for HTML."""

    subject: str
    sender_name: str
    reply_to: Person | None
    message: str | None
    facts: Facts
    words: Mapping[str, Any]


class MailWriter:
    """Writes mails. Rendering is pure: the same input gives the same bytes."""

    def __init__(
        self,
        templates: Environment,
        languages: Languages,
        *,
        mail_from: Mailbox,
        link: Callable[[Approval, int, int], str],
    ) -> None:
        self._languages = languages
        self._link = link
        self._sender = ascii_address(mail_from.address)
        self._service = mail_from.name or "Signoff"
        self._domain = self._sender.partition("@")[2]
        self._templates = {
            kind: (
                templates.get_template(f"mail/{kind}.txt"),
                templates.get_template(f"mail/{kind}.html"),
            )
            for kind in (MailKind.REQUEST, MailKind.NOTICE)
        }

    def request(self, approval: Approval, mail: Mail, now: datetime) -> OutgoingMail:
        """The mail that asks the recipient of *mail* to decide about *approval*.

        Raises:
            NotMailable: an address or a header cannot be written.
        """
        recipient = approval.request.recipients[mail.recipient]
        reader = self._languages.reader(recipient)
        content = self._ask(approval, mail.recipient, recipient, reader)
        return self._write(content, recipient, reader, mail, now)

    def notice(
        self, notice: Notice, mail: Mail, now: datetime, about: Approval | None = None
    ) -> OutgoingMail:
        """The plain mail *notice* to the recipient of *mail*, with the outcome of *about*.

        Raises as `request` does.
        """
        recipient = notice.to[mail.recipient]
        reader = self._languages.reader(recipient)
        title = one_line(notice.subject or (_outcome_title(about, reader) if about else ""))
        outcome = tuple(_outcome_facts(about, reader)) if about else ()
        facts = _plain_facts((*outcome, *notice.facts))
        content = _Content(
            subject=title,
            sender_name=self._service,
            reply_to=None,
            message=lines(notice.message) if notice.message else None,
            facts=facts,
            words={
                "title": title,
                "asks": None,
                "preheader": _preheader(notice.message, facts),
                "message_from": reader.say("ask.writes_nobody"),
                "more": reader.say("mail.notice_more"),
                "sent_to": reader.say("mail.notice_sent_to", address=recipient.email),
            },
        )
        return self._write(content, recipient, reader, mail, now)

    def _ask(
        self, approval: Approval, index: int, recipient: Recipient, reader: Reader
    ) -> _Content:
        request = approval.request
        title = one_line(request.title)
        expires = reader.weekday(request.expires_at, approval.created_at)
        words = {
            "title": title,
            "preheader": asks(request, reader, "mail.preheader"),
            "asks": asks(request, reader),
            "message_from": writes(request, reader),
            "more": reader.say("mail.more"),
            "actions": self._buttons(approval, index, reader),
            "confirm_next": reader.say("mail.confirm_next"),
            "expiry": deadline(request, reader, expires),
            "sent_to": reader.say("mail.sent_to", address=recipient.email),
        }
        return _Content(
            subject=reader.say("mail.subject", title=title, when=expires),
            sender_name=self._sender_name(requester_name(request.requester), reader),
            reply_to=request.requester,
            message=lines(request.message) if request.message else None,
            facts=_plain_facts(request.facts),
            words=words,
        )

    def _buttons(self, approval: Approval, index: int, reader: Reader) -> list[dict[str, Any]]:
        return [
            {
                "url": self._link(approval, index, number),
                "button": one_line(reader.say_action(action, "button")),
                "style": style_of(action),
                "look": _LOOKS[style_of(action)],
            }
            for number, action in enumerate(approval.request.actions)
        ]

    def _sender_name(self, who: str | None, reader: Reader) -> str:
        """ "Ana Ruiz via Signoff"; the service alone if the name could pass for an address."""
        if not who or not set(who).isdisjoint('<>@"\\:;,()[]') or len(who) > 60:
            return self._service
        return reader.say("mail.sender", who=who, service=self._service)

    def _write(
        self, content: _Content, recipient: Recipient, reader: Reader, mail: Mail, now: datetime
    ) -> OutgoingMail:
        text_template, html_template = self._templates[mail.kind]
        common = {
            **content.words,
            "subject": content.subject,
            "lang": reader.language.tag,
            "direction": reader.language.direction,
            "facts_label": reader.say("mail.facts"),
        }
        text = text_template.render(**common, message=content.message, facts=content.facts)
        html = _render_html(html_template, common, content)
        address = ascii_address(recipient.email)
        data = alternative(
            tuple(self._headers(content, recipient, mail, now)),
            text=text,
            html=html,
            boundary=_boundary(self._name(mail, mail.round)),
        )
        return OutgoingMail(sender=self._sender, recipient=address, data=data)

    def _headers(
        self, content: _Content, recipient: Recipient, mail: Mail, now: datetime
    ) -> Iterable[Header]:
        name = recipient.name and one_line(recipient.name)
        yield mailbox_header("From", Mailbox(self._sender, content.sender_name))
        yield mailbox_header("To", Mailbox(recipient.email, name))
        if content.reply_to and content.reply_to.email:
            who = content.reply_to.name and one_line(content.reply_to.name)
            yield mailbox_header("Reply-To", Mailbox(content.reply_to.email, who))
        yield text_header("Subject", content.subject)
        yield token_header("Date", format_datetime(now.astimezone(UTC)))
        yield token_header("Message-ID", self._message_id(mail, mail.round))
        if mail.round:
            first = self._message_id(mail, 0)
            yield token_header("In-Reply-To", first)
            yield token_header("References", first)
        yield token_header("Auto-Submitted", "auto-generated")
        yield token_header("X-Auto-Response-Suppress", "All")

    def _message_id(self, mail: Mail, round_: int) -> str:
        """The same for every attempt to send *mail*, so that clients drop a second copy."""
        return f"<{self._name(mail, round_)}@{self._domain}>"

    @staticmethod
    def _name(mail: Mail, round_: int) -> str:
        owner = mail.approval_id or mail.notice_id or ""
        return f"{mail.kind}.{owner}.{mail.recipient}.{round_}"


def _outcome_title(approval: Approval, reader: Reader) -> str:
    """What became of *approval*, as a subject."""
    title, action = approval.request.title, approval.decided_action
    if action is None or approval.state in _NOT_USED:
        return reader.say("notice.undecided", title=title)
    return reader.say_action(action, "decided_heading", title=title)


def _outcome_facts(approval: Approval, reader: Reader) -> Iterable[tuple[str, str]]:
    """What was decided, by whom, when and why; then what the request was about."""
    decision, action = approval.decision, approval.decided_action
    if decision is not None and action is not None and approval.state not in _NOT_USED:
        name = approval.request.recipients[decision.recipient].name
        yield reader.say("notice.outcome"), action.label
        yield reader.say("notice.by"), f"{name} ({decision.by})" if name else decision.by
        yield reader.say("notice.at"), reader.full(decision.at)
        if decision.comment:
            yield reader.say("notice.comment"), decision.comment
    yield from approval.request.facts


def _preheader(message: str | None, facts: Facts) -> str:
    """What lists of mails show below the subject."""
    return clip(one_line(message or " ".join(f"{name}: {value}." for name, value in facts)), 140)


def _boundary(name: str) -> str:
    return blake2s(name.encode("utf-8"), digest_size=12).hexdigest()


def _plain_facts(facts: Facts) -> Facts:
    return tuple((one_line(name), lines(value)) for name, value in facts)


def _render_html(template: Template, common: Mapping[str, Any], content: _Content) -> str:
    message = clip(content.message, _HTML_MESSAGE) if content.message else None
    facts = list(_fitting(content.facts))
    clipped = message != content.message or facts != list(content.facts)
    return template.render(**common, message=message, facts=facts, clipped=clipped)


def _fitting(facts: Facts) -> Iterable[tuple[str, str]]:
    """The facts, each cut to a readable length, as many as there is room for."""
    room = _HTML_FACTS_OCTETS
    for name, value in facts:
        fact = (clip(name, _HTML_FACT), clip(value, _HTML_FACT))
        room -= len((escape(fact[0]) + escape(fact[1])).encode("utf-8")) + 500
        if room < 0:
            return
        yield fact
