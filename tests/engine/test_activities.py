"""Activities: made, listed, deleted; their tasks wait for workers and are handed out once."""

import asyncio
import json

import pytest

from app.engine import activities
from app.errors import (
    ActivityAlreadyExists,
    ActivityDoesNotExist,
    ActivityLimitExceeded,
    ActivityWorkerLimitExceeded,
    InvalidEncryptionConfiguration,
    InvalidName,
    TaskTimedOut,
)
from app.strict_json import Json
from tests.engine.driving import NOON, Driver, only

ARN = "arn:aws:states:us-east-1:123456789012:activity:weigh"


def weighed(**fields: Json) -> Json:
    """A machine whose one state is a task of the activity."""
    return only({"Type": "Task", "Resource": ARN, "End": True, **fields})


async def test_an_activity_is_created_once(driver: Driver) -> None:
    """Again gives the same answer, and leaves its tags as they are."""
    tags = [{"key": "a", "value": "b"}]
    first = await driver.call("CreateActivity", name="weigh", tags=tags)
    await driver.pass_time(5)

    again = await driver.call("CreateActivity", name="weigh", tags=[])

    assert again == first == {"activityArn": ARN, "creationDate": NOON.timestamp()}
    assert await driver.call("DescribeActivity", activityArn=ARN) == first | {
        "name": "weigh",
        "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    }
    assert await driver.call("ListTagsForResource", resourceArn=ARN) == {"tags": tags}


async def test_an_activity_with_a_key_of_ones_own_is_another(driver: Driver) -> None:
    """A new one cannot be had here; one that is there is not it."""
    key = {"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "key"}

    with pytest.raises(InvalidEncryptionConfiguration):
        await driver.call("CreateActivity", name="weigh", encryptionConfiguration=key)
    await driver.call("CreateActivity", name="weigh")
    with pytest.raises(ActivityAlreadyExists) as caught:
        await driver.call("CreateActivity", name="weigh", encryptionConfiguration=key)

    assert caught.value.message == f"Activity Already Exists: '{ARN}'"


async def test_a_deleted_activity_is_gone(driver: Driver) -> None:
    """Deleting again is no error; asking for it or its tasks is."""
    await driver.call("CreateActivity", name="weigh")
    await driver.call("DeleteActivity", activityArn=ARN)

    assert await driver.call("DeleteActivity", activityArn=ARN) == {}
    for operation in ("DescribeActivity", "GetActivityTask"):
        with pytest.raises(ActivityDoesNotExist) as caught:
            await driver.call(operation, activityArn=ARN)
        assert caught.value.message == f"Activity Does Not Exist: '{ARN}'"


async def test_a_name_that_aws_refuses_is_refused(driver: Driver) -> None:
    """The name is shown."""
    with pytest.raises(InvalidName) as caught:
        await driver.call("CreateActivity", name="a b")

    assert caught.value.message == "Invalid Name: 'a b'"


async def test_activities_are_listed_page_by_page(driver: Driver) -> None:
    """Oldest first."""
    for name in ("b", "a", "c"):
        await driver.call("CreateActivity", name=name)

    first = await driver.call("ListActivities", maxResults=2)
    rest = await driver.call("ListActivities", maxResults=2, nextToken=first["nextToken"])

    assert [found["name"] for found in first["activities"]] == ["b", "a"]
    assert [found["name"] for found in rest["activities"]] == ["c"]
    assert "nextToken" not in rest


async def test_a_worker_takes_and_completes_a_task(driver: Driver) -> None:
    """The history shows who took it."""
    await driver.call("CreateActivity", name="weigh")
    arn = await driver.run(weighed(TimeoutSeconds=60, HeartbeatSeconds=10), {"kilos": 2})

    task = await driver.call("GetActivityTask", activityArn=ARN, workerName="scale-1")
    assert json.loads(task["input"]) == {"kilos": 2}
    await driver.succeed({"kilos": 2.5}, task["taskToken"])

    assert await driver.story(arn) == [
        "1<0 ExecutionStarted",
        "2<0 TaskStateEntered",
        "3<2 ActivityScheduled",
        "4<3 ActivityStarted",
        "5<4 ActivitySucceeded",
        "6<5 TaskStateExited",
        "7<6 ExecutionSucceeded",
    ]
    events = await driver.events(arn)
    assert events[2]["activityScheduledEventDetails"] == {
        "resource": ARN,
        "input": '{"kilos":2}',
        "inputDetails": {"truncated": False},
        "timeoutInSeconds": 60,
        "heartbeatInSeconds": 10,
    }
    assert events[3]["activityStartedEventDetails"] == {"workerName": "scale-1"}
    assert await driver.output(arn) == {"kilos": 2.5}


async def test_a_nameless_worker_leaves_empty_details(driver: Driver) -> None:
    """As AWS shows it."""
    await driver.call("CreateActivity", name="weigh")
    arn = await driver.run(weighed())

    await driver.call("GetActivityTask", activityArn=ARN)

    assert (await driver.events(arn))[3]["activityStartedEventDetails"] == {}


async def test_a_worker_can_fail_a_task(driver: Driver) -> None:
    """ActivityFailed carries error and cause."""
    await driver.call("CreateActivity", name="weigh")
    arn = await driver.run(weighed())
    task = await driver.call("GetActivityTask", activityArn=ARN)

    await driver.call("SendTaskFailure", taskToken=task["taskToken"], error="E", cause="why")

    assert (await driver.story(arn))[4:] == ["5<4 ActivityFailed", "6<5 ExecutionFailed"]
    assert (await driver.events(arn))[4]["activityFailedEventDetails"] == {
        "error": "E",
        "cause": "why",
    }


async def test_a_waiting_worker_gets_the_task_when_it_comes(driver: Driver) -> None:
    """The poll is answered at once, and a task goes to one worker only."""
    await driver.call("CreateActivity", name="weigh")
    polls = [asyncio.create_task(driver.call("GetActivityTask", activityArn=ARN)) for _ in range(2)]
    await asyncio.sleep(0)

    await driver.run(weighed(), 1)
    done, waiting = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result()["input"] for task in done] == ["1"]
    assert len(waiting) == 1

    started = {"state_machine_arn": await driver.machine(weighed()), "input": "2"}
    await driver.engine.start_execution(**started)
    answers = await asyncio.gather(*polls)

    assert sorted(answer["input"] for answer in answers) == ["1", "2"]


async def test_a_worker_that_goes_away_takes_nothing(driver: Driver) -> None:
    """Its place is free, and the next worker gets the task."""
    await driver.call("CreateActivity", name="weigh")
    gone = asyncio.create_task(driver.call("GetActivityTask", activityArn=ARN))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)

    await driver.run(weighed(), 1)

    assert (await driver.call("GetActivityTask", activityArn=ARN))["input"] == "1"


