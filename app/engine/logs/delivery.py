"""Writing history to log groups.

Of Standard executions at least once, from the stored history; of Express ones once at best, from
memory: AWS promises no more either.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from app.clock import Clock, to_ms
from app.engine.executions import Executions
from app.engine.logs.cloudwatch import CloudWatchLogs
from app.engine.logs.configuration import Logging, LogGroup
from app.engine.logs.cursors import Cursor, LogCursors
from app.engine.logs.lines import Line, lines
from app.engine.loops import keep_on, rest, rest_s
from app.engine.own_calls import CallFailed
from app.engine.state_machines.machines import Machines
from app.engine.steps.execution import Event, Execution
from app.engine.store import load_execution
from app.metrics import Meter
from app.sqlite import Database

log = logging.getLogger(__name__)

RETRY_FOR_MS = 3 * 86_400_000  #: then events are given up; CloudWatch refuses older ones itself
BACKOFF_MS, BACKOFF_MAX_MS = 2_000, 900_000
AT_ONCE = 64  #: executions
GATHER_S = 0.25  #: what comes soon after goes into the same request
LAST_S = 3.0  #: for what Express executions left, when the engine stops
MAX_WAITING = 10_000  #: lines of Express executions; more are dropped, and counted

Place = tuple[LogGroup, str]  #: a group, and the machine whose streams are written


@dataclass(frozen=True, slots=True)
class _Portion:
    """The next lines of one execution."""

    cursor: Cursor
    last: int  #: the event up to which they tell
    since_ms: int  #: when the first of its events was
    lines: Sequence[Line]


class LogDelivery:
    """Writes what is owed, as soon as it is due."""

    def __init__(
        self,
        database: Database,
        cursors: LogCursors,
        machines: Machines,
        executions: Executions,
        groups: CloudWatchLogs,
        clock: Clock,
        meter: Meter,
    ) -> None:
        self._database = database
        self._cursors = cursors
        self._machines = machines
        self._executions = executions
        self._groups = groups
        self._clock = clock
        self._meter = meter
        self._express: deque[tuple[Place, Line]] = deque()
        self._tick = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.get_running_loop().create_task(keep_on(self._serve, "logs"))

    async def stop(self) -> None:
        """Write what Express executions left, and no more. The rest stays owed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self._write_express()

    def wake(self) -> None:
        """There is something to write."""
        self._tick.set()

    def offer(self, wanted: Logging, execution: Execution, events: list[Event]) -> None:
        """Have events of an Express execution written soon, if they are wanted."""
        kept = [event for event in events if wanted.level.admits(event[3])]
        arn, place = execution.arn, (wanted.group, execution.machine_name)
        for line in lines(kept, arn, 0, include_data=wanted.include_data):
            if len(self._express) >= MAX_WAITING:
                self._meter.count("log_lines_dropped")
            else:
                self._express.append((place, line))
        if kept:
            self.wake()

    async def deliver_due(self) -> int:
        """Write what is due now, or some of it; of how many executions that was."""
        async with self._turn:  # two at once would write the same lines
            await self._write_express()
            return await self._deliver_owed()

    async def _deliver_owed(self) -> int:
        cursors = self._cursors.due(AT_ONCE)
        places: dict[Place, list[_Portion]] = {}
        done: list[tuple[Cursor, int]] = []
        for cursor in cursors:
            found = self._portion(cursor)
            if found is None:
                done.append((cursor, cursor.events))  # it was removed, or is not logged any more
            else:
                places.setdefault(found[0], []).append(found[1])
        put_off: list[tuple[Cursor, int]] = []
        for place, portions in places.items():
            try:
                await self._groups.put(*place, [line for p in portions for line in p.lines])
            except CallFailed as exc:
                done += self._given_up(portions, exc.code)
                put_off += self._put_off(portions, exc.code)
            else:
                done += [(portion.cursor, portion.last) for portion in portions]
        if cursors:
            await self._cursors.settle(done, put_off)
        return len(cursors)

    def _portion(self, cursor: Cursor) -> tuple[Place, _Portion] | None:
        row = load_execution(self._database.read, cursor.execution)
        if row is None:
            return None
        revision = self._machines.to_run(self._database.read, row.revision)
        events = self._cursors.events(cursor)
        wanted = revision.logging
        if wanted is None or not events:
            return None
        kept = [event for event in events if wanted.level.admits(event[3])]
        execution = self._executions.running(self._database.read, row, revision)
        texts = lines(kept, execution.arn, row.redrives, include_data=wanted.include_data)
        place = wanted.group, execution.machine_name
        return place, _Portion(cursor, events[-1][0], events[0][2], texts)

    def _too_old(self, portion: _Portion) -> bool:
        return to_ms(self._clock()) - portion.since_ms >= RETRY_FOR_MS

    def _given_up(self, portions: Sequence[_Portion], why: str) -> list[tuple[Cursor, int]]:
        old = [portion for portion in portions if self._too_old(portion)]
        for portion in old:
            self._meter.count("log_deliveries_given_up")
            extra = {"execution_id": portion.cursor.execution, "why": why}
            log.error("log lines of an execution were given up", extra=extra)
        return [(portion.cursor, portion.last) for portion in old]

    def _put_off(self, portions: Sequence[_Portion], why: str) -> list[tuple[Cursor, int]]:
        now_ms = to_ms(self._clock())
        log.warning("a log group took nothing yet", extra={"why": why})
        self._meter.count("log_deliveries_refused")
        return [
            (p.cursor, now_ms + min(BACKOFF_MS * 2 ** min(p.cursor.attempts, 20), BACKOFF_MAX_MS))
            for p in portions
            if not self._too_old(p)
        ]

    async def _write_express(self) -> None:
        places: dict[Place, list[Line]] = {}
        while self._express:
            place, line = self._express.popleft()
            places.setdefault(place, []).append(line)
        for place, some in places.items():
            try:
                await self._groups.put(*place, some)
            except CallFailed as exc:
                log.warning("log lines were lost", extra={"lines": len(some), "why": exc.code})
                self._meter.count("log_deliveries_lost")

    async def _serve(self) -> None:
        self._tick.clear()
        if not await self.deliver_due():
            await self._rest()

    async def _rest(self) -> None:
        await rest(rest_s(self._cursors.next_due_ms(), self._clock()), self._tick)
        if self._tick.is_set():
            await asyncio.sleep(GATHER_S)
