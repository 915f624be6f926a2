"""Minting, deciding, withdrawing: what callers are told, and what is recorded."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from app.approvals.approval_ids import new_approval_id
from app.approvals.mail.model import MailState
from app.approvals.model import (
    Action,
    Approval,
    Callback,
    CommentRule,
    Holder,
    Payload,
    Request,
    State,
)
from app.approvals.targets import TaskGone
from app.errors import (
    BadRequest,
    Conflict,
    InvalidApprovalRequest,
    StartRefused,
    StoreUnavailable,
    StoreUnconfirmed,
    UnknownApproval,
    UnknownLink,
)
from app.strict_json import loads
from tests.approvals.workflow import Fault
from tests.approvals.world import (
    BASE_URL,
    KEY,
    NOW,
    OLDER_KEY,
    World,
    mint_body,
    open_world,
    ring,
)

pytestmark = pytest.mark.usefixtures("each_store")


async def test_a_mint_answers_with_a_link_for_each_recipient_and_action(world: World) -> None:
    """Everybody gets their own link for everything they can do."""
    minted = await world.service.mint(mint_body())

    document = minted.document()
    assert minted.created
    assert [(link["recipient"], link["action"]) for link in document["links"]] == [
        ("marc@example.com", "approve"),
        ("marc@example.com", "reject"),
        ("lena@example.com", "approve"),
        ("lena@example.com", "reject"),
    ]
    assert document["state"] == "PENDING"
    assert document["expires_at"] == "2025-11-19T09:41:00.000Z"
    assert len(document["warnings"]) == 1
    for link in document["links"]:
        assert link["url"].startswith(BASE_URL + "/d/")
        assert len(link["url"]) - len(BASE_URL) < 120
        assert "token-1" not in link["url"]


async def test_a_repeated_mint_answers_the_same(world: World) -> None:
    """A retried request finds its approval, and nobody gets a second mail."""
    first = await world.service.mint(mint_body())
    world.clock.advance(seconds=30)

    again = await world.service.mint(mint_body())

    assert not again.created
    assert again.document() == first.document()
    assert (await world.store.backlog()).mails == 2


async def test_mints_at_once_make_one_approval(world: World) -> None:
    """Ten copies of a request at the same instant make one approval and one mail each."""
    minted = await asyncio.gather(*(world.service.mint(mint_body()) for _ in range(10)))

    assert len({one.approval.id for one in minted}) == 1
    assert [one.created for one in minted].count(True) == 1
    assert (await world.store.backlog()).mails == 2


async def test_the_same_task_token_with_other_content_is_a_conflict(world: World) -> None:
    """One task cannot be asked about twice with different words."""
    await world.service.mint(mint_body())

    with pytest.raises(Conflict):
        await world.service.mint(mint_body(title="Deploy billing 4.3"))


async def test_a_wrong_mint_stores_nothing(world: World) -> None:
    """A refused request leaves no trace."""
    with pytest.raises(InvalidApprovalRequest):
        await world.service.mint(mint_body(title=""))

    page = await world.service.list(state=None, limit=10, cursor=None)
    assert page.approvals == []


async def test_a_mint_wakes_the_mail_worker(world: World) -> None:
    """The mail goes out at once, not at the next round."""
    woken: list[bool] = []
    world.service.on_mail_queued = lambda: woken.append(True)

    await world.service.mint(mint_body())

    assert woken == [True]


async def test_approving_completes_the_task(world: World) -> None:
    """An approval reaches the workflow, with who and when in the output."""
    approval = await world.mint()

    decided = await world.decide(approval, comment=" Looks good.\r\nGo. ")

    assert decided.mine
    assert decided.approval.state is State.DELIVERED
    assert decided.approval.delivered_at == NOW
    decision = decided.approval.decision
    assert decision is not None
    assert loads(world.workflow.outcome("token-1")) == {
        "approval": {
            "id": approval.id,
            "action": "approve",
            "by": "marc@example.com",
            "at": "2025-11-12T09:41:00.000Z",
            "comment": "Looks good.\nGo.",
            "decision_id": decision.id,
        }
    }
    assert await world.events(approval) == ["CREATED", "DECIDED", "DELIVERED"]


async def test_rejecting_fails_the_task_with_the_comment_as_cause(world: World) -> None:
    """The reason that a person typed is the cause that the workflow catches."""
    approval = await world.mint()

    await world.decide(approval, "reject", by=1, comment="Not on a Friday.")

    assert world.workflow.outcome("token-1") == ("Rejected", "Not on a Friday.")


async def test_a_rejection_without_comment_names_who_and_when(world: World) -> None:
    """Without a reason the cause still tells who it was."""
    approval = await world.mint()

    decided = await world.decide(approval, "reject", by=1)

    decision = decided.approval.decision
    assert decision is not None
    assert world.workflow.outcome("token-1") == (
        "Rejected",
        "Lena Vogt <lena@example.com> chose Reject at 2025-11-12T09:41:00.000Z "
        f"(decision_id={decision.id}).",
    )


async def test_the_same_decision_again_is_the_same_answer(world: World) -> None:
    """A second click by the same person is no error and sends nothing."""
    approval = await world.mint()
    first = await world.decide(approval)
    world.clock.advance(hours=1)

    again = await world.decide(approval)

    assert (again.approval, again.mine) == (first.approval, first.mine)
    assert (first.recorded, again.recorded) == (True, False)
    assert world.workflow.calls == ["SendTaskSuccess"]


async def test_another_decision_afterwards_changes_nothing(world: World) -> None:
    """Who comes second is told what was decided."""
    approval = await world.mint()
    first = await world.decide(approval)

    second = await world.decide(approval, "reject", by=1, comment="No.")

    assert not second.mine
    assert second.approval == first.approval
    assert world.workflow.calls == ["SendTaskSuccess"]


async def test_the_same_action_by_another_recipient_is_not_theirs(world: World) -> None:
    """The record names the one who was first."""
    approval = await world.mint()
    await world.decide(approval, by=0)

    second = await world.decide(approval, by=1)

    assert not second.mine
    assert second.approval.decision is not None
    assert second.approval.decision.by == "marc@example.com"


async def test_of_many_clicks_at_once_exactly_one_counts(world: World) -> None:
    """Sixty-four people press both buttons in the same instant: one decision, told to all."""
    approval = await world.mint()
    clicks = [("approve", "reject")[number % 2] for number in range(64)]

    told = await asyncio.gather(
        *(world.decide(approval, action, by=n // 2 % 2) for n, action in enumerate(clicks))
    )

    decisions = {decided.approval.decision for decided in told}
    assert len(decisions) == 1
    assert len(world.workflow.calls) == 1
    assert (await world.events(approval)).count("DECIDED") == 1
    assert 1 <= sum(decided.mine for decided in told) <= 16


@pytest.mark.sqlite
async def test_either_of_two_racing_actions_can_win(world: World) -> None:
    """Nobody is favoured: whoever comes first wins."""
    winners: Counter[str] = Counter()
    for number in range(6):
        approval = await world.mint(f"token-{number}")
        order = ("approve", "reject") if number % 2 else ("reject", "approve")
        await asyncio.gather(*(world.decide(approval, action) for action in order))
        decision = (await world.record(approval)).decision
        assert decision is not None
        winners[decision.action] += 1

    assert winners == {"approve": 3, "reject": 3}


async def test_a_missing_reason_is_refused_and_nothing_is_decided(world: World) -> None:
    """An action that asks for a reason waits for it."""
    actions = [{"name": "reject", "comment": "required"}]
    approval = await world.mint(actions=actions)

    with pytest.raises(BadRequest) as refusal:
        await world.decide(approval, "reject", comment=" \u202e\x00 ")

    assert refusal.value.fields == {"comment": "A reason is needed."}
    assert (await world.record(approval)).state is State.PENDING


async def test_a_decision_after_the_expiry_is_none(world: World) -> None:
    """Too late is too late, also when no sweeper came by."""
    approval = await world.mint(expires_in=60)
    world.clock.advance(seconds=60)

    decided = await world.decide(approval)

    assert not decided.mine
    assert decided.approval.state is State.EXPIRED
    assert decided.approval.decision is None
    assert await world.events(approval) == ["CREATED", "EXPIRED"]
    assert world.workflow.calls == []


async def test_a_decision_in_the_last_millisecond_counts(world: World) -> None:
    """Until the announced end one can decide."""
    approval = await world.mint(expires_in=60)
    world.clock.advance(milliseconds=59_999)

    assert (await world.decide(approval)).approval.state is State.DELIVERED


async def test_an_expired_approval_is_shown_as_expired_at_once(world: World) -> None:
    """Nobody sees an open request that cannot be answered."""
    approval = await world.mint(expires_in=60)
    world.clock.advance(seconds=60)

    found = await world.service.find(Holder(approval.id, 0, 0))

    assert found.state is State.EXPIRED
    assert (await world.service.show(approval.id)).approval.state is State.EXPIRED


async def test_a_withdrawn_approval_cannot_be_decided(world: World) -> None:
    """Withdrawing ends it; a repeated withdrawal is no error."""
    approval = await world.mint()

    await world.service.revoke(approval.id)
    again = await world.service.revoke(approval.id)
    decided = await world.decide(approval)

    assert again.state is State.REVOKED
    assert decided.approval.state is State.REVOKED
    assert decided.approval.decision is None
    assert await world.events(approval) == ["CREATED", "REVOKED"]
    assert world.workflow.calls == []


async def test_a_decided_approval_cannot_be_withdrawn(world: World) -> None:
    """What the workflow was told cannot be taken back."""
    approval = await world.mint()
    await world.decide(approval)

    with pytest.raises(Conflict):
        await world.service.revoke(approval.id)


async def test_withdrawing_and_deciding_at_once_has_one_winner(world: World) -> None:
    """Either it was decided or it was withdrawn, never both."""
    for number in range(10):
        approval = await world.mint(f"token-{number}")
        calls = [world.decide(approval), world.service.revoke(approval.id)]
        await asyncio.gather(*(calls if number % 2 else calls[::-1]), return_exceptions=True)

        record = await world.record(approval)
        was_told = world.workflow.outcome(f"token-{number}") is not None
        assert (record.state is State.DELIVERED) == was_told == (record.decision is not None)


async def test_resending_queues_a_mail_to_everybody(world: World) -> None:
    """A lost mail can be sent again."""
    approval = await world.mint()

    await world.service.resend(approval.id)

    assert (await world.store.backlog()).mails == 4
    assert await world.events(approval) == ["CREATED", "RESENT"]


async def test_a_decided_approval_is_not_sent_again(world: World) -> None:
    """Nobody is asked what is already decided."""
    approval = await world.mint()
    await world.decide(approval)

    with pytest.raises(Conflict):
        await world.service.resend(approval.id)


async def test_links_hold_for_what_exists_only(world: World) -> None:
    """A genuine link to nothing is answered like any other bad link."""
    approval = await world.mint()

    for holder in (
        Holder("a" * 26, 0, 0),
        Holder(approval.id, 2, 0),
        Holder(approval.id, 0, 2),
    ):
        with pytest.raises(UnknownLink):
            await world.service.find(holder)


async def test_unknown_approvals_are_unknown(world: World) -> None:
    """An id that does not exist is a clear refusal everywhere."""
    with pytest.raises(UnknownApproval):
        await world.service.show("a" * 26)
    with pytest.raises(UnknownApproval):
        await world.service.revoke("a" * 26)
    with pytest.raises(UnknownApproval):
        await world.service.resend("a" * 26)
    with pytest.raises(UnknownApproval):
        await world.service.audit("a" * 26)


async def test_approvals_are_listed_newest_first_in_pages(world: World) -> None:
    """All approvals come up, once each."""
    made = []
    for number in range(5):
        made.append(await world.mint(f"token-{number}"))
        world.clock.advance(seconds=0.001)

    first = await world.service.list(state=None, limit=2, cursor=None)
    second = await world.service.list(state=None, limit=2, cursor=first.next_cursor)
    third = await world.service.list(state=None, limit=2, cursor=second.next_cursor)

    pages = [*first.approvals, *second.approvals, *third.approvals]
    assert [view.approval.id for view in pages] == [one.id for one in reversed(made)]
    assert third.next_cursor is None
    assert first.approvals[0].mails == {0: MailState.QUEUED, 1: MailState.QUEUED}


async def test_a_list_can_be_limited_to_a_state(world: World) -> None:
    """Operators look for what is still open."""
    decided, pending = await world.mint("token-1"), await world.mint("token-2")
    await world.decide(decided)

    page = await world.service.list(state="PENDING", limit=10, cursor=None)

    assert [view.approval.id for view in page.approvals] == [pending.id]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "OPEN", "limit": 10, "cursor": None}, "state"),
        ({"state": None, "limit": 0, "cursor": None}, "limit"),
        ({"state": None, "limit": 101, "cursor": None}, "limit"),
        ({"state": None, "limit": 10, "cursor": "1 OR 1=1"}, "cursor"),
        ({"state": None, "limit": 10, "cursor": "9" * 40}, "cursor"),
    ],
)
async def test_a_wrong_list_query_is_refused(
    world: World, query: dict[str, str], field: str
) -> None:
    """A wrong query says which part is wrong."""
    with pytest.raises(BadRequest) as refusal:
        await world.service.list(**query)  # type: ignore[arg-type]

    assert list(refusal.value.fields) == [field]


async def test_the_audit_tells_who_decided_from_where(world: World) -> None:
    """The entry of a decision names person, action, address and browser."""
    approval = await world.mint()
    decided = await world.decide(approval, comment="Fine.")

    audit = await world.service.audit(approval.id)

    assert audit.verified
    _created, entry, delivered = audit.entries
    assert decided.approval.decision is not None
    assert entry["event"] == "DECIDED"
    assert entry["at"] == "2025-11-12T09:41:00.000Z"
    assert entry["by"] == "marc@example.com"
    assert entry["action"] == "approve"
    assert entry["decision_id"] == decided.approval.decision.id
    assert entry["from_ip"] == "192.0.2.7"
    assert entry["user_agent"] == "Browser/1"
    assert delivered["evidence"] == "SendTaskSuccess was accepted"


async def test_a_slow_workflow_does_not_hold_up_the_answer(tmp_path: Path) -> None:
    """People are told that their decision is saved, and that the workflow is being told."""
    world = await open_world(tmp_path / "a.sqlite3", inline_s=0.01)
    world.workflow.faults.append(Fault.HANGS)
    approval = await world.mint()

    decided = await world.decide(approval)
    world.workflow.release.set()
    await world.service.delivery.idle()

    assert decided.mine
    assert decided.approval.state is State.DECIDED
    assert (await world.record(approval)).state is State.DELIVERED
    await world.close()


async def test_a_client_that_goes_away_does_not_stop_the_delivery(tmp_path: Path) -> None:
    """A closed browser does not undo a click."""
    world = await open_world(tmp_path / "a.sqlite3")
    world.workflow.faults.append(Fault.HANGS)
    approval = await world.mint()
    click = asyncio.create_task(world.decide(approval))
    while not world.workflow.calls:
        await asyncio.sleep(0)

    click.cancel()
    await asyncio.gather(click, return_exceptions=True)
    world.workflow.release.set()
    await world.service.delivery.idle()

    assert (await world.record(approval)).state is State.DELIVERED
    await world.close()


@pytest.mark.parametrize("fault", [StoreUnavailable, StoreUnconfirmed])
async def test_an_unrecorded_decision_is_never_confirmed(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    """When the store fails, nobody is told that a decision was saved."""
    approval = await world.mint()

    async def fail(_ballot: object) -> bool:
        raise fault

    monkeypatch.setattr(world.store, "decide", fail)
    with pytest.raises(fault):
        await world.decide(approval)

    assert (await world.record(approval)).state is State.PENDING
    assert world.workflow.calls == []


async def test_a_decision_whose_confirmation_was_lost_is_read_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The winner is told that he won, though the store's answer did not come."""
    approval = await world.mint()
    record = world.store.decide

    async def write_and_fail(ballot: object) -> bool:
        await record(ballot)  # type: ignore[arg-type]
        raise StoreUnconfirmed

    monkeypatch.setattr(world.store, "decide", write_and_fail)
    decided = await world.decide(approval)

    assert decided.mine
    assert decided.approval.state is State.DELIVERED


