"""What the functions with mail are made of, kept between events.

It is built by the first event, and anew when secret keys may have been rotated (`rotation.py`), so
that no deployment is needed for that. One event at a time: an environment of Lambda has no other.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from app.approvals.keyring import KeyRing
from app.approvals.links import LinkSigner
from app.approvals.seal import open_sealer
from app.approvals.service import ApprovalService
from app.approvals.store.dynamodb.running import InThreads
from app.approvals.store.dynamodb.store import DynamoStore
from app.approvals.sweeper import Sweeper
from app.approvals.targets.signed_stepfunctions import SignedStepFunctionsTarget
from app.aws_lambda.options import Options, read_options
from app.aws_lambda.rotation import may_judge
from app.aws_lambda.stepfunctions import TARGET, stepfunctions_target
from app.errors import StartRefused, StoreError
from app.logs import configure_logs
from app.secrets_source import read_secret_keys

if TYPE_CHECKING:
    from jinja2 import Environment

    from app.approvals.compat.http import Callbacks
    from app.approvals.language import Languages
    from app.approvals.mail.outbox import MailWorker

log = logging.getLogger(__name__)

T = TypeVar("T")

#: what is left of an invocation for the answer, whatever is sent meanwhile
SPARE_S = 2.0
#: somebody waits for the answer of a mint; mails that take longer are the sweeper's
MAIL_S = 10.0
DELIVERIES = 16  #: at the same time


class Parts:
    """Everything under one reading of the secret keys."""

    def __init__(
        self,
        options: Options,
        ring: KeyRing,
        store: DynamoStore,
        target: SignedStepFunctionsTarget,
        service: ApprovalService,
    ) -> None:
        self._options = options
        self._target = target
        self.ring = ring
        self.store = store
        self.service = service
        self.read_at = monotonic()  #: when the secret keys were read

    async def close(self) -> None:
        """Let go of connections, threads and processes."""
        if "callbacks" in vars(self):
            self.callbacks.close()
        if "mails" in vars(self):
            await self.mails.stop()
        await self.service.close()
        self._target.close()
        await self.store.close()

    @cached_property
    def sweeper(self) -> Sweeper:
        """What does what is due, but for mails."""
        return Sweeper(service=self.service, store=self.store, ring=self.ring)

    @cached_property
    def mails(self) -> "MailWorker":
        """What sends mails.

        Raises:
            StartRefused: there is no way out for them.
        """
        # Not at the top: most events need no mail, and boto3 and Jinja2 come with it.
        from app.aws_lambda.mailing import mail_worker  # noqa: PLC0415

        return mail_worker(self._options, self.service, self.store, *self._wording)

    @cached_property
    def callbacks(self) -> "Callbacks":
        """The sfn-callback-urls API."""
        # Not at the top: most events are none of its.
        from app.aws_lambda.calling import callback_api  # noqa: PLC0415

        links = LinkSigner(self.ring, self._options.base_url)
        return callback_api(self._options, self.service, links, *self._wording)

    @cached_property
    def _wording(self) -> "tuple[Environment, Languages]":
        # Not at the top: words are for mails and pages.
        from app.aws_lambda.wording import load_wording  # noqa: PLC0415

        return load_wording(self._options)


class Invocations:
    """Runs the events of one environment, one after the other."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._parts: Parts | None = None
        self._queued = False

    def run(
        self,
        work: Callable[[Parts], Awaitable[T]],
        context: Any,
        *,
        link: str | None = None,
        form: bytes = b"",
    ) -> T:
        """The result of *work*; mails that it queued are on their way, or the sweeper's.

        *link* and *form* are what the event brought that was signed with secret keys.

        Raises:
            StartRefused: the options or the secret keys cannot be used.
        """
        options = read_options()
        lines = configure_logs(options.log_level, sys.stdout)

        async def worked() -> T:
            parts = await self.parts(options, link, form)
            self._queued = False
            result = await work(parts)
            if self._queued:
                await self._mail(parts, min(MAIL_S, left_s(context)))
            return result

        try:
            return self._runner.run(worked())
        finally:
            lines.flush()

    async def parts(self, options: Options, link: str | None, form: bytes) -> Parts:
        """What there is under the secret keys that are valid now.

        Raises:
            StartRefused, StoreError: it cannot be built, and was not built before.
        """
        before = self._parts
        if before and may_judge(before.ring, monotonic() - before.read_at, link, form):
            return before
        try:
            self._parts = now = await self._built(options)
        except (StartRefused, StoreError) as exc:
            if before is None:
                raise
            # What was built before is better than nothing, and is asked for again some time later.
            log.error("the secret keys cannot be renewed", extra={"why": exc.message})
            before.read_at = monotonic()
            return before
        if before is not None:
            await before.close()
        return now

    async def _mail(self, parts: Parts, seconds: float) -> None:
        try:
            await send_mails(parts, seconds)
        except StartRefused as exc:
            # What was asked for is stored. The sweeper fails of this aloud, and mails later.
            log.error("no mail can be sent", extra={"why": exc.message})

    async def _built(self, options: Options) -> Parts:
        ring = KeyRing(read_secret_keys(options.secret_keys))
        store = DynamoStore.open(options.table)
        target = stepfunctions_target(InThreads(DELIVERIES))
        service = ApprovalService(
            store=store,
            targets={TARGET: target},
            links=LinkSigner(ring, options.base_url),
            sealer=await open_sealer(ring, store),
            default_expires_in=options.default_expires_in,
            mails_per_hour=options.mails_per_hour,
        )
        service.on_mail_queued = self._note_mail
        return Parts(options, ring, store, target, service)

    def _note_mail(self) -> None:
        self._queued = True


async def send_mails(parts: Parts, seconds: float) -> None:
    """Send what is due; what takes longer than *seconds* comes back when its lease ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await parts.mails.send_due()


def left_s(context: Any) -> float:
    """Seconds that this invocation may still work."""
    return float(context.get_remaining_time_in_millis()) / 1000 - SPARE_S
