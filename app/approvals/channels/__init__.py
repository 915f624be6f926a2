"""Ways to get a mail out of the house. One module per way; each passes the channel contract tests.

A channel sends bytes to one recipient at a time, so that a refusal of one never touches another.
It says which of three things went wrong, because each asks for something else.
"""

from dataclasses import dataclass
from typing import Protocol

from app.errors import SignoffError


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A finished mail and its envelope."""

    sender: str  #: envelope sender, ASCII
    recipient: str  #: envelope recipient, ASCII
    data: bytes  #: the whole message, CRLF line ends


class MailError(SignoffError):
    """The mail was not sent."""


class MailRefused(MailError):
    """The mail server refuses this mail for good."""


class MailDeferred(MailError):
    """The mail server did not take this mail now."""


class ChannelDown(MailDeferred):
    """The mail server cannot be reached or does not let us in; no mail would get out now."""


class Channel(Protocol):
    """What the mail worker needs of a way out."""

    @property
    def width(self) -> int:
        """How many mails may be sent at the same time."""
        ...

    async def send(self, mail: OutgoingMail) -> None:
        """Return once the server has taken *mail*.

        Raises:
            MailRefused: it never will; do not try again.
            MailDeferred: try this mail again later. The server may have taken it all the same.
            ChannelDown: try no mail at all for a moment.
        """
        ...

    async def check(self) -> None:
        """Return if mail could be sent now; ChannelDown says in a sentence what is wrong."""
        ...

    async def close(self) -> None:
        """Take leave of the server. A later `send` connects again."""
        ...
