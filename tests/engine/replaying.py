"""Replaying: the signals that a stored history implies, and the history that they give again.

A history is stored chunk by chunk, and each chunk is what one signal made of the execution: so the
history is its own log of signals. A chunk's first event tells what the signal was, and whose; what
is not told is found by trying, for a step is pure. Two kinds of signals leave no event, and are
found where a later one needs them: heartbeats, and retries that fail before they are scheduled.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from app.engine.language.states import StateMachine
from app.engine.payload import Payload
from app.engine.steps.context import Mint
from app.engine.steps.execution import (
    ROOT,
    Due,
    Event,
    Execution,
    Frame,
    MapRunEnded,
    Phase,
    Redrive,
    Signal,
    StaleSignal,
    Start,
    Status,
    Stop,
    StoredFrames,
    TaskFailed,
    TaskHeartbeat,
    TaskSubmitted,
    TaskSucceeded,
    TaskTaken,
    Transition,
)
from app.engine.steps.step import step
from tests.engine.building import RUN_RESULT

Chunk = Sequence[Event]
#: each with its moment, and how many states were entered then: a step may stop before a costly one
Signals = list[tuple[Signal, int, int]]

_TASKS = ("Task", "LambdaFunction", "Activity")
_SILENT_RETRIES = 20  # between two chunks


class Unexplained(AssertionError):
    """No signal makes this chunk of the execution as it stood."""


class ReplayedFrames(StoredFrames):
    """Frames in memory, in a world where every activity exists."""

    def activity(self, arn: str) -> int | None:
        """Some id: it is in no event."""
        return 1


@dataclass
class Replay:
    """An execution that is built again, signal by signal."""

    machine: StateMachine
    execution: Execution
    mint: Mint
    frames: ReplayedFrames = field(default_factory=ReplayedFrames)
    events: list[Event] = field(default_factory=list)
    signals: Signals = field(default_factory=list)
    halted: list[Frame] = field(default_factory=list)

    def made(self, signal: Signal, now_ms: int, entries: int = 0) -> Transition | None:
        """What the signal would make; None if nothing waits for it."""
        run, frames = self.execution, self.frames
        try:
            return step(self.machine, run, frames, signal, now_ms, self.mint, entries)
        except StaleSignal:
            return None

    def receive(self, signal: Signal, now_ms: int, entries: int = 0) -> None:
        """Let the signal take effect."""
        if isinstance(signal, Redrive):
            self._restart(now_ms)
        made = self.made(signal, now_ms, entries)
        if made is None:
            raise Unexplained(f"nothing waits for {signal}")
        self.signals.append((signal, now_ms, entries))
        self.execution = made.execution
        self.events += made.events
        self.frames.apply(made)
        self.halted = made.halted

    def _restart(self, now_ms: int) -> None:
        old = self.execution
        lasts_ms = old.timeout_ms - (old.redriven_ms or old.started_ms)
        self.execution = replace(
            old,
            status=Status.RUNNING,
            redrives=old.redrives + 1,
            redriven_ms=now_ms,
            timeout_ms=now_ms + lasts_ms,
            stopped_ms=None,
            error=None,
            cause=None,
        )
        self.frames.apply(Transition(self.execution, {f.id: f for f in self.halted}))


def replay(machine: StateMachine, execution: Execution, signals: Signals, mint: Mint) -> Replay:
    """All that the signals make of an execution that has not begun."""
    run = Replay(machine, execution, mint)
    for signal, now_ms, entries in signals:
        run.receive(signal, now_ms, entries)
    return run


def signals_of(
    machine: StateMachine, execution: Execution, chunks: Sequence[Chunk], mint: Mint
) -> Signals:
    """The signals that made a stored history, and when each came.

    Raises:
        Unexplained: there are none that could have.
    """
    run = Replay(machine, execution, mint)
    for chunk in chunks:
        _take(run, chunk)
    return run.signals


def _take(run: Replay, chunk: Chunk) -> None:
    now_ms = chunk[0][2]
    entries = sum(event[3].endswith("StateEntered") for event in chunk)
    for _ in range(_SILENT_RETRIES):
        for signal in _candidates(run, chunk):
            if isinstance(signal, TaskSubmitted | TaskSucceeded | TaskFailed):
                _keep_alive(run, signal.frame, now_ms)
            if isinstance(signal, Start | Redrive) or _makes(run, signal, now_ms, entries, chunk):
                run.receive(signal, now_ms, entries)
                return
        if not _retry_in_silence(run, now_ms):
            break
    raise Unexplained(f"no signal makes {chunk[0]} ... ({len(chunk)} events)")


def _candidates(run: Replay, chunk: Chunk) -> Iterator[Signal]:
    """What the chunk's signal may have been, by its first event."""
    _, previous, _, kind, details = chunk[0]
    told = details or {}
    whole: dict[str, Signal] = {
        "ExecutionStarted": Start(),
        "ExecutionRedriven": Redrive(),
        "ExecutionAborted": Stop(told.get("error"), told.get("cause")),
        "ExecutionTimedOut": Due(ROOT),
    }
    if kind in whole:
        yield whole[kind]
        return
    for frame in sorted(run.frames.all(), key=lambda frame: frame.id):
        if frame.last_event == previous and kind.startswith(_TASKS):
            yield from _of_task(frame, kind, told)
        if frame.last_event == previous and kind.startswith("MapRun"):
            yield from _of_run(frame, kind, told, chunk)
        yield Due(frame.id)


