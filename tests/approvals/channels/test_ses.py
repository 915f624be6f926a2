"""Handing mail to SES: what its answers mean, and that links are not tracked."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto.ses.models import RawMessage, ses_backends

from app.approvals.channels import ChannelDown, MailDeferred, MailRefused
from app.approvals.channels.ses import TOO_FAST_RETRIES, SesChannel, connect_ses
from app.errors import StartRefused
from tests.approvals.asked import APPROVAL, NOW, mail, writer
from tests.approvals.channels.ses_server import Answer, FakeSes, serving_ses, ses_client
from tests.approvals.channels.test_contract import letter
from tests.approvals.store.moto import moto_url
from tests.processes import free_port

TOO_FAST = (429, "TooManyRequestsException", "Maximum sending rate exceeded.")
UNVERIFIED = "Email address is not verified. The following identities failed the check: "


@pytest.fixture
def ses() -> FakeSes:
    """What stands for SES."""
    return FakeSes()


@pytest.fixture
def url(ses: FakeSes) -> Iterator[str]:
    """Where it answers."""
    with serving_ses(ses) as url:
        yield url


@pytest.fixture
def channel(url: str) -> SesChannel:
    """A channel to it."""
    return SesChannel(ses_client(url), sleep=lambda _: None)


async def test_links_are_not_tracked(ses: FakeSes, url: str) -> None:
    """A redirect would show every signed link to whoever runs it."""
    channel = SesChannel(ses_client(url), configuration_set="outgoing")

    await channel.send(letter())
    await channel.close()

    [sent] = ses.taken
    assert sent["ConfigurationSetName"] == "outgoing"
    assert sent["ConfigurationOverrides"] == {
        "Tracking": {"ClickTrackingEnabled": "DISABLED", "OpenTrackingEnabled": "DISABLED"}
    }


async def test_moto_has_the_mail_that_was_written() -> None:
    """An independent implementation of the API reads the same bytes."""
    client = ses_client(moto_url())
    client.create_email_identity(EmailIdentity="signoff@example.com")
    outgoing = writer().request(APPROVAL, mail(), NOW)
    channel = SesChannel(client)

    await channel.send(outgoing)
    await channel.close()

    taken = ses_backends["123456789012"]["us-east-1"].sent_messages[-1]
    assert isinstance(taken, RawMessage)
    assert (taken.source, taken.raw_data) == ("signoff@example.com", outgoing.data.decode())
    assert taken.destinations[0] == "marc@example.com"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((400, "MessageRejected", "Address blacklisted."), MailRefused, "Address blacklisted."),
        ((400, "BadRequestException", "Missing final '@domain'"), MailRefused, "final '@domain'"),
        (
            (400, "MessageRejected", UNVERIFIED + "marc@example.com"),
            MailRefused,
            "This account is in the SES sandbox, and marc@example.com is not verified",
        ),
        (
            (400, "MessageRejected", UNVERIFIED + "signoff@example.com"),
            ChannelDown,
            "The sender signoff@example.com is not verified in SES",
        ),
        ((400, "AccountSuspendedException", "x"), ChannelDown, "suspended"),
        ((400, "SendingPausedException", "x"), ChannelDown, "paused"),
        ((400, "MailFromDomainNotVerifiedException", "x"), ChannelDown, "MAIL FROM domain"),
        ((404, "NotFoundException", "x"), ChannelDown, "SIGNOFF_SES_CONFIGURATION_SET"),
        ((403, "AccessDeniedException", "x"), ChannelDown, "ses:SendEmail"),
        ((403, "ExpiredTokenException", "x"), ChannelDown, "expired"),
        ((403, "SomethingNew", "x"), ChannelDown, "SomethingNew"),
        ((400, "LimitExceededException", "x"), MailDeferred, "LimitExceededException"),
        ((429, "TooManyRequestsException", "Daily message quota exceeded."), MailDeferred, "Daily"),
        ((500, "InternalFailure", "x"), MailDeferred, "InternalFailure"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
async def test_each_refusal_has_its_meaning(
    ses: FakeSes, channel: SesChannel, answer: Answer, kind: type[Exception], words: str
) -> None:
    """For good, for now, or for everybody; in words that say what to mend."""
    ses.refusals[""] = [answer]

    with pytest.raises((MailRefused, MailDeferred), match=words) as refusal:
        await channel.send(letter())

    assert type(refusal.value) is kind
    assert ses.calls == 1


async def test_what_went_too_fast_is_sent_a_little_later(ses: FakeSes, channel: SesChannel) -> None:
    """An account's rate is a matter of seconds; the mail was certainly not taken."""
    ses.refusals["marc@example.com"] = [TOO_FAST, TOO_FAST, (500, "InternalFailure", "x")]

    with pytest.raises(MailDeferred, match="InternalFailure"):
        await channel.send(letter())

    assert ses.calls == 3


async def test_what_stays_too_fast_is_put_off(ses: FakeSes, channel: SesChannel) -> None:
    """The outbox tries again much later."""
    ses.refusals[""] = [TOO_FAST]

    with pytest.raises(MailDeferred) as deferred:
        await channel.send(letter())

    assert not isinstance(deferred.value, ChannelDown)
    assert ses.calls == TOO_FAST_RETRIES + 1


async def test_nobody_there_is_everybodys_trouble() -> None:
    """What was never sent is told from what may have been taken."""
    channel = SesChannel(ses_client(f"http://127.0.0.1:{free_port()}"))

    with pytest.raises(ChannelDown, match="cannot be reached"):
        await channel.send(letter())
    with pytest.raises(ChannelDown, match="cannot be reached"):
        await channel.check()


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ({"SendingEnabled": False}, "paused"),
        ((403, "UnrecognizedClientException", "x"), "does not know these credentials"),
        ((500, "InternalFailure", "x"), "InternalFailure"),
    ],
)
async def test_a_check_says_what_is_wrong(
    ses: FakeSes, channel: SesChannel, account: Any, words: str
) -> None:
    """In a sentence, without sending anything."""
    ses.account = account

    with pytest.raises(ChannelDown, match=words):
        await channel.check()


async def test_a_check_that_is_not_allowed_is_no_trouble(ses: FakeSes, channel: SesChannel) -> None:
    """Sending needs no other permission than to send."""
    ses.account = (403, "AccessDeniedException", "x")

    await channel.check()


def test_without_a_region_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to set."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    with pytest.raises(StartRefused, match="set AWS_REGION"):
        connect_ses()


async def test_missing_credentials_are_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the name of a library's exception."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    channel = SesChannel(connect_ses())

    with pytest.raises(ChannelDown, match="No AWS credentials were found for SES"):
        await channel.check()
    await channel.close()
