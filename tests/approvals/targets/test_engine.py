"""Decisions reach the real engine, and its real histories tell what became of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.approvals.model import Approval, State
from app.approvals.targets.embedded import EmbeddedTarget
from app.errors import StoreUnconfirmed
from app.strict_json import Json, loads
from tests.approvals.world import World, open_world
from tests.engine.driving import PARK, Driver

ASK: Json = {
    "Type": "Task",
    "Resource": PARK,
    "Parameters": {
        "FunctionName": "signoff",
        "Payload": {
            "task_token.$": "$$.Task.Token",
            "execution_arn.$": "$$.Execution.Id",
            "title": "Deploy?",
            "recipients": ["marc@example.com", "lena@example.com"],
        },
    },
    "End": True,
}


class Lossy:
    """An engine whose answers are lost on the way back, as often as told."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.losses = 0

    async def send_task_success(self, *arguments: Any) -> Json:
        await self._driver.engine.send_task_success(*arguments)
        self._lose()

    async def send_task_failure(self, *arguments: Any) -> Json:
        await self._driver.engine.send_task_failure(*arguments)
        self._lose()

    async def send_task_heartbeat(self, *arguments: Any) -> Json:
        await self._driver.engine.send_task_heartbeat(*arguments)
        self._lose()

    async def get_execution_history(self, *arguments: Any) -> Json:
        return await self._driver.engine.get_execution_history(*arguments)

    def _lose(self) -> None:
        if self.losses:
            self.losses -= 1
            raise StoreUnconfirmed


class Both:
    """The engine and the approvals of one process."""

    def __init__(self, world: World, driver: Driver, lossy: Lossy) -> None:
        self.world = world
        self.driver = driver
        self.lossy = lossy

    async def ask(self, **changes: Any) -> tuple[str, list[Approval]]:
        """Run a machine that asks; its execution and the open approvals, oldest first."""
        definition = {"StartAt": "Ask", "States": {"Ask": ASK | changes}}
        return await self.run(definition)

    async def run(self, definition: Json) -> tuple[str, list[Approval]]:
        """Run *definition*; its execution and the open approvals, oldest first."""
        arn = await self.driver.run(definition)
        return arn, await self.open()

    async def open(self) -> list[Approval]:
        """The approvals that wait for somebody, oldest first."""
        approvals, _ = await self.world.store.list(State.PENDING, 100, None)
        return list(reversed(approvals))


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    """An engine whose function `signoff` is the real one."""

    async def signoff(event: Json, invocation: Any) -> Json:
        return await world.function()(event, invocation.request_id)

    driver = Driver(tmp_path / "engine", {"signoff": signoff})
    await driver.start()
    lossy = Lossy(driver)
    world = await open_world(tmp_path / "approvals.sqlite3", target=EmbeddedTarget(lossy))
    yield Both(world, driver, lossy)
    await world.close()
    await driver.stop()


async def test_a_workflow_asks_and_goes_on_with_the_decision(both: Both) -> None:
    """No glue: the state machine calls the function, a person decides, the task has the output."""
    execution, (approval,) = await both.ask()

    decided = await both.world.decide(approval, by=1, comment="Go.")
    await both.driver.engine.idle()

    assert decided.approval.state is State.DELIVERED
    output = await both.driver.output(execution)
    assert output["approval"]["by"] == "lena@example.com"
    assert output["approval"]["comment"] == "Go."


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_a_lost_answer_is_found_in_the_engines_history(both: Both, action: str) -> None:
    """Applied, confirmation lost: the history of the engine proves it."""
    both.lossy.losses = 1
    _, (approval,) = await both.ask()

    await both.world.decide(approval, action, comment="Because.")
    await both.world.settle()

    record = await both.world.record(approval)
    assert record.state is State.DELIVERED
    assert record.evidence is not None
    assert record.evidence.startswith("TaskSucceeded" if action == "approve" else "TaskFailed")


