"""Serve several ASGI applications, each on its own port, from one event loop, until told to
stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import uvicorn

from app.errors import StartRefused
from app.web.limits import AsgiApp

DRAIN_S = 8  #: how long accepted requests may take to finish after a stop signal


@dataclass(frozen=True, slots=True)
class Site:
    """An application and the address it is served at."""

    app: AsgiApp
    host: str
    port: int
    setting: str  #: the variable that sets the port, for the sentence when it is taken


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to us: there are several in this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(site: Site) -> socket.socket:
    """A listening socket at the site's address.

    Raises:
        StartRefused: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in site.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((site.host, site.port))
        listener.listen(1024)
    except OSError as exc:
        listener.close()
        raise StartRefused(
            f"Port {site.port} on {site.host} cannot be used ({exc.strerror}). "
            f"Stop what listens there, or set {site.setting}."
        ) from exc
    listener.setblocking(False)
    return listener


def _configured(app: AsgiApp) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # The peer's address is what the audit shows; a header could claim any.
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )


class Stop:
    """Set once, by a signal or by a part that cannot go on; remembers why."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.failed = False  #: the process should end with an error, so that it is started again

    def request(self, *, failed: bool = False) -> None:
        """Ask everything to end."""
        self.failed = self.failed or failed
        self._event.set()

    async def wait(self) -> None:
        """Until somebody asked."""
        await self._event.wait()


@asynccontextmanager
async def _listening(
    sites: Sequence[Site], sockets: Sequence[socket.socket]
) -> AsyncIterator[None]:
    servers = [_configured(site.app) for site in sites]
    async with asyncio.TaskGroup() as tasks:
        for server, listener in zip(servers, sockets, strict=True):
            tasks.create_task(server.serve(sockets=[listener]))
        while not all(server.started for server in servers):
            await asyncio.sleep(0.005)
        try:
            yield
        finally:
            for server in servers:
                server.should_exit = True


async def serve(
    sites: Sequence[Site],
    running: AbstractAsyncContextManager[None],
    stop: Stop,
    announce: AbstractAsyncContextManager[None] | None = None,
) -> None:
    """Serve *sites* while the context *running* is entered, until *stop* is requested.

    Ports are bound first, so that a taken one is refused before anything else is touched;
    *announce*
    is entered once every port answers.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.request)
    sockets = [bind(site) for site in sites]
    try:
        async with running, _listening(sites, sockets), announce or contextlib.nullcontext():
            await stop.wait()
    finally:
        for listener in sockets:
            listener.close()
