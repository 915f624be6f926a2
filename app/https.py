"""HTTP/1.1 over TLS to one host: POST, read the answer, keep the connection for the next one.

It says which of two things went wrong, because they ask for different things: nobody was there
(nothing was sent), or no whole answer came back (it may have been done).

`http.client` is not used: its import (with `email`) costs a fifth of what a cold decision page
costs altogether.
"""

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from time import time
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from app.errors import SignoffError

CONNECT_S = 2.0
READ_S = 5.0
#: AWS closes idle connections after some seconds; a frozen Lambda does not notice
MAX_IDLE_S = 4.0
MAX_BODY = 16 * 2**20
MAX_LINE = 16_384
MAX_HEADERS = 100

#: The roots that all AWS endpoints have (https://www.amazontrust.com/repository/). The whole store
#: of a system takes 20 ms to parse, these five take one.
ROOTS = os.path.join(os.path.dirname(__file__), "amazon_roots.pem")  # pathlib is 2 ms more


class CallFailed(SignoffError):
    """No answer came."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason  #: an exception's name; never what was sent


class Unreachable(CallFailed):
    """Nobody was there: nothing was sent."""


class NoAnswer(CallFailed):
    """No whole answer came back: it may have been done."""


class HttpAnswer(NamedTuple):
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Stream:
    """An open connection."""

    socket: socket.socket
    reader: BinaryIO
    used_at: float

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self.reader.close()
            self.socket.close()


class Connection:
    """Connections to one address. Several threads may call at the same time."""

    def __init__(
        self,
        endpoint: str,
        *,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
        clock: Callable[[], float] = time,
    ) -> None:
        """Connections to *endpoint*. *clock* goes on while a Lambda environment is frozen."""
        parts = urlsplit(endpoint)
        self.host = parts.netloc  #: for the Host header
        self._secure = parts.scheme != "http"
        port = parts.port or (443 if self._secure else 80)
        # As bytes: a text would be encoded by IDNA, whose tables take milliseconds to load.
        self._name = (parts.hostname or "").encode("ascii")
        self._address: Any = (self._name, port)
        self._connect_s = connect_s
        self._read_s = read_s
        self._clock = clock
        self._idle: list[_Stream] = []  # append and pop are atomic

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """The answer to POST *path*.

        Raises:
            Unreachable: nothing was sent.
            NoAnswer: it may have been done.
        """
        stream = self._take() or self._open()
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"POST {path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode()
        try:
            stream.socket.sendall(request + body)
            answer = _read(stream.reader)
        except (OSError, ValueError) as exc:
            stream.close()
            # A server that ended has forgotten the others too: the next call has a new one.
            self.close()
            raise NoAnswer(type(exc).__name__) from exc
        if answer.headers.get("connection", "").lower() == "close":
            stream.close()
        else:
            stream.used_at = self._clock()
            self._idle.append(stream)
        return answer

    def close(self) -> None:
        """Hang up all idle connections. A later `post` connects again."""
        while (stream := self._pop()) is not None:
            stream.close()

    def _take(self) -> _Stream | None:
        """An idle connection that is fresh enough to be trusted."""
        while (stream := self._pop()) is not None:
            if 0 <= self._clock() - stream.used_at < MAX_IDLE_S:
                return stream
            stream.close()
        return None

    def _pop(self) -> _Stream | None:
        with suppress(IndexError):  # another thread may have taken the last one just now
            return self._idle.pop()
        return None

    def _open(self) -> _Stream:
        try:
            try:
                return self._connected()
            except ssl.SSLCertVerificationError:
                if "AWS_CA_BUNDLE" in os.environ:
                    raise
                # Another partition may have other roots: those of the system count as well.
                _tls().load_default_certs()
                return self._connected()
        except OSError as exc:
            raise Unreachable(type(exc).__name__) from exc

    def _connected(self) -> _Stream:
        plain = socket.create_connection(self._address, self._connect_s)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = _tls().wrap_socket(plain, server_hostname=self._name) if self._secure else plain
        except BaseException:
            plain.close()
            raise
        line.settimeout(self._read_s)
        return _Stream(line, line.makefile("rb"), self._clock())


@cache
def _tls() -> ssl.SSLContext:
    """What all connections of this process trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(os.environ.get("AWS_CA_BUNDLE") or ROOTS)
    return context


def _read(reader: BinaryIO) -> HttpAnswer:
    """The answer that *reader* brings.

    Raises:
        OSError: the connection broke.
        ValueError: it is no answer, or a part of one.
    """
    version, status, *_ = _line(reader).split(None, 2)
    if not version.startswith("HTTP/1."):
        raise ValueError("not HTTP")
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = _line(reader)
        if not line:
            return HttpAnswer(int(status), headers, _body(reader, headers))
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise ValueError("too many headers")


def _line(reader: BinaryIO) -> str:
    line = reader.readline(MAX_LINE)
    if not line.endswith(b"\n"):
        raise ValueError("a line without end")
    return line.decode("latin-1").rstrip("\r\n")


def _body(reader: BinaryIO, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunks(reader)
    return _exactly(reader, int(headers["content-length"]) if "content-length" in headers else -1)


def _chunks(reader: BinaryIO) -> bytes:
    body = b""
    while size := int(_line(reader).partition(";")[0], 16):
        body += _exactly(reader, size)
        _line(reader)
        if len(body) > MAX_BODY:
            raise ValueError("too long")
    while _line(reader):
        pass  # trailers
    return body


def _exactly(reader: BinaryIO, length: int) -> bytes:
    if not 0 <= length <= MAX_BODY:
        raise ValueError("no length, or too long")
    body = reader.read(length)
    if len(body) < length:
        raise ValueError("cut short")
    return body
