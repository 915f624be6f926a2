"""Clients that are slow, or never end, are not waited for."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from app.http_protocol import BoundedProtocol
from app.server import Site, Stop, serve
from app.web.limits import Receive, Scope, Send
from tests.processes import free_port

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answers, late, with the body's length."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    answered = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.3, answered.set_result, None)
    await answered
    body = str(size).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where a server listens."""
    number, stop, up = free_port(), Stop(), asyncio.Event()

    async def when_bound() -> None:
        up.set()

    site = Site(echo, "127.0.0.1", number, "SIGNOFF_PORT")
    serving = asyncio.create_task(serve([site], stop, when_bound))
    await up.wait()
    yield number
    stop.request()
    await serving


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits for a fifth of a second."""
    monkeypatch.setattr(BoundedProtocol, "request_s", 0.2)


async def talk(port: int, *parts: bytes) -> bytes:
    """All that the server says to *parts*, until it hangs up."""
    # All is sent before the server's loop runs: its clock begins when they are there.
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(b"".join(parts))
    line.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=line)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("sent", [b"", b"PO", HEAD, HEAD + b"X-A: b"])
async def test_a_head_that_does_not_end_is_not_waited_for(port: int, sent: bytes) -> None:
    """However much of it came."""
    answer = await talk(port, sent)

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")


@pytest.mark.usefixtures("hasty")
async def test_a_body_that_does_not_end_is_not_waited_for(port: int) -> None:
    """The application hears that the client is gone; nothing is answered twice."""
    assert await talk(port, HEAD + b"Content-Length: 10\r\n\r\n12345") == b""


@pytest.mark.usefixtures("hasty")
async def test_an_answer_may_take_its_time(port: int) -> None:
    """The clock is for the request; the next one on the connection has its own."""
    whole = HEAD + b"Content-Length: 5\r\n\r\n12345"

    answer = await talk(port, whole + whole.replace(b"Host", b"Connection: close\r\nHost"))

    assert answer.count(b"HTTP/1.1 200 OK") == 2


async def test_headers_without_end_fill_no_memory(port: int) -> None:
    """They are refused while they come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD)
    line = b"X-A: " + b"b" * 8_000 + b"\r\n"
    for _ in range(64):
        writer.write(line)

    answer = await reader.readline()

    assert answer == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    writer.close()
