"""What mails say: the words, the headers, the buttons, and what cannot get into them."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser

import pytest

from app.approvals.channels import OutgoingMail
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.mime import Mailbox, NotMailable
from app.approvals.mail.model import MailKind, Notice
from app.approvals.model import (
    Action,
    Approval,
    CommentRule,
    Failure,
    Holder,
    Person,
    Recipient,
    State,
    Success,
)
from tests.approvals.asked import (
    ANA,
    APPROVAL,
    LANGUAGES,
    LENA,
    MARC,
    NOW,
    TEMPLATES,
    approval,
    decided,
    mail,
    signer,
    writer,
)
from tests.approvals.hostile import MARKUP, TEMPLATE_TEXTS

NOTICE = Notice(
    id="n1",
    to=(MARC, LENA),
    subject="Approved: Deploy billing 4.2 to production",
    message="The workflow goes on.",
    facts=(("Outcome", "approved"), ("Decided by", "marc@example.com"), ("Comment", "Go.")),
    created_at=NOW,
)
NOTICE_MAIL = mail(approval_id=None, notice_id="n1", kind=MailKind.NOTICE)


def read(outgoing: OutgoingMail) -> EmailMessage:
    message = message_from_bytes(outgoing.data, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def part(outgoing: OutgoingMail, subtype: str) -> str:
    found = read(outgoing).get_body((subtype,))
    assert found is not None
    content = found.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


def asked(of: Approval = APPROVAL, **changes: int) -> OutgoingMail:
    return writer().request(of, mail(approval_id=of.id, **changes), NOW)


class Outline(HTMLParser):
    """The tags and the shown text of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def hrefs(self) -> list[str | None]:
        return [attributes.get("href") for tag, attributes in self.tags if tag == "a"]


