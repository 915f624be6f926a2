"""A webhook's receiver: a real HTTP server that answers as the test says."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from tests.processes import PATIENCE_S

Headers = dict[str, str]
#: the status to answer a request with, by its number from 0 and its body
Judge = Callable[[int, Any], int]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    path: str
    headers: Headers
    body: bytes

    @property
    def event(self) -> Any:
        """The body's value."""
        return orjson.loads(self.body)

    @property
    def told(self) -> tuple[str, str]:
        """Which execution it is about, and its status."""
        detail = self.event["detail"]
        return detail["name"], detail["status"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


@dataclass
class Receiver:
    """Listens on loopback, and remembers what came."""

    judge: Judge = lambda _number, _event: 204
    answer_headers: Headers = field(default_factory=dict)
    answer_body: bytes = b""
    received: list[Received] = field(default_factory=list)
    #: while it is not set, requests are held
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.go_on.set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop listening, and let held requests go."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def told(self) -> list[tuple[str, str]]:
        """What all requests were about."""
        return [received.told for received in self.received]

    def _take(self, received: Received) -> int:
        with self._lock:
            number = len(self.received)
            self.received.append(received)
        self.go_on.wait(PATIENCE_S)
        return self.judge(number, received.event)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:  # killed while it sent: no request came
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver._take(Received(self.path, headers, body))
                self.send_response(status)
                for name, value in receiver.answer_headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("content-length", str(len(receiver.answer_body)))
                self.end_headers()
                self.wfile.write(b"" if status == 204 else receiver.answer_body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
