"""What is due: owed answers, expired approvals, heartbeats, audit digests; and a nudge for the mail
worker.

One task. Nothing depends on it being on time: every step is a compare-and-set, so several
processes may sweep the same store, and a step that fails is tried again in the next round.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from app.approvals.audit import AuditDigest
from app.approvals.delivery import Settlement
from app.approvals.keyring import KeyRing
from app.approvals.service import ApprovalService
from app.approvals.store.interface import ApprovalStore
from app.clock import Clock, utc_now
from app.errors import StoreError

log = logging.getLogger(__name__)

EVERY_S = 1.0
TABLE_EVERY_S = 5.0  #: where each look is a paid request
MAX_RUNNING = 64  #: attempts of the sweeper under way at once; more are not claimed
MAX_LOOKING = 32  #: pending approvals whose task is being looked at, likewise
EXPIRE_BATCH = 200
DIGEST_EVERY = timedelta(hours=1)
DIGEST_LOOK_EVERY = timedelta(seconds=30)  #: counting them each second would be most of the work
DIGEST_ENTRIES = 2_000  #: so many unsigned entries do not wait for the hour


class Sweeper:
    """Sweeps at once, then every *every_s* seconds, and sooner when there may be more to do."""

    def __init__(
        self,
        *,
        service: ApprovalService,
        store: ApprovalStore,
        ring: KeyRing,
        clock: Clock = utc_now,
        every_s: float = EVERY_S,
        alone: bool = False,
    ) -> None:
        """A sweeper. *alone*: no other process uses the store, so all leases found are dead."""
        self._service = service
        self._store = store
        self._ring = ring
        self._clock = clock
        self._every_s = every_s
        self._alone = alone
        self._wake = asyncio.Event()
        self._running = 0  # attempts that this sweeper began
        self._looking = 0  # at tasks of pending approvals
        self._more_to_look_at = False
        self._looked_at: datetime | None = None  # for entries to sign
        self._more = False  # more may be due than there was room for
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        """Stop between two steps."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def sweep(self) -> None:
        """One round."""
        self._wake.clear()
        now = self._clock()
        await self._step("expiry", self._expire, now)  # may owe answers
        await self._step("owed answers", self._deliver, now)
        await self._step("pending tasks", self._look, now)
        await self._step("mails", self._nudge, now)
        await self._step("audit digests", self._sign, now)

    @property
    def behind(self) -> bool:
        """Whether the last round had less room than there was to do."""
        return self._wake.is_set()

    async def recover(self) -> None:
        """Take over what a crashed process of ours held, if nobody else can be holding it."""
        if self._alone:
            await self._step("leases", self._release, self._clock())

    async def _run(self) -> None:
        await self.recover()
        while True:
            await self.sweep()
            try:
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _step(
        self, what: str, step: Callable[[datetime], Awaitable[None]], now: datetime
    ) -> None:
        try:
            await step(now)
        except StoreError as exc:
            log.warning("the store failed; trying again", extra={"step": what, "why": exc.message})
        except Exception:
            # One broken step must not end all sweeping.
            log.exception("a sweep step failed", extra={"step": what})

    async def _release(self, now: datetime) -> None:
        await self._store.release(None, now)

    async def _deliver(self, now: datetime) -> None:
        delivery = self._service.delivery
        free = MAX_RUNNING - self._running
        claimed = await self._store.claim(delivery.lease(), now, free)
        # There may be more; each attempt that ends makes room.
        self._more = len(claimed) == free
        for owed in claimed:
            self._running += 1
            delivery.start(owed).add_done_callback(self._attempted)

    def _attempted(self, _task: asyncio.Task[Settlement | None]) -> None:
        self._running -= 1
        if self._more:
            self._wake.set()

    async def _expire(self, now: datetime) -> None:
        expired = await self._store.expired(now, EXPIRE_BATCH)
        # Together, so that they share a transaction.
        results = await asyncio.gather(
            *(self._service.expire(approval) for approval in expired), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if len(expired) == EXPIRE_BATCH:
            self._wake.set()

    async def _look(self, now: datetime) -> None:
        free = MAX_LOOKING - self._looking
        claimed = await self._store.claim_pending(now, free)
        self._more_to_look_at = len(claimed) == free
        for stored in claimed:
            self._looking += 1
            self._service.delivery.look(stored).add_done_callback(self._looked)

    def _looked(self, _task: asyncio.Task[None]) -> None:
        self._looking -= 1
        if self._more_to_look_at:
            self._wake.set()

    async def _nudge(self, now: datetime) -> None:
        due = await self._store.next_mail_at()
        if due is not None and due <= now:
            self._service.on_mail_queued()

    async def _sign(self, now: datetime) -> None:
        if self._looked_at is not None and now - self._looked_at < DIGEST_LOOK_EVERY:
            return
        self._looked_at = now
        unsigned, last = await self._store.unsigned_entries()
        late = unsigned > 0 and (last is None or now - last >= DIGEST_EVERY)
        if late or unsigned >= DIGEST_ENTRIES:
            while unsigned > 0 and (digest := await self._sign_some(now)):
                unsigned -= digest.last - digest.first + 1

    async def _sign_some(self, now: datetime) -> AuditDigest | None:
        return await self._store.sign_entries(self._ring, now, DIGEST_ENTRIES)
