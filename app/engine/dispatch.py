"""Dispatching calls: bounded in flight, bounded in memory, at least once.

What is owed is in the database (frames in phase SCHEDULED). This keeps some of it at hand; when
more comes than it keeps, it forgets the rest and reads it back once there is room. So recovery
after a crash and a flood of tasks are the same thing: reading what is owed.

Each service has a lane of its own: calls of one that answers slowly, or not at all, take no place
from those of others.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from app.engine.steps.execution import Dispatch

log = logging.getLogger(__name__)

IN_FLIGHT = 256  #: calls of one service at the same time; blocking ones wait further for a thread
AT_HAND = 2_000  #: calls of one service kept in memory beside those

Key = tuple[int, int, int]


@dataclass(slots=True)
class _Lane:
    """The calls of one service."""

    waiting: deque[Dispatch] = field(default_factory=deque)
    in_flight: int = 0


class Dispatcher:
    """Has owed calls made."""

    def __init__(
        self,
        perform: Callable[[Dispatch], Coroutine[Any, Any, None]],
        read_owed: Callable[[int], list[Dispatch]],
    ) -> None:
        self._perform = perform
        self._read_owed = read_owed
        self._lanes: defaultdict[str, _Lane] = defaultdict(_Lane)
        self._known: set[Key] = set()  # waiting or in flight
        self._tasks: set[asyncio.Task[None]] = set()
        self._more_owed = False
        self._stopped = False
        self._rest = asyncio.Event()  # set while nothing is owed or in flight
        self._rest.set()

    def recover(self) -> None:
        """Take up what is owed from before."""
        self._more_owed = True
        self._go()

    def offer(self, calls: list[Dispatch]) -> None:
        """Have these calls made soon."""
        for call in calls:
            if len(self._lanes[call.resource.service].waiting) < AT_HAND:
                self._take(call)
            elif call.job is None:
                self._more_owed = True  # a look at a job is not owed: it becomes due again
        self._go()

    @property
    def busy(self) -> bool:
        """Whether any call is owed or in flight."""
        return bool(self._tasks or self._more_owed or self._waits)

    @property
    def _waits(self) -> bool:
        return any(lane.waiting for lane in self._lanes.values())

    async def idle(self) -> None:
        """Return when no call is owed or in flight."""
        await self._rest.wait()

    async def stop(self) -> None:
        """Make no more calls. Those in flight are cut off: they stay owed."""
        self._stopped = True
        self._lanes.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, call: Dispatch) -> None:
        key = (call.execution_id, call.frame, call.attempt)
        if key not in self._known:
            self._known.add(key)
            self._lanes[call.resource.service].waiting.append(call)

    def _go(self) -> None:
        if self._more_owed and not self._waits:
            self._refill()
        for lane in self._lanes.values():
            while lane.waiting and lane.in_flight < IN_FLIGHT and not self._stopped:
                self._start(lane, lane.waiting.popleft())
        if self.busy:
            self._rest.clear()
        else:
            self._rest.set()

    def _start(self, lane: _Lane, call: Dispatch) -> None:
        lane.in_flight += 1
        task = asyncio.get_running_loop().create_task(self._perform(call))
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, lane, call))

    def _refill(self) -> None:
        # What is in flight is owed too, and read first: ask for enough to see beyond it.
        owed = self._read_owed(AT_HAND + len(self._known))
        self._more_owed = len(owed) >= AT_HAND + len(self._known)
        for call in owed:
            self._take(call)

    def _done(self, lane: _Lane, call: Dispatch, task: asyncio.Task[None]) -> None:
        lane.in_flight -= 1
        self._tasks.discard(task)
        self._known.discard((call.execution_id, call.frame, call.attempt))
        if not task.cancelled() and (error := task.exception()) is not None:
            # The call stays owed, and is made again at the next start.
            log.error("a call's answer was not recorded", exc_info=error)
        if not self._stopped:
            self._go()
