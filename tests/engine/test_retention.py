"""Retention: closed executions go after a while, in the background, and crashes do no harm."""

import asyncio
import sqlite3

import pytest

from app.engine.retention import trim_some
from app.engine.store import ID_BITS
from app.errors import (
    ExecutionDoesNotExist,
    ExecutionNotRedrivable,
    StateMachineDoesNotExist,
    TaskTimedOut,
)
from tests.engine.driving import ROLE, Driver, only, parked
from tests.engine.mapping import distributed

DAY_S = 86_400
PASS = only({"Type": "Pass", "End": True})
FAIL = only({"Type": "Fail", "Error": "E"})
TABLES = (
    *("executions", "history", "frames", "halted", "mocked_calls", "trimmed"),
    *("map_runs", "map_items"),
)

#: copies of execution 1, each with its history; ids and names go on
_COPIES = """INSERT INTO executions (machine, revision, name, status, started_ms, stopped_ms,
    timeout_ms, seed, input, output)
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    SELECT machine, revision, name || i, status, started_ms, stopped_ms, timeout_ms, seed, input,
        output FROM executions, n WHERE id = 1"""
_HISTORIES = f"""INSERT INTO history (key, events)
    SELECT (e.id << {ID_BITS}) + 1, h.events FROM executions e, history h
    WHERE e.id > 1 AND h.key = (1 << {ID_BITS}) + 1"""
_PIECES = f"""INSERT INTO history (key, events)
    WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    SELECT (1 << {ID_BITS}) + i, x'00' FROM n"""


def copy(connection: sqlite3.Connection, count: int) -> None:
    """Make *count* more executions like the first."""
    connection.execute(_COPIES, (count,))
    connection.execute(_HISTORIES)


def lengthen(connection: sqlite3.Connection) -> None:
    """Give execution 1 a history of 20,000 rows."""
    connection.execute(_PIECES)


def rows(driver: Driver) -> dict[str, int]:
    """How many rows each table has that knows executions."""
    counts = {name: driver.database.read(f"SELECT count(*) FROM {name}")[0][0] for name in TABLES}
    return {name: count for name, count in counts.items() if count}


def pages(driver: Driver) -> int:
    """How large the database is."""
    return int(driver.database.read("PRAGMA page_count")[0][0])


async def test_an_execution_goes_90_days_after_it_closed(driver: Driver) -> None:
    """As on AWS; until then everything of it is there."""
    arn = await driver.run(PASS)

    await driver.pass_time(90 * DAY_S)
    await driver.engine.retention.trim()
    kept = await driver.status(arn)
    await driver.pass_time(1)
    await driver.engine.retention.trim()

    assert kept == "SUCCEEDED"
    with pytest.raises(ExecutionDoesNotExist):
        await driver.describe(arn)
    with pytest.raises(ExecutionDoesNotExist):
        await driver.events(arn)
    assert rows(driver) == {}


async def test_its_name_is_free_again(driver: Driver) -> None:
    """A new execution may have the name of one that is gone."""
    machine = await driver.machine(PASS)
    members = {"stateMachineArn": machine, "name": "nightly", "input": "1"}
    await driver.call("StartExecution", **members)
    await driver.pass_time(91 * DAY_S)
    await driver.engine.retention.trim()

    again = await driver.call("StartExecution", **members | {"input": "2"})

    assert await driver.output(again["executionArn"]) == 2


async def test_what_runs_stays(driver: Driver) -> None:
    """However long it waits; it counts from the end."""
    arn = await driver.run(only(parked()))
    await driver.pass_time(200 * DAY_S)
    await driver.engine.retention.trim()

    await driver.succeed("at last")
    await driver.engine.retention.trim()

    assert await driver.output(arn) == "at last"


async def test_the_token_of_an_execution_that_is_gone_is_refused(driver: Driver) -> None:
    """With the words for every task that nobody waits for."""
    arn = await driver.run(only(parked()))
    await driver.call("StopExecution", executionArn=arn)
    await driver.pass_time(91 * DAY_S)
    await driver.engine.retention.trim()

    with pytest.raises(TaskTimedOut):
        await driver.succeed("late")


