"""The development mailbox: what is sent over SMTP is kept and shown, whatever it is."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from app.approvals.channels import MailDeferred, OutgoingMail
from app.approvals.channels.smtp import SmtpChannel, SmtpServer
from app.errors import StartRefused, StoreUnavailable
from app.inbox import KEPT, Inbox, read_mail
from app.sqlite import Database
from app.web.inbox import inbox_routes
from tests.approvals.asked import APPROVAL, NOW, mail, writer
from tests.approvals.hostile import MARKUP

GARBAGE = [
    b"",
    b"\r\n",
    b"\xff\xfe\x00\x01",
    b"no header at all",
    b": no name\r\n\r\nx",
    b"Subject: =?utf-8?b?%%%?=\r\n\r\n",
    b"Subject: =?nonsense?q?a=FF?=\r\n\r\n",
    b"Subject: =?utf-8?q?a=0d=0aBcc:_evil?=\r\nFrom: <@@>\r\nTo: ;;,\r\n\r\nx",
    b"Content-Type: multipart/alternative\r\n\r\nno boundary",
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n--a\r\n--a--",
    b"Content-Type: text/plain; charset=klingon\r\n\r\n\xe4\xf6",
    b'Content-Type: text/plain; charset="\r\n\r\n\xe4',
    b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
    b"Content-Type: text/html; charset=idna\r\n\r\n" + b"a" * 300,
    b"Content-Type: ;;;\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin\r\n",
    b"Received: a\r\nReceived: b\r\n" * 50 + b"\r\nx",
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" * 300,
]


class Clock:
    """A second later each time it is asked."""

    def __init__(self) -> None:
        self.now = datetime(2025, 11, 12, 8, 41, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    async with Inbox.running(tmp_path, "127.0.0.1", 0, Clock()) as running:
        yield running


@pytest.fixture
async def client(inbox: Inbox) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=Starlette(routes=[*inbox_routes(inbox)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
        yield http


async def send(inbox: Inbox, *mails: OutgoingMail) -> None:
    async with inbox.listening("127.0.0.1", 0) as port:
        channel = SmtpChannel(SmtpServer.parse(f"smtp://127.0.0.1:{port}"), width=1)
        for one in mails:
            await channel.send(one)
        await channel.close()


async def test_a_mail_sent_over_smtp_is_there_as_json(
    inbox: Inbox, client: httpx.AsyncClient
) -> None:
    """What the service sends is decoded: sender, recipient, subject, date, headers, both parts."""
    outgoing = writer().request(APPROVAL, mail(), NOW)
    await send(inbox, outgoing)

    [found] = (await client.get("/inbox/messages")).json()

    text, html = found.pop("text"), found.pop("html")
    headers = found.pop("headers")
    assert found == {
        "id": 1,
        "from": "Ana Ruiz via Signoff <signoff@example.com>",
        "to": "marc@example.com",
        "subject": "Approval needed: Deploy billing 4.2 to production (by Fri 14 Nov, 17:00 CET)",
        "date": "2025-11-12T08:41:01.000Z",
    }
    assert text.startswith("Deploy billing 4.2 to production\n\nAna Ruiz asks you to approve")
    assert html.startswith("<!doctype html>")
    assert headers["Message-ID"] == "<request.abcdefghijklmnopqrstuvwx23.0.0@example.com>"
    assert headers["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("path", ["/inbox", "/inbox/messages", "/inbox/1", "/inbox/1/html"])
async def test_a_public_name_of_this_host_shows_no_mail(
    inbox: Inbox, client: httpx.AsyncClient, path: str
) -> None:
    """A page whose name is led to loopback would read everybody's links."""
    await send(inbox, letter("secret"))

    refused = await client.get(path, headers={"Host": "evil.example:8080"})
    allowed = await client.get("/inbox", headers={"Host": "localhost:8080"})

    assert (refused.status_code, "secret" in refused.text) == (403, False)
    assert (allowed.status_code, "secret" in allowed.text) == (200, True)