async def test_a_decision_that_cannot_be_read_back_is_not_denied(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When only the reading fails, nobody is told that nothing was saved."""
    world.workflow.faults.append(Fault.THROTTLED)  # so that it must be read what became of it
    approval = await world.mint()
    read = world.store.approval

    async def fail_once_told(approval_id: str) -> Approval | None:
        if world.workflow.calls:
            raise StoreUnavailable
        return await read(approval_id)

    monkeypatch.setattr(world.store, "approval", fail_once_told)
    with pytest.raises(StoreUnconfirmed):
        await world.decide(approval)
    monkeypatch.setattr(world.store, "approval", read)

    assert (await world.record(approval)).state is State.DECIDED


async def test_a_lost_confirmation_does_not_make_a_loser_the_winner(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose decision it is tells its id, not the hope of the one who asks."""
    approval = await world.mint()
    record = world.store.decide

    async def lose_the_race(ballot: object) -> bool:
        monkeypatch.setattr(world.store, "decide", record)
        await world.decide(approval, "reject", by=1)
        raise StoreUnconfirmed

    monkeypatch.setattr(world.store, "decide", lose_the_race)
    decided = await world.decide(approval)

    assert not decided.mine
    assert decided.approval.decision is not None
    assert decided.approval.decision.action == "reject"
    assert world.workflow.calls == ["SendTaskFailure"]


async def test_dropping_a_key_kills_its_links_and_not_what_is_owed(tmp_path: Path) -> None:
    """After a leak the old links are dead, and decisions made before still reach the workflow."""
    path = tmp_path / "a.sqlite3"
    old = await open_world(path, keys=ring(OLDER_KEY))
    old.workflow.faults.append(Fault.THROTTLED)
    approval = await old.mint()
    old_link = old.minted[0].links[0].url.rpartition("/")[2]
    await old.decide(approval)
    await old.close()

    both = await open_world(path, keys=ring(KEY, OLDER_KEY), workflow=old.workflow, clock=old.clock)
    assert both.service.holder(old_link) == Holder(approval.id, 0, 0)
    await both.close()
    new = await open_world(path, keys=ring(KEY), workflow=old.workflow, clock=old.clock)
    with pytest.raises(UnknownLink):
        new.service.holder(old_link)
    await new.settle()

    assert (await new.record(approval)).state is State.DELIVERED
    await new.close()


async def test_a_store_of_other_keys_stops_the_start(tmp_path: Path) -> None:
    """With the wrong secret the service says what to do instead of starting half blind."""
    path = tmp_path / "a.sqlite3"
    await (await open_world(path, keys=ring(OLDER_KEY))).close()

    with pytest.raises(StartRefused, match="SIGNOFF_SECRET_KEYS"):
        await open_world(path, keys=ring(KEY))


@pytest.mark.sqlite
async def test_task_tokens_are_not_readable_in_the_files(tmp_path: Path) -> None:
    """Who steals the database finds no task token, no link and no key in it."""
    world = await open_world(tmp_path / "a.sqlite3")
    token = "AQCEAAAAKgAAAAMAAAAAAAAAAQ" * 20
    approval = await world.mint(token, execution_arn="arn:aws:states:::execution:x:y")
    link = world.minted[0].links[0].url.rpartition("/")[2]
    await world.decide(approval)

    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())

    assert approval.id.encode() in raw
    assert token[:40].encode() not in raw
    assert link.rpartition(".")[2].encode() not in raw
    assert KEY.encode() not in raw
    await world.close()


