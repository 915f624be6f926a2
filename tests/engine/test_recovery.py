"""What survives: restarts, crashes between commit and call, and a second engine."""

import asyncio
import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from app.engine import loops
from app.engine.dispatch import AT_HAND, IN_FLIGHT
from app.engine.store import FILE
from app.errors import InvalidDefinition, StartRefused, TaskTimedOut
from app.strict_json import Json
from tests.engine.driving import Driver, Flaky, crash, invoked, only, parked


async def test_waiting_executions_go_on_after_a_restart(driver: Driver) -> None:
    """Tokens, waits and branches are as good as before."""
    wait = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}}
    task = {"StartAt": "T", "States": {"T": parked()}}
    arn = await driver.run(
        only({"Type": "Parallel", "Branches": [wait, task], "End": True}), {"x": 1}
    )

    await driver.restart()
    await driver.succeed("yes")
    await driver.restart()
    await driver.pass_time(60)

    assert await driver.output(arn) == [{"x": 1}, "yes"]
    assert [int(line.split("<")[0]) for line in await driver.story(arn)] == list(range(1, 15))


async def test_what_became_due_while_down_happens_at_the_start(driver: Driver) -> None:
    """A wait that ended, and a task that timed out, while nobody looked."""
    waited = await driver.run(only({"Type": "Wait", "Seconds": 5, "End": True}), name="a")
    timed = await driver.run(only(parked(TimeoutSeconds=5)), name="b")
    await driver.stop()
    driver.clock.now = driver.clock.now.replace(minute=1)

    await driver.start()
    await driver.engine.idle()

    assert await driver.status(waited) == "SUCCEEDED"
    assert (await driver.describe(timed))["error"] == "States.Timeout"


