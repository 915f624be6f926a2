"""What every store must do; runs over each store in `factories.py`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.approvals.attempts import Settled
from app.approvals.audit import check_chain
from app.approvals.document import request_document
from app.approvals.mail.model import Mail, MailKind, MailResult, MailState, Notice
from app.approvals.model import (
    Action,
    Approval,
    Callback,
    CommentRule,
    Decision,
    Payload,
    Recipient,
    State,
)
from app.approvals.payloads import decision_payload
from app.approvals.request import read_mint
from app.approvals.store.interface import ApprovalStore, Backlog, Ballot, Lease, NewApproval, Owed
from tests.approvals.store.factories import FACTORIES, Factory
from tests.approvals.world import NOW, mint_body, ring

LATER = NOW + timedelta(minutes=1)
DELIVERED = Settled(State.DELIVERED, "proof")


@pytest.fixture(params=list(FACTORIES.values()), ids=list(FACTORIES))
def factory(request: pytest.FixtureRequest) -> Factory:
    """Opens stores."""
    opens: Factory = request.param
    return opens


@pytest.fixture
async def store(factory: Factory, tmp_path: Path) -> AsyncIterator[ApprovalStore]:
    """An empty store."""
    opened = factory(tmp_path)
    yield opened
    await opened.close()


def new(approval_id: str = "approval-1", **changes: Any) -> NewApproval:
    """A mint ready to be stored."""
    mint = read_mint(mint_body() | changes, NOW, 3600)
    return NewApproval(
        id=approval_id,
        target="embedded",
        request=mint.request,
        document=mint.document,
        fingerprint=mint.fingerprint,
        sealed_token=b"sealed " + approval_id.encode(),
        created_at=NOW,
    )


def ballot(
    approval_id: str = "approval-1",
    *,
    decision_id: str | None = None,
    action: str = "approve",
    recipient: int = 0,
    at: datetime = LATER,
) -> Ballot:
    """A decision ready to be recorded."""
    request = new(approval_id).request
    by = request.recipients[recipient].email
    # Drawn for each decision, so never the same for two approvals.
    decision_id = decision_id or ("d1" if approval_id == "approval-1" else f"d1 {approval_id}")
    decision = Decision(decision_id, action, recipient, by, at, "Fine.")
    payload = decision_payload(approval_id, request, decision)
    return Ballot(approval_id, decision, payload, lease(), "192.0.2.7", "Browser/1")


def lease(owner: str = "me", *, until: datetime = LATER + timedelta(seconds=15)) -> Lease:
    """A lease."""
    return Lease(owner, until)


async def events(store: ApprovalStore, approval_id: str = "approval-1") -> list[str]:
    """The names of the audit entries, of a chain that holds."""
    chain = await store.chain(approval_id)
    assert chain is not None
    assert check_chain(chain) is None
    return [entry.event for entry in chain.entries]


async def found(store: ApprovalStore, approval_id: str = "approval-1") -> Approval:
    """What is stored."""
    approval = await store.approval(approval_id)
    assert approval is not None
    return approval


async def test_mails_are_counted_by_mailbox_and_hour(store: ApprovalStore) -> None:
    """All of a mail's recipients or none; each hour begins anew."""
    one, two, hour = b"1" * 16, b"2" * 16, NOW.replace(minute=0)

    counted = [
        await store.count_mails([one, two], hour, 2),
        await store.count_mails([one], hour, 2),
        await store.count_mails([two, one], hour, 2),
        await store.count_mails([two], hour, 2),
        await store.count_mails([two], hour, 2),
        await store.count_mails([one, two], hour + timedelta(hours=1), 2),
    ]

    assert counted == [True, True, False, True, False, True]


async def test_mails_counted_at_once_are_all_counted(factory: Factory, tmp_path: Path) -> None:
    """By several processes: no more pass than may."""
    stores = [factory(tmp_path), factory(tmp_path)]

    counts = (stores[number % 2].count_mails([b"1" * 16], NOW, 3) for number in range(8))
    counted = await asyncio.gather(*counts)

    assert sorted(counted) == [False] * 5 + [True] * 3
    for store in stores:
        await store.close()


