"""A proxy between service and engine that forwards every call and loses some of the answers."""

import random
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.processes import PATIENCE_S


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed hangs up; that is what it is there for."""


class LossyProxy:
    """Forwards to a port on loopback; cuts the connection after a share of the answers arrived.

    The engine has then applied the call, and the caller does not know.
    """

    def __init__(self, engine_port: int, *, loses: float, seed: int) -> None:
        self.engine_port = engine_port
        self.loses = loses
        self.lost = 0
        self._random = random.Random(seed)
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where callers reach the engine."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop forwarding."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    status, answer = proxy._forward(dict(self.headers), body)
                except OSError:
                    self.close_connection = True
                    return
                if proxy._random.random() < proxy.loses:
                    proxy.lost += 1
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def _forward(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.engine_port, timeout=PATIENCE_S)
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
