"""Mail by SMTP, over a few connections that are kept open.

Off loopback every connection is encrypted and the server's certificate checked, before a password
or a mail leaves; a server that offers no encryption gets neither. What goes wrong is told by whom
it concerns: this recipient (refused or deferred), or everybody (down).
"""

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPStatus,
    SMTPTimeoutError,
)

from app.approvals.channels import ChannelDown, MailDeferred, MailRefused, OutgoingMail
from app.approvals.plain_text import clip, one_line
from app.errors import StartRefused

log = logging.getLogger(__name__)

#: connections kept; each waits for the store between two mails, and 8 fill those waits (measured)
WIDTH = 8
TIMEOUT_S = 20.0  #: for each step of the conversation
GOODBYE_S = 2.0

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PORTS = {"smtp": 587, "smtps": 465}
_BAD_URL = "SIGNOFF_SMTP_URL must look like smtp://user:password@host:587 or smtps://host:465."


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed over, and how safely."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    tls_from_start: bool  #: as on port 465; otherwise STARTTLS
    tls_required: bool

    @classmethod
    def parse(cls, url: str) -> "SmtpServer":
        """The server that *url* names.

        Raises:
            StartRefused: it is not such an address; the sentence does not repeat it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise StartRefused(_BAD_URL) from None
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise StartRefused(_BAD_URL)
        return cls(
            host=parts.hostname,
            port=port,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls_from_start=parts.scheme == "smtps",
            tls_required=parts.hostname not in _LOOPBACK,
        )


class SmtpChannel:
    """The `Channel` over SMTP. Belongs to the event loop that first sends."""

    def __init__(
        self,
        server: SmtpServer,
        *,
        width: int = WIDTH,
        timeout_s: float = TIMEOUT_S,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        """A channel to *server*. *tls_context* replaces the system's trusted authorities."""
        self._server = server
        self._width = width
        self._timeout_s = timeout_s
        self._tls_context = tls_context
        self._slots = asyncio.Semaphore(width)
        self._idle: list[SMTP] = []

    @property
    def width(self) -> int:
        """How many connections are kept."""
        return self._width

    async def send(self, mail: OutgoingMail) -> None:
        """Return once the server has taken *mail*. Raises as `Channel.send` says."""
        async with self._slots:
            while self._idle:
                # The server may have hung up on a kept connection; a new one tells.
                if await self._converse(self._idle.pop(), mail, kept=True):
                    return
            await self._converse(await self._connect(), mail, kept=False)

    async def check(self) -> None:
        """Return if the server lets us in; ChannelDown says in a sentence what is wrong."""
        async with self._slots:
            self._idle.append(await self._connect())

    async def close(self) -> None:
        """Say goodbye on all idle connections."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._leave(client) for client in idle))

    async def _converse(self, client: SMTP, mail: OutgoingMail, *, kept: bool) -> bool:
        """Hand *mail* over; False if a *kept* connection was dead before it had anything."""
        try:
            await self._hand_over(client, mail)
        except SMTPResponseException as exc:
            await self._after_refusal(client, exc)
            if kept and exc.code == 421 and not isinstance(exc, SMTPDataError):
                return False  # closed for having been idle, before it had the mail
            raise _translated(exc) from exc
        except (SMTPException, OSError, TimeoutError) as exc:
            client.close()
            if kept and not isinstance(exc, (_LostAfterData, SMTPTimeoutError)):
                return False
            raise MailDeferred("The mail server broke off the conversation.") from exc
        except BaseException:
            client.close()
            raise
        self._idle.append(client)
        return True

    @staticmethod
    async def _hand_over(client: SMTP, mail: OutgoingMail) -> None:
        # Spelled out, because `mail` and `rcpt` parse addresses that are known to be plain.
        answer = await client.execute_command(b"MAIL", b"FROM:<%b>" % mail.sender.encode("ascii"))
        if answer.code != SMTPStatus.completed:
            raise SMTPSenderRefused(answer.code, answer.message, mail.sender)
        answer = await client.execute_command(b"RCPT", b"TO:<%b>" % mail.recipient.encode("ascii"))
        if answer.code not in (SMTPStatus.completed, SMTPStatus.will_forward):
            raise SMTPRecipientRefused(answer.code, answer.message, mail.recipient)
        try:
            await client.data(mail.data)
        except SMTPResponseException:
            raise
        except (SMTPException, OSError) as exc:
            raise _LostAfterData("") from exc

    async def _after_refusal(self, client: SMTP, refusal: SMTPResponseException) -> None:
        """Keep the connection for the next mail, unless the server ends it."""
        if refusal.code == 421 or not client.is_connected:
            client.close()
            return
        try:
            await client.rset()
        except (SMTPException, OSError):
            client.close()
        else:
            self._idle.append(client)

    async def _connect(self) -> SMTP:
        server = self._server
        wants_tls = server.tls_required or self._tls_context is not None
        client = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            timeout=self._timeout_s,
            use_tls=server.tls_from_start,
            start_tls=wants_tls and not server.tls_from_start,
            tls_context=self._trust() if wants_tls or server.tls_from_start else None,
        )
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except (SMTPException, OSError, TimeoutError, ValueError) as exc:
            client.close()
            raise ChannelDown(_why_down(exc, server)) from exc
        return client

    def _trust(self) -> ssl.SSLContext:
        if self._tls_context is None:
            self._tls_context = ssl.create_default_context()
        return self._tls_context

    async def _leave(self, client: SMTP) -> None:
        try:
            async with asyncio.timeout(GOODBYE_S):
                await client.quit()
        except (SMTPException, OSError, TimeoutError):
            log.debug("mail server gone before goodbye")
        finally:
            client.close()


class _LostAfterData(SMTPException):
    """The connection was lost when the server may have had the mail already."""


def _translated(refusal: SMTPResponseException) -> MailRefused | MailDeferred:
    """What a refusal means for us; its words are the server's, cut short."""
    note = clip(one_line(f"{refusal.code} {refusal.message}"), 200)
    if isinstance(refusal, SMTPSenderRefused):
        # Every mail has this sender, so none would be taken.
        return ChannelDown(f"The mail server refuses our sender address or login: {note}")
    if refusal.code == 421:
        return ChannelDown(f"The mail server is closing: {note}")
    if isinstance(refusal, (SMTPRecipientRefused, SMTPDataError)) and refusal.code >= 500:
        return MailRefused(note)
    return MailDeferred(note)


def _why_down(exc: Exception, server: SmtpServer) -> str:
    """What to mend, in a sentence; never the password, nor what the server said about it."""
    where = f"{server.host}:{server.port}"
    reason = exc.__cause__ or exc
    if isinstance(exc, SMTPAuthenticationError):
        return f"The mail server {where} refuses the login: check SIGNOFF_SMTP_URL ({exc.code})."
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"The certificate of the mail server {where} is not valid for it."
    if isinstance(reason, ssl.SSLError):
        return f"The mail server {where} does not speak TLS as asked: check port and scheme."
    if isinstance(exc, SMTPTimeoutError):
        return f"The mail server {where} does not answer in time."
    if isinstance(exc, (SMTPConnectError, OSError)):
        return f"The mail server {where} cannot be reached."
    if "STARTTLS" in str(exc):
        return f"The mail server {where} offers no encryption (STARTTLS); nothing was sent to it."
    return f"The mail server {where} does not let us in."
