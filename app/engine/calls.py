"""Calling a task's resource, and what its answer means to the execution."""

import logging

from app.engine.failures import TASK_FAILED, StateFailure
from app.engine.resources import Resources
from app.engine.resources.connector import Accepted
from app.engine.steps.execution import Dispatch, TaskFailed, TaskSubmitted, TaskSucceeded

log = logging.getLogger(__name__)

INTERNAL = "The call could not be made because of an internal error."

Answer = TaskSubmitted | TaskSucceeded | TaskFailed


async def answer_of(resources: Resources, call: Dispatch) -> Answer:
    """Make a call; its answer as a signal. Whatever goes wrong fails the task."""
    # Others complete it: a call that fails has not handed it on to them.
    submitted = not call.resource.has_token
    try:
        output = await resources.call(call)
        given = output.output if isinstance(output, Accepted) else output
        given.written()
    except StateFailure as failure:
        return TaskFailed(call.frame, call.attempt, failure.error, failure.cause, submitted)
    except Exception:
        log.exception("a connector failed", extra={"execution": call.execution_arn})
        return TaskFailed(call.frame, call.attempt, TASK_FAILED, INTERNAL, submitted)
    if isinstance(output, Accepted):
        return TaskSubmitted(call.frame, call.attempt, output.output, output.job, output.polled)
    if call.resource.waits_for_token:
        return TaskSubmitted(call.frame, call.attempt, output)
    return TaskSucceeded(call.frame, call.attempt, output)


async def end_of(resources: Resources, call: Dispatch) -> TaskSucceeded | TaskFailed | None:
    """How the call's job ended, as a signal; None while it runs, or when nobody can tell."""
    try:
        output = await resources.poll(call)
        if output is not None:
            output.written()
    except StateFailure as failure:
        return TaskFailed(call.frame, call.attempt, failure.error, failure.cause)
    except Exception:
        log.exception("a job could not be looked at", extra={"execution": call.execution_arn})
        return TaskFailed(call.frame, call.attempt, TASK_FAILED, INTERNAL)
    return None if output is None else TaskSucceeded(call.frame, call.attempt, output)
