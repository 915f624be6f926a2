"""The development mailbox: an SMTP server that keeps what it gets, for people and tests to look at.

It serves on the running loop, stores each mail durably before it says 250, and keeps the newest
thousand. It shows whatever anybody sends, so decoding never fails: what cannot be decoded is shown
as well as it goes.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.header import decode_header
from email.message import Message
from email.policy import compat32
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from aiosmtpd.smtp import SMTP, Envelope, Session

from app.clock import Clock, from_ms, iso, to_ms, utc_now
from app.errors import StartRefused, StoreError
from app.sqlite import Database
from app.strict_json import Json

log = logging.getLogger(__name__)

INBOX_FILE = "inbox.sqlite3"
KEPT = 1_000  #: the newest so many
MAX_BYTES = 10 * 2**20  #: a larger mail is refused
_AT_ONCE = 10  #: mails decoded before others get a turn on the loop

_APPLICATION_ID = 0x53494E42  # "SINB"
_SCHEMA = """
CREATE TABLE messages (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  received_at INTEGER NOT NULL,
  recipients  BLOB    NOT NULL,           -- of the envelope, as JSON
  content     BLOB    NOT NULL
) STRICT;
"""
_INSERT = "INSERT INTO messages (received_at, recipients, content) VALUES (?, ?, ?)"
_FORGET = "DELETE FROM messages WHERE id <= ?"
_IDS = "SELECT id FROM messages ORDER BY id DESC LIMIT ?"
_MESSAGE = "SELECT received_at, recipients, content FROM messages WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as people and tests look at it."""

    id: int
    sender: str  #: the From header, decoded
    recipients: tuple[str, ...]  #: of the envelope: who really got it
    subject: str
    received_at: datetime
    headers: dict[str, str]  #: decoded; a repeated header's values are joined by commas
    text: str | None  #: the first plain part
    html: str | None  #: the first HTML part

    def document(self) -> Json:
        """The mail as JSON."""
        return {
            "id": self.id,
            "from": self.sender,
            "to": ", ".join(self.recipients),
            "subject": self.subject,
            "date": iso(self.received_at),
            "headers": self.headers,
            "text": self.text,
            "html": self.html,
        }


class Inbox:
    """The mails there are, and the SMTP server that takes more."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._decoded: dict[int, Received] = {}

    @classmethod
    @asynccontextmanager
    async def running(
        cls, data_dir: Path, host: str, port: int, clock: Clock = utc_now
    ) -> AsyncIterator["Inbox"]:
        """A mailbox that takes mail on *host* and *port* and keeps it in *data_dir*.

        Raises:
            StartRefused: the port is taken, or the file cannot be used.
        """
        database = Database.open(
            data_dir / INBOX_FILE, migrations=(_SCHEMA,), application_id=_APPLICATION_ID
        )
        try:
            inbox = cls(database, clock)
            async with inbox.listening(host, port):
                yield inbox
        finally:
            await database.close()

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Take mail on *host* and *port* (0: any that is free); the port."""
        loop = asyncio.get_running_loop()
        sessions: set[_Session] = set()
        try:
            server = await loop.create_server(
                partial(_Session, self, loop, sessions), host, port, reuse_address=True
            )
        except OSError as exc:
            raise StartRefused(
                f"The mailbox cannot listen on port {port}: set SIGNOFF_INBOX_PORT to a free one."
            ) from exc
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for session in list(sessions):
                session.cut()
            await server.wait_closed()

    async def messages(self, limit: int = KEPT) -> list[Received]:
        """The newest *limit* mails, newest first."""
        ids = [row[0] for row in self._database.read(_IDS, (limit,))]
        found = []
        for count, id_ in enumerate(ids, 1):
            if id_ not in self._decoded and count % _AT_ONCE == 0:
                await asyncio.sleep(0)
            message = self.message(id_)
            if message is not None:
                found.append(message)
        return found

    def message(self, id_: int) -> Received | None:
        """The mail with this id."""
        known = self._decoded.get(id_)
        if known is not None:
            return known
        row = self._database.read_one(_MESSAGE, (id_,))
        if row is None:
            return None
        received_at, recipients, content = row
        message = read_mail(id_, from_ms(received_at), orjson.loads(recipients), content)
        while len(self._decoded) >= KEPT:
            del self._decoded[next(iter(self._decoded))]
        self._decoded[id_] = message
        return message

    async def keep(self, recipients: Sequence[str], content: bytes) -> None:
        """Store a mail; it is on disk when this returns."""
        names = [name.encode("utf-8", "replace").decode("utf-8") for name in recipients]
        row = (to_ms(self._clock()), orjson.dumps(names), content)

        def store(connection: sqlite3.Connection) -> None:
            newest = connection.execute(_INSERT, row).lastrowid or 0
            connection.execute(_FORGET, (newest - KEPT,))

        await self._database.write(store)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: a mail is complete."""
        content = envelope.content
        octets = content.encode("utf-8", "replace") if isinstance(content, str) else content or b""
        try:
            await self.keep(envelope.rcpt_tos, octets)
        except StoreError as exc:
            log.warning("a mail could not be kept", extra={"why": exc.message})
            return "451 The mailbox cannot store it now; try again"
        return "250 Kept"


class _Session(SMTP):
    """One client of the mailbox."""

    def __init__(
        self, inbox: Inbox, loop: asyncio.AbstractEventLoop, sessions: set["_Session"]
    ) -> None:
        super().__init__(
            inbox,
            loop=loop,
            hostname="inbox.localhost",
            ident="Signoff development mailbox",
            data_size_limit=MAX_BYTES,
            enable_SMTPUTF8=True,
        )
        self._sessions = sessions
        sessions.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self._sessions.discard(self)
        super().connection_lost(error)

    def cut(self) -> None:
        """Hang up."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


