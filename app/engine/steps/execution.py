"""What an execution is made of, what can happen to it, and what a step makes of that. Values only.

An `Execution` has `Frame`s: one for its top level, one for each branch that runs. A frame is where
a branch stands, and what it waits for. All that counts or waits is in a frame; whoever wants the
execution to go on sends a `Signal`; `step` answers with a `Transition`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Protocol

from app.engine.language.distribution import BegunRun
from app.engine.language.resource import Resource
from app.engine.payload import EMPTY, Payload
from app.errors import SignoffError
from app.strict_json import Json

ROOT = 1  #: the id of the frame of the top level
NO_VARIABLES: Mapping[str, Json] = MappingProxyType({})


class Status(Enum):
    """How an execution stands, in AWS's words."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    ABORTED = "ABORTED"
    PENDING_REDRIVE = "PENDING_REDRIVE"


class Phase(IntEnum):
    """What a frame waits for. Stored: never renumber."""

    READY = 0  #: for the next slice: it is about to enter its state
    SCHEDULED = 1  #: for its connector to accept the task, or to answer
    SUBMITTED = 2  #: for whoever holds the task token
    SLEEPING = 3  #: for a moment, in a Wait state
    RETRYING = 4  #: for the next attempt's moment
    FORKED = 5  #: for its branches
    DONE = 6  #: for its siblings; its input is the branch's output
    QUEUED = 7  #: for a worker to take its activity's task
    WAITING = 8  #: for room among its siblings: an iteration that has not begun
    MAPPING = 9  #: for its Map Run


@dataclass(slots=True)
class Execution:
    """A run of a state machine."""

    id: int
    arn: str
    name: str
    machine_arn: str
    machine_name: str
    role_arn: str
    input: Payload
    started_ms: int
    seed: int  #: where its chance comes from
    timeout_ms: int  #: the moment it times out
    region: str = "us-east-1"
    #: the version and alias it was started through, as history and answers show them
    started_as: Mapping[str, str] = field(default_factory=dict)
    map_run: int | None = None  #: the id of the Map Run whose child it is
    status: Status = Status.RUNNING
    redrives: int = 0  #: how many there were
    redriven_ms: int | None = None  #: when the last of them was
    events: int = 0  #: how many are in its history
    frames: int = 0  #: the highest number that a frame has
    stopped_ms: int | None = None
    output: Payload | None = None
    error: str | None = None
    cause: str | None = None


@dataclass(slots=True)
class Frame:
    """Where one branch stands. Moments are milliseconds since the epoch."""

    id: int
    parent: int  #: the frame that forked it; 0 for the top level
    index: int  #: which of its parent's branches it is
    state: str
    input: Payload  #: the state's raw input
    last_event: int  #: the previous event of the branch's next one
    phase: Phase = Phase.READY
    entered_ms: int = 0
    entered_event: int = 0
    entered_after: int = 0  #: the event before that; known in the step that enters only
    attempt: int = 0  #: the id of the task's scheduled event; a token names it
    retries: dict[int, int] = field(default_factory=dict)  #: retrier's position -> retries made
    wake_ms: int | None = None  #: when a wait or a pause before a retry ends
    timeout_ms: int | None = None
    heartbeat_ms: int | None = None
    heartbeat_s: int | None = None
    poll_ms: int | None = None  #: when to ask for its job next
    job: Payload | None = None  #: what names the job that it waits for
    told: bool | None = None  #: whether it is made due when the job ends
    role_arn: str | None = None  #: whom its call is made as
    timeout_s: int | None = None  #: of an activity's task: it counts anew once a worker took it
    activity: int | None = None  #: the id of the activity whose task waits for a worker
    arguments: Payload | None = None  #: of the call that is owed
    branches: int = 0  #: how many it forked
    pending: int = 0  #: how many of them run
    iterations: int = 0  #: how many of them began, if they are iterations...
    first: int = 0  #: ...and the id of the first; the others follow it
    item: Payload | None = None  #: ``$$.Map.Item`` of an iteration
    variables: Mapping[str, Json] = field(default_factory=lambda: NO_VARIABLES)
    run: str | None = None  #: the Map Run it waits for: what its ARN ends with
    run_redrives: int = 0  #: how often that was redriven

    def due_ms(self, execution: Execution) -> int | None:
        """The next moment at which something happens by itself."""
        all_moments = (self.wake_ms, self.timeout_ms, self.heartbeat_ms, self.poll_ms)
        moments = [moment for moment in all_moments if moment is not None]
        if self.id == ROOT:
            moments.append(execution.timeout_ms)
        return min(moments, default=None)

    def copy(self) -> "Frame":
        """A frame of its own with the same values."""
        return replace(self)

    def rest(self) -> None:
        """Forget what the state that is left waited for."""
        self.wake_ms = self.timeout_ms = self.heartbeat_ms = self.heartbeat_s = None
        self.poll_ms = self.job = self.role_arn = self.told = None
        self.arguments = self.timeout_s = self.activity = self.run = None


class Frames(Protocol):
    """Where `step` reads frames from. It never changes what it is given: it works on copies."""

    def get(self, frame_id: int) -> Frame | None:
        """A copy of the frame, or None."""

    def children(self, frame_id: int) -> list[Frame]:
        """Copies of the frame's branches, by index."""

    def activity(self, arn: str) -> int | None:
        """The id of an activity, or None."""