async def test_the_newest_mail_comes_first(inbox: Inbox, client: httpx.AsyncClient) -> None:
    """JSON and page list the newest mail on top."""
    await send(inbox, *(letter(f"number {n}") for n in range(3)))

    subjects = [found["subject"] for found in (await client.get("/inbox/messages")).json()]
    page = (await client.get("/inbox")).text

    assert subjects == ["number 2", "number 1", "number 0"]
    assert re.findall(r"number \d", page) == ["number 2", "number 1", "number 0"]


async def test_only_the_newest_thousand_are_kept(inbox: Inbox, client: httpx.AsyncClient) -> None:
    """The mailbox does not grow without end, and old mails are gone from it."""
    for n in range(KEPT + 5):
        await inbox.keep(["a@example.com"], b"Subject: %d\r\n\r\nx" % n)

    found = (await client.get("/inbox/messages")).json()

    assert len(found) == KEPT
    assert [found[0]["subject"], found[-1]["subject"]] == ["1004", "5"]
    assert (await client.get("/inbox/5")).status_code == 404
    assert (await client.get("/inbox/6")).status_code == 200


async def test_mails_are_there_after_a_restart(tmp_path: Path) -> None:
    """A mail that was answered 250 is on disk."""
    async with Inbox.running(tmp_path, "127.0.0.1", 0, Clock()) as first:
        await send(first, letter("kept"))
    async with Inbox.running(tmp_path, "127.0.0.1", 0, Clock()) as second:
        subjects = [message.subject for message in await second.messages()]

    assert subjects == ["kept"]


