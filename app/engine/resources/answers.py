"""What some optimized integrations do to parameters and answers beside handing them on."""

from collections.abc import Mapping

import orjson

from app.engine.failures import StateFailure
from app.engine.language.resource import Pattern
from app.engine.resources.connector import machine_arn
from app.engine.steps.execution import Dispatch
from app.strict_json import Json

STARTED_BY = "AWS Step Functions"


def add_sender(given: dict[str, Json], dispatch: Dispatch) -> dict[str, Json]:
    """EventBridge: AWS adds the execution and its state machine to each entry's Resources."""
    entries = given.get("Entries")
    if not isinstance(entries, list):
        return given
    sender = [dispatch.execution_arn, machine_arn(dispatch)]
    made = [
        {**entry, "Resources": [*(entry.get("Resources") or []), *sender]}
        if isinstance(entry, dict)
        else entry
        for entry in entries
    ]
    return given | {"Entries": made}


def refuse_failed_entries(answer: dict[str, Json]) -> None:
    """EventBridge: one entry that failed fails the task.

    Raises:
        StateFailure
    """
    if answer.get("FailedEntryCount"):
        raise StateFailure("EventBridge.FailedEntry", orjson.dumps(answer).decode())


def name_starter(given: dict[str, Json], dispatch: Dispatch) -> dict[str, Json]:
    """ECS: tasks that are waited for say who started them."""
    if dispatch.resource.pattern is Pattern.SYNC:
        return given | {"StartedBy": STARTED_BY}
    return given


def refuse_failed_tasks(answer: dict[str, Json]) -> None:
    """ECS: an answer with failures fails the task.

    Raises:
        StateFailure
    """
    failures = answer.get("Failures")
    if failures:
        raise StateFailure("AmazonECS.Unknown", orjson.dumps(answer).decode())


def single_step(given: dict[str, Json], _dispatch: Dispatch) -> dict[str, Json]:
    """EMR: Step Functions adds one step, the API several."""
    return _renamed(given, {"ClusterId": "JobFlowId"}) | {"Steps": [given.get("Step")]}


def single_cancel(given: dict[str, Json], _dispatch: Dispatch) -> dict[str, Json]:
    """EMR: Step Functions cancels one step, the API several."""
    return {"ClusterId": given.get("ClusterId"), "StepIds": [given.get("StepId")]}


def single_cluster(given: dict[str, Json], _dispatch: Dispatch) -> dict[str, Json]:
    """EMR: Step Functions terminates one cluster, the API several."""
    return {"JobFlowIds": [given.get("ClusterId")]}


def _renamed(given: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    return {names.get(name, name): value for name, value in given.items() if name != "Step"}


def parse_body(answer: dict[str, Json]) -> None:
    """Bedrock: a model's answer is JSON, and shown as such."""
    body = answer.get("Body")
    if isinstance(body, str):
        try:
            answer["Body"] = orjson.loads(body)
        except orjson.JSONDecodeError:
            return


def one_step(answer: dict[str, Json]) -> None:
    """EMR: the answer names the one step."""
    ids = answer.pop("StepIds", None)
    answer["StepId"] = ids[0] if ids else None


def one_cluster(answer: dict[str, Json]) -> None:
    """EMR: the answer names the cluster as Step Functions does."""
    answer["ClusterId"] = answer.pop("JobFlowId", None)