async def test_pending_tasks_are_looked_at_in_time(store: ApprovalStore) -> None:
    """For heartbeats at a third of the time; an execution when its approval's age has doubled."""
    await store.mint(new("beating", heartbeat_seconds=30))
    await store.mint(new("known", execution_arn="arn:aws:states:us-east-1:1:execution:m:e"))
    await store.mint(new("unknown"))
    early = await store.claim_pending(NOW + timedelta(seconds=9), 10)

    looked_at = [
        (seconds, stored.approval.id, stored.sealed_token)
        for seconds in range(10, 241, 10)
        for stored in await store.claim_pending(NOW + timedelta(seconds=seconds), 10)
    ]

    beats = [(seconds, "beating", b"sealed beating") for seconds in range(10, 241, 10)]
    looks = [(seconds, "known", b"sealed known") for seconds in (60, 120, 240)]
    assert early == []
    assert sorted(looked_at) == sorted(beats + looks)


async def test_a_pending_task_is_looked_at_by_one(factory: Factory, tmp_path: Path) -> None:
    """However many processes sweep, and as many at once as are asked for."""
    stores = [factory(tmp_path), factory(tmp_path)]
    for number in range(5):
        await stores[0].mint(new(f"approval-{number}", heartbeat_seconds=3))

    first = await stores[0].claim_pending(LATER, 2)
    both = await asyncio.gather(*(store.claim_pending(LATER, 10) for store in stores))
    none = await stores[1].claim_pending(LATER, 10)

    claimed = [stored.approval.id for found in (first, *both) for stored in found]
    assert (len(first), sorted(claimed), none) == (2, [f"approval-{n}" for n in range(5)], [])
    assert await stores[0].claim_pending(LATER, 0) == []
    for store in stores:
        await store.close()


async def test_what_is_looked_at_expires_and_is_decided_as_ever(store: ApprovalStore) -> None:
    """And is looked at no more."""
    await store.mint(new("approval-1", heartbeat_seconds=3))
    await store.mint(new("approval-2", heartbeat_seconds=3))
    await store.claim_pending(LATER, 10)
    assert await store.decide(ballot("approval-1")) == b"sealed approval-1"

    after = await store.claim_pending(LATER + timedelta(seconds=1), 10)
    past = NOW + timedelta(hours=1)
    last = await store.claim_pending(past, 10)
    expired = await store.expired(past, 10)

    assert [stored.approval.id for stored in after] == ["approval-2"]
    assert [stored.approval.id for stored in last] == ["approval-2"]
    assert [approval.id for approval in expired] == ["approval-2"]


async def test_a_mint_is_stored_once(store: ApprovalStore) -> None:
    """A second approval with the same id changes nothing, whatever it says."""
    assert await store.mint(new())
    assert not await store.mint(new(title="Other"))

    stored = await store.stored("approval-1")
    assert stored is not None
    assert stored.sealed_token == b"sealed approval-1"
    assert stored.fingerprint == new().fingerprint
    assert stored.approval == Approval("approval-1", "embedded", new().request, State.PENDING, NOW)
    assert await found(store) == stored.approval
    assert await events(store) == ["CREATED"]


async def test_a_request_without_recipients_mails_nobody_and_can_be_decided(
    store: ApprovalStore,
) -> None:
    """Its links went to whoever asked; the decision is nobody's by name."""
    callback = Callback("success", {"output": {"a": [1, None]}}, takes_parameters=True)
    action = Action("approve", "approve", "default", CommentRule.NONE, callback)
    request = replace(new().request, recipients=(), actions=(action,))
    await store.mint(replace(new(), request=request, document=request_document(request)))
    decision = Decision("d1", "approve", 0, "", LATER, None)
    payload = Payload(output='{"a": [1, null]}')

    assert await store.claim_mails(NOW, LATER, 100) == []
    assert (await found(store)).request == request
    assert await store.decide(Ballot("approval-1", decision, payload, lease(), None, None))
    assert (await found(store)).decision == decision
    assert await events(store) == ["CREATED", "DECIDED"]


