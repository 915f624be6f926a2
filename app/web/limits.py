"""The outermost ring: what no request may exceed or be ambiguous about.

Servers in front of us may read a request differently than we do. So whatever two readers could
understand in two ways is refused here, before any route sees it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import orjson

from app.errors import TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 2**20
MAX_TARGET_BYTES = 8_192  #: path and query
MAX_HEADERS = 100
LINGER_S = 1.0  #: how long a client whose request was refused may go on sending it
MAX_HEADER_BYTES = 32_768

_HOST = re.compile(rb"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:\d{1,5})?$")

Refusal = tuple[int, str, str]  #: status, code, sentence
Headers = list[tuple[bytes, bytes]]
#: makes headers and body of a refusal, of its code and sentence
Wording = Callable[[str, str], tuple[Headers, bytes]]


def plain(code: str, sentence: str) -> tuple[Headers, bytes]:
    """A refusal in the shape of our own API."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    return headers, orjson.dumps({"error": code, "message": sentence})


class Limits:
    """ASGI middleware that refuses oversized and ambiguous requests and counts streamed bodies."""

    def __init__(
        self, app: AsgiApp, max_body_bytes: int = MAX_BODY_BYTES, wording: Wording = plain
    ) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self._wording = wording

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal, streamed = self._judge(scope)
        if refusal is not None:
            await self._refuse(refusal, receive, send)
        elif streamed:
            await self._take_streamed(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _take_streamed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request whose body may turn out to be too long while it is read."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, self._counted(receive), noting)
        except TooLarge as exc:
            # Applications may have words of their own for it.
            if started:
                raise
            await self._refuse((413, exc.code, exc.message), receive, send)

    def _judge(self, scope: Scope) -> tuple[Refusal | None, bool]:
        """Why the request is refused, if it is; and whether its body comes without a length."""
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
            return (414, "address_too_long", "The address is too long."), False
        headers = scope["headers"]
        lengths: list[bytes] = []
        hosts: list[bytes] = []
        streamed, size = False, 0
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"content-length":
                lengths.append(value)
            elif name == b"host":
                hosts.append(value)
            elif name == b"transfer-encoding":
                streamed = True
            elif name == b"content-encoding" and value.lower() != b"identity":
                return (415, "encoded_body", "Send the body without Content-Encoding."), False
        if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
            return (431, "headers_too_large", "The headers are too large."), False
        if not hosts and scope["http_version"] == "1.0":
            hosts.append(b"localhost")  # it need not say
        return self._framing(lengths, hosts, streamed), streamed

    def _framing(self, lengths: list[bytes], hosts: list[bytes], streamed: bool) -> Refusal | None:
        if len(lengths) + streamed > 1:
            return 400, "ambiguous_length", "The request states its length in two ways."
        if len(hosts) != 1 or not _is_host(hosts[0]):
            return 400, "bad_host", "The request must have one Host header, with a host's name."
        if lengths and (not lengths[0].isdigit() or int(lengths[0]) > self.max_body_bytes):
            return 413, TooLarge.code, str(TooLarge())
        return None

    async def _refuse(self, refusal: Refusal, receive: Receive, send: Send) -> None:
        status, code, sentence = refusal
        headers, body = self._wording(code, sentence)
        headers += [
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
            # What follows on this connection cannot be trusted to begin where we think it does.
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await _lingering(receive)
        await send({"type": "http.response.body", "body": b""})

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_body_bytes:
                raise TooLarge()
            return message

        return counted


def _is_host(value: bytes) -> bool:
    match = _HOST.match(value)
    return match is not None and (match[2] is None or int(match[2][1:]) <= 65_535)


async def _lingering(receive: Receive) -> None:
    """Let the client finish sending.

    One that sends all of its body before it reads would find the connection reset, not the answer.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body"):
                pass
