"""The mail worker: takes queued mails from the store and gets them out, each until it is settled.

Rules kept here:

- at least once: a mail counts as sent only when the store says so; a crash in between sends it a
  second time, with the same Message-ID and the same links;
- mails are independent: each has its own attempts and its own result, stored before the next one is
  sent, and one that cannot be written or that hangs holds up nobody else;
- when the server is down nobody's attempts are spent on it: the worker knocks until it is back;
- a request that is no longer open is not mailed.

Several processes may do this over one store; leases keep them apart.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from app.approvals.channels import (
    Channel,
    ChannelDown,
    MailDeferred,
    MailRefused,
    OutgoingMail,
)
from app.approvals.mail.messages import MailWriter
from app.approvals.mail.mime import NotMailable
from app.approvals.mail.model import Mail, MailKind, MailResult, MailState
from app.approvals.pages.afterwards import is_open
from app.approvals.store.interface import Outbox
from app.clock import Clock, utc_now
from app.errors import StoreError
from app.metrics import NO_METER, Meter

log = logging.getLogger(__name__)

SENDERS = 2  #: for each connection: while one mail is handed over, another is written or stored
BATCH = 32  #: mails claimed at once
SEND_TIMEOUT_S = 25.0  #: for one mail, connecting included
LEASE = timedelta(seconds=60)  #: how long a crash delays the mails it held
LOOK_EVERY_S = 30.0  #: for mails that other processes queued

BACKOFF = timedelta(seconds=30)
BACKOFF_MAX = timedelta(hours=1)
#: 30 s, 1 min, ... 32 min, then hourly: after this many attempts three days have passed
MAX_ATTEMPTS = 78

KNOCK_S = 1.0  #: the first pause when the server is down, doubled each time
KNOCK_MAX_S = 20.0  #: the longest, so that mail flows soon after the server is back

NOT_OPEN = "not sent: the request was no longer open"


class MailWorker:
    """Sends what is due as soon as it is due."""

    def __init__(
        self,
        *,
        store: Outbox,
        writer: MailWriter,
        channel: Channel,
        clock: Clock = utc_now,
        meter: Meter = NO_METER,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._store = store
        self._writer = writer
        self._channel = channel
        self._clock = clock
        self._meter = meter
        self._uniform = uniform
        self._claimed: deque[tuple[Mail, datetime]] = deque()
        self._claiming = asyncio.Lock()
        self._dry = False  # nothing was due when it was looked last
        self._woken = asyncio.Event()
        self._stopping = False
        self._down = False
        self._store_fault: str | None = None
        self._knock_s = KNOCK_S  # doubled by each failure, until a mail gets out again
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._stopping = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="mail worker")

    def wake(self) -> None:
        """There is something to send."""
        self._dry = False
        self._woken.set()

    async def stop(self, patience_s: float = 5.0) -> None:
        """Finish the mails under way, give the others back, close the connections.

        A mail that takes longer than *patience_s* is left to its lease.
        """
        self._stopping = True
        self._woken.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=patience_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._give_back()
        await self._channel.close()

    async def send_due(self) -> None:
        """Send all that is due now; return when it is settled or put off."""
        self._down = self._dry = False
        self._store_fault = None
        async with asyncio.TaskGroup() as senders:
            for _ in range(self._channel.width * SENDERS):
                senders.create_task(self._send_claimed())

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                if self._down:
                    await self._knock()
                await self.send_due()
            except Exception:
                # The worker outlives whatever happens to it; the mails are safe in the store.
                log.exception("the mail worker stumbled")
                await self._sleep(KNOCK_S)
            if self._store_fault is not None:
                log.warning("the store failed; mails wait", extra={"why": self._store_fault})
                await self._sleep(KNOCK_S)
            await self._until_due()

    async def _until_due(self) -> None:
        """Wait for the next mail's date, for a wake-up, or for a while."""
        if self._down:
            return
        pause = LOOK_EVERY_S
        with contextlib.suppress(StoreError):
            due = await self._store.next_mail_at()
            if due is not None:
                # At least a moment, so that a mail that another process holds is no busy loop.
                pause = min(pause, max(0.1, (due - self._clock()).total_seconds()))
        await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when there is something new or the worker stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _knock(self) -> None:
        """Return when the server lets us in again (or the worker stops)."""
        await self._give_back()
        while not self._stopping:
            await self._sleep(self._knock_s * self._uniform(0.8, 1.2))
            self._knock_s = min(self._knock_s * 2, KNOCK_MAX_S)
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._channel.check()
            except (ChannelDown, TimeoutError) as exc:
                why = exc.message if isinstance(exc, ChannelDown) else "no answer in time"
                log.warning("mail server down", extra={"why": why})
            else:
                return

    async def _sleep(self, seconds: float) -> None:
        """Wait whether or not mails are queued meanwhile; only stopping ends it early."""
        ends = asyncio.get_running_loop().time() + seconds
        while not self._stopping:
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._woken.clear()
            await self._pause(left)

    async def _send_claimed(self) -> None:
        """One of the senders: a mail after the other, until nothing is due."""
        while not (self._stopping or self._down):
            try:
                mail = await self._next()
                if mail is None:
                    return
                await self._settle(mail)
            except StoreError as exc:
                # Whatever was claimed comes back when its lease ends.
                self._store_fault = exc.message
                return

    async def _next(self) -> Mail | None:
        async with self._claiming:
            while True:
                if not self._claimed and not await self._claim():
                    return None
                mail, lease_until = self._claimed.popleft()
                # A lease about to end is another process's mail soon.
                if lease_until - self._clock() > timedelta(seconds=SEND_TIMEOUT_S):
                    return mail

    async def _claim(self) -> bool:
        # Each sender that runs out of mails asks; one look in vain is enough for all of them.
        if self._dry:
            return False
        self._dry = True
        now = self._clock()
        mails = await self._store.claim_mails(now, now + LEASE, BATCH)
        self._claimed.extend((mail, now + LEASE) for mail in mails)
        self._dry = self._dry and not mails  # somebody may have woken us meanwhile
        return bool(mails)

    async def _settle(self, mail: Mail) -> None:
        """Try once to send *mail* and store what became of it."""
        result = await self._attempt(mail)
        await self._store.finish_mails((result,), self._clock())
        self._meter.count("mails", kind=mail.kind.value, result=result.state.value)

    async def _attempt(self, mail: Mail) -> MailResult:
        try:
            outgoing = await self._render(mail)
            if outgoing is None:
                return MailResult(mail.id, MailState.FAILED, note=NOT_OPEN)
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._channel.send(outgoing)
        except MailRefused as exc:
            return self._ended(mail, MailState.REFUSED, exc.message)
        except NotMailable as exc:
            return self._ended(mail, MailState.REFUSED, exc.message)
        except ChannelDown as exc:
            self._down = True
            log.warning("mail server down", extra={"why": exc.message})
            return MailResult(mail.id, MailState.QUEUED, self._clock(), exc.message)
        except MailDeferred as exc:
            return self._put_off(mail, exc.message)
        except TimeoutError:
            return self._put_off(mail, "The mail server did not answer in time.")
        except StoreError:
            raise
        except Exception:
            # One mail that cannot be made must not hold up the others.
            log.exception("a mail could not be made", extra=_named(mail))
            return self._put_off(mail, "The mail could not be made.")
        self._knock_s = KNOCK_S
        return MailResult(mail.id, MailState.SENT)

    async def _render(self, mail: Mail) -> OutgoingMail | None:
        """The mail as bytes; None if there is nothing to ask any more."""
        now = self._clock()
        if mail.kind is MailKind.NOTICE:
            return await self._render_notice(mail, now)
        approval = await self._store.approval(mail.approval_id) if mail.approval_id else None
        if approval is None or not is_open(approval, now):
            return None
        return self._writer.request(approval, mail, now)

    async def _render_notice(self, mail: Mail, now: datetime) -> OutgoingMail | None:
        notice = await self._store.notice(mail.notice_id) if mail.notice_id else None
        if notice is None:
            return None
        about = await self._store.approval(notice.about) if notice.about else None
        return self._writer.notice(notice, mail, now, about)

    def _put_off(self, mail: Mail, note: str) -> MailResult:
        """Queue *mail* for another attempt, later each time; in the end give it up."""
        if mail.attempts >= MAX_ATTEMPTS:
            return self._ended(mail, MailState.FAILED, note)
        log.info("mail deferred", extra={**_named(mail), "why": note})
        return MailResult(mail.id, MailState.QUEUED, self._clock() + self.delay(mail), note)

    def delay(self, mail: Mail) -> timedelta:
        """How long to wait after attempt number `mail.attempts` (1 is the first)."""
        doubled = BACKOFF * (1 << min(mail.attempts - 1, 10))
        return min(doubled, BACKOFF_MAX) * self._uniform(0.8, 1.2)

    def _ended(self, mail: Mail, state: MailState, note: str) -> MailResult:
        log.warning("mail given up", extra={**_named(mail), "state": state.value, "why": note})
        return MailResult(mail.id, state, note=note)

    async def _give_back(self) -> None:
        """Queue what was claimed and not tried, for whoever comes next."""
        results = [
            MailResult(mail.id, MailState.QUEUED, self._clock()) for mail, _ in self._claimed
        ]
        self._claimed.clear()
        if results:
            with contextlib.suppress(StoreError):  # their leases end anyway
                await self._store.finish_mails(results, self._clock())


def _named(mail: Mail) -> dict[str, object]:
    """What a log may say about a mail: whose it is, not what it says."""
    return {"approval": mail.approval_id, "notice": mail.notice_id, "recipient": mail.recipient}
