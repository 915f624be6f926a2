"""Tasks while a step is under way: they are scheduled, and answered.

The first answer to an attempt wins. An answer to another attempt, or to none, or one that comes
after its deadline, is a `StaleSignal` and changes nothing.
"""

from app.engine.failures import RuntimeFailure, SizeFailure, StateFailure
from app.engine.language.resource import Family, Resource
from app.engine.language.states import Call, Task
from app.engine.payload import Payload
from app.engine.steps.execution import (
    Frame,
    Phase,
    StaleSignal,
    TaskFailed,
    TaskHeartbeat,
    TaskSignal,
    TaskSubmitted,
    TaskSucceeded,
    TaskTaken,
    dispatched,
)
from app.engine.steps.history import Details, failed, named
from app.engine.steps.stepping import Stepping

MIN_POLL_MS, MAX_POLL_MS = 1_000, 60_000  #: between two looks at a job...
TOLD_POLL_MS = 3_600_000  #: likewise, where the end of the job makes the frame due
POLL_SHARE = 10  #: ...and in between, this part of the time that it runs already

#: what came of it: the state's result, or its failure; None: it waits on
Made = Payload | StateFailure | None


class Tasks:
    """The tasks of the execution that is stepped."""

    def __init__(self, stepping: Stepping) -> None:
        self._stepping = stepping

    def schedule(self, frame: Frame, call: Call) -> StateFailure | None:
        """Owe the call, or offer the task to the activity's workers."""
        task = self._task_of(frame)
        if call.arguments.too_large:
            return SizeFailure(task.name)
        resource = task.resource
        if resource.family is Family.ACTIVITY:
            return self._offer(frame, resource, call)
        prefix, stepping = resource.family.value, self._stepping
        details = _scheduled(resource, call, stepping.execution.region)
        stepping.note(frame, prefix + "Scheduled", details)
        frame.attempt = frame.last_event
        # Written now rather than at the connector's answer: AWS shows it while the call runs.
        stepping.note(frame, prefix + "Started", named(resource) or None)
        frame.phase, frame.arguments = Phase.SCHEDULED, call.arguments
        frame.role_arn = call.role_arn
        frame.heartbeat_s = call.heartbeat_s
        frame.timeout_ms = self._in_seconds(call.timeout_s)
        frame.heartbeat_ms = self._in_seconds(call.heartbeat_s)
        stepping.made.calls.append(dispatched(stepping.execution, frame, resource))
        return None

    def _offer(self, frame: Frame, resource: Resource, call: Call) -> StateFailure | None:
        stepping = self._stepping
        activity = stepping.tree.activity(resource.arn)
        if activity is None:
            return RuntimeFailure(f"The activity {resource.arn} does not exist.")
        details = _scheduled(resource, call, stepping.execution.region)
        stepping.note(frame, "ActivityScheduled", details)
        frame.attempt = frame.last_event
        frame.phase, frame.activity, frame.arguments = Phase.QUEUED, activity, call.arguments
        frame.heartbeat_s, frame.timeout_s = call.heartbeat_s, call.timeout_s
        frame.timeout_ms = self._in_seconds(call.timeout_s)
        return None

    def taken(self, signal: TaskTaken) -> None:
        """A worker took an activity's task.

        Raises:
            StaleSignal
        """
        frame = self._stepping.tree.get(signal.frame)
        if frame is None or frame.attempt != signal.attempt or frame.phase is not Phase.QUEUED:
            raise StaleSignal()
        worker: Details = {} if signal.worker is None else {"workerName": signal.worker}
        self._stepping.note(frame, "ActivityStarted", worker)
        frame.phase, frame.activity, frame.arguments = Phase.SUBMITTED, None, None
        frame.timeout_ms = self._in_seconds(frame.timeout_s)
        frame.heartbeat_ms = self._in_seconds(frame.heartbeat_s)

    def awaited(self, signal: TaskSignal) -> Frame:
        """The frame that waits for the signal.

        Raises:
            StaleSignal: none does.
        """
        frame = self._stepping.tree.get(signal.frame)
        if frame is None or frame.attempt != signal.attempt or not self._waits(frame):
            raise StaleSignal()
        return frame

    def _waits(self, frame: Frame) -> bool:
        passed = self._stepping.passed
        return (
            frame.phase in (Phase.SCHEDULED, Phase.SUBMITTED)
            and not passed(frame.timeout_ms)
            and not passed(frame.heartbeat_ms)
        )

    def answered(self, frame: Frame, signal: TaskSignal) -> Made:
        """What a signal makes of the task that waits for it.

        Raises:
            StaleSignal: it was submitted before.
        """
        match signal:
            case TaskSubmitted():
                return self._submitted(frame, signal)
            case TaskSucceeded(output=output):
                return self._succeeded(frame, output)
            case TaskFailed(error=error, cause=cause):
                how = "Failed" if signal.submitted else "SubmitFailed"
                return self._failed(frame, how, StateFailure(error, cause))
            case TaskHeartbeat():
                if frame.heartbeat_s is not None:
                    frame.heartbeat_ms = self._in_seconds(frame.heartbeat_s)
                return None

    def timed_out(self, frame: Frame, error: str) -> StateFailure:
        """Its time, or that of its heartbeat, is over."""
        return self._failed(frame, "TimedOut", StateFailure(error))

    def poll(self, frame: Frame) -> None:
        """Have the task's job asked for, and again later: until it ended, the row stays due."""
        stepping = self._stepping
        rest_ms = (stepping.now_ms - frame.entered_ms) // POLL_SHARE
        rest_ms = TOLD_POLL_MS if frame.told else min(max(rest_ms, MIN_POLL_MS), MAX_POLL_MS)
        frame.poll_ms = stepping.now_ms + rest_ms
        resource = self._task_of(frame).resource
        stepping.made.calls.append(dispatched(stepping.execution, frame, resource))

    def _submitted(self, frame: Frame, signal: TaskSubmitted) -> StateFailure | None:
        if frame.phase is not Phase.SCHEDULED:
            raise StaleSignal()
        output = signal.output
        resource = self._task_of(frame).resource
        if output.too_large:
            return self._failed(frame, "Failed", SizeFailure(resource.producer))
        details = named(resource) | {"output": output.text}
        self._stepping.note(frame, resource.family.value + "Submitted", details)
        frame.phase, frame.arguments, frame.job = Phase.SUBMITTED, None, signal.job
        if signal.job is not None:
            # One that is told of its job's end looks at once: the end may have come before this.
            frame.told = None if signal.polled else True
            frame.poll_ms = self._stepping.now_ms + (MIN_POLL_MS if signal.polled else 0)
        return None

    def _succeeded(self, frame: Frame, output: Payload) -> Payload | StateFailure:
        resource = self._task_of(frame).resource
        if output.too_large:
            return self._failed(frame, "Failed", SizeFailure(resource.producer))
        details = named(resource) | {"output": output.text}
        self._stepping.note(frame, resource.family.value + "Succeeded", details)
        return output

    def _failed(self, frame: Frame, how: str, failure: StateFailure) -> StateFailure:
        resource = self._task_of(frame).resource
        details = named(resource) | failed(failure.shown_error, failure.cause)
        self._stepping.note(frame, resource.family.value + how, details)
        return failure

    def _in_seconds(self, seconds: int | None) -> int | None:
        return None if seconds is None else self._stepping.now_ms + seconds * 1000

    def _task_of(self, frame: Frame) -> Task:
        state = self._stepping.state(frame)
        assert isinstance(state, Task)  # noqa: S101  # only a Task's frame waits for a task
        return state


def _scheduled(resource: Resource, call: Call, region: str) -> Details:
    details = named(resource)
    if resource.family is Family.SERVICE:
        details |= {"region": region, "parameters": call.arguments.text}
    else:
        details |= {"resource": resource.arn, "input": call.arguments.text}
    if call.timeout_s is not None:
        details["timeoutInSeconds"] = call.timeout_s
    if call.heartbeat_s is not None and resource.family is not Family.FUNCTION:
        details["heartbeatInSeconds"] = call.heartbeat_s
    if call.role_arn is not None:
        details["taskCredentials"] = {"roleArn": call.role_arn}
    return details
