"""Jobs that ``.sync`` tasks start and wait for: how each is named, asked for and stopped.

A job is one `Job` here and one line in the table of connectors. Whoever waits for it is a row in
the database that becomes due now and then; nothing else stands for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.engine.failures import TASK_FAILED, StateFailure
from app.engine.payload import Payload
from app.strict_json import Json

Request = tuple[str, Mapping[str, Any]]  # an operation and its parameters, as boto3 names them


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of job. *name* is JSON and all that is kept of one that runs."""

    #: of the service's answer to the start, and of the parameters that started it
    name: Callable[[Any, Mapping[str, Json]], dict[str, Json]]
    describe: Callable[[Json], Request]
    #: the job's status in the answer to that
    status: Callable[[Any], str | None]
    succeeded: frozenset[str]
    failed: frozenset[str]
    #: what of the answer is the task's result; the names are Step Functions'
    shown: Callable[[Json], Json] = lambda described: described
    cancel: Callable[[Json], Request] | None = None
    #: whether a job whose status says it ended well did so
    well: Callable[[Any], bool] = lambda described: True

    def result(self, described: Any, shown: Mapping[str, Json]) -> Payload | None:
        """The task's result; None while the job runs.

        Raises:
            StateFailure: it failed.
        """
        status = self.status(described)
        if status in self.succeeded and self.well(described):
            return Payload(self.shown(shown))
        if status in self.failed or status in self.succeeded:
            raise StateFailure(TASK_FAILED, orjson.dumps(self.shown(shown)).decode())
        return None


def _first(name: str) -> Callable[[Json], Json]:
    """The only job that was asked for."""
    return lambda described: next(iter(described.get(name) or []), described)


def _member(name: str) -> Callable[[Json], Json]:
    return lambda described: described.get(name, {})


def _by_name(operation: str) -> Callable[[Json], Request]:
    """An operation whose parameters are the job's name."""
    return lambda name: (operation, name)


def _answered(*members: str) -> Callable[[Any, Mapping[str, Json]], dict[str, Json]]:
    """A name made of members of the answer to the start."""
    return lambda answer, _given: {member: answer[member] for member in members}


def _sagemaker(kind: str) -> Job:
    """A job of SageMaker, whose operations and members are all named after its *kind*."""
    key = f"{kind}Name"
    return Job(
        name=lambda _answer, given: {key: given.get(key)},
        describe=_by_name(f"Describe{kind}"),
        status=lambda described: described.get(f"{kind}Status"),
        succeeded=frozenset({"Completed"}),
        failed=frozenset({"Failed", "Stopped"}),
        cancel=_by_name(f"Stop{kind}"),
    )


def _ecs_name(answer: Any, _given: Mapping[str, Json]) -> dict[str, Json]:
    task = answer["tasks"][0]
    return {"cluster": task["clusterArn"], "task": task["taskArn"]}


def _exited_well(described: Any) -> bool:
    for task in described.get("tasks") or []:
        codes = [container.get("exitCode", 0) for container in task.get("containers", [])]
        return not any(codes) and task.get("stopCode") != "TaskFailedToStart"
    return False  # nobody knows it any more


ECS_TASK = Job(
    name=_ecs_name,
    describe=lambda name: (
        "DescribeTasks",
        {"cluster": name["cluster"], "tasks": [name["task"]], "include": ["TAGS"]},
    ),
    status=lambda described: _first("tasks")(described).get("lastStatus", "STOPPED"),
    succeeded=frozenset({"STOPPED"}),
    failed=frozenset(),
    shown=_first("Tasks"),
    cancel=lambda name: (
        "StopTask",
        {**name, "reason": "The Step Functions task that started it was aborted."},
    ),
    well=_exited_well,
)

BATCH_JOB = Job(
    name=_answered("jobId"),
    describe=lambda name: ("DescribeJobs", {"jobs": [name["jobId"]]}),
    status=lambda described: _first("jobs")(described).get("status", "FAILED"),
    succeeded=frozenset({"SUCCEEDED"}),
    failed=frozenset({"FAILED"}),
    shown=_first("Jobs"),
    cancel=lambda name: (
        "TerminateJob",
        {**name, "reason": "The Step Functions task that started it was aborted."},
    ),
)

GLUE_RUN = Job(
    name=lambda answer, given: {"JobName": given["JobName"], "RunId": answer["JobRunId"]},
    describe=_by_name("GetJobRun"),
    status=lambda described: described["JobRun"].get("JobRunState"),
    succeeded=frozenset({"SUCCEEDED"}),
    failed=frozenset({"FAILED", "TIMEOUT", "STOPPED", "ERROR", "EXPIRED"}),
    shown=_member("JobRun"),
    cancel=lambda name: (
        "BatchStopJobRun",
        {"JobName": name["JobName"], "JobRunIds": [name["RunId"]]},
    ),
)

