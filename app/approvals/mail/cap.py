"""How many mails one address gets in an hour.

A workflow that loops, or a stolen API key, must not fill people's mailboxes. What would be too much
is refused before it is stored, for all its recipients, so that nobody waits for a mail that will
not come. Counted by the hour of the clock, in the store, over all processes.
"""

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256

from app.approvals.model import Recipient
from app.approvals.store.interface import Outbox
from app.clock import Clock
from app.errors import TooManyMails
from app.metrics import Meter

HOUR = timedelta(hours=1)


class MailCap:
    """Counts mails to each address; at most *per_hour*, or any number if that is 0."""

    def __init__(self, store: Outbox, per_hour: int, clock: Clock, meter: Meter) -> None:
        self._store = store
        self._per_hour = per_hour
        self._clock = clock
        self._meter = meter

    @property
    def counts(self) -> bool:
        """Whether there is a limit."""
        return self._per_hour > 0

    async def admit(self, recipients: Sequence[Recipient]) -> None:
        """Count a mail to each of *recipients*.

        Raises:
            TooManyMails: one of them got enough; nothing is counted.
        """
        if not self.counts or not recipients:
            return
        now = self._clock()
        hour = now.replace(minute=0, second=0, microsecond=0)
        mailboxes = [_mailbox(recipient.email) for recipient in recipients]
        if not await self._store.count_mails(mailboxes, hour, self._per_hour):
            self._meter.count("mails_refused")
            raise TooManyMails(_seconds(hour + HOUR - now))


def _mailbox(email: str) -> bytes:
    """What tells addresses apart, but is none."""
    return sha256(b"signoff mailbox\0" + email.casefold().encode()).digest()[:16]


def _seconds(left: timedelta) -> int:
    return max(1, int(left.total_seconds()))
