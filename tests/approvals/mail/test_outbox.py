"""The mail worker: what is queued gets out, once if it can be, and nothing holds up the rest."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from app.approvals.channels import (
    ChannelDown,
    MailDeferred,
    MailError,
    MailRefused,
    OutgoingMail,
)
from app.approvals.channels.smtp import WIDTH, SmtpChannel, SmtpServer
from app.approvals.document import request_document
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.model import Mail, MailResult, MailState, Notice
from app.approvals.mail.outbox import LEASE, MAX_ATTEMPTS, MailWorker
from app.approvals.model import Approval, Recipient, Request
from app.approvals.store.interface import NewApproval
from app.approvals.store.sqlite import SqliteStore
from app.errors import StoreUnavailable
from tests.approvals.asked import MARC, NOW, REQUEST, mail, writer
from tests.approvals.channels.mailservers import Sink, serving

THREE = tuple(Recipient(f"{name}@example.com") for name in ("ann", "ben", "cho"))


class Channel:
    """A way out that answers as the test says, and remembers what it let through."""

    width = 4

    def __init__(self) -> None:
        self.sent: list[OutgoingMail] = []
        self.answers: dict[str, MailError] = {}
        self.down: ChannelDown | None = None
        self.checks = 0

    async def send(self, mail: OutgoingMail) -> None:
        if self.down is not None:
            raise self.down
        if mail.recipient in self.answers:
            raise self.answers[mail.recipient]
        self.sent.append(mail)

    async def check(self) -> None:
        self.checks += 1
        if self.down is not None:
            raise self.down

    async def close(self) -> None:
        pass

    def recipients(self) -> list[str]:
        return sorted(mail.recipient for mail in self.sent)


class Office:
    """A store, a worker and a clock that stands still until it is told to go on."""

    def __init__(self, store: SqliteStore, channel: Channel | SmtpChannel) -> None:
        self.store = store
        self.channel = channel
        self.now = NOW
        self.worker = self.another_worker()

    def another_worker(self, mail_writer: MailWriter | None = None) -> MailWorker:
        return MailWorker(
            store=self.store,
            writer=mail_writer or writer(),
            channel=self.channel,
            clock=lambda: self.now,
            uniform=lambda low, high: (low + high) / 2,
        )

    async def mint(self, id_: str, request: Request) -> None:
        await self.store.mint(
            NewApproval(
                id=id_,
                target="embedded",
                request=request,
                document=request_document(request),
                fingerprint=b"f" * 32,
                sealed_token=b"t" * 40,
                created_at=NOW,
            )
        )

    async def notify(self, id_: str, *to: Recipient) -> None:
        await self.store.add_notice(Notice(id_, to, "Done", "It is done.", (), NOW))

    async def send_after(self, **of_timedelta: float) -> None:
        self.now += timedelta(**of_timedelta)
        await self.worker.send_due()

    async def states(self, id_: str) -> list[str]:
        states = await self.store.mail_states(id_)
        return [state.value for _, state in sorted(states.items())]

    async def events(self, id_: str) -> list[str]:
        chain = await self.store.chain(id_)
        assert chain is not None
        return [entry.document()["event"] for entry in chain.entries]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore.open(tmp_path / "approvals.sqlite3")
    yield opened
    await opened.close()


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def office(store: SqliteStore, channel: Channel) -> Office:
    return Office(store, channel)


ONE = replace(REQUEST, recipients=(MARC,))
TO_THREE = replace(REQUEST, recipients=THREE)


async def test_each_recipient_gets_a_mail_once(office: Office, channel: Channel) -> None:
    """One mail to each, recorded as sent, and nothing more however often the worker looks."""
    await office.mint("a" * 26, TO_THREE)

    await office.send_after()
    await office.send_after(hours=1)

    assert channel.recipients() == ["ann@example.com", "ben@example.com", "cho@example.com"]
    assert await office.states("a" * 26) == ["sent", "sent", "sent"]
    assert (await office.events("a" * 26)).count("MAIL_SENT") == 3
    assert await office.store.next_mail_at() is None


async def test_one_look_in_vain_is_enough_for_all_senders(
    office: Office, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look is paid where the store is a table; what is queued meanwhile is looked for."""
    looks: list[int] = []
    claim_mails = office.store.claim_mails

    async def counted(now: datetime, lease_until: datetime, limit: int) -> Sequence[Mail]:
        mails = await claim_mails(now, lease_until, limit)
        looks.append(len(mails))
        if len(looks) == 2:
            await office.mint("b" * 26, ONE)
            office.worker.wake()
        return mails

    monkeypatch.setattr(office.store, "claim_mails", counted)
    await office.mint("a" * 26, TO_THREE)

    await office.send_after()

    assert looks == [3, 0, 1, 0]
    assert len(channel.sent) == 4


