"""Jobs that tasks start and wait for, against moto's server: rows that become due, and no more."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.engine.failures import StateFailure
from app.engine.resources.jobs import (
    ATHENA_QUERY,
    BATCH_JOB,
    CODE_BUILD,
    ECS_TASK,
    EMR_CLUSTER,
    GLUE_RUN,
    SAGEMAKER_TRAINING,
    Job,
)
from app.strict_json import Json
from tests.engine.driving import Driver, only

Aws = Callable[[str], Any]


def run_task(pattern: str, **parameters: Json) -> dict[str, Json]:
    """A Task that runs a task of ECS."""
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::ecs:runTask{pattern}",
        "Parameters": {
            "Cluster": "jobs",
            "TaskDefinition": "work",
            "LaunchType": "FARGATE",
            **parameters,
        },
        "End": True,
    }


@pytest.fixture
def ecs(aws: Aws, moto: str) -> Any:
    """A cluster; its tasks go on only when they are moved on."""
    ecs = aws("ecs")
    ecs.create_cluster(clusterName="jobs")
    container = {"name": "c", "image": "busybox", "memory": 8}
    ecs.register_task_definition(family="work", containerDefinitions=[container])
    return ecs


async def kinds(driver: Driver, arn: str) -> list[str]:
    return [str(event["type"]) for event in (await driver.events(arn))[2:]]


def tasks_of(ecs: Any) -> list[Any]:
    arns = ecs.list_tasks(cluster="jobs")["taskArns"]
    arns += ecs.list_tasks(cluster="jobs", desiredStatus="STOPPED")["taskArns"]
    return list(ecs.describe_tasks(cluster="jobs", tasks=arns)["tasks"])


async def test_a_task_waits_for_its_job(driver: Driver, ecs: Any) -> None:
    """It is looked at now and then, and its description is the result."""
    arn = await driver.run(only(run_task(".sync")))
    waiting = await driver.status(arn)

    for _ in range(12):
        await driver.pass_time(61)

    output = await driver.output(arn)
    assert waiting == "RUNNING"
    assert (output["LastStatus"], output["StartedBy"]) == ("STOPPED", "AWS Step Functions")
    assert output["TaskArn"].startswith("arn:aws:ecs:")
    assert (await kinds(driver, arn))[:4] == [
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
    ]


async def test_a_recorded_submission_is_not_repeated(driver: Driver, ecs: Any) -> None:
    """A restart goes on looking at the same job."""
    arn = await driver.run(only(run_task(".sync")))
    before = len(tasks_of(ecs))

    await driver.restart()
    for _ in range(12):
        await driver.pass_time(61)

    assert await driver.status(arn) == "SUCCEEDED"
    assert len(tasks_of(ecs)) == before


async def test_a_job_is_stopped_with_its_execution(driver: Driver, ecs: Any) -> None:
    """By the service that runs it."""
    arn = await driver.run(only(run_task(".sync")))
    submitted = (await driver.events(arn))[4]["taskSubmittedEventDetails"]
    job = json.loads(submitted["output"])["Tasks"][0]["TaskArn"]

    await driver.engine.stop_execution(execution_arn=arn)
    await driver.engine.idle()

    found = {task["taskArn"]: task for task in tasks_of(ecs)}
    assert found[job]["lastStatus"] == "STOPPED"
    assert found[job]["stoppedReason"] == ("The Step Functions task that started it was aborted.")


async def test_the_plain_form_is_done_when_the_job_began(driver: Driver, ecs: Any) -> None:
    """Its answer is the result; nobody says who started it."""
    arn = await driver.run(only(run_task("", Nonsense=1)))

    output = await driver.output(arn)
    scheduled = (await driver.events(arn))[2]["taskScheduledEventDetails"]
    assert (output["Failures"], len(output["Tasks"])) == ([], 1)
    assert output["Tasks"][0].get("StartedBy", "") == ""
    assert "Nonsense" not in json.loads(scheduled["parameters"])


async def test_a_job_that_cannot_start_fails_the_submission(driver: Driver, ecs: Any) -> None:
    """With the service's error."""
    arn = await driver.run(only(run_task(".sync", TaskDefinition="none")))

    described = await driver.describe(arn)
    assert described["error"].startswith("ECS.")
    assert (await kinds(driver, arn))[2] == "TaskSubmitFailed"


