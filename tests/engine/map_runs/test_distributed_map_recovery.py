"""Map Runs whatever happens: crashes at any point, and counts that always add up."""

import asyncio
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.map_runs.children import AT_ONCE
from app.engine.map_runs.rows import NAMES, load_run
from app.engine.store import STATUSES
from app.errors import StepFunctionsError
from app.strict_json import Json
from tests.engine.driving import Driver, crash, only, parked
from tests.engine.mapping import children_of, counted, distributed, run_of, runs_of

_ROWS = """SELECT e.status, count(*), total(i.items) FROM map_items i
    LEFT JOIN executions e ON e.id = i.execution WHERE i.key >> 27 = ? GROUP BY e.status"""


def check_counts(driver: Driver) -> None:
    """What each run says of its children and items is what their rows say."""
    with sqlite3.connect(driver.database.path) as connection:
        query: Any = lambda sql, values: connection.execute(sql, values).fetchall()  # noqa: E731
        for (run_id,) in query("SELECT id FROM map_runs", ()):
            run = load_run(query, run_id)
            rows = {row[0]: (row[1], int(row[2])) for row in query(_ROWS, (run_id,))}
            found = {
                name: (run.count(name), run.count(name, items=True)) for name in NAMES.values()
            }
            expected = {
                name: rows.get(STATUSES.index(status), (0, 0)) for status, name in NAMES.items()
            }
            assert found == expected
            assert (run.pending(), run.pending(items=True)) == rows.get(None, (0, 0))
    connection.close()


@pytest.mark.parametrize("turns", [0, 3, 10, 30, 100, 300])
async def test_a_run_goes_on_after_a_crash(driver: Driver, turns: int) -> None:
    """Wherever it was: each item has one child, and the result is whole."""
    items = list(range(3 * AT_ONCE))
    arn = await driver.machine(only(distributed(ItemSelector={"n.$": "$$.Map.Item.Value"})))
    started = await driver.call("StartExecution", stateMachineArn=arn, input=str(items))
    for _ in range(turns):
        await asyncio.sleep(0.0001)
    await crash(driver)
    await driver.start()
    await driver.engine.idle()

    assert await driver.output(started["executionArn"]) == [{"n": n} for n in items]
    children = await children_of(driver, started["executionArn"], maxResults=1_000)
    assert len(children) == len(items)
    check_counts(driver)


async def test_children_that_wait_survive_a_crash(driver: Driver) -> None:
    """Their tokens are as good as before, and their end lets the run go on."""
    arn = await driver.run(only(distributed(parked(), MaxConcurrency=2)), [1, 2, 3])
    await crash(driver)
    await driver.start()

    for position in range(3):
        await driver.succeed(position, driver.tokens[position])

    assert await driver.output(arn) == [0, 1, 2]
    check_counts(driver)


async def test_a_stop_is_finished_after_a_crash(driver: Driver) -> None:
    """Children that were still to be stopped are."""
    count = AT_ONCE + 10
    arn = await driver.run(only(distributed(parked())), list(range(count)))
    await driver.engine.stop_execution(execution_arn=arn)
    await crash(driver)
    await driver.start()
    await driver.engine.idle()

    run = await run_of(driver, arn)
    assert run["status"] == "ABORTED"
    assert counted(run["executionCounts"]) == {"aborted": count, "total": count}
    check_counts(driver)


async def test_a_forgotten_parent_takes_its_runs_along(driver: Driver) -> None:
    """Retention leaves nothing of them."""
    await driver.run(only(distributed()), [1, 2])
    driver.clock.now = driver.clock.now.replace(year=2027)
    await driver.engine.retention.trim()

    for table in ("executions", "map_runs", "map_items", "history"):
        assert driver.database.read(f"SELECT count(*) FROM {table}") == [(0,)]


async def test_children_outlive_retention_while_their_run_needs_them(driver: Driver) -> None:
    """What they gave is a part of the result."""
    arn = await driver.run(only(distributed(parked(), MaxConcurrency=1)), [1, 2])
    await driver.succeed("first", driver.tokens[0])
    driver.clock.now = driver.clock.now.replace(year=2026, month=6)
    await driver.engine.retention.trim()
    await driver.succeed("second", driver.tokens[1])

    assert await driver.output(arn) == ["first", "second"]


