"""The history as AWS shows it: members, paging, and its end."""

import json

import pytest

from app.engine.steps.history import MAX_EVENTS
from app.errors import InvalidToken
from tests.engine.driving import ROLE, Driver, only, parked


async def test_events_have_the_members_aws_gives_them(driver: Driver) -> None:
    """A callback task's events carry exactly the documented members."""
    state = parked(TimeoutSeconds=600, HeartbeatSeconds=60)
    arn = await driver.run(only(state), {"q": 1})
    await driver.succeed({"ok": True})

    events = await driver.events(arn)

    details = [
        {k: v for k, v in e.items() if k not in ("id", "previousEventId", "timestamp", "type")}
        for e in events
    ]
    named = {"resourceType": "lambda", "resource": "invoke.waitForTaskToken"}
    token = driver.tokens[0]
    sent = {"FunctionName": "park", "Payload": {"token": token}}
    assert [e["timestamp"] for e in events] == [driver.clock.now.timestamp()] * 8
    assert details[0] == {
        "executionStartedEventDetails": {
            "input": '{"q":1}',
            "inputDetails": {"truncated": False},
            "roleArn": ROLE,
        }
    }
    assert details[1] == {
        "stateEnteredEventDetails": {
            "name": "First",
            "input": '{"q":1}',
            "inputDetails": {"truncated": False},
        }
    }
    assert details[2]["taskScheduledEventDetails"].pop("parameters") == json.dumps(
        sent, separators=(",", ":")
    )
    assert details[2] == {
        "taskScheduledEventDetails": {
            **named,
            "region": "us-east-1",
            "timeoutInSeconds": 600,
            "heartbeatInSeconds": 60,
        }
    }
    assert details[3] == {"taskStartedEventDetails": named}
    submitted = details[4]["taskSubmittedEventDetails"]
    assert json.loads(submitted["output"])["Payload"] == {"parked": True}
    assert details[5] == {
        "taskSucceededEventDetails": {
            **named,
            "output": '{"ok":true}',
            "outputDetails": {"truncated": False},
        }
    }
    assert details[6] == {
        "stateExitedEventDetails": {
            "name": "First",
            "output": '{"ok":true}',
            "outputDetails": {"truncated": False},
        }
    }
    assert details[7] == {
        "executionSucceededEventDetails": {
            "output": '{"ok":true}',
            "outputDetails": {"truncated": False},
        }
    }


async def test_an_empty_failure_has_empty_details(driver: Driver) -> None:
    """An ExecutionFailed without error and cause still has its details member."""
    arn = await driver.run(only({"Type": "Fail"}))

    assert (await driver.events(arn))[-1]["executionFailedEventDetails"] == {}


async def test_history_is_paged_in_both_directions(driver: Driver) -> None:
    """Pages follow one another without gap or overlap, newest first when asked."""
    states = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(9)}
    machine = {
        "StartAt": "S0",
        "States": {
            **states,
            "S9": {"Type": "Wait", "Seconds": 1, "Next": "Z"},
            "Z": {"Type": "Succeed"},
        },
    }
    arn = await driver.run(machine)
    await driver.pass_time(1)

    for reverse in (False, True):
        ids: list[int] = []
        token = None
        while True:
            page = await driver.engine.get_execution_history(arn, 7, token, reverse_order=reverse)
            ids += [event["id"] for event in page["events"]]
            token = page.get("nextToken")
            if token is None:
                break
        wanted = list(range(1, 25))
        assert ids == (wanted[::-1] if reverse else wanted)


async def test_history_without_data_has_no_texts(driver: Driver) -> None:
    """Inputs and outputs are left out when asked."""
    arn = await driver.run(only({"Type": "Pass", "End": True}), {"secret": 1})

    page = await driver.engine.get_execution_history(arn, include_execution_data=False)

    assert "secret" not in json.dumps(page)
    assert page["events"][1]["stateEnteredEventDetails"] == {
        "name": "First",
        "inputDetails": {"truncated": False},
    }


@pytest.mark.parametrize("token", ["x", "AAAA", "", "é" * 5])
async def test_a_made_up_page_token_is_refused(driver: Driver, token: str) -> None:
    """A page token is taken back only as it was given."""
    arn = await driver.run(only({"Type": "Succeed"}))

    with pytest.raises(InvalidToken):
        await driver.engine.get_execution_history(arn, next_token=token or "A")


async def test_a_page_token_is_good_for_one_list_and_one_day(driver: Driver) -> None:
    """A page token of another execution, or of yesterday, is refused."""
    one = await driver.run(only({"Type": "Succeed"}))
    other = await driver.run(only({"Type": "Succeed"}))
    token = (await driver.engine.get_execution_history(one, 2))["nextToken"]

    with pytest.raises(InvalidToken):
        await driver.engine.get_execution_history(other, 2, token)
    for changed in (f"{token}=", f" {token}", f"{token}\n", token.upper()):
        with pytest.raises(InvalidToken):
            await driver.engine.get_execution_history(one, 2, changed)
    await driver.pass_time(86_401)
    with pytest.raises(InvalidToken):
        await driver.engine.get_execution_history(one, 2, token)


async def test_an_endless_loop_ends_at_the_history_limit(driver: Driver) -> None:
    """Event 25,000 says that the history is full; other executions went on meanwhile."""
    again = {"Type": "Pass", "Next": "First"}
    loop = {
        "StartAt": "First",
        "States": {"First": {"Type": "Pass", "Next": "Back"}, "Back": again},
    }
    looping = await driver.run(loop, {"n": 0})

    events = await driver.events(looping)

    assert [event["id"] for event in events] == list(range(1, MAX_EVENTS + 1))
    assert events[-1]["executionFailedEventDetails"] == {
        "error": "States.Runtime",
        "cause": "The execution reached the maximum number of history events (25000).",
    }
    assert events[-1]["previousEventId"] == MAX_EVENTS - 1
    assert await driver.status(looping) == "FAILED"