async def test_what_a_redrive_would_need_goes_along(driver: Driver) -> None:
    """A redrive is possible for 14 days; the execution can be seen for 90."""
    arn = await driver.run(FAIL)
    await driver.pass_time(14 * DAY_S + 1)
    await driver.engine.retention.trim()

    with pytest.raises(ExecutionNotRedrivable, match="Execution redrivable period exceeded"):
        await driver.call("RedriveExecution", executionArn=arn)
    await driver.pass_time(90 * DAY_S)
    await driver.engine.retention.trim()

    assert rows(driver) == {}


async def test_ten_thousand_go_while_others_start(driver: Driver) -> None:
    """In small transactions: a start in the middle need not wait for the end."""
    await driver.run(PASS)
    await driver.database.write(lambda connection: copy(connection, 9_999))
    assert rows(driver) == {"executions": 10_000, "history": 10_000}
    await driver.pass_time(91 * DAY_S)

    trimming = asyncio.create_task(driver.engine.retention.trim())
    arn = await driver.run(only(parked()), name="other")
    finished_first = trimming.done()
    await trimming

    assert not finished_first
    assert await driver.status(arn) == "RUNNING"
    assert rows(driver) == {"executions": 1, "history": 2, "frames": 1}


async def test_freed_pages_are_used_again(driver: Driver) -> None:
    """The file does not grow when as much comes again as went."""
    await driver.run(PASS)
    await driver.database.write(lambda connection: copy(connection, 5_000))
    before = pages(driver)
    await driver.pass_time(91 * DAY_S)
    await driver.engine.retention.trim()

    arn = await driver.machine(PASS)
    for number in range(100):
        await driver.call("StartExecution", stateMachineArn=arn, name=f"new-{number}")

    assert pages(driver) <= before


async def test_a_crash_while_a_long_history_goes_leaves_nothing_behind(driver: Driver) -> None:
    """The execution is gone at once; the rest of its history goes after the next start."""
    arn = await driver.run(PASS)
    await driver.database.write(lengthen)
    await driver.pass_time(91 * DAY_S)
    before_ms = int(driver.clock().timestamp() * 1000)
    await driver.database.write(lambda connection: trim_some(connection, before_ms))
    begun = rows(driver)

    await driver.restart()
    with pytest.raises(ExecutionDoesNotExist):
        await driver.describe(arn)
    await driver.engine.retention.trim()

    assert begun.keys() == {"history", "trimmed"}
    assert rows(driver) == {}


async def test_a_map_run_and_its_children_go_with_their_parent(driver: Driver) -> None:
    """Nested ones too. While the parent runs, children that ended long ago are kept."""
    outer = distributed(distributed(named="Deep"))
    del outer["End"]
    arn = await driver.run(only(outer | {"Next": "Ask"}, Ask=parked()), [[1, 2], [3]])
    await driver.pass_time(91 * DAY_S)
    await driver.engine.retention.trim()
    kept = rows(driver)

    await driver.succeed("done")
    await driver.pass_time(91 * DAY_S)
    await driver.engine.retention.trim()

    assert (kept["executions"], kept["map_runs"], kept["map_items"]) == (1 + 2 + 3, 1 + 2, 2 + 3)
    with pytest.raises(ExecutionDoesNotExist):
        await driver.describe(arn)
    assert rows(driver) == {}


async def test_a_deleted_machine_goes_with_its_last_execution(driver: Driver) -> None:
    """Until then its executions are shown by its name; its name can be used again."""
    arn = await driver.run(PASS, name="old")
    await driver.machine(PASS, name="new")
    machine = arn.rsplit(":", 1)[0].replace(":execution:", ":stateMachine:")
    await driver.call("DeleteStateMachine", stateMachineArn=machine)
    shown = await driver.call("DescribeStateMachineForExecution", executionArn=arn)

    await driver.pass_time(91 * DAY_S)
    await driver.engine.retention.trim()

    assert shown["name"] == "old"
    names = [row[0] for row in driver.database.read("SELECT name FROM machines")]
    assert names == ["new"]
    with pytest.raises(StateMachineDoesNotExist):
        await driver.call("DescribeStateMachine", stateMachineArn=machine)
    made = await driver.call(
        "CreateStateMachine",
        name="old",
        roleArn=ROLE,
        definition='{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}',
    )
    assert made["stateMachineArn"] == machine
