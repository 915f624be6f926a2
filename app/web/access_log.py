"""One log line and one count per request, without what must not be logged.

uvicorn's own access log prints the full path, and a path may be a signed link. Here a path is shown
as the pattern of the route that served it; what no route served is not shown at all, because it may
be a link with a typing error. Query strings are never shown.

Lines are gathered and written a few times a second: a line through `logging` costs as much as the
whole routing of a request. A crash may lose the last lines; the audit is where nothing may be lost.
"""

import asyncio
import sys
from time import perf_counter, time
from typing import TextIO

from app.clock import from_ms, iso
from app.metrics import Meter
from app.web.limits import AsgiApp, Message, Receive, Scope, Send

WRITE_EVERY_S = 0.25
WRITE_AT_LINES = 512


class AccessLog:
    """ASGI middleware that logs (unless *quiet*) and counts requests."""

    def __init__(
        self, app: AsgiApp, meter: Meter, *, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self.app = app
        self.meter = meter
        self.quiet = quiet
        self.stream = stream
        self._lines: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0
        started = perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            route = _route(scope)
            self.meter.count("http_requests", route=route, status=str(status))
            if not self.quiet:
                self._note(scope["method"], route, status, perf_counter() - started)

    def _note(self, method: str, route: str, status: int, took_s: float) -> None:
        # All parts are ours or checked by the HTTP parser, so nothing needs quoting.
        self._lines.append(
            f'{{"at":"{iso(from_ms(int(time() * 1000)))}","level":"info","event":"request",'
            f'"method":"{method}","route":"{route}","status":{status},"ms":{took_s * 1000:.2f}}}\n'
        )
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(WRITE_EVERY_S, self.flush)
        elif len(self._lines) >= WRITE_AT_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the lines that were gathered."""
        lines, self._lines = self._lines, []
        stream = self.stream or sys.stderr
        stream.write("".join(lines))
        stream.flush()


def _route(scope: Scope) -> str:
    """The pattern of the route that served the request, such as ``/d/{link}``."""
    if "endpoint" not in scope:
        return "unrouted"
    path = str(scope["path"])
    for name, value in scope["path_params"].items():
        path = path.replace(str(value), f"{{{name}}}")
    return path
