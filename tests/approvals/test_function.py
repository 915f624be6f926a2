"""The function `signoff`, as state machines call it."""

import pytest

from app.errors import Conflict, InvalidApprovalRequest
from tests.approvals.world import World, mint_body


async def test_a_mint_request_is_answered_like_by_the_api(world: World) -> None:
    """The same object, the same answer; called again by a retry, the same approval."""
    function = world.function()

    first = await function(mint_body(), "request-1")
    again = await function(mint_body(), "request-2")

    assert first == again
    assert list(first) == ["id", "state", "expires_at", "links", "warnings"]


async def test_the_calling_states_heartbeat_is_kept(world: World) -> None:
    """Where the engine tells it; what the request says goes before, null switches it off."""
    function = world.function()
    for token, more in {
        "a": {},
        "b": {"heartbeat_seconds": 9},
        "c": {"heartbeat_seconds": None},
    }.items():
        await function(mint_body(token) | more, "request", heartbeat_seconds=30)

    page = await world.service.list(state=None, limit=10, cursor=None)

    kept = [view.approval.request.heartbeat_seconds for view in page.approvals]
    assert kept == [None, 9, 30]


async def test_a_plain_mail_is_queued_once_for_each_call(world: World) -> None:
    """The engine may dispatch a call twice; people get one mail."""
    function = world.function()
    event = {"notify": {"to": ["ana@example.com"], "subject": "Deployed"}}

    answers = [await function(event, "request-1"), await function(event, "request-1")]

    assert answers[0] == answers[1]
    assert answers[0]["recipients"] == 1
    assert (await world.store.backlog()).mails == 1


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "text",
        {},
        {"notify": None},
        {"notify": {}},
        {"notify": {"to": ["a@example.com"], "subject": "S"}, "title": "T"},
        {"notify": {"to": ["a@example.com"], "subject": "S", "cc": []}},
    ],
)
async def test_what_cannot_be_used_is_an_error_that_can_be_caught(
    world: World, event: object
) -> None:
    """The class of the error is the name that a Catch names."""
    with pytest.raises(InvalidApprovalRequest):
        await world.function()(event, "request-1")


async def test_a_second_approval_for_a_task_is_a_conflict(world: World) -> None:
    """One task token, one request."""
    function = world.function()
    await function(mint_body(), "request-1")

    with pytest.raises(Conflict):
        await function(mint_body(title="Other"), "request-2")
