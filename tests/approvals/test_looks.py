"""While nobody has decided: heartbeats, and tasks that end."""

from datetime import timedelta

import pytest

from app.approvals.model import State
from app.approvals.protocol import next_look
from app.approvals.request import read_mint
from app.errors import InvalidApprovalRequest
from tests.approvals.workflow import Fault
from tests.approvals.world import NOW, World, mint_body

pytestmark = pytest.mark.usefixtures("each_store")

BEAT = "SendTaskHeartbeat"


async def test_a_pending_approval_keeps_its_task_alive(world: World) -> None:
    """Three times in the time that the state allows, and not once somebody decided."""
    approval = await world.mint(heartbeat_seconds=30)
    for _ in range(6):
        world.clock.advance(seconds=5)
        await world.sweep()
    beats = list(world.workflow.calls)

    await world.decide(approval)
    world.clock.advance(seconds=30)
    await world.sweep()

    assert beats == [BEAT] * 3
    assert world.workflow.calls == [BEAT] * 3 + ["SendTaskSuccess"]
    assert (await world.record(approval)).state is State.DELIVERED


async def test_no_heartbeat_is_sent_that_nobody_asked_for(world: World) -> None:
    """A state may want to end when its own worker falls silent."""
    await world.mint()
    world.clock.advance(days=1)

    await world.sweep()

    assert world.workflow.calls == ["GetExecutionHistory"]


async def test_a_heartbeat_finds_out_that_the_task_ended(world: World) -> None:
    """The approval is closed, with the reason in its audit."""
    approval = await world.mint(heartbeat_seconds=3)
    world.workflow.time_out("token-1")
    world.clock.advance(seconds=1)

    await world.sweep()

    record = await world.record(approval)
    assert (record.state, record.evidence) == (State.CLOSED, "TaskTimedOut at a heartbeat")
    assert await world.events(approval) == ["CREATED", "CLOSED"]
    assert (await world.service.audit(approval.id)).verified


@pytest.mark.parametrize(
    ("ending", "evidence"), [("time_out", "TaskTimedOut 6"), ("abort", "ExecutionAborted 6")]
)
async def test_a_task_that_ended_is_found_in_the_history(
    world: World, ending: str, evidence: str
) -> None:
    """Nobody is asked any more for what nobody waits for."""
    approval = await world.mint()
    getattr(world.workflow, ending)("token-1")
    world.clock.advance(seconds=60)

    await world.sweep()

    record = await world.record(approval)
    assert (record.state, record.evidence) == (State.CLOSED, evidence)


async def test_a_later_attempt_of_the_same_state_is_another_task(world: World) -> None:
    """The first attempt's approval is closed, the second's stays open, as does one unseen."""
    first = await world.mint("token-1")
    arn = first.request.execution_arn or ""
    world.workflow.time_out("token-1")
    world.workflow.histories[arn].pop()  # the state retries, so the execution did not end
    second = await world.mint("token-2", execution_arn=arn)
    world.workflow.add_task(arn, "token-2")
    world.clock.advance(seconds=60)

    await world.sweep()

    assert (await world.record(first)).state is State.CLOSED
    assert (await world.record(second)).state is State.PENDING


async def test_an_open_task_whose_token_is_not_shown_stays_open(world: World) -> None:
    """What another task of the execution did proves nothing."""
    approval = await world.mint("token-1")
    arn = world.workflow.wait_for("token-1", show_token=False)
    world.workflow.complete("token-1", "{}")
    world.workflow.histories[arn] = world.workflow.histories[arn][:-2]
    world.clock.advance(seconds=60)

    await world.sweep()

    assert (await world.record(approval)).state is State.PENDING


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.DENIED, Fault.LOST_BEFORE])
async def test_a_heartbeat_that_fails_is_sent_again(world: World, fault: Fault) -> None:
    """Nothing is closed for want of an answer."""
    world.workflow.faults.append(fault)
    approval = await world.mint(heartbeat_seconds=3)
    for _ in range(2):
        world.clock.advance(seconds=1)
        await world.sweep()

    assert world.workflow.calls == [BEAT, BEAT]
    assert (await world.record(approval)).state is State.PENDING


async def test_a_history_that_cannot_be_read_closes_nothing(world: World) -> None:
    """It is read again when its time comes."""
    world.workflow.history_faults.append(Fault.DENIED)
    approval = await world.mint()
    world.workflow.time_out("token-1")
    world.clock.advance(seconds=60)
    await world.sweep()
    denied = (await world.record(approval)).state
    world.clock.advance(seconds=60)
    await world.sweep()

    assert denied is State.PENDING
    assert (await world.record(approval)).state is State.CLOSED


@pytest.mark.sqlite
async def test_many_pending_tasks_are_looked_at_in_one_go(world: World) -> None:
    """More than are looked at together take no more time than it takes."""
    for number in range(100):
        await world.mint(f"token-{number}", heartbeat_seconds=3)
    world.clock.advance(seconds=1)

    await world.sweep()
    while world.sweeper.behind:
        await world.sweep()

    assert world.workflow.calls == [BEAT] * 100


@pytest.mark.sqlite
def test_looks_grow_rare() -> None:
    """An execution that waits for a year is asked four times a day."""
    request = read_mint(mint_body(execution_arn="arn:aws:states:x"), NOW, 3_600).request
    ages = (timedelta(0), timedelta(minutes=5), timedelta(days=30))

    waits = [next_look(request, NOW, NOW + age) for age in ages]

    assert [at and at - NOW - age for at, age in zip(waits, ages, strict=True)] == [
        timedelta(minutes=1),
        timedelta(minutes=5),
        timedelta(hours=6),
    ]


@pytest.mark.sqlite
@pytest.mark.parametrize("wrong", [0, -1, 100_000_000, "30", True, 1.5])
def test_a_heartbeat_that_no_state_can_have_is_refused(wrong: object) -> None:
    """By its field."""
    with pytest.raises(InvalidApprovalRequest) as caught:
        read_mint(mint_body(heartbeat_seconds=wrong), NOW, 3_600)

    assert dict(caught.value.fields) == {
        "heartbeat_seconds": "A whole number from 1 to 99,999,999 is needed."
    }