async def test_mints_at_once_are_stored_once(store: ApprovalStore) -> None:
    """Exactly one of many equal mints is new."""
    results = await asyncio.gather(*(store.mint(new()) for _ in range(20)))

    assert sorted(results) == [False] * 19 + [True]
    assert len(await store.claim_mails(NOW, LATER, 100)) == 2


async def test_what_is_not_there_is_not_found(store: ApprovalStore) -> None:
    """An unknown id is nothing, everywhere."""
    assert await store.stored("x") is None
    assert await store.approval("x") is None
    assert await store.chain("x") is None
    assert await store.notice("x") is None
    assert await store.mail_states("x") == {}
    assert not await store.decide(ballot("x"))
    assert not await store.expire("x", None, LATER)
    assert not await store.revoke("x", LATER)
    assert not await store.task_closed("x", "proof", LATER)
    assert not await store.resend("x", LATER)
    assert not await store.settle("x", DELIVERED, LATER)


async def test_the_newest_approval_of_an_execution_is_found(store: ApprovalStore) -> None:
    """A workflow may ask several times; others do not matter."""
    arn = "arn:aws:states:us-east-1:123456789012:execution:m:e"
    for number, execution in enumerate([arn, arn, arn + "2", None], 1):
        await store.mint(new(f"approval-{number}", execution_arn=execution))

    assert await store.newest_of_execution(arn) == "approval-2"
    assert await store.newest_of_execution(arn + "3") is None


async def test_a_decision_is_recorded_with_all_that_belongs_to_it(store: ApprovalStore) -> None:
    """State, vote, payload, lease and audit come in one piece."""
    await store.mint(new())

    assert await store.decide(ballot())

    approval = await found(store)
    assert approval.state is State.DECIDED
    assert approval.decision == ballot().decision
    assert await events(store) == ["CREATED", "DECIDED"]
    assert (await store.backlog()).answers == 1
    assert await store.claim(lease("other"), LATER, 10) == []


