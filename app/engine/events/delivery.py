"""Delivering events to one destination: at least once, each with its own attempts.

What a destination does not take is tried again, later each time, until it is too old; then it is
given up, which is logged, counted and shown to operators. While nothing at all is taken, the
destination itself is left alone for a while, so that a flood of events does not become a flood of
attempts.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from app.clock import Clock, to_ms
from app.engine.events import Destination, OwedEvent, Refusals
from app.engine.events.log import PutOff, StatusChanges
from app.engine.loops import keep_on, rest, rest_s
from app.metrics import Meter

log = logging.getLogger(__name__)

BACKOFF_S = 2.0  #: after the first attempt, doubled after each
BACKOFF_MAX_S = 900.0
PAUSE_S = 1.0  #: when nothing was taken, doubled each time
PAUSE_MAX_S = 60.0
MAX_REASON_CHARS = 80  #: it may be another service's code


class EventDelivery:
    """Gives a destination what it is owed, as soon as it is due."""

    def __init__(
        self,
        changes: StatusChanges,
        destination: Destination,
        clock: Clock,
        meter: Meter,
        *,
        retry_for_s: int,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._changes = changes
        self.destination = destination
        self._clock = clock
        self._meter = meter
        self._retry_for_s = retry_for_s
        self._uniform = uniform
        self._pause_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        name = f"events to {self.destination.name}"
        self._task = asyncio.get_running_loop().create_task(keep_on(self._serve, name), name=name)

    async def stop(self) -> None:
        """Deliver no more. What is under way stays owed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.destination.close()

    async def deliver_due(self) -> int:
        """Deliver what is due now, or some of it; how many events that were."""
        events = self._changes.due(self.destination.number, self.destination.batch)
        if events:
            await self._settle(events, await self._handed_over(events))
        return len(events)

    async def _handed_over(self, events: Sequence[OwedEvent]) -> Refusals:
        try:
            return await self.destination.deliver(events)
        except Exception:
            # A fault of ours must not stand in the way of the events that come after.
            log.exception("a delivery failed", extra={"destination": self.destination.name})
            return {event.number: "internal_error" for event in events}

    async def _settle(self, events: Sequence[OwedEvent], refusals: Refusals) -> None:
        taken = [event for event in events if event.number not in refusals]
        put_off = [self._put_off(e, refusals[e.number]) for e in events if e.number in refusals]
        is_back = bool(taken and self._pause_s)
        await self._changes.settle(self.destination.number, taken, put_off, is_back=is_back)
        for _ in taken:
            self._meter.count("events_delivered", destination=self.destination.name)
        for off in put_off:
            self._tell(off)
        self._pause_s = 0.0 if taken else min(max(self._pause_s * 2, PAUSE_S), PAUSE_MAX_S)

    def _put_off(self, event: OwedEvent, reason: str) -> PutOff:
        now_ms = to_ms(self._clock())
        wait_s = min(BACKOFF_S * 2 ** min(event.attempts, 20), BACKOFF_MAX_S)
        due_ms = now_ms + int(1000 * wait_s * self._uniform(0.8, 1.2))
        too_old = now_ms - event.recorded_ms >= self._retry_for_s * 1000
        return PutOff(event, reason[:MAX_REASON_CHARS], None if too_old else due_ms)

    def _tell(self, off: PutOff) -> None:
        name, given_up = self.destination.name, off.due_ms is None
        self._meter.count("events_given_up" if given_up else "events_refused", destination=name)
        extra = {"destination": name, "change": off.event.number, "why": off.reason}
        if given_up:
            log.error("an event was given up", extra=extra)
        else:
            log.warning("an event was not delivered yet", extra=extra)

    async def _serve(self) -> None:
        tick = self._changes.tick
        delivered = await self.deliver_due()
        if self._pause_s:
            await asyncio.sleep(self._pause_s * self._uniform(0.8, 1.2))
        elif not delivered:
            due_ms = self._changes.next_due_ms(self.destination.number)
            await rest(rest_s(due_ms, self._clock()), tick)