async def test_a_notice_is_queued_once_for_each_request(world: World) -> None:
    """A call that the workflow repeats does not send the mail twice."""
    body = {"to": ["ana@example.com"], "subject": "Deployed", "message": "All done."}

    first = await world.service.notify(body, request_id="request-1")
    again = await world.service.notify(body, request_id="request-1")
    other = await world.service.notify(body, request_id="request-2")

    assert first == again
    assert other.notice_id != first.notice_id
    assert (await world.store.backlog()).mails == 2
    notice = await world.store.notice(first.notice_id)
    assert notice is not None
    assert (notice.subject, notice.message) == ("Deployed", "All done.")
    assert await world.store.next_mail_at() == NOW


async def test_a_confirmation_is_about_the_newest_approval_of_the_execution(world: World) -> None:
    """A workflow that asked twice confirms what was decided last."""
    arn = "arn:aws:states:us-east-1:123456789012:execution:m:confirmed"
    await world.mint("token-1", execution_arn=arn)
    newest = await world.mint("token-2", execution_arn=arn)
    body = {"to": ["ana@example.com"], "decision_of": arn}

    notified = await world.service.notify(body, request_id="request-1")

    notice = await world.store.notice(notified.notice_id)
    assert notice is not None
    assert (notice.subject, notice.about) == (None, newest.id)