ACTS = ("succeed", "fail", "stop child", "limits", "stop", "redrive", "crash", "restart")


async def act(driver: Driver, arn: str, what: str, number: int) -> None:
    """Do something to a run; what is refused is no fault."""
    token = driver.tokens[number % len(driver.tokens)] if driver.tokens else ""
    match what:
        case "succeed":
            await driver.engine.send_task_success(token, "1")
        case "fail":
            await driver.engine.send_task_failure(token, "E", None)
        case "stop child":
            children = await children_of(driver, arn)
            child = children[number % len(children)]["executionArn"]
            await driver.call("StopExecution", executionArn=child)
        case "limits":
            members: Json = {"maxConcurrency": number % 4, "toleratedFailureCount": number % 3}
            run = (await runs_of(driver, arn))[0]["mapRunArn"]
            await driver.call("UpdateMapRun", mapRunArn=run, **members)
        case "stop":
            await driver.call("StopExecution", executionArn=arn)
        case "redrive":
            await driver.call("RedriveExecution", executionArn=arn)
        case "crash":
            await crash(driver)
            await driver.start()
        case _:
            await driver.restart()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 5),
    st.integers(0, 3),
    st.sampled_from([None, 1, 2]),
    st.sampled_from(["STANDARD", "EXPRESS"]),
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 9)), max_size=12),
)
def test_counts_always_add_up(
    count: int, limit: int, batch: int | None, kind: str, acts: list[tuple[str, int]]
) -> None:
    """After each thing that happens to a run, also while its consequences are under way."""

    async def live(directory: Path) -> None:
        driver = Driver(directory)
        await driver.start()
        state = distributed(WORK[kind], kind, MaxConcurrency=limit, ToleratedFailureCount=1)
        if batch is not None:
            state["ItemBatcher"] = {"MaxItemsPerBatch": batch}
        arn = await driver.run(only(state), list(range(count)))
        for what, number in acts:
            with suppress(StepFunctionsError, ZeroDivisionError):
                await act(driver, arn, what, number)
            check_counts(driver)
            await driver.engine.idle()
            check_counts(driver)
        run = await run_of(driver, arn)
        for counts in (run["itemCounts"], run["executionCounts"]):
            beside = counts["resultsWritten"] + counts["failuresNotRedrivable"]
            assert sum(counts.values()) - beside == 2 * counts["total"]
        await driver.stop()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(live(Path(directory)))


#: what waits for someone; an Express child waits for the clock alone
WORK = {"STANDARD": parked(), "EXPRESS": {"Type": "Wait", "Seconds": 60, "End": True}}


@pytest.mark.parametrize("turns", [0, 2, 5, 10, 20, 40, 80])
async def test_a_stop_and_a_redrive_at_once_lose_no_item(driver: Driver, turns: int) -> None:
    """Wherever the run was: all items are worked on in the end."""
    items = list(range(1_000))
    arn = await driver.machine(only(distributed()))
    started = await driver.call("StartExecution", stateMachineArn=arn, input=str(items))
    arn = started["executionArn"]
    for _ in range(turns):
        await asyncio.sleep(0)
    await driver.call("StopExecution", executionArn=arn)
    for _ in range(turns):
        await asyncio.sleep(0)
    with suppress(StepFunctionsError):
        await driver.call("RedriveExecution", executionArn=arn)
    await driver.engine.idle()

    assert await driver.output(arn) == items
    check_counts(driver)


@pytest.mark.parametrize("fault", ["_filling.fill", "_work"])
async def test_a_fault_of_ours_fails_the_run_or_leaves_it(
    driver: Driver, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried for ever; what could not even fail is taken up by the next start."""

    async def broken(_run: object) -> bool:
        raise LookupError("a fault")

    with monkeypatch.context() as patched:
        *part, name = fault.split(".")
        owner: Any = driver.engine._map_runs
        patched.setattr(getattr(owner, part[0]) if part else owner, name, broken)
        arn = await driver.run(only(distributed()), [1])
    if fault == "_work":
        assert await driver.status(arn) == "RUNNING"
        await driver.restart()
        await driver.engine.idle()

    described = await driver.describe(arn)
    assert (described["error"], described["cause"]) == (
        "States.Runtime",
        "An internal error occurred.",
    )