async def test_a_clock_that_is_set_is_noticed(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became due by it is served soon, though the rest had been meant to be longer."""
    monkeypatch.setattr(loops, "LONGEST_REST_S", 0.01)  # ten seconds are for engines at work
    arn = await driver.run(only({"Type": "Wait", "Seconds": 3_000, "End": True}))
    while not driver.engine._conductor._rests_until_ms:
        await asyncio.sleep(0)

    driver.clock.now += timedelta(hours=1)
    while await driver.status(arn) == "RUNNING":
        await asyncio.sleep(0)

    assert await driver.status(arn) == "SUCCEEDED"


async def test_a_retry_keeps_its_count_over_a_restart(driver: Driver) -> None:
    """Attempts are counted in the execution, not in the process."""
    arn = await driver.run(only(parked(Retry=[{"ErrorEquals": ["E"], "MaxAttempts": 1}])))
    await driver.fail("E")
    await driver.restart()
    await driver.pass_time(1)
    await driver.restart()

    await driver.fail("E", "again")

    assert (await driver.describe(arn))["cause"] == "again"


async def test_a_call_that_was_not_answered_is_made_again(tmp_path: Path) -> None:
    """After a crash the call is repeated with the same request id and token; one result counts."""
    stuck = asyncio.Event()
    seen: list[tuple[str, Json]] = []

    async def slow(event: Json, invocation: object) -> Json:
        seen.append((str(invocation), event))
        if len(seen) == 1:
            await stuck.wait()
        return {"done": len(seen)}

    driver = Driver(tmp_path, {"slow": slow})
    await driver.start()
    arn = await driver.machine(only(invoked("slow", ResultSelector={"n.$": "$.Payload.done"})))
    started = await driver.engine.start_execution(state_machine_arn=arn, input='{"a":1}')
    while not seen:
        await asyncio.sleep(0)
    await crash(driver)

    await driver.start()
    await driver.engine.idle()

    assert await driver.output(started["executionArn"]) == {"n": 2}
    assert seen[0] == seen[1]
    await driver.stop()


async def test_a_start_that_was_answered_is_never_lost(driver: Driver) -> None:
    """Whoever has the ARN finds the execution after a crash."""
    machine = await driver.machine(only(parked()))
    answers = await asyncio.gather(
        *(driver.engine.start_execution(state_machine_arn=machine) for _ in range(50))
    )
    await crash(driver)

    await driver.start()
    await driver.engine.idle()

    for answer in answers:
        assert await driver.status(answer["executionArn"]) == "RUNNING"
    assert len(set(driver.tokens)) == 50


async def test_a_client_that_goes_away_while_its_start_is_written(driver: Driver) -> None:
    """The execution is there, and its first call is made."""
    machine = await driver.machine(only(parked()))
    starting = asyncio.ensure_future(driver.engine.start_execution(state_machine_arn=machine))
    while driver.database._queue or not driver.database._busy:
        await asyncio.sleep(0)

    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    while not driver.tokens:
        await asyncio.sleep(0)

    assert starting.cancelled()
    await driver.succeed("well")


async def test_a_flood_of_tasks_is_called_without_holding_all_of_it(tmp_path: Path) -> None:
    """More owed calls than are kept in memory: all are made, few at a time."""
    together, most = 0, 0

    async def count(event: Json, _invocation: object) -> Json:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0)
        together -= 1
        return event

    driver = Driver(tmp_path, {"count": count})
    await driver.start()
    branches = [{"StartAt": f"B{n}", "States": {f"B{n}": invoked("count")}} for n in range(500)]
    machine = await driver.machine(only({"Type": "Parallel", "Branches": branches, "End": True}))
    runs = (AT_HAND + IN_FLIGHT) // 500 + 2
    arns = [
        (await driver.engine.start_execution(state_machine_arn=machine))["executionArn"]
        for _ in range(runs)
    ]

    await driver.engine.idle()

    assert [await driver.status(arn) for arn in arns] == ["SUCCEEDED"] * runs
    assert most <= IN_FLIGHT
    await driver.stop()


async def test_a_second_engine_does_not_start(driver: Driver) -> None:
    """One engine per data directory; the second says so, and the first goes on."""
    second = Driver(driver.directory)

    with pytest.raises(StartRefused, match="Another engine is using the data directory"):
        await second.start()
    await second.database.close()

    arn = await driver.run(only({"Type": "Succeed"}))
    assert await driver.status(arn) == "SUCCEEDED"


async def test_a_damaged_database_stops_the_start(tmp_path: Path) -> None:
    """A file that is no database is not overwritten."""
    (tmp_path / FILE).write_bytes(b"not a database, but something dear to someone" * 100)

    with pytest.raises(StartRefused):
        await Driver(tmp_path).start()


async def test_a_deleted_database_takes_its_tokens_along(driver: Driver) -> None:
    """Tokens are signed with the database's own key: another database takes none of them."""
    await driver.run(only(parked()))
    token = driver.tokens[0]
    await driver.stop()
    (driver.directory / FILE).unlink()
    await driver.start()
    await driver.run(only(parked()))

    with pytest.raises(Exception, match="Invalid token"):
        await driver.engine.send_task_success(token, "1")


async def test_an_execution_that_cannot_be_stepped_ends_alone(driver: Driver) -> None:
    """Rows that make no sense end their execution as failed; others go on."""
    broken = await driver.run(only({"Type": "Wait", "Seconds": 5, "End": True}), name="a")
    fine = await driver.run(only({"Type": "Wait", "Seconds": 5, "End": True}), name="b")
    await driver.stop()
    with sqlite3.connect(driver.directory / FILE) as connection:
        connection.execute(
            "UPDATE frames SET state = 'Gone' WHERE key = (SELECT min(key) FROM frames)"
        )
    connection.close()

    await driver.start()
    await driver.pass_time(5)

    assert await driver.status(fine) == "SUCCEEDED"
    described = await driver.describe(broken)
    assert (described["status"], described["error"]) == ("FAILED", "States.Runtime")


async def test_a_finished_execution_leaves_no_frames(driver: Driver) -> None:
    """What waits for nothing takes no room."""
    branch = {"StartAt": "T", "States": {"T": parked()}}
    arn = await driver.run(only({"Type": "Parallel", "Branches": [branch], "End": True}))
    await driver.succeed(1)
    stopped = await driver.run(only(parked()), name="b")
    await driver.engine.stop_execution(execution_arn=stopped)

    assert await driver.output(arn) == [1]
    assert driver.database.read("SELECT count(*) FROM frames") == [(0,)]


async def test_a_waiting_execution_is_about_a_kilobyte(driver: Driver) -> None:
    """Rows and indexes, history aside."""
    machine = await driver.machine(only(parked(TimeoutSeconds=86_400)))
    before = size_beside_history(driver)
    order = '{"order": "CHG-1182", "title": "Deploy billing 4.2", "by": "ana@example.com"}'

    await asyncio.gather(
        *(
            driver.engine.start_execution(state_machine_arn=machine, input=order)
            for _ in range(2_000)
        )
    )
    await driver.engine.idle()

    assert (size_beside_history(driver) - before) / 2_000 <= 1_024


def size_beside_history(driver: Driver) -> int:
    """Bytes in use by everything but the history."""
    (pages,), (size,) = (
        driver.database.read(f"PRAGMA {p}")[0] for p in ("page_count", "page_size")
    )
    history = driver.database.read("SELECT sum(length(events)) FROM history")[0][0] or 0
    return int(pages * size - history)


async def test_an_answer_to_a_stopped_call_is_dropped(tmp_path: Path) -> None:
    """A function that answers after the stop changes nothing."""
    release = asyncio.Event()

    async def slow(event: Json, _invocation: object) -> Json:
        await release.wait()
        raise Flaky

    driver = Driver(tmp_path, {"slow": slow})
    await driver.start()
    machine = await driver.machine(only(invoked("slow")))
    arn = (await driver.engine.start_execution(state_machine_arn=machine))["executionArn"]
    await asyncio.sleep(0)
    await driver.engine.stop_execution(execution_arn=arn)
    release.set()
    await driver.engine.idle()

    assert await driver.status(arn) == "ABORTED"
    assert (await driver.story(arn))[-1].endswith("ExecutionAborted")
    await driver.stop()


async def test_a_token_answered_before_its_call_returned_counts(tmp_path: Path) -> None:
    """A consumer may be faster than the call that handed it the token."""
    driver = Driver(tmp_path)

    async def eager(event: Json, _invocation: object) -> Json:
        await driver.engine.send_task_success(event["token"], '"fast"')
        with pytest.raises(TaskTimedOut):
            await driver.engine.send_task_success(event["token"], '"again"')
        return "sent"

    driver.functions["eager"] = eager
    await driver.start()
    state = parked(Parameters={"FunctionName": "eager", "Payload": {"token.$": "$$.Task.Token"}})

    arn = await driver.run(only(state))

    assert await driver.output(arn) == "fast"
    await driver.stop()


async def test_a_definition_that_is_refused_by_now_stops_nobody_else(driver: Driver) -> None:
    """A version that refuses more than the one that stored it: its executions fail, alone."""
    old = await driver.run(only({"Type": "Wait", "Seconds": 5, "End": True}), name="old")
    owed = await driver.run(only(parked(TimeoutSeconds=9)), name="owed")
    other = await driver.run(only({"Type": "Wait", "Seconds": 5, "End": True}), name="other")
    await driver.stop()
    with sqlite3.connect(driver.directory / FILE) as database:
        database.execute("""UPDATE revisions SET definition = '{"StartAt": "Gone"}' WHERE machine IN
            (SELECT id FROM machines WHERE name IN ('old', 'owed'))""")
        database.execute("UPDATE frames SET phase = 1 WHERE phase = 2")
    database.close()

    await driver.start()
    await driver.pass_time(5)
    await driver.pass_time(5)

    assert await driver.status(other) == "SUCCEEDED"
    assert (await driver.describe(old))["error"] == "States.Runtime"
    assert (await driver.describe(owed))["error"] == "States.Runtime"
    again = await driver.call("StartExecution", stateMachineArn=machine_of(old))
    assert (await driver.describe(again["executionArn"]))["error"] == "States.Runtime"


async def test_an_execution_outlives_a_check_that_came_after_it(driver: Driver) -> None:
    """A call that lacks a member is refused in new definitions; what waits for another goes on."""
    send = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True}
    rule = {"Variable": "$.send", "IsPresent": True, "Next": "Send"}
    states: Json = {
        "Wait": {"Type": "Wait", "Seconds": 5, "Next": "Which"},
        "Which": {"Type": "Choice", "Choices": [rule], "Default": "Done"},
        "Send": {**send, "Parameters": {"QueueUrl": "http://queue", "MessageBody": "go"}},
        "Done": {"Type": "Succeed"},
    }
    arn = await driver.run({"StartAt": "Wait", "States": states}, {})
    states["Send"]["Parameters"] = {}
    stored = {"StartAt": "Wait", "States": states}
    await driver.stop()
    with sqlite3.connect(driver.directory / FILE) as database:
        database.execute("UPDATE revisions SET definition = ?", (json.dumps(stored),))
    database.close()

    await driver.start()
    await driver.pass_time(5)

    assert await driver.status(arn) == "SUCCEEDED"
    with pytest.raises(InvalidDefinition):
        await driver.machine(stored, name="new")


def machine_of(execution_arn: str) -> str:
    """The ARN of an execution's state machine."""
    return execution_arn.rsplit(":", 1)[0].replace(":execution:", ":stateMachine:")
