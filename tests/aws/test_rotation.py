"""Secret keys are rotated while execution environments live."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from app.approvals.keyring import KeyRing
from app.approvals.links import LinkSigner
from app.approvals.model import Holder
from app.aws_lambda.options import Options, read_options
from app.aws_lambda.parts import Invocations
from app.aws_lambda.rotation import KEYS_LIVE_S, KEYS_REST_S, may_judge
from app.errors import StartRefused
from app.secret_files import new_secret_key
from tests.approvals.store.moto import moto_url
from tests.approvals.store.tables import create_table, dynamodb_client
from tests.approvals.world import NOW

OLD, NEW = new_secret_key(), new_secret_key()
HOLDER = Holder("a" * 26, 0, 0)
BASE_URL = "https://signoff.example.com"


def link_and_form(*keys: str) -> tuple[str, bytes]:
    """A link, and what the form behind it sends, as an environment with *keys* signs them."""
    signer = LinkSigner(KeyRing(keys), BASE_URL)
    form = f"decision=approve&nonce={signer.form_nonce(HOLDER, NOW)}&comment="
    return signer.sign(HOLDER), form.encode()


def test_keys_are_read_again_after_minutes() -> None:
    """As long as all is known that comes."""
    ring, (link, form) = KeyRing([OLD]), link_and_form(OLD)

    assert may_judge(ring, KEYS_LIVE_S - 1, link, form)
    assert may_judge(ring, KEYS_LIVE_S - 1, None, b"")
    assert not may_judge(ring, KEYS_LIVE_S, link, form)


def test_an_unknown_key_is_looked_for_at_once_but_not_all_the_time() -> None:
    """Links that nobody signed cost no call each."""
    link, form = link_and_form(NEW, OLD)
    for unknown in (link, "forged", "a.0.0.aaaaaaaa.bbbb", ""):
        assert not may_judge(KeyRing([OLD]), KEYS_REST_S, unknown, form)
        assert may_judge(KeyRing([OLD]), KEYS_REST_S - 1, unknown, form)


def test_a_form_that_another_environment_showed_is_known_or_looked_for() -> None:
    """The link may be older than the rotation, and the page behind it newer."""
    (old_link, _), (_, new_form) = link_and_form(OLD), link_and_form(NEW, OLD)

    assert not may_judge(KeyRing([OLD]), KEYS_REST_S, old_link, new_form)
    assert may_judge(KeyRing([NEW, OLD]), KEYS_REST_S, old_link, new_form)


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Iterator[Options]:
    """The options of a function that has a table."""
    name = f"rotation-{uuid4().hex}"
    create_table(dynamodb_client(moto_url()), name)
    for variable, value in {
        "AWS_ENDPOINT_URL": moto_url(),
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "SIGNOFF_BASE_URL": BASE_URL,
        "SIGNOFF_STORE": f"dynamodb:{name}",
        "SIGNOFF_SECRET_KEYS": OLD,
    }.items():
        monkeypatch.setenv(variable, value)
    yield read_options()


async def test_parts_are_built_anew_under_rotated_keys(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a link of a new key, after the rest between two looks; not for others."""
    clock = [0.0]
    monkeypatch.setattr("app.aws_lambda.parts.monotonic", lambda: clock[0])
    invocations = Invocations()
    link, _ = link_and_form(NEW, OLD)
    before = await invocations.parts(options, None, b"")
    monkeypatch.setenv("SIGNOFF_SECRET_KEYS", f"{NEW},{OLD}")
    rotated = read_options()

    assert await invocations.parts(rotated, link, b"") is before
    clock[0] = KEYS_REST_S
    assert await invocations.parts(rotated, None, b"") is before
    after = await invocations.parts(rotated, link, b"")

    assert len(after.ring.keys) == 2
    assert await invocations.parts(rotated, link, b"") is after
    await after.close()


async def test_keys_that_cannot_be_read_again_leave_those_of_before(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are not asked for by each event; only who has none fails."""
    clock = [0.0]
    monkeypatch.setattr("app.aws_lambda.parts.monotonic", lambda: clock[0])
    invocations = Invocations()
    before = await invocations.parts(options, None, b"")
    monkeypatch.setenv("SIGNOFF_SECRET_KEYS", "file:/nowhere/keys")
    lost = read_options()

    clock[0] = KEYS_LIVE_S
    assert await invocations.parts(lost, None, b"") is before
    assert before.read_at == KEYS_LIVE_S
    with pytest.raises(StartRefused):
        await Invocations().parts(lost, None, b"")
    await before.close()
