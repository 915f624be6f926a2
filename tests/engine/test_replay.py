"""Random machines on a real database, with random callers, crashes and restarts.

Whatever happens: nothing that was acknowledged is lost, no recorded result is asked for or written
again, and the history is what the signals it implies give once more.
"""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.functions import request_id
from app.engine.language.definition import parse
from app.engine.language.fields import Rules
from app.engine.payload import Payload
from app.engine.steps.execution import Event, Execution, TaskFailed, TaskSubmitted, TaskSucceeded
from app.engine.steps.history import TERMINAL
from app.engine.store import key_of, load_execution, unpack_events
from app.errors import ExecutionNotRedrivable, TaskTimedOut
from app.strict_json import Json
from tests.engine.building import GIVEN, NEVER_SCHEDULED, Builder
from tests.engine.driving import INVOKE, PARK, Driver, crash
from tests.engine.replaying import Signals, replay, signals_of

EXECUTION = 1  # the first in its database; others are children of its Map Runs
ACTIVITY = 1  # the only one
TOKEN: dict[str, Json] = {"token.$": "$$.Task.Token"}
TASKS: list[dict[str, Json]] = [
    {"Resource": PARK, "Parameters": {"FunctionName": "park", "Payload": TOKEN}},
    {"Resource": INVOKE, "Parameters": {"FunctionName": "echo", "Payload.$": "$"}},
    {"Resource": INVOKE, "Parameters": {"FunctionName": "fail", "Payload": 1}},
    {"Resource": "arn:aws:states:us-east-1:123456789012:activity:work"},
    NEVER_SCHEDULED,
]
#: of the children of a distributed Map
PROCESSORS: list[Json] = [
    {"Type": "Pass", "End": True},
    {"Type": "Fail", "Error": "Broken"},
    {"Type": "Wait", "Seconds": 2, "End": True},
    {"Type": "Task", **TASKS[1], "End": True},
]
ACTS = [
    *("succeed", "succeed", "fail", "beat", "wait", "wait", "take", "take"),
    *("crash", "restart", "stop", "redrive"),
]


