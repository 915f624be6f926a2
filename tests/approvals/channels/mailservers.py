"""Mail servers that behave, and some that do not, on the loop of the test."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Sink:
    """Takes mail, unless told otherwise for a recipient or for all."""

    rcpt: dict[str, str] = field(default_factory=dict)  #: answers to RCPT by address
    data: dict[str, str] = field(default_factory=dict)  #: answers to DATA by address
    sender: str | None = None  #: the answer to MAIL
    cut_after_data: int = 0  #: how often to take the mail and cut the line instead of answering
    taken: list[Envelope] = field(default_factory=list)
    connections: int = 0
    logins: list[bytes] = field(default_factory=list)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sender is not None:
            return self.sender
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.rcpt.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        [recipient] = envelope.rcpt_tos
        answer = self.data.get(recipient, "250 OK")
        if answer.startswith("250"):
            self.taken.append(envelope)
        if self.cut_after_data > 0:
            self.cut_after_data -= 1
            _cut(server)
        return answer

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login)
        good = data == LoginPassword(b"user@example.com", b"p@ss:w/rd")
        return AuthResult(success=good, handled=good)

    def recipients(self) -> list[str]:
        return [recipient for envelope in self.taken for recipient in envelope.rcpt_tos]

    def contents(self) -> list[bytes]:
        return [envelope.content for envelope in self.taken if isinstance(envelope.content, bytes)]


@asynccontextmanager
async def serving(
    sink: Sink, *, tls: ssl.SSLContext | None = None, port: int = 0, **options: Any
) -> AsyncIterator[int]:
    """The port on which *sink* takes mail; with *tls*, encrypted from the first byte."""
    loop = asyncio.get_running_loop()
    sessions: list[SMTP] = []

    def session() -> SMTP:
        sink.connections += 1
        server = SMTP(sink, loop=loop, hostname="sink.example.com", **options)
        sessions.append(server)
        return server

    server = await loop.create_server(session, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in sessions:
            _cut(one)
        await server.wait_closed()
        await asyncio.sleep(0)


def _cut(session: SMTP) -> None:
    """End a session without goodbye."""
    if isinstance(session.transport, asyncio.WriteTransport):
        session.transport.abort()


@asynccontextmanager
async def scripted(
    conversation: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> AsyncIterator[int]:
    """The port of a server that says what *conversation* says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await conversation(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@dataclass(frozen=True)
class Authority:
    """A certificate authority for a test, and a server certificate of it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def authority(directory: Path, name: str = "127.0.0.1") -> Authority:
    """Contexts for a server called *name* and for a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    alternative = (
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = ssl.create_default_context(cafile=str(path))
    return Authority(server, client)
