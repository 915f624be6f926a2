"""No address gets more mails in an hour than the operator allows."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.errors import TooManyMails
from tests.approvals.world import World, mint_body, open_world

pytestmark = pytest.mark.usefixtures("each_store")

MARC = ["marc@example.com"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A service that sends three mails an hour to an address."""
    opened = await open_world(tmp_path / "approvals.sqlite3", mails_per_hour=3)
    yield opened
    await opened.close()


async def mails(world: World) -> int:
    """How many mails are queued."""
    return (await world.store.backlog()).mails


async def test_a_mailbox_is_not_flooded(world: World) -> None:
    """The fourth request is refused whole, for its other recipients too, until the next hour."""
    for number in range(3):
        await world.mint(f"token-{number}", recipients=MARC)

    with pytest.raises(TooManyMails) as refused:
        await world.mint("token-3", recipients=["lena@example.com", "MARC@example.com"])
    other = await world.mint("token-4", recipients=["lena@example.com"])
    world.clock.advance(seconds=refused.value.retry_after_s)
    await world.mint("token-3", recipients=MARC)

    assert refused.value.retry_after_s == 19 * 60  # it is 9:41
    assert other.request.recipients[0].email == "lena@example.com"
    assert await mails(world) == 5


async def test_a_repeated_request_counts_once(world: World) -> None:
    """A workflow that asks again is answered as before, whatever the mailbox got since."""
    for _ in range(5):
        await world.mint("token-1", recipients=MARC)
    await world.mint("token-2", recipients=MARC)
    await world.mint("token-3", recipients=MARC)

    again = await world.service.mint(
        mint_body("token-1", recipients=MARC, execution_arn=world.workflow.wait_for("token-1"))
    )

    assert (again.created, await mails(world)) == (False, 3)


async def test_mails_sent_again_and_plain_ones_count(world: World) -> None:
    """They land in the same mailbox; a notice that is asked for twice is one."""
    approval = await world.mint(recipients=MARC)
    await world.service.resend(approval.id)
    for _ in range(3):
        await world.service.notify({"to": MARC, "subject": "Done"}, request_id="one")

    with pytest.raises(TooManyMails):
        await world.service.resend(approval.id)
    with pytest.raises(TooManyMails):
        await world.service.notify({"to": MARC, "subject": "Done"}, request_id="two")

    assert await mails(world) == 3