class StoredFrames:
    """Frames in memory."""

    def __init__(self) -> None:
        self._frames: dict[int, Frame] = {}

    def get(self, frame_id: int) -> Frame | None:
        """A copy of the frame, or None."""
        frame = self._frames.get(frame_id)
        return frame.copy() if frame else None

    def children(self, frame_id: int) -> list[Frame]:
        """Copies of the frame's branches, by index."""
        found = [frame.copy() for frame in self._frames.values() if frame.parent == frame_id]
        return sorted(found, key=lambda frame: frame.index)

    def activity(self, arn: str) -> int | None:
        """No activity: tasks of those wait in a database."""
        return None

    def apply(self, transition: "Transition") -> None:
        """What a store does with a transition."""
        if transition.ended:
            self._frames.clear()
            return
        for frame_id in transition.removed:
            self._frames.pop(frame_id, None)
        self._frames.update({frame.id: frame.copy() for frame in transition.frames.values()})

    def all(self) -> list[Frame]:
        """Copies of all frames."""
        return [frame.copy() for frame in self._frames.values()]


# Signals: what can happen to an execution.


@dataclass(frozen=True, slots=True)
class Start:
    """It begins."""

    start_at: str | None = None  #: the processor's first state, in a child of a Map Run
    item: Payload | None = None  #: ``$$.Map.Item`` of such a child


@dataclass(frozen=True, slots=True)
class Redrive:
    """It failed, and someone wants it to go on."""


@dataclass(frozen=True, slots=True)
class Due:
    """A moment that a frame waits for may have come."""

    frame: int


@dataclass(frozen=True, slots=True)
class TaskSubmitted:
    """A connector handed the task on; someone else will complete it, or a job's end."""

    frame: int
    attempt: int
    output: Payload
    job: Payload | None = None  #: what names the job
    polled: bool = True  #: False: the frame is made due when the job ends


@dataclass(frozen=True, slots=True)
class TaskSucceeded:
    """The task has its result."""

    frame: int
    attempt: int
    output: Payload


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """The task failed."""

    frame: int
    attempt: int
    error: str | None
    cause: str | None
    submitted: bool = True  #: False: a task that others complete was not handed on to them


@dataclass(frozen=True, slots=True)
class TaskHeartbeat:
    """Whoever does the task is alive."""

    frame: int
    attempt: int


@dataclass(frozen=True, slots=True)
class TaskTaken:
    """A worker took an activity's task."""

    frame: int
    attempt: int
    worker: str | None


@dataclass(frozen=True, slots=True)
class Stop:
    """Someone stops the execution."""

    error: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class MapRunEnded:
    """The Map Run that a frame waits for ended: with the Map's result, or without success."""

    frame: int
    run: str
    output: Payload | None
    error: str | None = None
    cause: str | None = None


TaskSignal = TaskSubmitted | TaskSucceeded | TaskFailed | TaskHeartbeat
Signal = Start | Redrive | Due | Stop | TaskTaken | MapRunEnded | TaskSignal


class StaleSignal(SignoffError):
    """Nothing waits for this signal (any more)."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A call that is owed: for a connector, after the commit. With a job, it is to be asked for."""

    execution_id: int
    execution_arn: str
    frame: int
    attempt: int
    resource: Resource
    arguments: Payload
    deadline_ms: int | None
    role_arn: str | None = None  #: whom to be, other than the engine
    execution_role_arn: str = ""  #: who wants to be that
    job: Payload | None = None
    heartbeat_s: int | None = None


#: id, previous id, milliseconds, type, details
Event = tuple[int, int, int, str, dict[str, Json] | None]


def dispatched(execution: Execution, frame: Frame, resource: Resource) -> Dispatch:
    """The call that a scheduled frame owes."""
    return Dispatch(
        execution_id=execution.id,
        execution_arn=execution.arn,
        frame=frame.id,
        attempt=frame.attempt,
        resource=resource,
        arguments=frame.arguments or EMPTY,
        deadline_ms=frame.timeout_ms,
        role_arn=frame.role_arn,
        execution_role_arn=execution.role_arn,
        job=frame.job,
        heartbeat_s=frame.heartbeat_s,
    )


@dataclass(slots=True)
class Transition:
    """What one step changes: to be stored in one transaction, then acted on."""

    execution: Execution
    frames: dict[int, Frame] = field(default_factory=dict)  #: to write
    removed: set[int] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    calls: list[Dispatch] = field(default_factory=list)
    #: frames that used up the slice: they want to go on at once
    unfinished: list[int] = field(default_factory=list)
    ended: bool = False  #: no frame is left
    woke: bool = False  #: a task elsewhere waited for its end, and is due now
    aborted: list[Dispatch] = field(default_factory=list)  #: jobs that nobody waits for any more
    halted: list[Frame] = field(default_factory=list)  #: where it stood, if it did not succeed
    begun: list[BegunRun] = field(default_factory=list)  #: Map Runs, by name:
    redriven: list[str] = field(default_factory=list)  #: that go on
    forsaken: list[str] = field(default_factory=list)  #: that nothing waits for any more
