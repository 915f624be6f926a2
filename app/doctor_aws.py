"""`signoff doctor` on AWS: the table, and what SES lets us do."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from app.approvals.channels.ses import connect_ses
from app.approvals.mail.mime import Mailbox
from app.approvals.store.dynamodb.setup import table_faults
from app.aws_json import (
    DYNAMODB,
    AwsJsonClient,
    AwsRefused,
    AwsSilent,
    find_credentials,
    find_region,
)
from app.errors import SignoffError, StartRefused, StoreError
from app.findings import Finding
from app.settings import Settings
from app.store_setting import open_to_read

_CREATE = "Deploy template.yaml, or make the table with: signoff table create"
_MAY_NOT_ASK = "AccessDeniedException"


def dynamodb_client() -> AwsJsonClient:
    """A client by the standard AWS variables.

    Raises:
        StartRefused: they are incomplete.
    """
    return AwsJsonClient(DYNAMODB, region=find_region(), credentials=find_credentials())


async def table_findings(settings: Settings, table: str) -> list[Finding]:
    """Whether the table takes writes, and whether it is as it should be."""
    try:
        store = open_to_read(settings)
        client = dynamodb_client()
    except StartRefused as exc:
        return [Finding("table", False, exc.message, "Set AWS_REGION and give credentials.")]
    try:
        faults = list(table_faults(client, table))
        await store.probe()
    except AwsSilent as exc:
        mend = "Check the network, AWS_REGION and AWS_ENDPOINT_URL_DYNAMODB."
        return [Finding("table", False, f"DynamoDB does not answer ({exc.reason}).", mend)]
    except AwsRefused as exc:
        return [_refused(exc, table)]
    except StoreError:
        mend = "Allow this role dynamodb:UpdateItem, and the actions that the README lists."
        return [Finding("table", False, f"The table {table} takes no writes.", mend)]
    finally:
        client.close()
        await store.close()
    mend = "signoff table create adds what is missing; keys and indexes need a new table."
    found = [Finding("table", False, fault, mend) for fault in faults]
    return found or [Finding("table", True, f"{table} takes writes; TTL and recovery are on.")]


def _refused(exc: AwsRefused, table: str) -> Finding:
    if exc.code == "ResourceNotFoundException":
        return Finding("table", False, f"There is no table {table} in this region.", _CREATE)
    mend = (
        "Allow this role dynamodb:DescribeTable, DescribeTimeToLive and DescribeContinuousBackups "
        "on the table (only this check needs them)."
    )
    return Finding("table", False, f"DynamoDB refuses to describe {table} ({exc.code}).", mend)


def ses_findings(settings: Settings) -> list[Finding]:
    """What would keep mails from people, or show their links to others."""
    try:
        client = connect_ses()
        sender = Mailbox.parse(settings.mail_from or "").address
    except SignoffError:
        return []  # the finding "mail" says it
    try:
        return list(_ses_findings(client, sender, settings.ses_configuration_set))
    except BotoCoreError:
        return []  # and this
    finally:
        client.close()


def _ses_findings(client: Any, sender: str, configuration_set: str | None) -> Iterator[Finding]:
    account = _ask(client.get_account)
    if isinstance(account, str):
        yield Finding(
            "SES account", account == _MAY_NOT_ASK, f"It cannot be looked at ({account})."
        )
    elif not account.get("ProductionAccessEnabled", True):
        yield Finding(
            "SES account",
            False,
            "It is in the sandbox: only verified addresses get mail, 200 a day, one a second.",
            "Ask for production access in the SES console (Account dashboard).",
        )
    else:
        yield Finding("SES account", True, "It has production access.")
    yield from _identity_findings(client, sender, configuration_set)


def _identity_findings(
    client: Any, sender: str, configuration_set: str | None
) -> Iterator[Finding]:
    identities = [_ask(client.get_email_identity, EmailIdentity=name) for name in _names(sender)]
    known = [identity for identity in identities if not isinstance(identity, str)]
    if any(identity.get("VerifiedForSendingStatus") for identity in known):
        yield Finding("SES identity", True, f"{sender} may send.")
    elif _MAY_NOT_ASK in identities:
        yield Finding("SES identity", True, f"It cannot be looked at ({_MAY_NOT_ASK}).")
    else:
        mend = "Verify the address or, better, its domain with DKIM, in this region."
        yield Finding("SES identity", False, f"{sender} is not verified for sending.", mend)
    inherited = [identity.get("ConfigurationSetName") for identity in known]
    for name in dict.fromkeys(filter(None, [configuration_set or next(iter(inherited), None)])):
        yield from _tracking_findings(client, str(name))


def _names(sender: str) -> list[str]:
    """The identities that may vouch for *sender*: the address, its domain, the domains above."""
    domain = sender.rpartition("@")[2]
    labels = domain.split(".")
    return [sender, *(".".join(labels[at:]) for at in range(max(1, len(labels) - 1)))]


def _tracking_findings(client: Any, name: str) -> Iterator[Finding]:
    told = _ask(client.get_configuration_set_event_destinations, ConfigurationSetName=name)
    if isinstance(told, str):
        ok = told == _MAY_NOT_ASK
        yield Finding("SES configuration set", ok, f"{name} cannot be looked at ({told}).")
        return
    clicks = any(
        "CLICK" in destination.get("MatchingEventTypes", [])
        for destination in told.get("EventDestinations", [])
        if destination.get("Enabled")
    )
    if clicks:
        yield Finding(
            "SES configuration set",
            False,
            f"{name} tracks clicks: links would lead through a redirect that sees them. "
            "It is switched off for each mail, as far as boto3 knows how.",
            "Take CLICK out of the set's event types, or use another set for Signoff.",
        )
    else:
        yield Finding("SES configuration set", True, f"{name} tracks no clicks.")


def _ask(call: Any, **members: Any) -> Any:
    """What SES answers, or the code of its refusal."""
    try:
        return call(**members)
    except ClientError as exc:
        return str(exc.response.get("Error", {}).get("Code", "Unknown"))