async def test_only_one_of_many_ballots_counts(store: ApprovalStore) -> None:
    """Whatever comes at once, one decision is recorded and never changes."""
    await store.mint(new())
    ballots = [
        ballot(decision_id=f"d{n}", action=("approve", "reject")[n % 2], recipient=n // 2 % 2)
        for n in range(64)
    ]

    results = await asyncio.gather(*(store.decide(one) for one in ballots))

    tokens = [token for token in results if token is not None]
    assert tokens == [b"sealed approval-1"]
    winner = ballots[results.index(tokens[0])].decision
    assert (await found(store)).decision == winner
    assert not await store.decide(ballot(decision_id="late"))
    assert (await found(store)).decision == winner
    assert await events(store) == ["CREATED", "DECIDED"]


async def test_two_processes_on_one_store_have_one_winner(factory: Factory, tmp_path: Path) -> None:
    """Also between processes exactly one decision counts, and both see it."""
    stores = [factory(tmp_path), factory(tmp_path)]
    for number in range(20):
        await stores[0].mint(new(f"approval-{number}"))
        ballots = [ballot(f"approval-{number}", decision_id=f"d{n} {number}") for n in range(2)]
        order = (0, 1) if number % 2 else (1, 0)

        results = await asyncio.gather(*(stores[n].decide(ballots[n]) for n in order))

        won = [token is not None for token in results]
        assert sorted(won) == [False, True]
        winner = ballots[order[won.index(True)]].decision
        assert {(await found(one, f"approval-{number}")).decision for one in stores} == {winner}
    for one in stores:
        await one.close()


async def test_a_decision_at_the_expiry_is_too_late(store: ApprovalStore) -> None:
    """The last moment is the one before the expiry."""
    expiry = new().request.expires_at
    await store.mint(new())

    assert not await store.decide(ballot(at=expiry))
    assert await store.decide(ballot(at=expiry - timedelta(milliseconds=1)))


async def test_an_expiry_before_its_date_does_nothing(store: ApprovalStore) -> None:
    """Nobody can expire what is still open."""
    expiry = new().request.expires_at
    await store.mint(new())

    assert not await store.expire("approval-1", None, expiry - timedelta(milliseconds=1))
    assert await store.expired(expiry - timedelta(milliseconds=1), 10) == []
    assert [one.id for one in await store.expired(expiry, 10)] == ["approval-1"]
    assert await store.expire("approval-1", None, expiry)
    assert not await store.expire("approval-1", None, expiry)
    assert await store.expired(expiry, 10) == []
    assert (await found(store)).closed_at == expiry
    assert await events(store) == ["CREATED", "EXPIRED"]


async def test_expired_approvals_come_in_order_and_in_batches(store: ApprovalStore) -> None:
    """The one that has waited longest comes first."""
    for number in (3, 1, 2):
        await store.mint(new(f"approval-{number}", expires_in=number * 60))

    due = await store.expired(NOW + timedelta(hours=1), 2)

    assert [one.id for one in due] == ["approval-1", "approval-2"]


async def test_an_expiry_with_an_answer_owes_it(store: ApprovalStore) -> None:
    """What is to be said on expiry is delivered like a decision; the state stays."""
    expiry = new().request.expires_at
    payload = Payload(error="Expired", cause="Nobody decided.")
    await store.mint(new())
    await store.expire("approval-1", payload, expiry)
    mine = lease(until=expiry + timedelta(seconds=15))

    claimed = await store.claim(mine, expiry, 10)
    settled = await store.settle("approval-1", DELIVERED, expiry)

    assert claimed == [
        Owed(
            approval_id="approval-1",
            target="embedded",
            sealed_token=b"sealed approval-1",
            payload=payload,
            decision_id=None,
            execution_arn=None,
            attempts=1,
            lease=mine,
        )
    ]
    assert settled
    approval = await found(store)
    assert (approval.state, approval.decision, approval.delivered_at) == (
        State.EXPIRED,
        None,
        expiry,
    )
    assert await events(store) == ["CREATED", "EXPIRED", "EXPIRY_DELIVERED"]


async def test_final_states_do_not_change(store: ApprovalStore) -> None:
    """No move leads out of a final state."""
    expiry = new().request.expires_at
    ways: dict[str, Callable[[str], Awaitable[bool]]] = {
        "revoked": lambda one: store.revoke(one, LATER),
        "expired": lambda one: store.expire(one, None, expiry),
        "closed": lambda one: store.task_closed(one, "TaskTimedOut 6", LATER),
    }
    for name, end in ways.items():
        await store.mint(new(name))
        assert await end(name)
        before = await found(store, name)

        assert not await store.decide(ballot(name))
        for again in ways.values():
            assert not await again(name)
        assert not await store.settle(name, DELIVERED, LATER)
        assert not await store.resend(name, LATER)
        assert await found(store, name) == before
        assert before.state.value == name.upper()


@pytest.mark.parametrize(
    "state", [State.DELIVERED, State.TOO_LATE, State.SUPERSEDED, State.UNRESOLVED]
)
async def test_a_proof_ends_what_is_owed(store: ApprovalStore, state: State) -> None:
    """The first proof counts; a second deliverer's changes nothing."""
    await store.mint(new())
    await store.decide(ballot())

    assert await store.settle("approval-1", Settled(state, "proof"), LATER)
    assert not await store.settle("approval-1", Settled(State.DELIVERED, "other"), LATER)

    approval = await found(store)
    assert (approval.state, approval.evidence, approval.closed_at) == (state, "proof", LATER)
    assert approval.delivered_at == (LATER if state is State.DELIVERED else None)
    assert approval.decision == ballot().decision
    assert await events(store) == ["CREATED", "DECIDED", state.value]
    assert (await store.backlog()).answers == 0


async def test_an_undecided_approval_owes_nothing(store: ApprovalStore) -> None:
    """There is nothing to prove before somebody decided."""
    await store.mint(new())

    assert not await store.settle("approval-1", DELIVERED, LATER)
    assert await store.claim(lease(), LATER, 10) == []


async def test_what_is_owed_is_handed_to_one_until_the_lease_ends(store: ApprovalStore) -> None:
    """Two that ask at once do not get the same; after the lease another may."""
    await store.mint(new())
    await store.decide(ballot())
    ends = lease().until

    early = await store.claim(lease("a"), ends - timedelta(milliseconds=1), 10)
    both = await asyncio.gather(
        store.claim(lease("a", until=ends + timedelta(seconds=15)), ends, 10),
        store.claim(lease("b", until=ends + timedelta(seconds=15)), ends, 10),
    )

    assert early == []
    (owed,) = [*both[0], *both[1]]
    assert owed.attempts == 2
    assert owed.payload == ballot().payload
    assert owed.decision_id == "d1"


async def test_owed_answers_come_in_order_and_in_batches(store: ApprovalStore) -> None:
    """The longest owed come first, no more than asked for."""
    for number in range(5):
        await store.mint(new(f"approval-{number}"))
        one = ballot(f"approval-{number}")
        until = LATER + timedelta(seconds=5 - number)
        await store.decide(replace(one, lease=Lease("me", until)))

    claimed = await store.claim(lease("other"), LATER + timedelta(hours=1), 3)

    assert [owed.approval_id for owed in claimed] == ["approval-4", "approval-3", "approval-2"]
    assert await store.claim(lease("other"), LATER + timedelta(hours=1), 0) == []


async def test_a_postponed_answer_is_due_again_at_its_date(store: ApprovalStore) -> None:
    """Giving back a lease says when to try again, and why."""
    await store.mint(new())
    await store.decide(ballot())
    owed = await _claimed(store)
    again = owed.lease.until + timedelta(seconds=30)

    await store.postpone(owed, again, "Throttling", False, LATER)

    assert (await found(store)).evidence == "Throttling"
    assert await store.claim(lease("x"), again - timedelta(milliseconds=1), 10) == []
    assert len(await store.claim(lease("x"), again, 10)) == 1
    assert await events(store) == ["CREATED", "DECIDED"]


async def _claimed(store: ApprovalStore) -> Owed:
    until = lease().until
    (owed,) = await store.claim(Lease("other", until + timedelta(seconds=15)), until, 10)
    return owed


async def test_an_operator_is_called_once(store: ApprovalStore) -> None:
    """The flag and one entry; repeated refusals add no more."""
    await store.mint(new())
    await store.decide(ballot())
    for _ in range(3):
        moment = LATER + timedelta(hours=1)
        (owed,) = await store.claim(Lease("me", moment), moment, 10)
        await store.postpone(owed, moment, "AccessDenied", True, moment)

    assert (await found(store)).needs_operator
    assert (await store.backlog()).needs_operator == 1
    assert await events(store) == ["CREATED", "DECIDED", "NEEDS_OPERATOR"]


async def test_a_lease_that_another_took_cannot_be_given_back(store: ApprovalStore) -> None:
    """Who was too slow does not disturb who came after."""
    await store.mint(new())
    await store.decide(ballot())
    slow = await _claimed(store)
    moment = slow.lease.until
    (taken,) = await store.claim(Lease("next", moment + timedelta(seconds=15)), moment, 10)

    await store.postpone(slow, moment, "Throttling", True, moment)

    assert not (await found(store)).needs_operator
    assert await store.claim(lease("x"), taken.lease.until - timedelta(milliseconds=1), 10) == []


async def test_leases_can_be_released(store: ApprovalStore) -> None:
    """A process gives back its own; a lone one takes over those of the dead."""
    for name in ("a", "b"):
        await store.mint(new(name))
        await store.decide(replace(ballot(name), lease=lease(name)))

    await store.release("a", LATER)
    mine = [owed.approval_id for owed in await store.claim(lease("x"), LATER, 10)]
    await store.release(None, LATER)
    rest = {owed.approval_id for owed in await store.claim(lease("y"), LATER, 10)}

    assert mine == ["a"]
    assert rest == {"a", "b"}


async def test_releasing_does_not_wake_what_waits_for_its_date(store: ApprovalStore) -> None:
    """A postponed answer is nobody's lease."""
    await store.mint(new())
    await store.decide(ballot())
    owed = await _claimed(store)
    await store.postpone(owed, LATER + timedelta(hours=1), "Throttling", False, LATER)

    await store.release(None, LATER)

    assert await store.claim(lease("x"), LATER + timedelta(minutes=59), 10) == []


async def test_approvals_are_listed_newest_first(store: ApprovalStore) -> None:
    """Pages follow each other without gaps, with and without a state."""
    for number in range(5):
        await store.mint(new(f"approval-{number}"))
    await store.revoke("approval-3", LATER)

    first, cursor = await store.list(None, 3, None)
    second, end = await store.list(None, 3, cursor)
    revoked, _ = await store.list(State.REVOKED, 3, None)
    pending, more = await store.list(State.PENDING, 4, None)

    assert [one.id for one in [*first, *second]] == [f"approval-{n}" for n in (4, 3, 2, 1, 0)]
    assert end is None
    assert [one.id for one in revoked] == ["approval-3"]
    assert [one.id for one in pending] == ["approval-4", "approval-2", "approval-1", "approval-0"]
    assert more is None


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "\u0661"])
async def test_a_foreign_cursor_is_refused(store: ApprovalStore, cursor: str) -> None:
    """Only what a list gave is a cursor."""
    with pytest.raises(ValueError, match="cursor"):
        await store.list(None, 3, cursor)