async def test_a_service_that_is_away_does_not_fail_its_jobs(
    driver: Driver, ecs: Any, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked at again when it is back."""
    monkeypatch.setattr("app.engine.resources.clients.DEFAULT_ATTEMPTS", 1)
    arn = await driver.run(only(run_task(".sync")))
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECS", "http://127.0.0.1:9")
    await driver.restart()
    await driver.pass_time(61)
    away = await driver.status(arn)

    monkeypatch.delenv("AWS_ENDPOINT_URL_ECS")
    await driver.restart()
    for _ in range(12):
        await driver.pass_time(61)

    assert away == "RUNNING"
    assert await driver.status(arn) == "SUCCEEDED"


async def test_a_glue_job_is_waited_for(driver: Driver, aws: Aws) -> None:
    """Another line of the table."""
    command = {"Name": "glueetl", "ScriptLocation": "s3://x/y"}
    aws("glue").create_job(Name="etl", Role="r", Command=command)
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::glue:startJobRun.sync",
        "Parameters": {"JobName": "etl"},
        "End": True,
    }

    arn = await driver.run(only(state))
    for _ in range(5):
        await driver.pass_time(61)

    output = await driver.output(arn)
    assert (output["JobName"], output["JobRunState"]) == ("etl", "SUCCEEDED")


def ecs_task(**more: Json) -> dict[str, Json]:
    """DescribeTasks' answer."""
    return {"tasks": [{"lastStatus": "STOPPED", "containers": [{"exitCode": 0}], **more}]}


@pytest.mark.parametrize(
    ("job", "described", "ended"),
    [
        (ECS_TASK, ecs_task(), "well"),
        (ECS_TASK, ecs_task(lastStatus="RUNNING"), "not"),
        (ECS_TASK, ecs_task(containers=[{"exitCode": 0}, {"exitCode": 3}]), "badly"),
        (ECS_TASK, ecs_task(stopCode="TaskFailedToStart", containers=[{}]), "badly"),
        (ECS_TASK, {"tasks": [], "failures": [{"reason": "MISSING"}]}, "badly"),
        (BATCH_JOB, {"jobs": [{"status": "RUNNABLE"}]}, "not"),
        (BATCH_JOB, {"jobs": [{"status": "FAILED"}]}, "badly"),
        (GLUE_RUN, {"JobRun": {"JobRunState": "SUCCEEDED"}}, "well"),
        (GLUE_RUN, {"JobRun": {"JobRunState": "TIMEOUT"}}, "badly"),
        (CODE_BUILD, {"builds": [{"buildStatus": "IN_PROGRESS"}]}, "not"),
        (ATHENA_QUERY, {"QueryExecution": {"Status": {"State": "CANCELLED"}}}, "badly"),
        (EMR_CLUSTER, {"Cluster": {"Status": {"State": "STARTING"}}}, "not"),
        (SAGEMAKER_TRAINING, {"TrainingJobStatus": "Completed"}, "well"),
        (SAGEMAKER_TRAINING, {"TrainingJobStatus": "Stopped"}, "badly"),
    ],
)
def test_an_end_is_told_from_a_run(job: Job, described: dict[str, Json], ended: str) -> None:
    """And a good one from a bad one; the cause of a bad one is the description."""
    shown = {"Tasks": [{"Seen": True}], "JobRun": {"Seen": True}, "Seen": True}

    try:
        result = job.result(described, shown)
        found = "not" if result is None else "well"
    except StateFailure as failure:
        found = "badly"
        assert failure.error == "States.TaskFailed"
        json.loads(str(failure.cause))

    assert found == ended
