"""The context object, ``$$``: what a state can know about itself and its execution."""

from collections.abc import Callable, Mapping

from app.clock import from_ms, iso
from app.engine.language.states import State, Task
from app.engine.steps.execution import Execution, Frame, Phase
from app.strict_json import Json

#: makes the task token of (execution, frame, attempt)
Mint = Callable[[int, int, int], str]


def context_object(
    execution: Execution, frame: Frame, state: State, mint: Mint, item: Mapping[str, Json] | None
) -> Json:
    """The context object of *state*; the retry count and the token are a Task's alone.

    *item* is that of the iteration in which the state runs, or None.
    """
    shown: dict[str, Json] = {"Name": state.name, "EnteredTime": iso(from_ms(frame.entered_ms))}
    context: dict[str, Json] = {
        "Execution": {
            "Id": execution.arn,
            "Input": execution.input.value,
            "Name": execution.name,
            "RoleArn": execution.role_arn,
            "StartTime": iso(from_ms(execution.started_ms)),
            "RedriveCount": execution.redrives,
        },
        "StateMachine": {"Id": execution.machine_arn, "Name": execution.machine_name},
        "State": shown,
    }
    if execution.redriven_ms is not None:
        context["Execution"]["RedriveTime"] = iso(from_ms(execution.redriven_ms))
    if isinstance(state, Task):
        shown["RetryCount"] = sum(frame.retries.values())
        if state.resource.has_token:
            context["Task"] = {"Token": mint(execution.id, frame.id, _attempt(execution, frame))}
    if item is not None:
        context["Map"] = {"Item": item}
    return context


def _attempt(execution: Execution, frame: Frame) -> int:
    scheduled = frame.phase in (Phase.SCHEDULED, Phase.SUBMITTED)
    # Before it is scheduled: the scheduled event will be the next one.
    return frame.attempt if scheduled else execution.events + 1
