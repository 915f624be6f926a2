"""Mails as bytes: what goes in comes out, and nothing can be added from inside a value."""

import re
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.approvals.mail.mime import (
    Header,
    Mailbox,
    NotMailable,
    alternative,
    ascii_address,
    mailbox_header,
    text_header,
    token_header,
)
from app.errors import StartRefused

SMUGGLED = [
    "=?utf-8?q?a=0d=0aBcc:_evil=40x?=",
    "=?utf-8?b?YQ0KQmNjOiBldmlsQHg=?=",
    "a =?utf-8?q?=0d=0a?= =?utf-8?q?Bcc:_evil=40x?=",
    "=?utf-8?q?a=0d?==?utf-8?q?=0aBcc:_evil=40x?=",
    "=?UTF-8*en?Q?=0D=0ABcc:_x?=",
    "=? utf-8?q?x",
    '"=?utf-8?q?=0aBcc:_x?="',
]
CONTROL = ["a\r\nBcc: e@x", "a\nb", "a\rb", "a\x85b", "a\u2028b", "a\u2029b", "a\0b", "a\x0bb"]

# Text as mint lets it through: no control characters, no lone surrogates.
TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029"),
    min_size=1,
    max_size=300,
)


def mail(*headers: Header, text: str = "Hello", html: str = "<p>Hello</p>") -> bytes:
    return alternative(headers, text=text, html=html, boundary="b0")


def parsed(data: bytes) -> EmailMessage:
    message = message_from_bytes(data, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def body(data: bytes, subtype: str) -> str:
    part = parsed(data).get_body((subtype,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


def decoded(header: Header) -> str:
    return str(make_header(decode_header(header.value.replace("\r\n", ""))))


@given(TEXT)
def test_any_text_survives_in_a_header(text: str) -> None:
    """Whatever a subject says, a reader of mails gets exactly that."""
    header = text_header("Subject", text)

    assert decoded(header) == text
    assert header.value.isascii()
    assert max(map(len, f"Subject: {header.value}".split("\r\n"))) <= 78
    assert not re.search(r"\r\n(?! \S)|(?<!\r)\n|\r(?!\n)", header.value)


@given(TEXT)
def test_any_name_survives_beside_an_address(name: str) -> None:
    """Whatever a person is called, the address beside the name stays the one there is."""
    data = mail(mailbox_header("To", Mailbox("marc@example.com", name)))

    to = parsed(data)["To"].addresses

    assert [address.addr_spec for address in to] == ["marc@example.com"]
    assert parsed(data).keys() == ["To", "MIME-Version", "Content-Type"]


@pytest.mark.parametrize("text", SMUGGLED)
def test_encoded_words_in_values_stay_text(text: str) -> None:
    """A value that looks like an encoded word is shown as it is and adds no header."""
    to = mailbox_header("To", Mailbox("marc@example.com", text))
    data = mail(text_header("Subject", text), to)

    assert parsed(data).keys() == ["Subject", "To", "MIME-Version", "Content-Type"]
    assert parsed(data)["Subject"] == text
    assert decoded(to) == f"{text} <marc@example.com>"
    assert b"bcc" not in data.lower()


@pytest.mark.parametrize("text", CONTROL)
def test_control_characters_in_headers_are_refused(text: str) -> None:
    """A line break or another control character in a header means no mail at all."""
    with pytest.raises(NotMailable):
        text_header("Subject", text)
    with pytest.raises(NotMailable):
        mailbox_header("To", Mailbox("marc@example.com", text))
    with pytest.raises(NotMailable):
        mailbox_header("To", Mailbox(f"marc@example.com{text}"))
    with pytest.raises(NotMailable):
        token_header("Message-ID", text)


@pytest.mark.parametrize(
    "address",
    [
        "a@b, e@x",
        '"a@ok"@evil.example',
        "v@ok <e@x>",
        "group: a@b;",
        "a@b>\r\nRCPT TO:<e@x",
        "a@@b",
        "@b",
        "a@",
        "a",
        "",
        "a b@c",
        "a@b c",
        "a@-b.example",
        "ä@example.com",
        "a@[127.0.0.1]",
        "a" * 65 + "@example.com",
        "a@" + "b." * 130 + "example",
        "a@\u202eexample.com",
        "a@ex\u0000ample.com",
    ],
)
def test_only_one_plain_address_is_an_address(address: str) -> None:
    """Lists, comments, quotes and routes are no addresses."""
    with pytest.raises(NotMailable):
        ascii_address(address)


@pytest.mark.parametrize(
    ("address", "ascii_"),
    [
        ("marc@example.com", "marc@example.com"),
        ("m.a-r_c+x@sub.example.com", "m.a-r_c+x@sub.example.com"),
        ("marc@bücher.example", "marc@xn--bcher-kva.example"),
        ("marc@аррlе.com", "marc@xn--l-7sbq6ba.com"),  # noqa: RUF001
        ("root@localhost", "root@localhost"),
    ],
)
def test_domains_of_other_scripts_are_written_in_ascii(address: str, ascii_: str) -> None:
    """A name in another script is shown as what it is on the wire."""
    assert ascii_address(address) == ascii_


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (None, "marc@example.com"),
        ("Marc", "Marc <marc@example.com>"),
        ("Ruiz, Ana", '"Ruiz, Ana" <marc@example.com>'),
        ('A "B" \\ C', '"A \\"B\\" \\\\ C" <marc@example.com>'),
        ("Zoë", "=?utf-8?b?Wm/Dqw==?= <marc@example.com>"),
    ],
)
def test_names_are_quoted_as_they_need(name: str | None, value: str) -> None:
    """Plain names stay plain, others are quoted or encoded."""
    assert mailbox_header("To", Mailbox("marc@example.com", name)).value == value


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("ok@example.com", Mailbox("ok@example.com")),
        (" ok@example.com ", Mailbox("ok@example.com")),
        ("<ok@example.com>", Mailbox("ok@example.com")),
        ("Acme Approvals <ok@example.com>", Mailbox("ok@example.com", "Acme Approvals")),
        ('"Acme, Inc." <ok@example.com>', Mailbox("ok@example.com", "Acme, Inc.")),
    ],
)
def test_an_operator_writes_a_sender_with_or_without_a_name(text: str, mailbox: Mailbox) -> None:
    """A setting may hold an address, or a name and an address."""
    assert Mailbox.parse(text) == mailbox