def read_mail(
    id_: int, received_at: datetime, recipients: Sequence[str], content: bytes
) -> Received:
    """*content* decoded as well as it goes; never an exception."""
    message = _or(lambda: message_from_bytes(content, policy=compat32), Message())
    headers = _headers(message)
    by_name = {name.lower(): value for name, value in headers.items()}
    return Received(
        id=id_,
        sender=by_name.get("from", ""),
        recipients=tuple(recipients),
        subject=by_name.get("subject", ""),
        received_at=received_at,
        headers=headers,
        text=_body(message, "text/plain"),
        html=_body(message, "text/html"),
    )


def _or(attempt: Callable[[], Any], otherwise: Any) -> Any:
    """What *attempt* gives, or *otherwise*: the mail library breaks in many ways on bad mail."""
    try:
        return attempt()
    except Exception:
        log.debug("a received mail is not well-formed")
        return otherwise


def _headers(message: Message) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in _or(message.raw_items, ()):
        text = _or(partial(_decoded, str(value)), str(value))
        clean_name = _storable(str(name))
        headers[clean_name] = f"{headers[clean_name]}, {text}" if clean_name in headers else text
    return headers


def _decoded(value: str) -> str:
    """A header's value with its folds undone and its encoded words read."""
    unfolded = _storable(value.replace("\r", "").replace("\n", ""))
    if "=?" not in unfolded:
        return unfolded
    parts = []
    for part, charset in decode_header(unfolded):
        parts.append(part if isinstance(part, str) else _text(part, charset))
    return _storable("".join(parts))


def _body(message: Message, content_type: str) -> str | None:
    for part in _or(lambda: list(message.walk()), [message]):
        if _or(part.get_content_type, "") == content_type:
            payload = _or(partial(part.get_payload, decode=True), None)
            if isinstance(payload, bytes):
                text = _text(payload, _or(part.get_content_charset, None))
                return text.replace("\r\n", "\n")
    return None


def _text(octets: bytes, charset: str | None) -> str:
    try:
        return _storable(octets.decode(charset or "utf-8", "replace"))
    except (LookupError, ValueError):
        return octets.decode("utf-8", "replace")


def _storable(text: str) -> str:
    """*text* without lone surrogates, which the mail library uses for bytes it cannot read."""
    try:
        octets = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        octets = text.encode("utf-8", "replace")
    return octets.decode("utf-8", "replace")
