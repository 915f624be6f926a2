"""A load generator: kept connections, one request at a time on each, latencies to the microsecond.

Written on bare asyncio protocols so that one core of load keeps one core of server busy.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter


@dataclass(slots=True)
class Load:
    """What came of a series of requests."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)  #: in the order of the requests
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Requests per second over the whole series."""
        return len(self.latencies_s) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency in milliseconds below which *share* (0..1) of the requests stayed."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

    @property
    def median_ms(self) -> float:
        """The median latency in milliseconds."""
        return median(self.latencies_s) * 1000


class _Connection(asyncio.Protocol):
    def __init__(self, queue: deque[tuple[int, bytes]], load: Load, keep: bool) -> None:
        self.queue = queue
        self.load = load
        self.keep = keep
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.expected = -1
        self.index = 0
        self.closes = False  # moto's server does, after each answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._next()

    def _next(self) -> None:
        if not self.queue or self.closes:
            self.done.set_result(None)
            self.transport.close()
            return
        self.index, request = self.queue.popleft()
        self.sent = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if self.expected < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.status = int(self.buffer[9:12])
            at = self.buffer.lower().find(b"content-length:", 0, end)
            line_end = self.buffer.find(b"\r\n", at)
            self.expected = end + 4 + int(self.buffer[at + 15 : line_end])
            self.head = end + 4
            self.closes = b"connection: close" in self.buffer[:end].lower()
        if len(self.buffer) >= self.expected:
            self._finish()

    def _finish(self) -> None:
        load = self.load
        load.latencies_s.append(perf_counter() - self.sent)
        load.statuses[self.status] = load.statuses.get(self.status, 0) + 1
        if self.keep:
            load.bodies[self.index] = self.buffer[self.head : self.expected]
        self.buffer = b""
        self.expected = -1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed a connection"))


async def run_load(
    port: int, requests: Iterable[bytes], connections: int, *, keep_bodies: bool = False
) -> Load:
    """Send all *requests* over *connections* kept connections to a port on 127.0.0.1."""
    queue = deque(enumerate(requests))
    load = Load(bodies=[b""] * len(queue) if keep_bodies else [])
    loop = asyncio.get_running_loop()
    started = perf_counter()

    async def send() -> None:
        while queue:
            _, protocol = await loop.create_connection(
                lambda: _Connection(queue, load, keep_bodies), "127.0.0.1", port
            )
            await protocol.done

    await asyncio.gather(*(send() for _ in range(connections)))
    load.seconds = perf_counter() - started
    return load


def http_request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of one HTTP/1.1 request; ``content_type="..."`` becomes ``content-type: ...``."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method == "POST":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