async def test_each_recipient_gets_a_mail(store: ApprovalStore) -> None:
    """A mint queues one mail for each recipient, due at once."""
    await store.mint(new())

    assert await store.next_mail_at() == NOW
    claimed = await store.claim_mails(NOW, LATER, 10)

    assert claimed == [
        Mail(claimed[0].id, "approval-1", None, MailKind.REQUEST, 0, 0, 1),
        Mail(claimed[1].id, "approval-1", None, MailKind.REQUEST, 1, 0, 1),
    ]
    assert await store.next_mail_at() == LATER


async def test_a_mail_is_handed_to_one_until_its_lease_ends(store: ApprovalStore) -> None:
    """Workers do not send the same mail at the same time; a dead one's mail comes back."""
    await store.mint(new())

    both = await asyncio.gather(store.claim_mails(NOW, LATER, 1), store.claim_mails(NOW, LATER, 10))
    early = await store.claim_mails(LATER - timedelta(milliseconds=1), LATER, 10)
    again = await store.claim_mails(LATER, LATER + timedelta(minutes=1), 10)

    assert len({mail.id for mails in both for mail in mails}) == sum(map(len, both)) == 2
    assert early == []
    assert [mail.attempts for mail in again] == [2, 2]


async def test_what_became_of_a_mail_is_kept_and_audited(store: ApprovalStore) -> None:
    """Sent, refused, put off: each recipient has their own state."""
    await store.mint(new(recipients=["a@example.com", "b@example.com", "c@example.com"]))
    sent, refused, deferred = await store.claim_mails(NOW, LATER, 10)
    again = LATER + timedelta(minutes=5)

    await store.finish_mails(
        [
            MailResult(sent.id, MailState.SENT),
            MailResult(refused.id, MailState.REFUSED, note="550 no such user"),
            MailResult(deferred.id, MailState.QUEUED, again, "451 greylisted"),
        ],
        LATER,
    )

    assert await store.mail_states("approval-1") == {
        0: MailState.SENT,
        1: MailState.REFUSED,
        2: MailState.QUEUED,
    }
    assert await store.next_mail_at() == again
    assert await events(store) == ["CREATED", "MAIL_SENT", "MAIL_REFUSED"]
    chain = await store.chain("approval-1")
    assert chain is not None
    assert chain.entries[2].details == {"recipient": 1, "round": 0, "note": "550 no such user"}