@pytest.mark.parametrize(
    "text",
    ["", "Acme", "Acme ok@example.com", "Acme <ok@example.com", "a@b.c, d@e.f", "<>", "a@b>"],
)
def test_a_sender_that_is_no_address_is_refused(text: str) -> None:
    """What is no address is not guessed at; the sentence names the setting."""
    with pytest.raises(StartRefused, match="SIGNOFF_MAIL_FROM cannot be used"):
        Mailbox.parse(text)


def test_several_addresses_stand_on_a_line_each() -> None:
    """A header of two addresses reads back as these two."""
    header = mailbox_header("To", Mailbox("a@example.com", "A, a"), Mailbox("b@example.com"))

    assert header.value == '"A, a" <a@example.com>,\r\n b@example.com'


@given(TEXT)
def test_headers_that_do_not_read_back_make_no_mail(text: str) -> None:
    """A header that was not made here and reads back as something else is refused."""
    with pytest.raises(NotMailable):
        mail(Header("Subject", "a\r\nBcc: evil@example.com"))
    with pytest.raises(NotMailable):
        mail(Header("Subject", "a\r\n\r\nBody"))


@pytest.mark.parametrize(
    ("name", "value"), [("Subject: x\r\nBcc", "a"), ("Sub ject", "a"), ("Subject", " a\r\n")]
)
def test_broken_headers_make_no_mail(name: str, value: str) -> None:
    """Neither a name nor a value can open a line of its own."""
    with pytest.raises(NotMailable):
        mail(Header(name, value))


@given(st.text(max_size=400), st.text(max_size=400))
def test_bodies_are_lines_that_no_server_misreads(text: str, html: str) -> None:
    """Any body arrives as it was, in short lines without a bare CR or LF or a leading dot."""
    data = mail(text_header("Subject", "x"), text=text, html=html)

    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", data)
    assert not any(line.startswith(b".") for line in data.split(b"\r\n"))
    assert max(map(len, data.split(b"\r\n"))) <= 78
    assert body(data, "plain") == _as_lines(text)
    assert body(data, "html") == _as_lines(html)


def test_a_body_cannot_end_the_mail() -> None:
    """SMTP commands and boundaries inside a body stay words."""
    text = ".\r\nMAIL FROM:<e@x>\r\n--=_b0\r\nContent-Type: text/html\r\n\n.\r..\n"
    data = mail(text_header("Subject", "x"), text=text)

    assert body(data, "plain") == _as_lines(text)
    assert len(list(parsed(data).iter_parts())) == 2
    assert b"\r\n.\r\n" not in data


def test_the_plain_part_comes_first() -> None:
    """Clients show the last part they can: HTML after plain text."""
    parts = [part.get_content_type() for part in parsed(mail()).iter_parts()]

    assert parts == ["text/plain", "text/html"]


def _as_lines(text: str) -> str:
    unified = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    return unified.encode("utf-8", "replace").decode("utf-8") + "\n"
