"""Driving an engine as its users do, with the time in the test's hands."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from app.engine.functions import Invocation, LocalFunction
from app.engine.requests import checked
from app.engine.runtime import Engine
from app.engine.store import open_database
from app.strict_json import Json

ROLE = "arn:aws:iam::123456789012:role/workflow"
NOON = datetime(2025, 11, 12, 12, tzinfo=UTC)

PARK = "arn:aws:states:::lambda:invoke.waitForTaskToken"
INVOKE = "arn:aws:states:::lambda:invoke"


class Flaky(Exception):
    """Raised by the function ``fail``; its name is the error's."""


class StillClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Driver:
    """An engine, its functions, and what they were called with.

    The functions: ``echo`` gives its event back; ``fail`` raises; ``park`` keeps the task token.
    """

    def __init__(
        self,
        directory: Path,
        functions: Mapping[str, LocalFunction] | None = None,
        **options: Any,
    ) -> None:
        self.directory = directory
        self.options = options  #: more arguments for the engine
        self.clock: StillClock = StillClock()
        self.tokens: list[str] = []  #: what ``park`` was given, in order
        self.calls: list[tuple[str, Json, Invocation]] = []
        self.functions: dict[str, LocalFunction] = {
            "echo": self._echo,
            "fail": self._fail,
            "park": self._park,
            **(functions or {}),
        }

    async def start(self) -> None:
        """Open the database and start the engine."""
        self.database = open_database(self.directory)
        self.engine = Engine(
            self.database, functions=self.functions, clock=self.clock, **self.options
        )
        await self.engine.start()

    async def stop(self) -> None:
        """Stop as a good service does."""
        await self.engine.stop()
        await self.database.close()

    async def restart(self) -> None:
        """Stop, and start again on the same data."""
        await self.stop()
        await self.start()

    async def call(self, operation: str, **members: Json) -> Any:
        """The answer to a request, members spelled as on the wire."""
        return await self.engine.verbs[operation](**checked(operation, members))

    async def machine(self, definition: Json, name: str = "machine") -> str:
        """A state machine's ARN."""
        text = orjson.dumps(definition).decode()
        made = await self.engine.create_state_machine(name=name, definition=text, role_arn=ROLE)
        return str(made["stateMachineArn"])

    async def run(self, definition: Json, given: Json = None, name: str = "machine") -> str:
        """Start an execution and let it go as far as it can; its ARN."""
        arn = await self.machine(definition, name)
        text = orjson.dumps({} if given is None else given).decode()
        started = await self.engine.start_execution(state_machine_arn=arn, input=text)
        await self.engine.idle()
        return str(started["executionArn"])

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and all that becomes due happen."""
        self.clock.now += timedelta(seconds=seconds)
        await self.engine.idle()

    async def succeed(self, output: Json, token: str | None = None) -> None:
        """Complete the newest parked task."""
        text = orjson.dumps(output).decode()
        await self.engine.send_task_success(token or self.tokens[-1], text)
        await self.engine.idle()

    async def fail(self, error: str | None = None, cause: str | None = None) -> None:
        """Fail the newest parked task."""
        await self.engine.send_task_failure(self.tokens[-1], error, cause)
        await self.engine.idle()

    async def describe(self, arn: str) -> Any:
        """DescribeExecution."""
        return await self.engine.describe_execution(execution_arn=arn)

    async def status(self, arn: str) -> str:
        """The execution's status."""
        return str((await self.describe(arn))["status"])

    async def output(self, arn: str) -> Json:
        """The execution's output."""
        return orjson.loads((await self.describe(arn))["output"])

    async def events(self, arn: str) -> list[dict[str, Any]]:
        """The whole history."""
        events: list[dict[str, Any]] = []
        token = None
        while True:
            page = await self.engine.get_execution_history(arn, 1_000, token)
            events += page["events"]
            token = page.get("nextToken")
            if token is None:
                return events

    async def story(self, arn: str) -> list[str]:
        """The history in short: ``3<2 PassStateExited``."""
        return story(await self.events(arn))

    async def _echo(self, event: Json, invocation: Invocation) -> Json:
        self.calls.append(("echo", event, invocation))
        return event

    async def _fail(self, event: Json, invocation: Invocation) -> Json:
        self.calls.append(("fail", event, invocation))
        raise Flaky("it broke")

    async def _park(self, event: Json, invocation: Invocation) -> Json:
        self.calls.append(("park", event, invocation))
        self.tokens.append(event["token"])
        return {"parked": True}


async def crash(driver: Driver) -> None:
    """End as a killed process does: nothing is finished, the kernel lets go of the lock."""
    conductor, lock = driver.engine._conductor, driver.engine._lock
    assert conductor._loop is not None
    assert lock is not None
    conductor._loop.cancel()
    for task in conductor._dispatcher._tasks:
        task.cancel()
    driver.engine._map_runs._stopped = True
    for task in driver.engine._map_runs._at_work.values():
        task.cancel()
    await asyncio.sleep(0)
    lock.release()
    await driver.database.close()


def story(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Events in short: ``3<2 PassStateExited``."""
    return [f"{e['id']}<{e['previousEventId']} {e['type']}" for e in events]


def parked(**fields: Json) -> dict[str, Json]:
    """A Task that waits for its token."""
    payload = {"token.$": "$$.Task.Token"}
    parameters = {"FunctionName": "park", "Payload": payload}
    return {"Type": "Task", "Resource": PARK, "Parameters": parameters, "End": True} | fields


def invoked(function: str, **fields: Json) -> dict[str, Json]:
    """A Task that invokes a function with the state's input."""
    parameters = {"FunctionName": function, "Payload.$": "$"}
    return {"Type": "Task", "Resource": INVOKE, "Parameters": parameters, "End": True} | fields


def only(state: Mapping[str, Json], **more: Mapping[str, Json]) -> dict[str, Json]:
    """A machine that starts with *state* (named First), and maybe others."""
    return {"StartAt": "First", "States": {"First": dict(state), **more}}
