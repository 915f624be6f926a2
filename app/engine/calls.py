"""Calling a task's resource, and what its answer means to the execution."""

import logging

from app.engine.execution import Dispatch, TaskFailed, TaskSubmitted, TaskSucceeded
from app.engine.failures import TASK_FAILED, StateFailure
from app.engine.resources import Resources

log = logging.getLogger(__name__)


async def answer_of(
    resources: Resources, call: Dispatch
) -> TaskSubmitted | TaskSucceeded | TaskFailed:
    """Make a call; its answer as a signal. Whatever goes wrong fails the task."""
    try:
        output = await resources.call(call)
    except StateFailure as failure:
        return TaskFailed(call.frame, call.attempt, failure.error, failure.cause)
    except Exception:
        log.exception("a connector failed", extra={"execution": call.execution_arn})
        cause = "The call could not be made because of an internal error."
        return TaskFailed(call.frame, call.attempt, TASK_FAILED, cause)
    if call.resource.waits_for_token:
        return TaskSubmitted(call.frame, call.attempt, output)
    return TaskSucceeded(call.frame, call.attempt, output)
