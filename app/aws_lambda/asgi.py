"""One HTTP event through an ASGI application.

One request at a time, no lifespan: what the application needs is built before (Lambda starts and
stops nothing per request).
"""

from collections.abc import MutableMapping
from typing import Any

from app.aws_lambda.http_event import HttpRequest, http_result
from app.web.limits import AsgiApp


async def serve(app: AsgiApp, request: HttpRequest) -> dict[str, Any]:
    """What *app* answers to *request*, for API Gateway."""
    exchange = _Exchange(request.body)
    await app(_scope(request), exchange.receive, exchange.send)
    body = b"" if request.method == "HEAD" else b"".join(exchange.body)
    return http_result(exchange.status, exchange.headers, body)


class _Exchange:
    """The two ends of one request."""

    def __init__(self, body: bytes) -> None:
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []

    async def receive(self) -> MutableMapping[str, Any]:
        """The body, then that the client is gone: nobody streams here."""
        return self._messages.pop() if self._messages else {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self.body.append(message.get("body", b""))


def _scope(request: HttpRequest) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": request.path,
        "raw_path": request.raw_path.encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": list(request.headers.items()),
        "client": (request.from_ip, 0) if request.from_ip else None,
        "server": None,
        "state": {},
        "caller": request.caller,
    }