CODE_BUILD = Job(
    name=lambda answer, _given: {"id": answer["build"]["id"]},
    describe=lambda name: ("BatchGetBuilds", {"ids": [name["id"]]}),
    status=lambda described: _first("builds")(described).get("buildStatus", "FAILED"),
    succeeded=frozenset({"SUCCEEDED"}),
    failed=frozenset({"FAILED", "FAULT", "TIMED_OUT", "STOPPED"}),
    shown=lambda described: {"Build": _first("Builds")(described)},
    cancel=_by_name("StopBuild"),
)

EMR_STEP = Job(
    name=lambda answer, given: {"ClusterId": given["JobFlowId"], "StepId": answer["StepIds"][0]},
    describe=_by_name("DescribeStep"),
    status=lambda described: described["Step"]["Status"].get("State"),
    succeeded=frozenset({"COMPLETED"}),
    failed=frozenset({"FAILED", "CANCELLED", "INTERRUPTED"}),
    cancel=lambda name: (
        "CancelSteps",
        {"ClusterId": name["ClusterId"], "StepIds": [name["StepId"]]},
    ),
)

EMR_CLUSTER = Job(
    name=lambda answer, _given: {"ClusterId": answer["JobFlowId"]},
    describe=_by_name("DescribeCluster"),
    status=lambda described: described["Cluster"]["Status"].get("State"),
    succeeded=frozenset({"WAITING", "TERMINATED", "RUNNING"}),
    failed=frozenset({"TERMINATED_WITH_ERRORS"}),
    cancel=lambda name: ("TerminateJobFlows", {"JobFlowIds": [name["ClusterId"]]}),
)

ATHENA_QUERY = Job(
    name=_answered("QueryExecutionId"),
    describe=_by_name("GetQueryExecution"),
    status=lambda described: described["QueryExecution"]["Status"].get("State"),
    succeeded=frozenset({"SUCCEEDED"}),
    failed=frozenset({"FAILED", "CANCELLED"}),
    cancel=_by_name("StopQueryExecution"),
)

SAGEMAKER_TRAINING = _sagemaker("TrainingJob")
SAGEMAKER_TRANSFORM = _sagemaker("TransformJob")
SAGEMAKER_PROCESSING = _sagemaker("ProcessingJob")
SAGEMAKER_TUNING = _sagemaker("HyperParameterTuningJob")
SAGEMAKER_LABELING = _sagemaker("LabelingJob")

BEDROCK_CUSTOMIZATION = Job(
    name=lambda answer, _given: {"jobIdentifier": answer["jobArn"]},
    describe=_by_name("GetModelCustomizationJob"),
    status=lambda described: described.get("status"),
    succeeded=frozenset({"Completed"}),
    failed=frozenset({"Failed", "Stopped"}),
    cancel=_by_name("StopModelCustomizationJob"),
)

EMR_SERVERLESS_RUN = Job(
    name=_answered("applicationId", "jobRunId"),
    describe=_by_name("GetJobRun"),
    status=lambda described: described["jobRun"].get("state"),
    succeeded=frozenset({"SUCCESS"}),
    failed=frozenset({"FAILED", "CANCELLED"}),
    shown=_member("JobRun"),
    cancel=_by_name("CancelJobRun"),
)

EMR_CONTAINERS_RUN = Job(
    name=_answered("virtualClusterId", "id"),
    describe=_by_name("DescribeJobRun"),
    status=lambda described: described["jobRun"].get("state"),
    succeeded=frozenset({"COMPLETED"}),
    failed=frozenset({"FAILED", "CANCELLED"}),
    shown=_member("JobRun"),
    cancel=_by_name("CancelJobRun"),
)

DATABREW_RUN = Job(
    name=lambda answer, given: {"Name": given["Name"], "RunId": answer["RunId"]},
    describe=_by_name("DescribeJobRun"),
    status=lambda described: described.get("State"),
    succeeded=frozenset({"SUCCEEDED"}),
    failed=frozenset({"FAILED", "TIMEOUT", "STOPPED"}),
    cancel=_by_name("StopJobRun"),
)

MEDIA_CONVERT_JOB = Job(
    name=lambda answer, _given: {"Id": answer["Job"]["Id"]},
    describe=_by_name("GetJob"),
    status=lambda described: described["Job"].get("Status"),
    succeeded=frozenset({"COMPLETE"}),
    failed=frozenset({"ERROR", "CANCELED"}),
    cancel=_by_name("CancelJob"),
)