async def test_tasks_wait_through_a_restart(driver: Driver) -> None:
    """They are rows; the oldest is handed out first."""
    await driver.call("CreateActivity", name="weigh")
    machine = await driver.machine(weighed())
    for number in (1, 2, 3):
        await driver.engine.start_execution(state_machine_arn=machine, input=str(number))
        await driver.pass_time(1)
    await driver.restart()

    answers = [await driver.call("GetActivityTask", activityArn=ARN) for _ in range(3)]

    assert [answer["input"] for answer in answers] == ["1", "2", "3"]


async def test_a_poll_without_a_task_ends_without_a_token(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS answers after a minute."""
    monkeypatch.setattr(activities, "POLL_S", 0.0)
    await driver.call("CreateActivity", name="weigh")

    assert await driver.call("GetActivityTask", activityArn=ARN) == {"taskToken": None}


async def test_too_many_pollers_are_refused(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one activity."""
    monkeypatch.setattr(activities, "MAX_POLLERS", 1)
    await driver.call("CreateActivity", name="weigh")
    poll = asyncio.create_task(driver.call("GetActivityTask", activityArn=ARN))
    await asyncio.sleep(0)

    with pytest.raises(ActivityWorkerLimitExceeded):
        await driver.call("GetActivityTask", activityArn=ARN)

    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)


async def test_the_clocks_run_from_when_the_worker_took_the_task(driver: Driver) -> None:
    """A heartbeat moves the heartbeat's, never the timeout's."""
    await driver.call("CreateActivity", name="weigh")
    arn = await driver.run(weighed(TimeoutSeconds=20, HeartbeatSeconds=8))
    await driver.pass_time(15)
    token = (await driver.call("GetActivityTask", activityArn=ARN))["taskToken"]
    await driver.pass_time(7)
    await driver.call("SendTaskHeartbeat", taskToken=token)
    await driver.pass_time(7)
    assert await driver.status(arn) == "RUNNING"

    await driver.pass_time(1)

    assert (await driver.story(arn))[4:] == ["5<4 ActivityTimedOut", "6<5 ExecutionFailed"]
    assert (await driver.events(arn))[4]["activityTimedOutEventDetails"] == {
        "error": "States.Timeout"
    }
    with pytest.raises(TaskTimedOut):
        await driver.call("SendTaskSuccess", taskToken=token, output="1")


