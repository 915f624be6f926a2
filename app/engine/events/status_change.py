"""The event "Step Functions Execution Status Change": its members and what is left out of it.

The shape is EventBridge's own, for all destinations. Values only.
Source: AWS Step Functions, "Step Functions event details" and "Delivery of execution status
change events to EventBridge".
"""

from typing import Final

import orjson

from app.clock import from_ms
from app.engine.steps.execution import Execution, Status
from app.engine.steps.history import MAX_EVENTS
from app.strict_json import Json

DETAIL_TYPE: Final = "Step Functions Execution Status Change"
MAX_DATA_BYTES: Final = 248 * 1024  #: of escaped input and output; AWS leaves out what exceeds it


def began(execution: Execution) -> dict[str, Json]:
    """The detail of an execution's start, or of its redrive, whatever became of it since."""
    shown_input = _fits(execution.input.text, 0)
    return {
        **_named(execution, Status.RUNNING),
        "stopDate": None,
        "input": execution.input.text if shown_input else None,
        "inputDetails": {"included": shown_input},
        "output": None,
        "outputDetails": None,
        "error": None,
        "cause": None,
        **_redrives(execution, Status.RUNNING),
    }


def ended(execution: Execution) -> dict[str, Json]:
    """The detail of an execution's end."""
    output = None if execution.output is None else execution.output.text
    output_bytes = 0 if output is None else _escaped(output)
    shown_output = output_bytes <= MAX_DATA_BYTES
    shown_input = _fits(execution.input.text, output_bytes)
    return {
        **_named(execution, execution.status),
        "stopDate": execution.stopped_ms,
        "input": execution.input.text if shown_input else None,
        "inputDetails": {"included": shown_input},
        "output": output if shown_output else None,
        "outputDetails": None if output is None else {"included": shown_output},
        "error": execution.error,
        "cause": execution.cause,
        **_redrives(execution, execution.status),
    }


def event(event_id: str, source: str, detail: dict[str, Json]) -> dict[str, Json]:
    """The whole event around *detail*."""
    arn = str(detail["executionArn"])
    _, _, _, region, account, _ = arn.split(":", 5)
    at_ms = detail["stopDate"] or detail["redriveDate"] or detail["startDate"]
    return {
        "version": "0",
        "id": event_id,
        "detail-type": DETAIL_TYPE,
        "source": source,
        "account": account,
        "time": from_ms(at_ms).isoformat(timespec="seconds")[:19] + "Z",
        "region": region,
        "resources": [arn],
        "detail": detail,
    }


def _named(execution: Execution, status: Status) -> dict[str, Json]:
    return {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine_arn,
        "stateMachineVersionArn": execution.started_as.get("stateMachineVersionArn"),
        "stateMachineAliasArn": execution.started_as.get("stateMachineAliasArn"),
        "name": execution.name,
        "status": status.value,
        "startDate": execution.started_ms,
    }


def _redrives(execution: Execution, status: Status) -> dict[str, Json]:
    reason = _why_not_redrivable(execution, status)
    by = "REDRIVABLE" if execution.map_run is None else "REDRIVABLE_BY_MAP_RUN"
    return {
        "redriveCount": execution.redrives,
        "redriveDate": execution.redriven_ms,
        "redriveStatus": by if reason is None else "NOT_REDRIVABLE",
        "redriveStatusReason": reason,
    }


def _why_not_redrivable(execution: Execution, status: Status) -> str | None:
    """What DescribeExecution says at this moment."""
    if status in (Status.RUNNING, Status.SUCCEEDED):
        return f"Execution is {status.value} and cannot be redriven"
    if execution.events >= MAX_EVENTS - 1:
        return "Execution history event limit exceeded"
    return None


def _fits(text: str, beside_bytes: int) -> bool:
    return _escaped(text) + beside_bytes <= MAX_DATA_BYTES


def _escaped(text: str) -> int:
    """Bytes of *text* as a JSON string."""
    return len(orjson.dumps(text))
