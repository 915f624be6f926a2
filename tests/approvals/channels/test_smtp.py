"""Handing mail over: to servers that take it, refuse it, hang up, or are not to be trusted."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.approvals.channels import (
    ChannelDown,
    MailDeferred,
    MailRefused,
    OutgoingMail,
)
from app.approvals.channels.smtp import WIDTH, SmtpChannel, SmtpServer
from app.errors import StartRefused
from tests.approvals.channels.mailservers import Sink, authority, scripted, serving
from tests.processes import free_port

PASSWORD = "p@ss:w/rd"
LOGIN = "user%40example.com:p%40ss%3Aw%2Frd"


def to(port: int, *, tls_required: bool = False, user: bool = False) -> SmtpServer:
    credentials = f"{LOGIN}@" if user else ""
    server = SmtpServer.parse(f"smtp://{credentials}127.0.0.1:{port}")
    return replace(server, tls_required=tls_required)


def letter(recipient: str = "marc@example.com", text: str = "Hello") -> OutgoingMail:
    return OutgoingMail("signoff@example.com", recipient, f"Subject: x\r\n\r\n{text}\r\n".encode())


# Which server


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (
            "smtp://127.0.0.1:1025",
            SmtpServer("127.0.0.1", 1025, None, None, tls_from_start=False, tls_required=False),
        ),
        (
            f"smtp://{LOGIN}@mail.example.com",
            SmtpServer("mail.example.com", 587, "user@example.com", PASSWORD, False, True),
        ),
        (
            "smtps://mail.example.com/",
            SmtpServer("mail.example.com", 465, None, None, True, True),
        ),
    ],
)
def test_a_url_names_server_login_and_encryption(url: str, server: SmtpServer) -> None:
    """Off loopback, encryption is always required."""
    assert SmtpServer.parse(url) == server


@pytest.mark.parametrize(
    "url",
    ["", "mail.example.com", "http://mail.example.com", "smtp://", "smtp://u:secret@h:port",
     "smtp://u:secret@h:99999", "smtp://u:secret@h/path", "smtp://u:secret@h?tls=no"],
)  # fmt: skip
def test_a_url_that_names_no_server_stops_the_start(url: str) -> None:
    """The sentence says what to set and does not repeat what was set."""
    with pytest.raises(StartRefused, match="SIGNOFF_SMTP_URL must look like") as refused:
        SmtpServer.parse(url)

    assert "secret" not in refused.value.message


def test_a_server_does_not_show_its_password() -> None:
    """Printing the server for debugging prints no password."""
    assert PASSWORD not in repr(SmtpServer.parse(f"smtp://{LOGIN}@mail.example.com"))


# Handing over


async def test_a_body_that_speaks_smtp_is_one_mail() -> None:
    """Dots and commands inside a mail end neither the mail nor the conversation."""
    sink = Sink()
    text = ".\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<evil@x>\r\nDATA\r\n..\r\n.x"
    async with serving(sink) as port:
        channel = SmtpChannel(to(port))
        await channel.send(letter(text=text))
        await channel.close()

    assert sink.contents() == [letter(text=text).data]


async def test_connections_are_kept_and_few() -> None:
    """A hundred mails at once need no more than the kept connections."""
    sink = Sink()
    async with serving(sink) as port:
        channel = SmtpChannel(to(port))
        await asyncio.gather(*(channel.send(letter(f"r{n}@example.com")) for n in range(100)))
        await channel.send(letter("last@example.com"))
        await channel.close()

    assert sorted(sink.recipients()) == sorted(
        [*(f"r{n}@example.com" for n in range(100)), "last@example.com"]
    )
    assert sink.connections == WIDTH


@pytest.mark.parametrize("stage", ["rcpt", "data"])
async def test_a_refusal_concerns_its_recipient_only(stage: str) -> None:
    """Whom the server refuses for good is refused, whom it puts off is deferred, others get it."""
    answers = {"gone@example.com": "550 5.1.1 No such user", "grey@example.com": "451 4.7.1 Later"}
    sink = Sink()
    setattr(sink, stage, answers)
    async with serving(sink) as port:
        channel = SmtpChannel(to(port))
        with pytest.raises(MailRefused, match=r"550 5\.1\.1 No such user"):
            await channel.send(letter("gone@example.com"))
        with pytest.raises(MailDeferred, match=r"451 4\.7\.1 Later") as deferred:
            await channel.send(letter("grey@example.com"))
        await channel.send(letter("fine@example.com"))
        await channel.close()

    assert not isinstance(deferred.value, ChannelDown)
    assert sink.recipients() == ["fine@example.com"]
    assert sink.connections == 1


@pytest.mark.parametrize(
    "answer", ["550 5.7.1 Sender not verified", "530 Log in first", "451 Wait"]
)
async def test_a_refused_sender_is_everybodys_trouble(answer: str) -> None:
    """When our own address is refused no mail is given up: the operator must act."""
    sink = Sink(sender=answer)
    async with serving(sink) as port:
        channel = SmtpChannel(to(port))
        with pytest.raises(ChannelDown, match="refuses our sender address or login"):
            await channel.send(letter())
        await channel.close()

    assert sink.taken == []


async def test_a_line_cut_after_the_mail_is_no_success() -> None:
    """Without the server's word a mail counts as not sent, though it may have arrived."""
    sink = Sink(cut_after_data=1)
    async with serving(sink) as port:
        channel = SmtpChannel(to(port))
        with pytest.raises(MailDeferred, match="broke off"):
            await channel.send(letter())
        await channel.send(letter("next@example.com"))
        await channel.close()

    assert sink.recipients() == ["marc@example.com", "next@example.com"]