async def test_a_task_that_nobody_takes_times_out(driver: Driver) -> None:
    """And is not handed out after that."""
    await driver.call("CreateActivity", name="weigh")
    arn = await driver.run(weighed(TimeoutSeconds=20))

    await driver.pass_time(20)

    assert (await driver.story(arn))[3:] == ["4<3 ActivityTimedOut", "5<4 ExecutionFailed"]


@pytest.mark.parametrize("resource", [ARN, ARN.replace("us-east-1", "eu-west-1")])
async def test_a_task_of_a_missing_activity_fails_the_execution(
    driver: Driver, resource: str
) -> None:
    """Before it is scheduled, and nothing catches it."""
    if resource != ARN:
        await driver.call("CreateActivity", name="weigh")
    catch: Json = [{"ErrorEquals": ["States.ALL"], "Next": "First"}]
    arn = await driver.run(weighed(Resource=resource, Catch=catch))

    assert (await driver.story(arn))[2:] == ["3<2 ExecutionFailed"]
    described = await driver.describe(arn)
    assert described["cause"] == (
        "An error occurred while executing the state 'First' (entered at the event id #2). "
        f"The activity {resource} does not exist."
    )


async def test_a_retry_puts_the_task_into_the_queue_again(driver: Driver) -> None:
    """With a new token; the old one is dead."""
    await driver.call("CreateActivity", name="weigh")
    retry: Json = [{"ErrorEquals": ["E"], "IntervalSeconds": 1}]
    await driver.run(weighed(Retry=retry))
    first = await driver.call("GetActivityTask", activityArn=ARN)
    await driver.call("SendTaskFailure", taskToken=first["taskToken"], error="E")
    await driver.pass_time(1)

    second = await driver.call("GetActivityTask", activityArn=ARN)

    assert second["taskToken"] != first["taskToken"]
    with pytest.raises(TaskTimedOut):
        await driver.call("SendTaskHeartbeat", taskToken=first["taskToken"])


async def test_waiting_workers_rest(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """One task has one worker look, not all of them again and again."""
    await driver.call("CreateActivity", name="weigh")
    polls = [asyncio.create_task(driver.call("GetActivityTask", activityArn=ARN)) for _ in range(5)]
    await asyncio.sleep(0)
    looks: list[int] = []
    take = activities.Activities._take

    async def counted(self: activities.Activities, activity: int, worker: str | None) -> Json:
        looks.append(activity)
        return await take(self, activity, worker)

    monkeypatch.setattr(activities.Activities, "_take", counted)

    await driver.run(weighed())
    await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
    for _ in range(50):
        await asyncio.sleep(0)

    assert len(looks) == 1
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


async def test_a_worker_that_leaves_as_the_task_comes_leaves_it_to_the_next(
    driver: Driver,
) -> None:
    """The next one waiting is told."""
    await driver.call("CreateActivity", name="weigh")
    machine = await driver.machine(weighed())
    first, second = (
        asyncio.create_task(driver.call("GetActivityTask", activityArn=ARN)) for _ in range(2)
    )
    await asyncio.sleep(0)

    await driver.engine.start_execution(state_machine_arn=machine, input="1")
    first.cancel()

    assert (await second)["input"] == "1"
    await asyncio.gather(first, return_exceptions=True)


async def test_there_are_no_more_activities_than_aws_allows(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An activity that is there is no new one, and a deleted one makes room."""
    monkeypatch.setattr(activities, "MAX_ACTIVITIES", 1)  # a hundred thousand take their time
    first = await driver.call("CreateActivity", name="first")

    with pytest.raises(ActivityLimitExceeded):
        await driver.call("CreateActivity", name="second")
    assert await driver.call("CreateActivity", name="first") == first
    await driver.call("DeleteActivity", activityArn=first["activityArn"])
    await driver.call("CreateActivity", name="second")