async def test_a_notice_goes_to_each_recipient(office: Office, channel: Channel) -> None:
    """Plain mails leave the same way."""
    await office.notify("n1", *THREE)

    await office.send_after()

    assert channel.recipients() == ["ann@example.com", "ben@example.com", "cho@example.com"]
    assert message_from_bytes(channel.sent[0].data, policy=default)["Subject"] == "Done"


async def test_who_is_put_off_is_tried_again_alone(office: Office, channel: Channel) -> None:
    """The others have their mail once; only the deferred one is sent again."""
    await office.mint("a" * 26, TO_THREE)
    channel.answers = {"ben@example.com": MailDeferred("451 Later")}

    await office.send_after()
    first = await office.states("a" * 26)
    channel.answers = {}
    await office.send_after(seconds=29)
    too_early = channel.recipients()
    await office.send_after(seconds=1)

    assert first == ["sent", "queued", "sent"]
    assert too_early == ["ann@example.com", "cho@example.com"]
    assert channel.recipients() == ["ann@example.com", "ben@example.com", "cho@example.com"]


async def test_who_is_refused_is_not_tried_again(office: Office, channel: Channel) -> None:
    """A refusal for good is recorded, and only that recipient's."""
    await office.mint("a" * 26, TO_THREE)
    channel.answers = {"ann@example.com": MailRefused("550 No such user")}

    await office.send_after()
    channel.answers = {}
    await office.send_after(days=1)

    assert await office.states("a" * 26) == ["refused", "sent", "sent"]
    assert channel.recipients() == ["ben@example.com", "cho@example.com"]
    assert (await office.events("a" * 26)).count("MAIL_REFUSED") == 1


def test_pauses_grow_to_an_hour(office: Office) -> None:
    """30 seconds, doubled each time, at most an hour; three days in all."""
    pauses = [office.worker.delay(mail(attempts=n)) for n in range(1, MAX_ATTEMPTS + 1)]

    assert [pause.total_seconds() for pause in pauses[:9]] == [
        30, 60, 120, 240, 480, 960, 1920, 3600, 3600,
    ]  # fmt: skip
    assert timedelta(days=3) <= sum(pauses, timedelta()) <= timedelta(days=3, hours=2)


async def test_a_mail_is_given_up_after_three_days(office: Office, channel: Channel) -> None:
    """What the server never takes ends as failed, and is in the audit."""
    await office.mint("a" * 26, replace(ONE, expires_at=NOW + timedelta(days=30)))
    channel.answers = {"marc@example.com": MailDeferred("451 Later")}

    for _ in range(MAX_ATTEMPTS):
        await office.send_after(hours=1)

    assert await office.states("a" * 26) == ["failed"]
    assert (await office.events("a" * 26))[-1] == "MAIL_FAILED"


async def test_a_request_that_was_withdrawn_is_not_mailed(office: Office, channel: Channel) -> None:
    """Nobody is asked for what need not be decided any more."""
    await office.mint("a" * 26, ONE)
    await office.store.revoke("a" * 26, NOW)

    await office.send_after()

    assert channel.sent == []
    assert await office.states("a" * 26) == ["failed"]


async def test_a_request_that_expired_is_not_mailed(office: Office, channel: Channel) -> None:
    """A mail that was deferred beyond the end of its request is dropped."""
    await office.mint("a" * 26, ONE)
    channel.answers = {"marc@example.com": MailDeferred("451 Later")}
    await office.send_after()
    channel.answers = {}

    await office.send_after(days=3)

    assert channel.sent == []
    assert await office.states("a" * 26) == ["failed"]


async def test_an_outage_costs_nobody_an_attempt(office: Office, channel: Channel) -> None:
    """While the server is down most mails are not even claimed; then all leave."""
    for n in range(30):
        await office.mint(f"{n:026}", ONE)
    channel.down = ChannelDown("cannot be reached")

    await office.send_after()
    states = [await office.states(f"{n:026}") for n in range(30)]
    channel.down = None
    await office.send_after(seconds=1)

    assert states == [["queued"]] * 30
    assert len(channel.sent) == 30