async def test_a_mail_that_cannot_be_stored_is_not_taken(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is told to the sender, who keeps the mail."""

    async def full(recipients: object, content: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(inbox, "keep", full)

    with pytest.raises(MailDeferred, match="451 The mailbox cannot store it now"):
        await send(inbox, letter("lost?"))


async def test_a_taken_port_stops_the_start(tmp_path: Path) -> None:
    """The sentence names the setting."""
    async with (
        Inbox.running(tmp_path / "a", "127.0.0.1", 0) as one,
        one.listening("127.0.0.1", 0) as port,
    ):
        with pytest.raises(StartRefused, match="set SIGNOFF_INBOX_PORT to a free one"):
            async with Inbox.running(tmp_path / "b", "127.0.0.1", port):
                pass


async def test_a_client_that_stays_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Stopping the mailbox hangs up on whoever is connected."""
    async with Inbox.running(tmp_path, "127.0.0.1", 0) as inbox:
        async with inbox.listening("127.0.0.1", 0) as port:
            reader, out = await asyncio.open_connection("127.0.0.1", port)
            greeting = await reader.readline()
        rest = await asyncio.gather(reader.read(), return_exceptions=True)
        out.close()

    assert greeting.startswith(b"220 ")
    assert rest[0] == b"" or isinstance(rest[0], ConnectionError)


async def test_a_mail_is_shown_as_people_see_it(inbox: Inbox, client: httpx.AsyncClient) -> None:
    """The page frames the HTML part in a sandbox and has text and headers beside it."""
    await send(inbox, writer().request(APPROVAL, mail(), NOW))

    page = await client.get("/inbox/1")
    frame = await client.get("/inbox/1/html")

    assert (page.status_code, frame.status_code) == (200, 200)
    assert (
        '<iframe src="/inbox/1/html" title="The mail as people see it"'
        ' sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    )
    assert "Message-ID: &lt;request." in page.text
    assert "Ana Ruiz asks you to approve or reject this." in page.text
    assert frame.headers["content-security-policy"].startswith(
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none';"
    )
    assert '<base target="_blank">' in frame.text


async def test_every_answer_is_kept_out_of_caches_and_frames(
    inbox: Inbox, client: httpx.AsyncClient
) -> None:
    """Mails hold links: nothing of them is cached, sniffed or told to other sites."""
    await send(inbox, letter("x"))

    for address in ("/inbox", "/inbox/messages", "/inbox/1", "/inbox/1/html", "/inbox/9"):
        headers = (await client.get(address)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
    for address in ("/inbox", "/inbox/1"):
        policy = (await client.get(address)).headers["content-security-policy"]
        assert re.fullmatch(
            r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; img-src data:; "
            r"frame-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
            policy,
        )


@pytest.mark.parametrize("text", MARKUP)
async def test_markup_in_a_mail_stays_text_on_our_pages(
    inbox: Inbox, client: httpx.AsyncClient, text: str
) -> None:
    """Subjects, names, headers and text of a mail are shown, never obeyed."""
    line = text.replace("\0", "").encode()
    content = b"Subject: %b\r\nFrom: %b <a@example.com>\r\nX-%b: %b\r\n\r\n%b" % ((line,) * 5)
    await inbox.keep([text, "b@example.com"], content)

    for address in ("/inbox", "/inbox/1"):
        tags = Tags((await client.get(address)).text).names
        assert tags.isdisjoint({"script", "img", "svg", "object", "embed", "form", "input"})
        assert tags <= {
            "html", "head", "meta", "title", "link", "style", "body", "main", "h1", "p", "a", "ol",
            "li", "span", "dl", "div", "dt", "dd", "details", "summary", "pre",
        }  # fmt: skip


@pytest.mark.parametrize("content", GARBAGE)
async def test_garbage_is_shown_as_well_as_it_goes(
    inbox: Inbox, client: httpx.AsyncClient, content: bytes
) -> None:
    """No mail, however broken, breaks the mailbox."""
    await inbox.keep(["x@example.com", "\udcff@example.com"], content)

    statuses = [
        (await client.get(address)).status_code
        for address in ("/inbox", "/inbox/messages", "/inbox/1")
    ]

    assert statuses == [200, 200, 200]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=2_000))
def test_reading_a_mail_never_fails(content: bytes) -> None:
    """Whatever the bytes are, there is something to show that JSON can hold."""
    message = read_mail(1, NOW, ["a@example.com"], content)

    assert message.document()["to"] == "a@example.com"
    for text in (message.subject, message.text or "", message.html or "", *message.headers):
        text.encode("utf-8")


@pytest.mark.parametrize(
    "address", ["/inbox/0", "/inbox/99", "/inbox/" + "9" * 40, "/inbox/9/html"]
)
async def test_a_mail_that_is_not_there_is_said_to_be_gone(
    client: httpx.AsyncClient, address: str
) -> None:
    """An old address is answered by a page that leads back."""
    answer = await client.get(address)

    assert answer.status_code == 404
    assert "No such mail" in answer.text


async def test_an_empty_mailbox_says_what_to_do(client: httpx.AsyncClient) -> None:
    """A newcomer sees how a mail gets here."""
    page = (await client.get("/inbox")).text

    assert "No mail yet. Start a workflow that asks somebody, then look again." in page
    assert (await client.get("/inbox/messages")).json() == []


async def test_the_mailbox_has_its_own_file(tmp_path: Path, inbox: Inbox) -> None:
    """The mails lie apart from the approvals, in a file that other databases are not taken for."""
    (tmp_path / "other").mkdir()
    other = Database.open(
        tmp_path / "other" / "inbox.sqlite3", migrations=("SELECT 1;",), application_id=1
    )
    await other.close()

    assert (tmp_path / "inbox.sqlite3").exists()
    with pytest.raises(StartRefused):
        async with Inbox.running(tmp_path / "other", "127.0.0.1", 0):
            pass


class Tags(HTMLParser):
    """The names of a page's elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.names.add(tag)


def letter(subject: str) -> OutgoingMail:
    content = f"Subject: {subject}\r\nFrom: a@example.com\r\n\r\nHello\r\n"
    return OutgoingMail("a@example.com", "b@example.com", content.encode())
