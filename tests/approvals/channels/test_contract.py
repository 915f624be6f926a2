"""What every way of sending mail must do. Add one line for a new one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from app.approvals.channels import Channel, ChannelDown, MailDeferred, MailRefused, OutgoingMail
from app.approvals.channels.ses import SesChannel
from app.approvals.channels.smtp import SmtpChannel, SmtpServer
from tests.approvals.asked import APPROVAL, NOW, mail, writer
from tests.approvals.channels.mailservers import Sink, serving
from tests.approvals.channels.ses_server import FakeSes, serving_ses, ses_client

REFUSED, DEFERRED = "refused", "deferred"


@dataclass
class Post:
    """A channel, and what stands at its other end."""

    channel: Channel
    taken: Callable[[], list[tuple[str, str, bytes]]]  #: sender, recipient, bytes
    answer: Callable[[str, str], None]  #: for a recipient, from now on
    lose_the_next_answer: Callable[[], None]
    refuse_the_sender: Callable[[], None]


@asynccontextmanager
async def smtp() -> AsyncIterator[Post]:
    """SMTP, into aiosmtpd."""
    sink = Sink()
    answers = {REFUSED: "550 no such user", DEFERRED: "451 later"}

    def answer(recipient: str, how: str) -> None:
        sink.rcpt[recipient] = answers[how]

    async with serving(sink) as port:
        channel = SmtpChannel(SmtpServer.parse(f"smtp://127.0.0.1:{port}"))
        yield Post(
            channel,
            lambda: [
                (str(one.mail_from), one.rcpt_tos[0], bytes(one.content or b""))  # type: ignore[arg-type]
                for one in sink.taken
            ],
            answer,
            lambda: setattr(sink, "cut_after_data", 1),
            lambda: setattr(sink, "sender", "550 not you"),
        )
        await channel.close()


@asynccontextmanager
async def ses() -> AsyncIterator[Post]:
    """SES, into an endpoint that speaks its API."""
    fake = FakeSes()
    answers = {
        REFUSED: (400, "MessageRejected", "Address blacklisted."),
        DEFERRED: (500, "InternalFailure", "Try again."),
    }
    unverified = (400, "MessageRejected", "Email address is not verified: signoff@example.com")

    def answer(recipient: str, how: str) -> None:
        fake.refusals[recipient] = [answers[how]]

    with serving_ses(fake) as url:
        channel = SesChannel(ses_client(url), sleep=lambda _: None)
        yield Post(
            channel,
            fake.mails,
            answer,
            lambda: setattr(fake, "hang_up", 1),
            lambda: fake.refusals.update({"": [unverified]}),
        )
        await channel.close()


WAYS: dict[str, Callable[[], AbstractAsyncContextManager[Post]]] = {"smtp": smtp, "ses": ses}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
async def post(request: pytest.FixtureRequest) -> AsyncIterator[Post]:
    """A channel that works."""
    async with request.param() as opened:
        yield opened


def letter(recipient: str = "marc@example.com") -> OutgoingMail:
    """A small mail."""
    return OutgoingMail("signoff@example.com", recipient, b"Subject: x\r\n\r\nHello\r\n")


async def test_what_is_sent_arrives_as_it_was(post: Post) -> None:
    """Envelope, and every byte of headers, text and HTML."""
    outgoing = writer().request(APPROVAL, mail(), NOW)

    await post.channel.send(outgoing)

    assert post.taken() == [("signoff@example.com", "marc@example.com", outgoing.data)]


async def test_many_at_once_arrive_once_each(post: Post) -> None:
    """The width is a bound, not a loss."""
    recipients = [f"r{n}@example.com" for n in range(40)]

    await asyncio.gather(*(post.channel.send(letter(one)) for one in recipients))

    assert sorted(recipient for _, recipient, _ in post.taken()) == sorted(recipients)
    assert post.channel.width > 0


async def test_a_refusal_is_for_good_and_concerns_one(post: Post) -> None:
    """Others get their mails; the note says why."""
    post.answer("gone@example.com", REFUSED)

    with pytest.raises(MailRefused) as refused:
        await post.channel.send(letter("gone@example.com"))
    await post.channel.send(letter())

    assert refused.value.message
    assert [recipient for _, recipient, _ in post.taken()] == ["marc@example.com"]


async def test_a_temporary_refusal_concerns_one(post: Post) -> None:
    """It is tried again later; nobody else waits."""
    post.answer("slow@example.com", DEFERRED)

    with pytest.raises(MailDeferred) as deferred:
        await post.channel.send(letter("slow@example.com"))
    await post.channel.send(letter())

    assert not isinstance(deferred.value, ChannelDown)
    assert len(post.taken()) == 1


async def test_a_lost_answer_is_no_success_and_no_second_mail(post: Post) -> None:
    """The server may have the mail; whoever sends decides about a second one."""
    post.lose_the_next_answer()

    with pytest.raises(MailDeferred):
        await post.channel.send(letter())

    assert len(post.taken()) == 1


async def test_a_refused_sender_stops_all_mail(post: Post) -> None:
    """Every mail has that sender."""
    post.refuse_the_sender()

    with pytest.raises(ChannelDown):
        await post.channel.send(letter())


async def test_a_check_passes_when_mail_could_be_sent(post: Post) -> None:
    """Nothing is sent by looking."""
    await post.channel.check()

    assert post.taken() == []


async def test_a_closed_channel_opens_again(post: Post) -> None:
    """Closing takes leave, no more."""
    await post.channel.send(letter())
    await post.channel.close()

    await post.channel.send(letter())

    assert len(post.taken()) == 2