def _of_task(frame: Frame, kind: str, told: dict[str, object]) -> Iterator[Signal]:
    output = Payload.of_text(str(told.get("output")))
    if kind.endswith("Submitted"):
        yield TaskSubmitted(frame.id, frame.attempt, output)
    elif kind.endswith("Succeeded"):
        yield TaskSucceeded(frame.id, frame.attempt, output)
    elif kind.endswith("Failed"):
        error, cause = told.get("error"), told.get("cause")
        assert isinstance(error, str | None) and isinstance(cause, str | None)
        yield TaskFailed(frame.id, frame.attempt, error, cause)
    elif kind == "ActivityStarted":
        worker = told.get("workerName")
        assert isinstance(worker, str | None)
        yield TaskTaken(frame.id, frame.attempt, worker)


def _of_run(
    frame: Frame, kind: str, told: dict[str, object], chunk: Chunk
) -> Iterator[MapRunEnded]:
    """No event tells a run's result by itself: it is placed in what its state leaves behind."""
    name = frame.run or ""
    if kind == "MapRunFailed":
        error, cause = told.get("error"), told.get("cause")
        assert isinstance(error, str | None) and isinstance(cause, str | None)
        yield MapRunEnded(frame.id, name, None, error, cause)
    exits = [event[4] for event in chunk if event[3] == "MapStateExited"]
    if kind == "MapRunSucceeded" and exits:
        left = json.loads(str((exits[0] or {})["output"]))
        yield MapRunEnded(frame.id, name, Payload(left[RUN_RESULT]))


def _makes(run: Replay, signal: Signal, now_ms: int, entries: int, chunk: Chunk) -> bool:
    made = run.made(signal, now_ms, entries)
    return made is not None and _plain(made.events) == _plain(chunk)


def _plain(events: Sequence[Event]) -> list[list[object]]:
    return [list(event) for event in events]


def _keep_alive(run: Replay, frame_id: int, now_ms: int) -> None:
    """Send the heartbeats without which the task would have timed out before its answer."""
    frame = run.frames.get(frame_id)
    while frame and frame.heartbeat_ms is not None and frame.heartbeat_ms <= now_ms:
        run.receive(TaskHeartbeat(frame.id, frame.attempt), frame.heartbeat_ms - 1)
        frame = run.frames.get(frame_id)


def _retry_in_silence(run: Replay, now_ms: int) -> bool:
    """Let retries come due that fail again at once; whether there were any."""
    found = False
    for frame in run.frames.all():
        if frame.phase is not Phase.RETRYING or (frame.wake_ms or 0) > now_ms:
            continue
        made = run.made(Due(frame.id), frame.wake_ms or 0)
        if made is not None and not made.events:
            run.receive(Due(frame.id), frame.wake_ms or 0)
            found = True
    return found
