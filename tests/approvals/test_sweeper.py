"""What is owed is delivered, whatever goes wrong on the way; what is over, ends."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from app.approvals.model import State
from app.strict_json import loads
from tests.approvals.workflow import ARN, Fault
from tests.approvals.world import NOW, World, open_world

pytestmark = pytest.mark.usefixtures("each_store")


@pytest.mark.parametrize("action", ["approve", "reject"])
@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.THROTTLED])
async def test_an_answer_that_did_not_arrive_is_sent_again(
    world: World, fault: Fault, action: str
) -> None:
    """A workflow service that was down is told when it is back."""
    world.workflow.faults.append(fault)
    approval = await world.mint()

    decided = await world.decide(approval, action)
    await world.settle()

    assert decided.approval.state is State.DECIDED
    assert (await world.record(approval)).state is State.DELIVERED
    assert len(world.workflow.calls) == 2


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_an_answer_that_was_applied_but_not_confirmed_is_found_in_the_history(
    world: World, action: str
) -> None:
    """A lost confirmation never makes a decision that counted look too late."""
    world.workflow.faults.append(Fault.LOST_AFTER)
    approval = await world.mint()

    decided = await world.decide(approval, action)
    await world.settle()

    record = await world.record(approval)
    assert decided.approval.state is State.DECIDED
    assert record.state is State.DELIVERED
    assert record.evidence in ("TaskSucceeded 6", "TaskFailed 6")
    assert await world.events(approval) == ["CREATED", "DECIDED", "DELIVERED"]


async def test_a_timed_out_task_is_too_late(world: World) -> None:
    """When the task had ended before the click, nobody is told that it counted."""
    approval = await world.mint()
    world.workflow.time_out("token-1")

    decided = await world.decide(approval)

    assert decided.approval.state is State.TOO_LATE
    assert decided.approval.evidence == "TaskTimedOut 6"
    assert decided.approval.delivered_at is None


async def test_a_stopped_execution_is_too_late(world: World) -> None:
    """When the execution was stopped before the click, the evidence says so."""
    approval = await world.mint()
    world.workflow.abort("token-1")

    decided = await world.decide(approval)

    assert decided.approval.state is State.TOO_LATE
    assert decided.approval.evidence == "ExecutionAborted 6"


async def test_a_task_that_somebody_else_completed_is_superseded(world: World) -> None:
    """Another answer than ours is never taken for ours, not even another success."""
    approval = await world.mint()
    await world.workflow.send_task_success("token-1", '{"ok":true}')

    decided = await world.decide(approval)

    assert decided.approval.state is State.SUPERSEDED
    assert decided.approval.evidence == "TaskSucceeded 6"


async def test_without_the_execution_nobody_can_know(world: World) -> None:
    """A closed task of an unnamed execution is left to the operator."""
    approval = await world.mint(execution_arn=None)
    world.workflow.time_out("token-1")

    decided = await world.decide(approval)

    assert decided.approval.state is State.UNRESOLVED


async def test_a_history_that_may_not_be_read_leaves_it_to_the_operator(world: World) -> None:
    """Missing permission to read the history is no proof of anything."""
    approval = await world.mint()
    world.workflow.time_out("token-1")
    world.workflow.history_faults.append(Fault.DENIED)

    decided = await world.decide(approval)

    assert decided.approval.state is State.UNRESOLVED
    assert decided.approval.evidence == "TaskTimedOut, and the history: AccessDeniedException"


async def test_a_history_of_an_unknown_execution_leaves_it_to_the_operator(world: World) -> None:
    """A wrong execution in the mint is found out by whoever looks."""
    approval = await world.mint(execution_arn=ARN + "another")
    world.workflow.time_out("token-1")

    assert (await world.decide(approval)).approval.state is State.UNRESOLVED


async def test_a_history_that_cannot_be_read_now_is_read_later(world: World) -> None:
    """Throttling while reading the history only takes longer."""
    world.workflow.faults.append(Fault.LOST_AFTER)
    world.workflow.history_faults.append(Fault.THROTTLED)
    approval = await world.mint()
    await world.decide(approval)

    await world.settle()

    assert (await world.record(approval)).state is State.DELIVERED


async def test_a_refusal_waits_for_an_operator_and_is_never_dropped(world: World) -> None:
    """Missing permissions are mended by people; then the decision arrives."""
    world.workflow.faults.extend([Fault.DENIED] * 3)
    approval = await world.mint()

    decided = await world.decide(approval)
    first = await world.store.backlog()
    for _ in range(3):
        world.clock.advance(seconds=61)
        await world.sweep()

    assert decided.approval.state is State.DECIDED
    assert decided.approval.needs_operator
    assert decided.approval.evidence == "AccessDeniedException"
    assert (first.answers, first.needs_operator, first.oldest_answer_at) == (1, 1, NOW)
    record = await world.record(approval)
    assert record.state is State.DELIVERED
    assert not record.needs_operator
    assert await world.events(approval) == ["CREATED", "DECIDED", "NEEDS_OPERATOR", "DELIVERED"]


async def test_a_crash_between_decision_and_delivery_loses_nothing(tmp_path: Path) -> None:
    """What was recorded before a crash is delivered after it, at once."""
    path = tmp_path / "a.sqlite3"
    world = await open_world(path, inline_s=0.01)
    world.workflow.faults.append(Fault.HANGS)
    approval = await world.mint()
    await world.decide(approval)

    # No close: the process is gone, its leases are not.
    after = await open_world(path, workflow=world.workflow, clock=world.clock)
    await after.sweeper.recover()
    await after.sweep()

    assert (await after.record(approval)).state is State.DELIVERED
    await after.close()
    await world.close()


async def test_a_process_that_is_not_alone_waits_for_the_lease(tmp_path: Path) -> None:
    """Another process may be just delivering; its lease is left to it until it ends."""
    path = tmp_path / "a.sqlite3"
    world = await open_world(path, inline_s=0.01, alone=False)
    world.workflow.faults.append(Fault.HANGS)
    approval = await world.mint()
    await world.decide(approval)

    after = await open_world(path, workflow=world.workflow, clock=world.clock, alone=False)
    await after.sweeper.recover()
    await after.sweep()
    before_the_end = (await after.record(approval)).state
    world.clock.advance(seconds=15)
    await after.sweep()

    assert before_the_end is State.DECIDED
    assert (await after.record(approval)).state is State.DELIVERED
    await after.close()
    await world.close()


async def test_a_crash_after_the_answer_was_applied_loses_nothing(tmp_path: Path) -> None:
    """An answer that the workflow took before the crash is recognised after it."""
    path = tmp_path / "a.sqlite3"
    world = await open_world(path, inline_s=0.01)
    world.workflow.faults.append(Fault.HANGS_AFTER)
    approval = await world.mint()
    await world.decide(approval)

    after = await open_world(path, workflow=world.workflow, clock=world.clock)
    await after.sweeper.recover()
    await after.sweep()

    assert (await after.record(approval)).state is State.DELIVERED
    assert (await after.record(approval)).evidence == "TaskSucceeded 6"
    assert await after.events(approval) == ["CREATED", "DECIDED", "DELIVERED"]
    await after.close()
    await world.close()


async def test_stopping_gives_back_what_is_not_done(tmp_path: Path) -> None:
    """An orderly stop leaves nothing leased: the next process delivers at once."""
    path = tmp_path / "a.sqlite3"
    world = await open_world(path)
    world.workflow.faults.append(Fault.THROTTLED)
    approval = await world.mint()
    await world.decide(approval)
    await world.close()

    after = await open_world(path, workflow=world.workflow, clock=world.clock, alone=False)
    after.clock.advance(seconds=1)
    await after.sweep()

    assert (await after.record(approval)).state is State.DELIVERED
    await after.close()


@pytest.mark.sqlite
async def test_one_that_always_fails_does_not_hold_up_the_others(world: World) -> None:
    """A poisoned approval waits alone."""
    poisoned = await world.mint("poisoned")
    world.workflow.faults.append(Fault.DENIED)
    await world.decide(poisoned)
    approvals = [await world.mint(f"token-{number}") for number in range(100)]
    world.workflow.faults.extend([Fault.THROTTLED] * 100)
    for approval in approvals:
        await world.decide(approval)
    world.clock.advance(seconds=1)

    for _ in range(3):
        await world.sweep()

    states = Counter([(await world.record(approval)).state for approval in approvals])
    assert states == {State.DELIVERED: 100}
    assert (await world.record(poisoned)).state is State.DECIDED


@pytest.mark.sqlite
async def test_more_than_fit_at_once_are_delivered_without_waiting_for_the_next_round(
    tmp_path: Path,
) -> None:
    """Two hundred owed answers do not take a round of the clock for each sixty-four."""
    world = await open_world(tmp_path / "a.sqlite3", every_s=3600)
    approvals = [await world.mint(f"token-{number}") for number in range(200)]
    world.workflow.faults.extend([Fault.THROTTLED] * 200)
    await asyncio.gather(*(world.decide(approval) for approval in approvals))
    world.clock.advance(seconds=1)

    world.sweeper.start()
    while (await world.store.backlog()).answers:
        await asyncio.sleep(0)

    assert len(world.workflow.calls) == 400
    await world.close()


@pytest.mark.sqlite
async def test_repeated_failures_are_tried_less_and_less_often(world: World) -> None:
    """The waits double up to a minute (the drawn delay is the longest here)."""
    world.workflow.faults.extend([Fault.THROTTLED] * 9)
    approval = await world.mint()
    await world.decide(approval)
    waits = []

    for _ in range(8):
        row = (await world.store.backlog()).answers
        assert row == 1
        before, waited = len(world.workflow.calls), 0
        while len(world.workflow.calls) == before:
            world.clock.advance(seconds=1)
            waited += 1
            await world.sweep()
        waits.append(waited)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_expired_approvals_end_and_tell_nobody(world: World) -> None:
    """Without `on_expiry`, an approval that nobody answered ends quietly."""
    approval = await world.mint(expires_in=60)

    await world.sweep()
    before = (await world.record(approval)).state
    world.clock.advance(seconds=60)
    await world.sweep()
    record = await world.record(approval)

    assert before is State.PENDING
    assert record.state is State.EXPIRED
    assert record.decision is None
    assert record.closed_at == NOW + timedelta(seconds=60)
    assert world.workflow.is_open("token-1")
    assert world.workflow.calls == []


async def test_on_expiry_the_workflow_is_told_what_the_mint_said(world: World) -> None:
    """With `on_expiry` the workflow goes on by itself; the approval has no decision."""
    approval = await world.mint(expires_in=60, on_expiry={"type": "failure", "error": "Expired"})
    world.clock.advance(seconds=60)

    await world.settle()

    record = await world.record(approval)
    assert record.state is State.EXPIRED
    assert record.decision is None
    assert record.delivered_at == NOW + timedelta(seconds=60)
    assert world.workflow.outcome("token-1") == (
        "Expired",
        f"Nobody decided before 2025-11-12T09:42:00.000Z (approval={approval.id}).",
    )
    assert await world.events(approval) == ["CREATED", "EXPIRED", "EXPIRY_DELIVERED"]
    assert (await world.service.audit(approval.id)).verified


async def test_an_expiry_may_be_an_approval_when_the_mint_insists(world: World) -> None:
    """A default approval carries no name of a person."""
    approval = await world.mint(
        expires_in=60,
        on_expiry={"type": "success", "output": {"ok": True}},
        allow_default_approve=True,
    )
    world.clock.advance(seconds=60)

    await world.settle()

    assert loads(world.workflow.outcome("token-1")) == {
        "ok": True,
        "approval": {
            "id": approval.id,
            "action": None,
            "by": None,
            "at": "2025-11-12T09:42:00.000Z",
            "comment": None,
        },
    }


@pytest.mark.parametrize("fault", [Fault.LOST_AFTER, Fault.LOST_BEFORE, Fault.THROTTLED])
async def test_what_is_owed_on_expiry_survives_faults(world: World, fault: Fault) -> None:
    """The answer on expiry is as safe as a decision."""
    world.workflow.faults.append(fault)
    approval = await world.mint(expires_in=60, on_expiry={"type": "failure", "error": "Expired"})
    world.clock.advance(seconds=60)

    await world.settle()

    assert (await world.record(approval)).state is State.EXPIRED
    assert await world.events(approval) == ["CREATED", "EXPIRED", "EXPIRY_DELIVERED"]


async def test_a_task_that_ended_before_the_expiry_stays_as_it_is(world: World) -> None:
    """An expiry that comes too late changes nothing and is written down."""
    approval = await world.mint(expires_in=60, on_expiry={"type": "failure", "error": "Expired"})
    world.workflow.time_out("token-1")
    world.clock.advance(seconds=60)

    await world.settle()

    assert (await world.record(approval)).state is State.EXPIRED
    assert await world.events(approval) == ["CREATED", "EXPIRED", "EXPIRY_TOO_LATE"]


@pytest.mark.sqlite
async def test_many_expiries_at_once_all_end(world: World) -> None:
    """More than one batch takes more than one round, not more than a few."""
    approvals = [await world.mint(f"token-{number}", expires_in=60) for number in range(250)]
    world.clock.advance(seconds=60)

    await world.sweep()
    await world.sweep()

    states = Counter([(await world.record(approval)).state for approval in approvals])
    assert states == {State.EXPIRED: 250}


async def test_the_mail_worker_is_woken_when_a_mail_is_due(world: World) -> None:
    """A mail that was put off is not forgotten."""
    woken: list[bool] = []
    world.service.on_mail_queued = lambda: woken.append(True)
    await world.mint()
    woken.clear()

    await world.sweep()
    await world.store.claim_mails(world.clock(), world.clock() + timedelta(seconds=60), 10)
    await world.sweep()

    assert woken == [True]


async def test_digests_are_signed_each_hour(world: World) -> None:
    """New entries are signed at once the first time, then once an hour."""
    await world.mint("token-1")
    await world.sweep()
    await world.mint("token-2")
    await world.sweep()
    within = len(await world.store.digests())
    world.clock.advance(hours=1)
    await world.sweep()

    digests = await world.store.digests()
    assert within == 1
    assert [(digest.first, digest.last) for digest in digests] == [(1, 1), (2, 2)]


async def test_a_broken_step_does_not_stop_the_sweeping(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails, the rest is done, and the failure is in the log."""
    approval = await world.mint(expires_in=60)
    world.clock.advance(seconds=60)

    async def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(world.store, "claim", fail)
    await world.sweep()

    assert (await world.record(approval)).state is State.EXPIRED
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "a sweep step failed"
    ]


async def test_the_sweeper_sweeps_by_itself(tmp_path: Path) -> None:
    """Once started it delivers what is owed without being asked."""
    path = tmp_path / "a.sqlite3"
    world = await open_world(path, inline_s=0.01)
    world.workflow.faults.append(Fault.HANGS)
    approval = await world.mint()
    await world.decide(approval)

    after = await open_world(path, workflow=world.workflow, clock=world.clock)
    after.sweeper.start()
    while world.workflow.is_open("token-1"):
        await asyncio.sleep(0.001)
    await after.service.delivery.idle()

    assert (await after.record(approval)).state is State.DELIVERED
    await after.close()
    await world.close()


async def test_a_token_that_is_gone_but_open_in_the_history_calls_an_operator(
    world: World,
) -> None:
    """When the service contradicts itself for long, somebody has to look (a wrong endpoint)."""
    approval = await world.mint()
    world.workflow._open.clear()
    await world.decide(approval)

    for _ in range(20):
        world.clock.advance(seconds=61)
        await world.sweep()

    record = await world.record(approval)
    assert record.state is State.DECIDED
    assert record.needs_operator
    assert record.evidence == "TaskTimedOut"