async def test_a_mail_that_is_done_stays_done(store: ApprovalStore) -> None:
    """A late report of another worker changes nothing."""
    await store.mint(new(recipients=["a@example.com"]))
    (mail,) = await store.claim_mails(NOW, LATER, 10)

    await store.finish_mails([MailResult(mail.id, MailState.SENT)], LATER)
    await store.finish_mails([MailResult(mail.id, MailState.FAILED)], LATER)
    await store.finish_mails([MailResult("10000", MailState.SENT)], LATER)

    assert await store.mail_states("approval-1") == {0: MailState.SENT}
    assert await events(store) == ["CREATED", "MAIL_SENT"]
    assert await store.claim_mails(LATER + timedelta(days=1), LATER, 10) == []


async def test_resending_makes_a_new_round(store: ApprovalStore) -> None:
    """Everybody gets another mail, told apart from the first."""
    await store.mint(new())
    await store.finish_mails(
        [MailResult(mail.id, MailState.SENT) for mail in await store.claim_mails(NOW, LATER, 9)],
        LATER,
    )

    assert await store.resend("approval-1", LATER)

    again = await store.claim_mails(LATER, LATER + timedelta(minutes=1), 10)
    assert [(mail.recipient, mail.round) for mail in again] == [(0, 1), (1, 1)]
    assert await store.mail_states("approval-1") == dict.fromkeys((0, 1), MailState.QUEUED)
    assert (await events(store))[-1] == "RESENT"