async def test_a_task_that_timed_out_is_too_late(both: Both) -> None:
    """The click after TimeoutSeconds does not count."""
    _, (approval,) = await both.ask(TimeoutSeconds=60)
    await both.driver.pass_time(61)

    decided = await both.world.decide(approval)

    assert decided.approval.state is State.TOO_LATE
    assert decided.approval.evidence is not None
    assert decided.approval.evidence.startswith("TaskTimedOut")


async def test_a_stopped_execution_is_too_late(both: Both) -> None:
    """The click after StopExecution does not count."""
    execution, (approval,) = await both.ask()
    await both.driver.engine.stop_execution(execution_arn=execution)

    decided = await both.world.decide(approval)

    assert decided.approval.state is State.TOO_LATE
    assert decided.approval.evidence is not None
    assert decided.approval.evidence.startswith("ExecutionAborted")


async def test_a_task_that_a_stranger_completed_is_superseded(both: Both) -> None:
    """Another success than ours is not ours."""
    execution, (approval,) = await both.ask()
    history = await both.driver.engine.get_execution_history(execution, 100, None)
    (scheduled,) = (one for one in history["events"] if one["type"] == "TaskScheduled")
    parameters = scheduled["taskScheduledEventDetails"]["parameters"]
    token = parameters.partition('"task_token":"')[2].partition('"')[0]
    await both.driver.engine.send_task_success(token, '{"ok":true}')

    decided = await both.world.decide(approval)

    assert decided.approval.state is State.SUPERSEDED


async def test_the_link_of_an_earlier_attempt_does_not_answer_the_next_one(both: Both) -> None:
    """After a retry only the newest mail counts."""
    retry = [{"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    execution, (first,) = await both.ask(TimeoutSeconds=60, Retry=retry)
    await both.driver.pass_time(61)
    await both.driver.pass_time(2)
    _, second = await both.open()

    late = await both.world.decide(first, "reject")
    status = await both.driver.status(execution)
    decided = await both.world.decide(second)
    await both.driver.engine.idle()

    assert late.approval.state is State.TOO_LATE
    assert status == "RUNNING"
    assert decided.approval.state is State.DELIVERED
    assert await both.driver.status(execution) == "SUCCEEDED"


async def test_parallel_tasks_with_lost_answers_are_told_apart(both: Both) -> None:
    """Each branch has its own decision, though no confirmation came back."""
    branches = [_branch(f"Ask {number}", f"No {number}") for number in range(8)]
    parallel = {"Type": "Parallel", "Branches": branches, "End": True}
    _, approvals = await both.run({"StartAt": "All", "States": {"All": parallel}})
    both.lossy.losses = 8

    for number, approval in enumerate(approvals):
        await both.world.decide(approval, ("approve", "reject")[number % 2], comment="Same.")
    await both.world.settle()

    records = [await both.world.record(approval) for approval in approvals]
    assert [record.state for record in records] == [State.DELIVERED] * 8
    assert len({record.evidence for record in records}) == 8


def _branch(ask: str, no: str) -> Json:
    caught = [{"ErrorEquals": ["States.ALL"], "Next": no}]
    states = {ask: ASK | {"Catch": caught}, no: {"Type": "Pass", "End": True}}
    return {"StartAt": ask, "States": states}


async def test_a_wrong_request_fails_the_task_by_name(both: Both) -> None:
    """A typo in the state machine is an error that it can catch, and that names the typo."""
    execution, approvals = await both.ask(
        Parameters={"FunctionName": "signoff", "Payload": {"titel": "Deploy?"}}
    )

    described = await both.driver.describe(execution)

    assert approvals == []
    assert described["status"] == "FAILED"
    assert described["error"] == "InvalidApprovalRequest"
    assert loads(described["cause"])["errorMessage"] == (
        "4 fields are wrong. titel: There is no such field. task_token: This field is required. "
        "title: This field is required. recipients: This field is required."
    )