def test_headers_say_who_asks_whom_for_what_until_when() -> None:
    """The headers are those of a good transactional mail, and no others."""
    headers = read(asked()).items()

    assert headers == [
        ("From", "Ana Ruiz via Signoff <signoff@example.com>"),
        ("To", "Marc <marc@example.com>"),
        ("Reply-To", "Ana Ruiz <ana@example.com>"),
        (
            "Subject",
            "Approval needed: Deploy billing 4.2 to production (by Fri 14 Nov, 17:00 CET)",
        ),
        ("Date", "Wed, 12 Nov 2025 08:41:00 +0000"),
        ("Message-ID", "<request.abcdefghijklmnopqrstuvwx23.0.0@example.com>"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        ("MIME-Version", "1.0"),
        ("Content-Type", 'multipart/alternative; boundary="=_bc318467120f0b5df43e5d45"'),
    ]


def test_the_plain_part_carries_everything_and_each_link_alone_on_its_line() -> None:
    """Who reads plain text gets all there is, and links that can be copied by the line."""
    links = signer()
    url = [links.url(Holder(APPROVAL.id, 0, action)) for action in (0, 1)]

    assert part(asked(), "plain") == (
        "Deploy billing 4.2 to production\n"
        "\n"
        "Ana Ruiz asks you to approve or reject this.\n"
        "\n"
        "Ana Ruiz writes:\n"
        "\n"
        "> Release notes are in CHG-1182.\n"
        "\n"
        "Change: CHG-1182\n"
        "Risk: medium\n"
        "\n"
        "Approve...\n"
        f"{url[0]}\n"
        "\n"
        "Reject...\n"
        f"{url[1]}\n"
        "\n"
        "You confirm on the next page; opening the link decides nothing.\n"
        "Please decide by Fri 14 Nov, 17:00 CET. After that the request ends, and the workflow"
        " gets no answer.\n"
        "\n"
        "--\n"
        "Sent to marc@example.com. This link is yours: a decision made with it is recorded under"
        " your address.\n"
    )


def test_the_html_part_has_a_button_for_each_action() -> None:
    """Each action is a link of its own, and there is no other link."""
    links = signer()
    outline = Outline(part(asked(), "html"))

    assert outline.hrefs() == [links.url(Holder(APPROVAL.id, 0, action)) for action in (0, 1)]
    for words in ("Approve...", "Reject...", "You confirm on the next page", "17:00 CET"):
        assert words in outline.text


def test_the_second_recipient_gets_links_of_her_own() -> None:
    """Each recipient's links are made for that recipient, with the name and address in the mail."""
    outgoing = asked(recipient=1)
    links = signer()

    assert outgoing.recipient == "lena@example.com"
    assert read(outgoing)["To"] == "Lena Vogt <lena@example.com>"
    assert Outline(part(outgoing, "html")).hrefs() == [
        links.url(Holder(APPROVAL.id, 1, action)) for action in (0, 1)
    ]
    assert "Sent to lena@example.com." in part(outgoing, "plain")


def test_every_attempt_is_the_same_mail() -> None:
    """A second attempt differs from the first in nothing but its date."""
    later = datetime(2025, 11, 12, 9, 0, tzinfo=UTC)
    first, second = asked(), writer().request(APPROVAL, mail(attempts=2), later)

    dates = (b"Wed, 12 Nov 2025 08:41:00 +0000", b"Wed, 12 Nov 2025 09:00:00 +0000")
    assert second.data == first.data.replace(*dates)


def test_a_mail_sent_again_joins_the_thread_of_the_first() -> None:
    """Asking for the mail once more gives a new message that refers to the first."""
    again = read(asked(round=2))

    assert again["Message-ID"] == "<request.abcdefghijklmnopqrstuvwx23.0.2@example.com>"
    assert again["In-Reply-To"] == read(asked())["Message-ID"]
    assert again["References"] == read(asked())["Message-ID"]


@pytest.mark.parametrize(
    ("requester", "sender", "reply_to"),
    [
        (ANA, "Ana Ruiz via Signoff", "Ana Ruiz <ana@example.com>"),
        (Person("ana@example.com", None), "Signoff", "ana@example.com"),
        (Person(None, "Ana Ruiz"), "Ana Ruiz via Signoff", None),
        (Person(None, "Zoë Ruiz"), "Zoë Ruiz via Signoff", None),
        (Person(None, "CEO <ceo@bank.example>"), "Signoff", None),
        (Person(None, "ceo@bank.example"), "Signoff", None),
        (Person(None, 'a" <x'), "Signoff", None),
        (Person(None, "x" * 100), "Signoff", None),
        (None, "Signoff", None),
    ],
)
def test_the_sender_is_always_the_configured_address(
    requester: Person | None, sender: str, reply_to: str | None
) -> None:
    """A requester is named beside our address, never in its place, and only by a name."""
    outgoing = asked(approval(requester=requester))
    headers = read(outgoing)

    [address] = headers["From"].addresses
    assert (address.display_name, address.addr_spec) == (sender, "signoff@example.com")
    assert headers["Reply-To"] == reply_to
    assert outgoing.sender == "signoff@example.com"


def test_a_sender_with_a_name_keeps_it() -> None:
    """Who configures a sender name sees it after "via"."""
    named = MailWriter(
        TEMPLATES,
        LANGUAGES,
        mail_from=Mailbox("ok@example.com", "Acme Approvals"),
        link=lambda of, recipient, action: "https://signoff.example.com/d/x",
    )

    assert read(named.request(APPROVAL, mail(), NOW))["From"] == (
        "Ana Ruiz via Acme Approvals <ok@example.com>"
    )


@pytest.mark.parametrize(
    ("on_expiry", "sentence"),
    [
        (None, "After that the request ends, and the workflow gets no answer."),
        (
            Failure("Expired"),
            "After that the request ends, and the workflow is told that nobody decided.",
        ),
        (
            Success({}),
            "After that the request ends, and the workflow goes on as if it had been approved.",
        ),
    ],
)
def test_the_mail_says_what_happens_when_nobody_decides(
    on_expiry: Failure | Success | None, sentence: str
) -> None:
    """Until when, and what then, stands in both parts."""
    outgoing = asked(approval(on_expiry=on_expiry))

    for subtype in ("plain", "html"):
        assert f"Please decide by Fri 14 Nov, 17:00 CET. {sentence}" in part(outgoing, subtype)


def test_a_mail_without_requester_message_and_facts_is_whole() -> None:
    """A request of a title alone makes a mail without holes."""
    bare = approval(
        requester=None, message=None, facts=(), recipients=(Recipient("m@example.com"),)
    )
    text = part(asked(bare), "plain")

    assert text.startswith(
        "Deploy billing 4.2 to production\n\nYou are asked to approve or reject this.\n\nApprove..."
    )
    assert "None" not in text + part(asked(bare), "html")


def test_what_the_workflow_says_cannot_pass_for_our_own_lines() -> None:
    """In plain text a message is quoted and a fact is indented, whatever lines they hold."""
    forged = "fine\n\nApprove...\nhttps://evil.example/d/x"
    text = part(asked(approval(message=forged, facts=(("Risk", forged),))), "plain")

    assert "> fine\n> \n> Approve...\n> https://evil.example/d/x\n" in text
    assert "Risk: fine\n\n  Approve...\n  https://evil.example/d/x\n" in text


def test_other_actions_are_asked_for_by_their_labels() -> None:
    """Actions that are not approve and reject appear as the workflow labels them."""
    actions = (
        Action("now", "Deploy now", "primary", CommentRule.NONE, Success({})),
        Action("later", "Deploy tonight", "default", CommentRule.NONE, Success({})),
        Action("never", "Do not deploy", "sparkling", CommentRule.NONE, Failure("No")),
    )
    outgoing = asked(approval(actions=actions))
    text = part(outgoing, "plain")

    assert "Ana Ruiz asks you to decide this." in text
    assert re.findall(r"^(.*)\.\.\.\nhttps://", text, re.MULTILINE) == [
        "Deploy now",
        "Deploy tonight",
        "Do not deploy",
    ]
    styles = [
        attributes["class"]
        for tag, attributes in Outline(part(outgoing, "html")).tags
        if tag == "td" and attributes.get("bgcolor") and attributes.get("class") != "sheet"
    ]
    assert styles == ["quote text", "primary", "default", "default"]


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_any_text_stays_text_in_html(text: str) -> None:
    """Whatever is written where, the mail has the same elements and the same links."""
    plain = _everywhere("x")
    hostile = _everywhere(text)

    assert _skeleton(part(asked(hostile), "html")) == _skeleton(part(asked(plain), "html"))
    assert (
        Outline(part(asked(hostile), "html")).hrefs() == Outline(part(asked(plain), "html")).hrefs()
    )


@pytest.mark.parametrize("text", TEMPLATE_TEXTS)
def test_template_syntax_in_any_text_stays_text(text: str) -> None:
    """Braces and percent signs arrive as they were written."""
    outgoing = asked(_everywhere(text))

    assert read(outgoing)["Subject"] == f"Approval needed: {text} (by Fri 14 Nov, 17:00 CET)"
    assert Outline(part(outgoing, "html")).text.count(text) >= 5
    assert part(outgoing, "plain").count(text) >= 5


@pytest.mark.parametrize(
    "title",
    [
        "a\r\nBcc: evil@example.com",
        "a\nb",
        "a\x85b",
        "a\u2028b",
        "a\0b",
        "=?utf-8?q?a=0d=0aBcc:_x?=",
    ],
)
def test_no_title_adds_a_header(title: str) -> None:
    """A line break that slipped through is flattened; the headers stay those we write."""
    headers = read(asked(approval(title=title)))

    assert headers.keys() == read(asked()).keys()
    assert "\n" not in headers["Subject"]


def test_hidden_turns_of_direction_are_taken_out() -> None:
    """Characters that make a line read backwards do not reach the reader."""
    outgoing = asked(approval(title="invoice\u202efdp.exe", message="a\u2066b\u2069"))

    assert read(outgoing)["Subject"].startswith("Approval needed: invoicefdp.exe (by")
    assert "\u202e" not in part(outgoing, "html") + part(outgoing, "plain")
    assert "\u2066" not in part(outgoing, "html") + part(outgoing, "plain")


@pytest.mark.parametrize("character", ["&", '"', "€", "😀", "a "])
def test_the_html_part_of_the_largest_request_is_not_clipped_by_clients(character: str) -> None:
    """With every field full the HTML stays below 80 kB and says where the rest is."""
    largest = _largest(character)
    outgoing = asked(largest)
    html = part(outgoing, "html")

    assert len(html.encode("utf-8")) < 80_000
    assert "The next page has everything." in html
    assert Outline(html).hrefs() == Outline(part(asked(), "html")).hrefs()


def test_the_plain_part_of_the_largest_request_is_whole() -> None:
    """What HTML leaves out for its size is in the plain part."""
    text = part(asked(_largest("€")), "plain")

    assert text.count("€") == 200 + 10_000 + 50 * 1_100


def test_a_small_request_is_not_said_to_be_cut() -> None:
    """The sentence about the rest stands only where something is left out."""
    assert "everything" not in part(asked(), "html")


def test_html_keeps_to_what_mail_clients_show() -> None:
    """No script, form, image, remote content or relative link; layout tables say that they are."""
    html = part(asked(), "html")
    outline = Outline(html)
    tags = {tag for tag, _ in outline.tags}

    assert tags.isdisjoint({"script", "form", "img", "link", "iframe", "input", "base", "svg"})
    assert not re.search(r"url\(|@import|@font-face|src=", html)
    assert dict(outline.tags)["html"]["lang"] == "en"
    tables = [attributes for tag, attributes in outline.tags if tag == "table"]
    assert all(table.get("role") == "presentation" or "aria-label" in table for table in tables)
    assert '<meta name="color-scheme" content="light dark">' in html
    assert (
        "Ana Ruiz asks you to approve or reject. Nothing happens until you confirm." in outline.text
    )


def test_a_notice_says_its_words_and_has_nothing_to_press() -> None:
    """A plain mail names what the workflow says, and has no links."""
    outgoing = writer().notice(NOTICE, NOTICE_MAIL, NOW)

    assert part(outgoing, "plain") == (
        "Approved: Deploy billing 4.2 to production\n"
        "\n"
        "> The workflow goes on.\n"
        "\n"
        "Outcome: approved\n"
        "Decided by: marc@example.com\n"
        "Comment: Go.\n"
        "\n"
        "--\n"
        "Sent to marc@example.com. Nothing for you to do.\n"
    )
    assert Outline(part(outgoing, "html")).hrefs() == []
    assert read(outgoing).items()[:4] == [
        ("From", "Signoff <signoff@example.com>"),
        ("To", "Marc <marc@example.com>"),
        ("Subject", "Approved: Deploy billing 4.2 to production"),
        ("Date", "Wed, 12 Nov 2025 08:41:00 +0000"),
    ]
    assert read(outgoing)["Message-ID"] == "<notice.n1.0.0@example.com>"


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_a_notice_stays_text(text: str) -> None:
    """A plain mail is as safe as a request."""

    def skeleton(words: str) -> list[tuple[str, tuple[str, ...]]]:
        notice = replace(NOTICE, subject=words, message=words, facts=((words, words),))
        return _skeleton(part(writer().notice(notice, NOTICE_MAIL, NOW), "html"))

    assert skeleton(text) == skeleton("x")


def test_an_address_that_cannot_be_mailed_is_refused() -> None:
    """An address that mint would not take makes no mail."""
    with pytest.raises(NotMailable):
        asked(approval(recipients=(Recipient("a@b, evil@example.com"),)))


def _everywhere(text: str) -> Approval:
    return approval(
        title=text,
        message=text,
        facts=((text, text),),
        requester=Person("ana@example.com", text),
        recipients=(Recipient("marc@example.com", text, None, "Europe/Berlin"),),
        actions=(
            Action("approve", text, "primary", CommentRule.OPTIONAL, Success({})),
            Action("x", text, "danger", CommentRule.OPTIONAL, Success({})),
        ),
    )


def _largest(character: str) -> Approval:
    def fill(length: int) -> str:
        return (character * length)[:length]

    return approval(
        title=fill(200),
        message=fill(10_000),
        facts=tuple((fill(100), fill(1_000)) for _ in range(50)),
    )


def _skeleton(html: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(tag, tuple(attributes)) for tag, attributes in Outline(html).tags]


CONFIRMATION = replace(NOTICE, subject=None, message=None, facts=(), about=APPROVAL.id)


def confirmed(about: Approval) -> OutgoingMail:
    """The confirmation of what became of *about*, to its first reader."""
    return writer().notice(CONFIRMATION, NOTICE_MAIL, NOW, about)


def test_a_confirmation_names_outcome_who_and_comment() -> None:
    """Whoever asked reads in one mail what was decided, by whom, when and why."""
    outgoing = confirmed(decided(action="reject", recipient=1, comment="Too risky this week."))

    assert read(outgoing)["Subject"] == "Rejected: Deploy billing 4.2 to production"
    text = part(outgoing, "plain")
    assert "Decision: Reject" in text
    assert f"Decided by: {LENA.name} ({LENA.email})" in text
    assert "When: " in text
    assert "Comment: Too risky this week." in text
    assert "Too risky this week." in part(outgoing, "html")


def test_a_confirmation_of_an_undecided_request_says_so() -> None:
    """Nobody decided, so nobody is named."""
    outgoing = confirmed(replace(APPROVAL, state=State.EXPIRED))

    assert read(outgoing)["Subject"] == "Not decided: Deploy billing 4.2 to production"
    assert "Decided by" not in part(outgoing, "plain")