async def test_a_confirmation_of_an_unknown_execution_is_refused(world: World) -> None:
    """The sentence says which field, and what is missing."""
    arn = "arn:aws:states:us-east-1:123456789012:execution:m:unknown"

    with pytest.raises(InvalidApprovalRequest) as refusal:
        await world.service.notify({"to": ["a@example.com"], "decision_of": arn}, request_id="1")

    sentence = "No approval is known that was minted with this execution_arn."
    assert dict(refusal.value.fields) == {"decision_of": sentence}
    assert refusal.value.message == f"One field is wrong. decision_of: {sentence}"


async def test_the_lease_of_an_inline_delivery_is_longer_than_an_attempt(world: World) -> None:
    """Nobody else sends what is just being sent."""
    world.workflow.faults.append(Fault.HANGS)
    approval = await world.mint()
    click = asyncio.create_task(world.decide(approval))
    while not world.workflow.calls:
        await asyncio.sleep(0)

    world.clock.advance(seconds=14)
    await world.sweeper.sweep()
    calls = list(world.workflow.calls)
    world.workflow.release.set()
    await click

    assert calls == ["SendTaskSuccess"]
    assert (await world.record(approval)).closed_at == NOW + timedelta(seconds=14)


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_the_answer_to_a_decision_is_what_is_stored(world: World, action: str) -> None:
    """Whether it was read back or known: the same approval, to the last field."""
    approval = await world.mint()

    decided = await world.decide(approval, action, comment="Because.")

    assert decided.approval == await world.record(approval)