@dataclass
class Story:
    """One execution, what was done to it, and what it promised."""

    driver: Driver
    definition: str
    arn: str = ""
    sent: list[tuple[int, int]] = field(default_factory=list)  #: (frame, attempt) acknowledged
    answered: set[str] = field(default_factory=set)  #: the requests whose answers were stored
    calls_before: int = 0  #: how many calls were made before the last restart

    async def begin(self) -> None:
        await self.driver.start()
        await self.driver.call("CreateActivity", name="work")
        self.arn = await self.driver.run(json.loads(self.definition), GIVEN)

    async def act(self, kind: str, number: int) -> None:
        """Do one thing; a crash comes while other calls are under way."""
        if kind in ("succeed", "fail", "beat"):
            await self.send(kind, number)
        elif kind == "wait":
            await self.driver.pass_time(number % 7)
        elif kind == "stop" and number % 5 == 0:
            await self.driver.engine.stop_execution(execution_arn=self.arn, error="Halt")
        elif kind == "redrive":
            await self.redrive()
        elif kind == "take":
            await self.take(number)
        elif kind == "restart":
            await self.driver.stop()
            await self.start_again()
        elif kind == "crash":
            await self.crash(number)

    async def send(self, kind: str, number: int) -> None:
        if not self.driver.tokens:
            return
        engine, token = self.driver.engine, self.driver.tokens[number % len(self.driver.tokens)]
        reference = engine._tokens.open(token)
        try:
            if kind == "beat":
                await engine.send_task_heartbeat(token)
                return
            if kind == "succeed":
                await engine.send_task_success(token, str(number))
            else:
                await engine.send_task_failure(token, ("Busy", "Rejected", None)[number % 3])
            self.sent.append((reference.frame, reference.attempt))
        except TaskTimedOut:
            pass

    async def take(self, number: int) -> None:
        """Work for the activity, if a task of it waits."""
        activities = self.driver.engine._activities
        taken: Any = await activities._take(ACTIVITY, f"worker-{number}")
        if taken is not None:
            self.driver.tokens.append(taken["taskToken"])

    async def redrive(self) -> None:
        with suppress(ExecutionNotRedrivable):
            await self.driver.call("RedriveExecution", executionArn=self.arn)
        await self.driver.engine.idle()

    async def crash(self, number: int) -> None:
        sending = asyncio.create_task(self.send(("succeed", "fail")[number % 2], number))
        for _ in range(number % 11):
            await asyncio.sleep(0)
        await crash(self.driver)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await self.start_again()

    async def start_again(self) -> None:
        # Read by itself: nothing of the engine that ended takes part.
        await self.driver.start()
        self.check_calls()
        self.calls_before = len(self.driver.calls)
        self.answered = {
            request_id(self.arn, signal.frame, signal.attempt)
            for signal, *_ in self.signals()
            if isinstance(signal, TaskSubmitted | TaskSucceeded | TaskFailed)
        }
        await self.driver.engine.idle()

    def check_calls(self) -> None:
        """No function was asked again for what was stored before the last start."""
        made = {
            invocation.request_id for _, _, invocation in self.driver.calls[self.calls_before :]
        }
        assert not made & self.answered

    # What is stored

    def chunks(self) -> list[list[Event]]:
        rows = self.driver.database.read(
            "SELECT events FROM history WHERE key BETWEEN ? AND ? ORDER BY key",
            (key_of(EXECUTION, 0), key_of(EXECUTION + 1, 0) - 1),
        )
        return [unpack_events(stored) for (stored,) in rows]

    def at_first(self) -> Execution:
        """The execution before its first signal."""
        row = load_execution(self.driver.database.read, EXECUTION)
        assert row is not None
        engine = self.driver.engine
        lasts_ms = row.timeout_ms - (row.redriven_ms or row.started_ms)
        return Execution(
            id=EXECUTION,
            arn=self.arn,
            name=row.name,
            machine_arn=engine.arns.state_machine("machine"),
            machine_name="machine",
            role_arn="arn:aws:iam::123456789012:role/workflow",
            input=Payload.of_text(row.input),
            started_ms=row.started_ms,
            seed=row.seed,
            timeout_ms=row.started_ms + lasts_ms,
        )

    def signals(self) -> Signals:
        machine = parse(self.definition, Rules(lambda _resource: True)).machine
        assert machine is not None
        return signals_of(machine, self.at_first(), self.chunks(), self.driver.engine._tokens.mint)

    def check(self) -> None:
        """The promises hold, and the history can be told again."""
        self.check_calls()
        events = [event for chunk in self.chunks() for event in chunk]
        assert [event[0] for event in events] == list(range(1, len(events) + 1))
        check_ends(events)
        signals = self.signals()
        machine = parse(self.definition, Rules(lambda _resource: True)).machine
        assert machine is not None
        again = replay(machine, self.at_first(), signals, self.driver.engine._tokens.mint)
        assert [list(event) for event in again.events] == [list(event) for event in events]
        answers = [
            (signal.frame, signal.attempt)
            for signal, *_ in signals
            if isinstance(signal, TaskSucceeded | TaskFailed)
        ]
        assert len(set(answers)) == len(answers)
        assert set(self.sent) <= set(answers)


def check_ends(events: Sequence[Event]) -> None:
    """One terminal event, the last; after a redrive one more."""
    ends = [event[0] for event in events if event[3] in TERMINAL]
    redriven = [event[0] - 1 for event in events if event[3] == "ExecutionRedriven"]
    assert ends[: len(redriven)] == redriven
    assert ends[len(redriven) :] in ([], [len(events)])


@st.composite
def definitions(draw: st.DrawFn) -> str:
    """A machine whose tasks park, answer or fail, and whose Maps may be distributed."""
    return json.dumps(Builder(draw, TASKS, PROCESSORS).machine(depth=1))


async def live(story: Story, acts: Sequence[tuple[str, int]]) -> None:
    await story.begin()
    for kind, number in acts:
        await story.act(kind, number)
    story.check()
    await story.driver.stop()


@settings(max_examples=60, deadline=None)
@given(
    definitions(),
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 99)), min_size=4, max_size=14),
)
def test_a_stored_history_is_what_its_signals_give(
    definition: str, acts: list[tuple[str, int]]
) -> None:
    """After crashes at any moment, a replay of what was stored gives the stored history."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(live(Story(Driver(Path(directory)), definition), acts))
