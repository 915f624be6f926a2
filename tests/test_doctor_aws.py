"""What the doctor sees on AWS: the table, and what SES lets us do."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from app.approvals.store.dynamodb.definition import table_definition
from app.approvals.store.dynamodb.setup import create_table, table_faults
from app.aws_json import AwsJsonClient
from app.doctor_aws import ses_findings, table_findings
from app.errors import StartRefused
from app.main import verify_audit
from app.settings import Settings, load_settings
from app.strict_json import Json
from tests.approvals.channels.ses_server import FakeSes, serving_ses
from tests.approvals.store.moto import moto_url
from tests.approvals.store.tables import dynamodb_client

IDENTITIES = "/v2/email/identities/"
SETS = "/v2/email/configuration-sets/"


@pytest.fixture
def client() -> AwsJsonClient:
    """A client of moto's DynamoDB."""
    return dynamodb_client(moto_url())


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings as on AWS."""
    for name, value in {
        "SIGNOFF_MAIL_FROM": "Signoff <signoff@mail.example.com>",
        "SIGNOFF_CHANNEL": "ses",
        "SIGNOFF_STORE": "dynamodb:doctor",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_DYNAMODB": moto_url(),
    }.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_a_table_that_was_made_has_no_faults(client: AwsJsonClient) -> None:
    """Making it twice changes nothing."""
    assert create_table(client, "made", sleep=_never)
    assert not create_table(client, "made", sleep=_never)

    assert list(table_faults(client, "made")) == []


def _never(_: float) -> None:
    raise AssertionError("moto's tables are ready at once")


def _without_index(definition: Json) -> Json:
    definition["GlobalSecondaryIndexes"].pop(0)
    kept = {"pk", "sk", "state", "place"}
    definition["AttributeDefinitions"] = [
        one for one in definition["AttributeDefinitions"] if one["AttributeName"] in kept
    ]
    return definition


def _with_small_projection(definition: Json) -> Json:
    definition["GlobalSecondaryIndexes"][0]["Projection"]["NonKeyAttributes"] = ["hash"]
    return definition


def _with_other_keys(definition: Json) -> Json:
    definition["KeySchema"] = [{"AttributeName": "pk", "KeyType": "HASH"}]
    definition["AttributeDefinitions"] = [
        one for one in definition["AttributeDefinitions"] if one["AttributeName"] != "sk"
    ]
    return definition


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_without_index, "Its index due is missing or made otherwise."),
        (_with_small_projection, "Its index due is missing or made otherwise."),
        (_with_other_keys, "Its key is not pk and sk: it was not made for Signoff."),
    ],
)
def test_a_table_made_otherwise_is_found_out(
    client: AwsJsonClient, change: Any, fault: str
) -> None:
    """Each difference has its sentence; so have TTL and recovery that are off."""
    name = f"other-{change.__name__}"
    client.call("CreateTable", change(table_definition(name)))

    assert list(table_faults(client, name)) == [
        fault,
        "Time to live is not enabled on ttl: notices are kept for ever.",
        "Point-in-time recovery is off: a deleted decision could not be brought back.",
    ]


async def test_the_doctor_looks_at_the_table(settings: Settings, client: AwsJsonClient) -> None:
    """It says what to do when it is not there, and that it takes writes when it is."""
    [missing] = await table_findings(settings, "doctor")
    create_table(client, "doctor")
    [good] = await table_findings(settings, "doctor")

    assert missing.sentence == "There is no table doctor in this region."
    assert "signoff table create" in missing.mend
    assert (good.ok, good.sentence) == (True, "doctor takes writes; TTL and recovery are on.")


async def test_a_dynamodb_that_is_not_there_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody at the address: network, region or endpoint are wrong."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")

    [finding] = await table_findings(settings, "doctor")

    assert finding.sentence == "DynamoDB does not answer (ConnectionRefusedError)."


async def test_an_audit_that_cannot_be_read_is_told_in_a_sentence(settings: Settings) -> None:
    """`signoff audit verify` with the name of a table that is not there."""
    secret = SecretStr("qCw3Vh2kXl8bYp5ZsT0dRf7uJm4nGa1e")
    wrong = settings.model_copy(update={"store": "dynamodb:nowhere", "secret_keys": secret})

    with pytest.raises(StartRefused, match="dynamodb:nowhere cannot be read; signoff doctor"):
        await verify_audit(wrong)


@pytest.fixture
def ses(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSes]:
    """An account with everything right, behind the variable that names it."""
    fake = FakeSes(account={"ProductionAccessEnabled": True, "SendingEnabled": True})
    fake.told[IDENTITIES + "example.com"] = {"VerifiedForSendingStatus": True}
    with serving_ses(fake) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", url)
        yield fake


def told(settings: Settings) -> list[tuple[str, bool, str]]:
    """The findings about SES."""
    return [(one.subject, one.ok, one.sentence) for one in ses_findings(settings)]


def test_an_account_with_everything_right(settings: Settings, ses: FakeSes) -> None:
    """A verified domain vouches for the addresses below it."""
    assert told(settings) == [
        ("SES account", True, "It has production access."),
        ("SES identity", True, "signoff@mail.example.com may send."),
    ]


def test_the_sandbox_and_an_unverified_sender_are_told(settings: Settings, ses: FakeSes) -> None:
    """Before the first mail is lost on them."""
    ses.account = {"ProductionAccessEnabled": False, "SendingEnabled": True}
    ses.told.clear()

    account, identity = ses_findings(settings)

    assert not account.ok
    assert "in the sandbox" in account.sentence
    assert "production access" in account.mend
    assert identity.sentence == "signoff@mail.example.com is not verified for sending."


@pytest.mark.parametrize("inherited", [True, False])
def test_click_tracking_is_told(settings: Settings, ses: FakeSes, inherited: bool) -> None:
    """Of the configuration set that is set, or of the one that the identity brings."""
    if inherited:
        ses.told[IDENTITIES + "example.com"] = {
            "VerifiedForSendingStatus": True,
            "ConfigurationSetName": "outgoing",
        }
    else:
        settings = settings.model_copy(update={"ses_configuration_set": "outgoing"})
    clicks = {"Name": "x", "Enabled": True, "MatchingEventTypes": ["SEND", "CLICK"]}
    ses.told[SETS + "outgoing/event-destinations"] = {"EventDestinations": [clicks]}

    finding = ses_findings(settings)[-1]

    assert not finding.ok
    assert finding.sentence.startswith("outgoing tracks clicks:")

    clicks["MatchingEventTypes"] = ["BOUNCE"]
    assert ses_findings(settings)[-1].sentence == "outgoing tracks no clicks."


def test_what_may_not_be_looked_at_is_no_fault(settings: Settings, ses: FakeSes) -> None:
    """A role that may only send is a good role."""
    denied = (403, "AccessDeniedException", "x")
    ses.account = denied
    ses.told = {
        IDENTITIES + "signoff%40mail.example.com": denied,
        IDENTITIES + "mail.example.com": denied,
        IDENTITIES + "example.com": denied,
    }

    assert all(finding.ok for finding in ses_findings(settings))