CALLBACK = Action(
    "approve",
    "approve",
    "default",
    CommentRule.NONE,
    Callback("success", {"output": 1}, takes_parameters=False),
)
HANDED_OUT = Request(
    "Workflow task", None, (), None, (), (CALLBACK,), NOW + timedelta(hours=1), None, None
)


async def test_each_opening_is_an_approval_of_its_own(world: World) -> None:
    """Two calls for one token are two approvals; the workflow takes the first answer."""
    world.workflow.wait_for("token-1")
    one, other = [
        await world.service.open(new_approval_id(), "token-1", HANDED_OUT) for _ in range(2)
    ]
    holders = [Holder(approval.id, 0, 0) for approval in (one, other)]

    answers = [
        await world.service.decide(
            holder,
            await world.service.find(holder),
            comment=None,
            from_ip=None,
            user_agent=None,
            payload=Payload(output="[1]"),
        )
        for holder in holders
    ]

    assert [answer.approval.state for answer in answers] == [State.DELIVERED, State.UNRESOLVED]
    assert world.workflow.outcome("token-1") == "[1]"
    assert answers[0].approval.decision is not None
    assert answers[0].approval.decision.by == ""


async def test_heartbeats_change_nothing_until_the_task_has_ended(world: World) -> None:
    """They may be repeated; the one that finds nobody waiting closes the approval."""
    world.workflow.wait_for("token-1")
    approval = await world.service.open(new_approval_id(), "token-1", HANDED_OUT)
    await world.service.heartbeat(approval.id)
    await world.service.heartbeat(approval.id)
    world.workflow.time_out("token-1")

    with pytest.raises(TaskGone):
        await world.service.heartbeat(approval.id)

    record = await world.record(approval)
    assert (record.state, record.evidence) == (State.CLOSED, "TaskTimedOut at a heartbeat")
    assert world.workflow.calls == ["SendTaskHeartbeat"] * 3
    assert await world.events(approval) == ["CREATED", "CLOSED"]
    with pytest.raises(UnknownApproval):
        await world.service.heartbeat("another")
