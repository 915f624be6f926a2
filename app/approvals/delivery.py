"""Telling the workflow what was decided, until it is proven that it knows.

One attempt: send the frozen answer; what the service says (or does not say) becomes either a proof
of what became of the task, or a date for the next attempt (`attempts.py`, `reconcile.py`). An
attempt never fails on its content and may be made twice: the workflow service takes one answer per
task token, and its history tells whose it was.

Deliveries run as tasks of their own, so that a request that gave them up, or whose client went
away, does not stop them. What a crash interrupts is due again when its lease ends.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex

from app.approvals.attempts import Retry, Settled, Uniform, after_busy, after_refusal, after_silence
from app.approvals.model import Payload, State
from app.approvals.reconcile import Trail
from app.approvals.seal import Sealer
from app.approvals.store.interface import Approvals, Lease, Owed, Stored
from app.approvals.targets import (
    Target,
    TargetBusy,
    TargetDown,
    TargetError,
    TargetRefused,
    TaskGone,
)
from app.clock import Clock, utc_now
from app.errors import StoreError
from app.metrics import NO_METER, Meter

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)  #: longer than an attempt may take
STOP_S = 8.0  #: how long a stop waits for attempts under way

#: what is as it should be is in the audit and in the metrics
_LEVELS = {
    State.DELIVERED: logging.DEBUG,
    State.SUPERSEDED: logging.ERROR,
    State.UNRESOLVED: logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class Settlement:
    """A proof, and when it was stored."""

    settled: Settled
    at: datetime


class Delivery:
    """Makes attempts, and stores what they prove."""

    def __init__(
        self,
        *,
        store: Approvals,
        targets: Mapping[str, Target],
        sealer: Sealer,
        clock: Clock = utc_now,
        meter: Meter = NO_METER,
        uniform: Uniform = random.uniform,
    ) -> None:
        self._store = store
        self._targets = targets
        self._sealer = sealer
        self._clock = clock
        self._meter = meter
        self._uniform = uniform
        self._owner = token_hex(8)
        self._running: set[asyncio.Task[Settlement | None] | asyncio.Task[None]] = set()

    def lease(self) -> Lease:
        """A lease of this process, from now on."""
        return Lease(self._owner, self._clock() + LEASE)

    def start(self, owed: Owed) -> asyncio.Task[Settlement | None]:
        """Begin an attempt; the task ends when its outcome is stored. It never raises.

        Its result is what was stored, if that settles it; None if it may be owed still.
        """
        task = asyncio.get_running_loop().create_task(self._deliver(owed))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def heartbeat(self, stored: Stored) -> None:
        """Tell the workflow that the task of *stored* is still worked on.

        Raises:
            TaskGone, TargetBusy, TargetRefused: the workflow was not told.
        """
        target, token = self._opened(stored)
        await target.heartbeat(token)

    def look(self, stored: Stored) -> asyncio.Task[None]:
        """Begin to see whether the task of a pending approval still waits; it never raises.

        The workflow gets a heartbeat if the mint asks for them. An approval whose task has ended is
        closed.
        """
        task = asyncio.get_running_loop().create_task(self._look(stored))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def closed(self, approval_id: str, evidence: str) -> None:
        """Write down that the task of an approval ended, if nobody had decided."""
        if await self._store.task_closed(approval_id, evidence, self._clock()):
            self._meter.count("closings")
            log.info("task had ended", extra={"approval": approval_id, "evidence": evidence})

    async def idle(self) -> None:
        """Wait until no attempt is under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def stop(self) -> None:
        """Wait for the attempts under way, a while; give back what is not done."""
        if self._running:
            _, unfinished = await asyncio.wait(self._running, timeout=STOP_S)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        try:
            await self._store.release(self._owner, self._clock())
        except StoreError:
            log.warning("leases were not given back; they end by themselves")

    def _opened(self, stored: Stored) -> tuple[Target, str]:
        """Who waits, and for which task token."""
        target = self._targets.get(stored.approval.target)
        if target is None:
            raise TargetRefused("this process does not know the target")
        try:
            return target, self._sealer.open(stored.sealed_token, stored.approval.id)
        except ValueError as exc:
            raise TargetRefused("the task token cannot be opened") from exc

    async def _look(self, stored: Stored) -> None:
        where = {"approval": stored.approval.id}
        try:
            evidence = await self._ending(stored)
            if evidence is not None:
                await self.closed(stored.approval.id, evidence)
        except TargetError as exc:
            # It is looked at again, soon if a heartbeat is owed.
            log.info("a pending task was not looked at", extra={**where, "why": exc.code})
        except StoreError:
            log.warning("the end of a task was not recorded", extra=where)
        except Exception:
            log.exception("looking at a pending task failed", extra=where)

    async def _ending(self, stored: Stored) -> str | None:
        """What ended the task; None if it waits, as far as can be known."""
        request = stored.approval.request
        if request.heartbeat_seconds is not None:
            try:
                await self.heartbeat(stored)
            except TaskGone as gone:
                return f"{gone.code} at a heartbeat"
        elif request.execution_arn is not None:
            target, token = self._opened(stored)
            trail = Trail(token, Payload(), None)
            async for event in target.history(request.execution_arn):
                trail.read(event)
            return trail.ending()
        return None

    async def _deliver(self, owed: Owed) -> Settlement | None:
        try:
            if self._clock() < owed.lease.until:
                return await self._store_outcome(owed, await self._attempt(owed))
        except StoreError:
            # Still owed: it is due again when the lease ends.
            log.warning("a delivery was not recorded", extra={"approval": owed.approval_id})
        except Exception:
            log.exception("a delivery failed", extra={"approval": owed.approval_id})
        return None

    async def _attempt(self, owed: Owed) -> Settled | Retry:
        target = self._targets.get(owed.target)
        if target is None:
            return after_refusal("this process does not know the target", self._uniform)
        try:
            token = self._sealer.open(owed.sealed_token, owed.approval_id)
        except ValueError:
            return after_refusal("the task token cannot be opened", self._uniform)
        try:
            return await _send(target, token, owed.payload)
        except TaskGone as gone:
            return await self._reconcile(target, token, owed, gone.code)
        except TargetBusy as busy:
            return self._later(owed, busy)
        except TargetRefused as refusal:
            return after_refusal(refusal.code, self._uniform)

    async def _reconcile(
        self, target: Target, token: str, owed: Owed, code: str
    ) -> Settled | Retry:
        """What became of the task, now that nobody waits for its token any more."""
        if owed.execution_arn is None:
            return Settled(State.UNRESOLVED, f"{code}, and the mint named no execution")
        trail = Trail(token, owed.payload, owed.decision_id or owed.approval_id)
        try:
            async for event in target.history(owed.execution_arn):
                trail.read(event)
        except TargetBusy as busy:
            return self._later(owed, busy)
        except TargetRefused as refusal:
            return Settled(State.UNRESOLVED, f"{code}, and the history: {refusal.code}")
        settled = trail.verdict(owed.attempts)
        return settled or after_busy(owed.attempts, code, self._uniform)

    def _later(self, owed: Owed, busy: TargetBusy) -> Retry:
        after = after_silence if isinstance(busy, TargetDown) else after_busy
        return after(owed.attempts, busy.code, self._uniform)

    async def _store_outcome(self, owed: Owed, outcome: Settled | Retry) -> Settlement | None:
        where = {"approval": owed.approval_id, "attempt": owed.attempts}
        now = self._clock()
        if isinstance(outcome, Retry):
            next_at = now + timedelta(seconds=outcome.delay_s)
            await self._store.postpone(owed, next_at, outcome.reason, outcome.needs_operator, now)
            self._meter.count("deliveries", result="retry")
            level = logging.ERROR if outcome.needs_operator else logging.INFO
            log.log(level, "delivery postponed", extra={**where, "reason": outcome.reason})
        elif await self._store.settle(owed.approval_id, outcome, now):
            self._meter.count("deliveries", result=outcome.state.lower())
            level = _LEVELS.get(outcome.state, logging.INFO)
            told = {**where, "state": outcome.state.value, "evidence": outcome.evidence}
            log.log(level, "delivery settled", extra=told)
            return Settlement(outcome, now)
        return None


async def _send(target: Target, token: str, payload: Payload) -> Settled:
    if payload.output is not None:
        await target.succeed(token, payload.output)
        return Settled(State.DELIVERED, "SendTaskSuccess was accepted")
    await target.fail(token, payload.error, payload.cause)
    return Settled(State.DELIVERED, "SendTaskFailure was accepted")
