"""One log line and one count per request, without what must not be logged.

uvicorn's own access log prints the full path, and a path may be a signed link. Here a path is shown
as the route that served it; what no route served is not shown at all, because it may be a link with
a
typing error. Query strings are never shown.
"""

import logging
from time import perf_counter

from app.metrics import Meter
from app.web.limits import AsgiApp, Message, Receive, Scope, Send

log = logging.getLogger("signoff.access")


class AccessLog:
    """ASGI middleware that logs and counts requests."""

    def __init__(self, app: AsgiApp, meter: Meter) -> None:
        self.app = app
        self.meter = meter

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
            if log.isEnabledFor(logging.INFO):
                _write(scope, route, status, perf_counter() - started)


def _write(scope: Scope, route: str, status: int, took_s: float) -> None:
    extra = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "ms": round(took_s * 1000, 2),
    }
    approval = scope.get("path_params", {}).get("approval_id")
    if approval is not None and status < 400:
        extra["approval"] = approval
    log.info("request", extra=extra)


def _route(scope: Scope) -> str:
    """The pattern of the route that served the request, such as ``/d/{link}``."""
    path = getattr(scope.get("route"), "path", None)
    if path is None and "endpoint" in scope:
        path = getattr(scope["endpoint"], "route_path", None)
    return path or "none"
