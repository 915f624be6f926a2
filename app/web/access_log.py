"""One log line and one count per request, without what must not be logged.

uvicorn's own access log prints the full path, and a path may be a signed link. Here a path is shown
as the pattern of the route that served it; what no route served is not shown at all, because it may
be a link with a typing error. Query strings are never shown.
"""

from time import perf_counter, time

from app.clock import from_ms, iso
from app.logs import LogLines
from app.metrics import Meter
from app.web.limits import AsgiApp, Message, Receive, Scope, Send


class AccessLog:
    """ASGI middleware that counts requests, and logs them to *lines*."""

    def __init__(self, app: AsgiApp, meter: Meter, lines: LogLines) -> None:
        self.app = app
        self.meter = meter
        self.lines = lines

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
            took_ms = (perf_counter() - started) * 1000
            # A line through `logging` would cost as much as routing. All parts are ours or
            # checked by the HTTP parser, so nothing needs quoting.
            self.lines.add(
                f'{{"at":"{iso(from_ms(int(time() * 1000)))}","level":"info",'
                f'"event":"request","method":"{scope["method"]}","route":"{route}",'
                f'"status":{status},"ms":{took_ms:.2f}}}'
            )


def _route(scope: Scope) -> str:
    """The pattern of the route that served the request, such as ``/d/{link}``."""
    path = str(scope["path"])
    if path == "/":
        return path  # the engine's only address; no link is that short
    if "endpoint" not in scope:
        return "unrouted"
    for name, value in scope["path_params"].items():
        if value:
            # The last such part: what a route has before it may read the same ("/d/d").
            path = f"{{{name}}}".join(path.rsplit(str(value), 1))
    return path
