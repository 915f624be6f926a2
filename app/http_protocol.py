"""uvicorn's connections, with an end to waiting: a request must come whole, in time and in bounds.

A client that sends a byte now and then, or headers without end, would otherwise hold a connection,
or memory, for as long as it likes. What comes after the request (a long poll, a stream of events)
may take any time; pauses between requests are uvicorn's own to end.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_S = 30.0  #: for a request to come whole; a MiB in it is 35 kB a second
MAX_HEAD_BYTES = 131_072  #: of a head that has not ended; `limits.py` judges those that have

_TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncache-control: no-store\r\n"
    b"content-length: 0\r\n\r\n"
)
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"cache-control: no-store\r\ncontent-length: 0\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. It looks at the clock now and then, and at no request more than that."""

    request_s = REQUEST_S
    max_head_bytes = MAX_HEAD_BYTES

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begun: float | None = None  # when the request that is not whole yet began
        self._head_bytes: int | None = 0  # of a head that is not whole yet
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connected, and is to say something."""
        super().connection_made(transport)
        self._begun = self.loop.time()
        self._look = self.loop.call_later(self.request_s, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self._end(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._begun, self._head_bytes = self.loop.time(), 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head of a request is whole."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._begun = None
        super().on_message_complete()

    def _check(self) -> None:
        left_s = self.request_s
        if self._begun is not None:
            left_s = self._begun + self.request_s - self.loop.time()
        if left_s > 0:
            self._look = self.loop.call_later(left_s, self._check)
        else:
            # To a request whose head is whole, the application may have begun to answer.
            self._end(_TOO_LATE if self._head_bytes is not None else b"")

    def _end(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
