"""Serve several ASGI applications, each on its own port, from one event loop, until told to
stop."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

try:
    from uvloop import new_event_loop
except ImportError:  # not on every platform; slower without
    from asyncio import new_event_loop  # type: ignore[assignment]

from app.errors import StartRefused
from app.http_protocol import BoundedProtocol
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
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        # The peer's address is what the audit shows; a header could claim any.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    config.load()
    return _Server(config)


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


async def serve(
    sites: Sequence[Site], stop: Stop, when_bound: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Serve *sites* until *stop* is requested.

    *when_bound* runs once every port takes connections and before the first request is answered,
    so what it says comes before all that a request says.

    Raises:
        StartRefused: a port is taken.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.request)
    sockets: list[socket.socket] = []
    try:
        sockets += [bind(site) for site in sites]
        servers = [_configured(site.app) for site in sites]
        if when_bound is not None:
            await when_bound()
        async with asyncio.TaskGroup() as tasks:
            for server, listener in zip(servers, sockets, strict=True):
                tasks.create_task(server.serve(sockets=[listener]))
            await stop.wait()
            for server in servers:
                server.should_exit = True
    finally:
        for listener in sockets:
            listener.close()


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run *main* on the fastest loop there is; its exit status."""
    # COMMITs run in threads: let them have the interpreter soon (the default is 5 ms).
    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
