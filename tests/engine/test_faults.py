"""Faults of ours: they end the execution that meets them, and no other waits for it."""

import asyncio
import sqlite3
from datetime import timedelta

import pytest

from app.engine import loops
from app.engine.state_machines.machines import Revision
from app.engine.steps.execution import Transition
from tests.engine.driving import Driver, invoked, only

WAIT = {"Type": "Wait", "Seconds": 5, "End": True}


def cannot_follow(driver: Driver, *names: str) -> None:
    """Let those machines' transitions fail in their writes, unless they call something or end."""
    map_runs = driver.engine._map_runs
    follow = map_runs.follow

    def faulty(
        connection: sqlite3.Connection, revision: Revision, made: Transition, now_ms: int
    ) -> None:
        follow(connection, revision, made, now_ms)
        if revision.machine_name in names and not made.calls and not made.ended:
            raise OverflowError("too large to be stored")

    map_runs.follow = faulty


async def test_a_step_that_cannot_be_stored_ends_its_execution(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not tried for ever; another that is due at the same moment goes on."""
    states = {"First": {"Type": "Wait", "Seconds": 5, "Next": "Second"}, "Second": WAIT}
    broken = await driver.run({"StartAt": "First", "States": states}, name="broken")
    sound = await driver.run(only(WAIT), name="sound")
    cannot_follow(driver, "broken")

    await driver.pass_time(5)

    described = await driver.describe(broken)
    assert (described["error"], described["cause"]) == (
        "States.Runtime",
        "An internal error occurred.",
    )
    assert await driver.story(broken) == [
        "1<0 ExecutionStarted",
        "2<0 WaitStateEntered",
        "3<2 ExecutionFailed",
    ]
    assert await driver.status(sound) == "SUCCEEDED"
    assert [record.message for record in caplog.records] == ["a step could not be stored"]


async def test_an_answer_that_cannot_be_stored_ends_its_execution(driver: Driver) -> None:
    """The call is not made again and again."""
    cannot_follow(driver, "broken")
    task = invoked("echo") | {"Next": "Last"}
    del task["End"]

    arn = await driver.run(only(task, Last=WAIT), name="broken")

    assert await driver.status(arn) == "FAILED"
    assert len(driver.calls) == 1


async def test_the_loop_outlives_an_execution_that_cannot_be_read(
    driver: Driver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due is looked at again, and served as soon as it can be."""
    monkeypatch.setattr(loops, "PAUSE_S", 0.01)  # a second is for people
    arn = await driver.run(only(WAIT))
    await driver.database.write(lambda c: c.execute("UPDATE executions SET revision = -revision"))
    driver.clock.now += timedelta(seconds=5)
    driver.engine._conductor._wake.set()
    while not caplog.records:
        await asyncio.sleep(0)

    await driver.database.write(lambda c: c.execute("UPDATE executions SET revision = -revision"))
    while await driver.status(arn) == "RUNNING":
        await asyncio.sleep(0)

    assert await driver.status(arn) == "SUCCEEDED"
    assert "a loop stumbled" in {record.message for record in caplog.records}
