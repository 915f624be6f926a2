"""The whole service over DynamoDB, as real processes on real sockets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.ses.models import ses_backends

from tests.approvals.channels.ses_server import ses_client
from tests.approvals.store.moto import moto_url
from tests.faults.rounds import ask, check, click, create_machine, settled
from tests.processes import SignoffProcess, wait_for

PARK = ("--function", "park=tests.faults.functions:park")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SignoffProcess]:
    """The engine alone."""
    process = SignoffProcess(("engine", *PARK), tmp_path / "engine")
    yield process.start()
    process.kill()


@pytest.fixture
def services(tmp_path: Path, engine: SignoffProcess) -> Iterator[list[SignoffProcess]]:
    """Two services with nothing in common but the table and their keys."""
    environment = {
        "SIGNOFF_STORE": "dynamodb:walk",
        "SIGNOFF_TARGET": "aws",
        "AWS_ENDPOINT_URL_SFN": engine.engine_url,
        "AWS_ENDPOINT_URL_DYNAMODB": moto_url(),
        "SIGNOFF_CHANNEL": "ses",
        "AWS_ENDPOINT_URL_SESV2": moto_url(),
    }
    one = SignoffProcess(("serve",), tmp_path / "one", environment=environment)
    two = SignoffProcess(
        ("serve",),
        tmp_path / "two",
        environment=environment,
        secret_keys=one.secret_keys,
        api_key=one.api_key,
    )
    assert one.run("table", "create") == "The table walk is made; it is ready.\n"
    assert one.run("table", "create") == "The table walk was there; it is ready.\n"
    yield [one.start(), two.start()]
    one.kill()
    two.kill()


def test_two_services_share_a_table(services: list[SignoffProcess], engine: SignoffProcess) -> None:
    """One mints, the other shows it; a click is told to the workflow, a kill loses nothing."""
    ses_client(moto_url()).create_email_identity(EmailIdentity="signoff@example.com")
    sent = ses_backends["123456789012"]["us-east-1"].sent_messages
    before = len(sent)
    machine_arn = create_machine(engine)
    one, two = services
    asked = [ask(one, engine, machine_arn) for _ in range(2)]
    wait_for(lambda: len(sent) == before + 2)

    click(asked[0], "approve")
    one.kill()

    wait_for(lambda: settled(two))
    assert [check(two, engine, each) for each in asked] == ["DELIVERED", "PENDING"]
    verified = two.run("audit", "verify")
    assert verified.startswith("The audit holds: ")
