"""Serving: several ports from one loop, clear words when one is taken, a clean end."""

import asyncio
import socket

import httpx
import pytest

from app.errors import StartRefused
from app.server import Site, Stop, bind, serve
from app.web.limits import Receive, Scope, Send
from tests.processes import PATIENCE_S, free_port


def site(answer: bytes, port: int) -> Site:
    """An application that answers every request with *answer*."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    return Site(app, "127.0.0.1", port, "SIGNOFF_PORT")


async def test_each_site_answers_on_its_own_port_until_the_stop() -> None:
    """Two applications, one loop; afterwards both ports are free again."""
    first, second, stop, bound = free_port(), free_port(), Stop(), asyncio.Event()

    async def ready() -> None:
        bound.set()

    serving = asyncio.create_task(serve([site(b"one", first), site(b"two", second)], stop, ready))
    await bound.wait()
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answers = [
            (await client.get(f"http://127.0.0.1:{port}/")).content for port in (first, second)
        ]
    stop.request()
    await serving

    assert answers == [b"one", b"two"]
    for port in (first, second):
        bind(site(b"", port)).close()


async def test_no_request_is_answered_before_the_start_is_said() -> None:
    """A client that is faster than us waits: the line "listening" is the first of the log."""
    said: list[str] = []
    stop, port = Stop(), free_port()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        said.append("request")
        await site(b"", port).app(scope, receive, send)
        stop.request()

    async def start() -> None:
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        # As many turns of the loop as an answer would take, several times over.
        for _ in range(1000):
            await asyncio.sleep(0)
        said.append("listening")

    with socket.socket() as client:
        await serve([Site(app, "127.0.0.1", port, "SIGNOFF_PORT")], stop, start)

    assert said == ["listening", "request"]


def test_a_taken_port_is_named_with_its_setting() -> None:
    """The sentence says which port, and what to set."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(StartRefused) as refused:
            bind(site(b"", port))

    assert str(port) in refused.value.message
    assert "set SIGNOFF_PORT" in refused.value.message


async def test_a_stop_remembers_that_something_failed() -> None:
    """The exit status tells the supervisor to start the process again."""
    stop = Stop()
    stop.request(failed=True)
    stop.request()

    await asyncio.wait_for(stop.wait(), 1)

    assert stop.failed
