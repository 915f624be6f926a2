"""Random machines, stepped with random signals, keep the rules of a history.

Whatever happens: event ids are dense, causes come before effects, there is exactly one terminal
event and it is the last, branches live no longer than what forked them, and the same signals give
the same history.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.language.definition import parse
from app.engine.language.fields import Rules
from app.engine.language.states import StateMachine, Task
from app.engine.payload import Payload
from app.engine.steps.execution import (
    ROOT,
    Due,
    Event,
    Execution,
    Frame,
    Phase,
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
)
from app.engine.steps.history import TERMINAL
from app.engine.steps.step import step
from tests.engine.building import GIVEN, NEVER_SCHEDULED, Builder

RESOURCES = ("sqs:sendMessage.waitForTaskToken", "sqs:sendMessage", "lambda:invoke")
TASKS = [{"Resource": f"arn:aws:states:::{name}"} for name in RESOURCES] + [NEVER_SCHEDULED]
START_MS = 1_700_000_000_000


@st.composite
def machines(draw: Any) -> StateMachine:
    """A machine of nested branches, tasks, waits, retries and catchers."""
    text = json.dumps(Builder(draw, TASKS).machine(depth=2))
    machine = parse(text, Rules(lambda _resource: True)).machine
    assert machine is not None, text
    return machine


@dataclass
class World:
    """An execution in memory, and all that happened to it."""

    machine: StateMachine
    frames: StoredFrames = field(default_factory=StoredFrames)
    events: list[Event] = field(default_factory=list)
    done: list[tuple[Signal, int]] = field(default_factory=list)
    now_ms: int = START_MS
    execution: Execution = field(
        default_factory=lambda: Execution(
            1,
            "arn",
            "run",
            "arn",
            "machine",
            "role",
            Payload(GIVEN),
            START_MS,
            5,
            2**60,
        )
    )

    def receive(self, signal: Signal) -> None:
        try:
            made = step(
                self.machine, self.execution, self.frames, signal, self.now_ms, lambda *_: "token"
            )
        except StaleSignal:
            return
        self.done.append((signal, self.now_ms))
        self.frames.apply(made)
        self.events += made.events
        self.execution = made.execution
        check(self)


def check(world: World) -> None:
    """The rules that hold after every step."""
    events, frames = world.events, world.frames.all()
    assert [event[0] for event in events] == list(range(1, len(events) + 1))
    assert all(event[1] < event[0] for event in events)
    assert world.execution.events == len(events)
    ends = [event[0] for event in events if event[3] in TERMINAL]
    running = world.execution.status is Status.RUNNING
    assert ends == ([] if running else [len(events)])
    assert bool(frames) == running
    by_id = {frame.id: frame for frame in frames}
    for frame in frames:
        assert frame.id == ROOT or by_id[frame.parent].phase is Phase.FORKED
        waiting = frame.phase in (Phase.SCHEDULED, Phase.SUBMITTED)
        assert waiting <= isinstance(world.machine.states[frame.state], Task)
    for frame in frames:
        children = [child for child in frames if child.parent == frame.id]
        resting = (Phase.DONE, Phase.WAITING)
        assert frame.pending == sum(child.phase not in resting for child in children)
        assert (frame.phase is Phase.FORKED) == bool(frame.pending)


def signals(world: World, frame: Frame, choice: int) -> Signal:
    """A signal that could come for *frame*: often right, sometimes late or for another attempt."""
    attempt = frame.attempt if choice % 7 else frame.attempt + 1
    options: list[Signal] = [
        Due(frame.id),
        TaskSubmitted(frame.id, attempt, Payload({"id": 1})),
        TaskSucceeded(frame.id, attempt, Payload({"ok": choice})),
        TaskFailed(frame.id, attempt, ("Busy", "Rejected", None)[choice % 3], None),
        TaskHeartbeat(frame.id, attempt),
        TaskSucceeded(frame.id + 1, attempt, Payload("stray")),
        Stop("Halt") if choice % 50 == 0 else Due(frame.id),
    ]
    return options[choice % len(options)]


@settings(max_examples=300, deadline=None)
@given(machines(), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 999)), max_size=40))
def test_histories_keep_their_rules(machine: StateMachine, choices: list[tuple[int, int]]) -> None:
    """Any machine, any signals in any order: the rules hold, and a replay gives the same."""
    world = World(machine)
    world.receive(Start())
    for which, choice in choices:
        frames = world.frames.all()
        if not frames:
            break
        world.now_ms += choice * 10
        world.receive(signals(world, frames[which % len(frames)], choice))
    finish(world)

    again = World(machine)
    for signal, now_ms in world.done:
        again.now_ms = now_ms
        again.receive(signal)

    assert again.events == world.events
    assert (again.execution.status, again.execution.stopped_ms) == (
        world.execution.status,
        world.execution.stopped_ms,
    )


def finish(world: World) -> None:
    """Answer whatever waits until the execution ends: it always can."""
    for _ in range(500):
        resting = (Phase.FORKED, Phase.DONE, Phase.WAITING)
        frames = [f for f in world.frames.all() if f.phase not in resting]
        if not frames:
            break
        frame = frames[0]
        world.now_ms += 1_000
        world.receive(TaskSucceeded(frame.id, frame.attempt, Payload(1)))
        world.receive(Due(frame.id))
    assert world.execution.status is not Status.RUNNING