async def test_a_mail_that_cannot_be_written_holds_up_nobody(
    office: Office, channel: Channel
) -> None:
    """An address that slipped through is refused; a broken template puts its mails off."""

    class Broken(MailWriter):
        def request(self, approval: Approval, mail: Mail, now: datetime) -> OutgoingMail:
            if approval.id == "b" * 26:
                raise RuntimeError("broken template")
            return writer().request(approval, mail, now)

    office.worker = office.another_worker(Broken.__new__(Broken))
    await office.mint("a" * 26, replace(REQUEST, recipients=(Recipient("no address"),)))
    await office.mint("b" * 26, ONE)
    await office.mint("c" * 26, ONE)

    await office.send_after()

    assert await office.states("a" * 26) == ["refused"]
    assert await office.states("b" * 26) == ["queued"]
    assert await office.states("c" * 26) == ["sent"]
    assert channel.recipients() == ["marc@example.com"]


async def test_a_mail_that_hangs_holds_up_nobody(office: Office) -> None:
    """While one conversation hangs, the other connections go on."""
    hung = asyncio.Event()

    class Hanging(Channel):
        async def send(self, mail: OutgoingMail) -> None:
            if mail.recipient == "ann@example.com":
                hung.set()
                await asyncio.Event().wait()
            await super().send(mail)

    office.channel = hanging = Hanging()
    office.worker = office.another_worker()
    await office.mint("a" * 26, TO_THREE)
    for n in range(40):
        await office.mint(f"{n:026}", ONE)

    sending = asyncio.create_task(office.worker.send_due())
    while len(hanging.sent) < 42:
        await asyncio.sleep(0.001)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)

    assert hung.is_set()
    assert await office.states("a" * 26) == ["queued", "sent", "sent"]


async def test_two_workers_share_the_work(office: Office, channel: Channel) -> None:
    """Several processes over one store send each mail once."""
    other = office.another_worker()
    for n in range(50):
        await office.mint(f"{n:026}", ONE)

    await asyncio.gather(office.worker.send_due(), other.send_due())

    assert len(channel.sent) == 50
    assert len({mail.data for mail in channel.sent}) == 50


async def test_what_a_crash_left_is_sent_when_its_lease_ends(
    office: Office, channel: Channel
) -> None:
    """A claimed mail whose process died is sent by whoever comes after, with the same id."""
    await office.mint("a" * 26, ONE)
    [claimed] = await office.store.claim_mails(NOW, NOW + LEASE, 10)

    await office.send_after()
    before = list(channel.sent)
    await office.send_after(seconds=LEASE.total_seconds())

    assert claimed.attempts == 1
    assert before == []
    [sent] = channel.sent
    assert message_from_bytes(sent.data)["Message-ID"] == f"<request.{'a' * 26}.0.0@example.com>"