async def test_a_notice_is_stored_once(store: ApprovalStore) -> None:
    """The same notice again queues nothing."""
    notice = Notice(
        id="notice-1",
        to=(Recipient("a@example.com", "A", "de", "Europe/Berlin"), Recipient("b@example.com")),
        subject="Deployed",
        message=None,
        facts=(("By", "Marc"), ("At", "noon")),
        created_at=NOW,
        about="approval-1",
    )

    assert await store.add_notice(notice)
    assert not await store.add_notice(replace(notice, subject="Other"))

    assert await store.notice("notice-1") == notice
    claimed = await store.claim_mails(NOW, LATER, 10)
    assert [(mail.approval_id, mail.notice_id, mail.kind) for mail in claimed] == [
        (None, "notice-1", MailKind.NOTICE)
    ] * 2
    await store.finish_mails([MailResult(mail.id, MailState.SENT) for mail in claimed], LATER)
    assert await store.next_mail_at() is None


async def test_the_backlog_tells_what_is_owed_since_when(store: ApprovalStore) -> None:
    """Health checks see the oldest owed answer and mail."""
    assert await store.backlog() == Backlog(0, None, 0, 0, None)
    await store.mint(new())
    await store.decide(ballot())

    assert await store.backlog() == Backlog(1, LATER, 0, 2, NOW)


async def test_everything_is_still_there_after_a_restart(factory: Factory, tmp_path: Path) -> None:
    """What was acknowledged is on disk."""
    store = factory(tmp_path)
    await store.mint(new())
    await store.decide(ballot())
    before = (await found(store), await events(store), await store.backlog())
    await store.close()

    again = factory(tmp_path)

    assert (await found(again), await events(again), await again.backlog()) == before
    await again.close()


async def test_digests_cover_all_entries_without_gaps(store: ApprovalStore) -> None:
    """Each digest goes on where the last one ended."""
    for number in range(5):
        await store.mint(new(f"approval-{number}"))

    assert await store.unsigned_entries() == (5, None)
    first = await store.sign_entries(ring(), NOW, 3)
    second = await store.sign_entries(ring(), LATER, 3)
    third = await store.sign_entries(ring(), LATER, 3)

    assert first is not None
    assert second is not None
    assert [(first.first, first.last), (second.first, second.last)] == [(1, 3), (4, 5)]
    assert third is None
    assert await store.unsigned_entries() == (0, LATER)
    assert await store.digests() == [first, second]
    assert [number for number, _ in await store.entry_hashes(2, 4)] == [2, 3, 4]
    found = [chain.approval_id async for chain in store.chains()]
    assert sorted(found) == [f"approval-{number}" for number in range(5)]


async def test_the_wrapped_data_key_is_kept_and_replaced(store: ApprovalStore) -> None:
    """The first one stays; a replacement needs to know what it replaces."""
    assert await store.keep_wraps({"a": b"1"}) == {"a": b"1"}
    assert await store.keep_wraps({"b": b"2"}) == {"a": b"1"}
    assert not await store.replace_wraps({"x": b"1"}, {"b": b"2"})
    assert await store.replace_wraps({"a": b"1"}, {"a": b"3", "b": b"2"})
    assert await store.keep_wraps({}) == {"a": b"3", "b": b"2"}