async def test_a_kept_connection_that_died_is_replaced() -> None:
    """A server that was restarted between two mails gets the second over a new connection."""
    sink, port = Sink(), free_port()
    channel = SmtpChannel(to(port))
    async with serving(sink, port=port):
        await channel.send(letter("first@example.com"))
    async with serving(sink, port=port):
        await channel.send(letter("second@example.com"))
        await channel.close()

    assert sink.recipients() == ["first@example.com", "second@example.com"]
    assert sink.connections == 2


async def test_a_connection_closed_for_being_idle_is_replaced() -> None:
    """A server that says 421 to a kept connection gets the mail over a new one."""
    conversations = 0

    async def server(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        nonlocal conversations
        conversations += 1
        out.write(b"220 hello\r\n")
        mails = 0
        while line := await reader.readline():
            if line.startswith(b"MAIL"):
                mails += 1
                if mails > 1:
                    out.write(b"421 idle for too long\r\n")
                    return
            if line.startswith(b"DATA"):
                out.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            out.write(b"250 OK\r\n")

    async with scripted(server) as port:
        channel = SmtpChannel(to(port))
        await channel.send(letter())
        await channel.send(letter())
        await channel.close()

    assert conversations == 2


async def test_a_server_that_hangs_is_given_up() -> None:
    """A server that stops answering costs a bounded time and is not asked the same again."""

    async def server(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        out.write(b"220 hello\r\n")
        await reader.readline()
        out.write(b"250 OK\r\n")
        await reader.readline()
        await reader.read()

    async with scripted(server) as port:
        channel = SmtpChannel(to(port), timeout_s=0.5)
        with pytest.raises(MailDeferred):
            await channel.send(letter())
        await channel.close()


async def test_an_abandoned_mail_leaves_no_half_conversation() -> None:
    """A send that is cancelled drops its connection; the next mail gets a clean one."""
    sink = Sink()
    async with serving(sink) as port:
        channel = SmtpChannel(to(port), width=1)
        sending = asyncio.create_task(channel.send(letter("first@example.com")))
        while not sink.connections:
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await channel.send(letter("second@example.com"))
        await channel.close()

    assert sink.recipients() == ["second@example.com"]


# Trust


async def test_without_encryption_neither_password_nor_mail_leaves() -> None:
    """A server off loopback that offers no STARTTLS gets nothing of us."""
    sink = Sink()
    async with serving(sink, authenticator=sink.login, auth_require_tls=False) as port:
        channel = SmtpChannel(to(port, tls_required=True, user=True))
        with pytest.raises(ChannelDown, match=r"offers no encryption \(STARTTLS\)"):
            await channel.send(letter())
        await channel.close()

    assert (sink.logins, sink.taken) == ([], [])


async def test_a_certificate_nobody_vouches_for_is_not_trusted(tmp_path: Path) -> None:
    """A self-signed certificate ends the conversation before the login."""
    sink = Sink()
    async with serving(
        sink, tls_context=authority(tmp_path).server, authenticator=sink.login
    ) as port:
        channel = SmtpChannel(to(port, tls_required=True, user=True))
        with pytest.raises(ChannelDown, match=r"certificate of the mail server .* is not valid"):
            await channel.check()
        await channel.close()

    assert sink.logins == []


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    """A good certificate of somebody else does not help."""
    other = authority(tmp_path, "mail.example.com")
    async with serving(Sink(), tls_context=other.server) as port:
        channel = SmtpChannel(to(port, tls_required=True), tls_context=other.client)
        with pytest.raises(ChannelDown, match=r"certificate of the mail server .* is not valid"):
            await channel.check()
        await channel.close()


@pytest.mark.parametrize("from_start", [False, True])
async def test_mail_goes_encrypted_after_a_login(tmp_path: Path, from_start: bool) -> None:
    """With STARTTLS or TLS from the start, login and mail go through."""
    sink = Sink()
    trust = authority(tmp_path)
    tls: dict[str, Any] = {"tls_context": trust.server, "auth_required": True}
    if from_start:
        tls = {"tls": trust.server, "auth_require_tls": False}
    async with serving(sink, authenticator=sink.login, **tls) as port:
        server = replace(to(port, tls_required=True, user=True), tls_from_start=from_start)
        channel = SmtpChannel(server, tls_context=trust.client)
        await channel.check()
        await channel.send(letter())
        await channel.close()

    assert sink.recipients() == ["marc@example.com"]
    assert set(sink.logins) == {b"user@example.com"}
    assert sink.connections == 1


# Check


async def test_a_check_says_that_nobody_answers() -> None:
    """A closed port is named with host and port."""
    port = free_port()
    channel = SmtpChannel(to(port))

    with pytest.raises(ChannelDown, match=rf"127\.0\.0\.1:{port} cannot be reached"):
        await channel.check()


async def test_a_check_says_that_the_login_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password is told as such, and stands nowhere."""
    caplog.set_level(logging.DEBUG)
    sink = Sink()
    trust = authority(tmp_path)
    async with serving(sink, tls_context=trust.server, authenticator=sink.login) as port:
        server = replace(to(port, tls_required=True, user=True), password="wr0ng-Passw0rd")
        channel = SmtpChannel(server, tls_context=trust.client)
        with pytest.raises(ChannelDown, match="refuses the login: check SIGNOFF_SMTP_URL") as down:
            await channel.check()
        await channel.close()

    assert "wr0ng-Passw0rd" not in down.value.message
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("app")]
    assert "wr0ng-Passw0rd" not in "".join(ours)


async def test_a_check_says_that_the_server_is_no_mail_server() -> None:
    """Something else on the port is told apart from a mail server."""

    async def server(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        out.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with scripted(server) as port:
        channel = SmtpChannel(to(port))
        with pytest.raises(ChannelDown, match="mail server"):
            await channel.check()


async def test_the_connection_of_a_check_is_kept_for_the_first_mail() -> None:
    """A server that lets us in is asked once."""
    sink = Sink()
    async with serving(sink) as port:
        channel = SmtpChannel(to(port))
        await channel.check()
        await channel.send(letter())
        await channel.close()

    assert sink.connections == 1