async def test_a_late_worker_does_not_trust_its_old_lease(
    office: Office, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was asleep beyond its lease claims anew what another may have taken."""
    await office.mint("a" * 26, ONE)
    claim = office.store.claim_mails
    attempts: list[int] = []

    async def asleep(now: datetime, until: datetime, limit: int) -> Sequence[Mail]:
        claimed = await claim(now, until, limit)
        if not attempts:
            office.now += LEASE
        attempts.extend(one.attempts for one in claimed)
        return claimed

    monkeypatch.setattr(office.store, "claim_mails", asleep)
    await office.worker.send_due()

    assert attempts == [1, 2]
    assert len(channel.sent) == 1


async def test_mails_leave_as_soon_as_they_are_queued(office: Office, channel: Channel) -> None:
    """A running worker sends what comes when it is woken, and stops cleanly."""
    office.worker.start()
    for n in range(3):
        await office.mint(f"{n:026}", ONE)
        office.worker.wake()
        while len(channel.sent) <= n:
            await asyncio.sleep(0.001)
    await office.worker.stop()

    assert len(channel.sent) == 3


async def test_a_worker_finds_what_was_queued_before_it_started(
    office: Office, channel: Channel
) -> None:
    """After a restart nothing has to be woken."""
    await office.mint("a" * 26, ONE)

    office.worker.start()
    while not channel.sent:
        await asyncio.sleep(0.001)
    await office.worker.stop()

    assert await office.states("a" * 26) == ["sent"]


async def test_a_worker_stopped_in_the_middle_gives_back_what_it_holds(office: Office) -> None:
    """Mails that were claimed and not tried are due at once for the next process."""
    gate = asyncio.Event()

    class Gated(Channel):
        async def send(self, mail: OutgoingMail) -> None:
            await gate.wait()
            await super().send(mail)

    office.channel = gated = Gated()
    office.worker = office.another_worker()
    for n in range(10):
        await office.mint(f"{n:026}", ONE)
    office.worker.start()
    while await office.store.next_mail_at() == NOW:
        await asyncio.sleep(0.001)

    stopping = asyncio.create_task(office.worker.stop())
    await asyncio.sleep(0)
    gate.set()
    await stopping
    sent_before = len(gated.sent)
    await office.another_worker().send_due()

    assert sent_before == 8
    assert len(gated.sent) == 10


async def test_a_worker_knocks_until_the_server_is_back(
    office: Office, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During an outage the server is only asked whether it is back; then everything leaves."""
    monkeypatch.setattr("app.approvals.mail.outbox.KNOCK_S", 0.001)
    monkeypatch.setattr("app.approvals.mail.outbox.KNOCK_MAX_S", 0.002)
    office.worker = office.another_worker()
    channel.down = ChannelDown("cannot be reached")
    for n in range(20):
        await office.mint(f"{n:026}", ONE)

    office.worker.start()
    while channel.checks < 5:
        await asyncio.sleep(0.001)
    channel.down = None
    while len(channel.sent) < 20:
        await asyncio.sleep(0.001)
    await office.worker.stop()

    assert [await office.states(f"{n:026}") for n in range(20)] == [["sent"]] * 20


async def test_a_worker_survives_a_store_that_fails(
    office: Office,
    channel: Channel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While results cannot be stored the worker says so once in a while, and goes on after."""
    monkeypatch.setattr("app.approvals.mail.outbox.KNOCK_S", 0.001)
    await office.mint("a" * 26, ONE)
    finish = office.store.finish_mails
    failures = 0

    async def failing(results: Sequence[MailResult], now: datetime) -> None:
        nonlocal failures
        if failures < 2:
            failures += 1
            office.now += LEASE
            raise StoreUnavailable
        await finish(results, now)

    monkeypatch.setattr(office.store, "finish_mails", failing)
    office.worker.start()
    while await office.states("a" * 26) != ["sent"]:
        await asyncio.sleep(0.001)
    await office.worker.stop()

    assert len({one.data.partition(b"Date:")[0] for one in channel.sent}) == 1
    assert len(channel.sent) == 3
    assert set(caplog.messages) == {"the store failed; mails wait"}


@asynccontextmanager
async def post_office(store: SqliteStore, sink: Sink) -> AsyncIterator[Office]:
    """An office with a real mail server."""
    async with serving(sink) as port:
        channel = SmtpChannel(SmtpServer.parse(f"smtp://127.0.0.1:{port}"))
        yield Office(store, channel)
        await channel.close()


async def test_partial_refusals_over_smtp_reach_the_record(store: SqliteStore) -> None:
    """Of three recipients one is refused, one put off and one served; each is recorded so."""
    sink = Sink(rcpt={"ann@example.com": "550 No", "ben@example.com": "451 Later"})
    async with post_office(store, sink) as office:
        await office.mint("a" * 26, TO_THREE)
        await office.send_after()
        first = await office.states("a" * 26)
        sink.rcpt = {}
        await office.send_after(minutes=1)

    assert first == ["refused", "queued", "sent"]
    assert await office.states("a" * 26) == ["refused", "sent", "sent"]
    assert sink.recipients() == ["cho@example.com", "ben@example.com"]


async def test_a_second_copy_after_a_cut_is_the_same_mail(store: SqliteStore) -> None:
    """When the answer to a mail is lost it is sent again, with the same id and links."""
    sink = Sink(cut_after_data=1)
    async with post_office(store, sink) as office:
        await office.mint("a" * 26, ONE)
        await office.send_after()
        first = await office.states("a" * 26)
        await office.send_after(seconds=30)

    assert (first, await office.states("a" * 26)) == (["queued"], ["sent"])
    one, two = (message_from_bytes(content) for content in sink.contents())
    assert one["Message-ID"] == two["Message-ID"]
    assert [part.get_payload() for part in one.walk() if not part.is_multipart()] == [
        part.get_payload() for part in two.walk() if not part.is_multipart()
    ]


async def test_hundreds_of_mails_leave_over_few_connections(store: SqliteStore) -> None:
    """Throughput needs no more than the kept connections, and each mail leaves once."""
    sink = Sink()
    async with post_office(store, sink) as office:
        await asyncio.gather(*(office.mint(f"{n:026}", ONE) for n in range(300)))
        await office.send_after()

    ids = {message_from_bytes(content)["Message-ID"] for content in sink.contents()}
    assert (len(sink.taken), len(ids), sink.connections) == (300, 300, WIDTH)
    assert MailState.QUEUED.value not in await office.states(f"{299:026}")
