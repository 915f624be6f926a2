"""A proxy between service and engine that forwards every call and loses some of the answers."""

import random
from http.client import HTTPConnection

from tests.loopback import LoopbackHandler, LoopbackServer
from tests.processes import PATIENCE_S


class LossyProxy:
    """Forwards to a port on loopback; cuts the connection after a share of the answers arrived.

    The engine has then applied the call, and the caller does not know.
    """

    def __init__(self, engine_port: int, *, loses: float, seed: int) -> None:
        self.engine_port = engine_port
        self.loses = loses
        self.lost = 0
        self._random = random.Random(seed)
        self._server = LoopbackServer(self._handler())
        self.url = self._server.url  #: where callers reach the engine

    def close(self) -> None:
        """Stop forwarding."""
        self._server.close()

    def _handler(self) -> type[LoopbackHandler]:
        proxy = self

        class Handler(LoopbackHandler):
            def do_POST(self) -> None:
                try:
                    status, answer = proxy._forward(dict(self.headers), self.body())
                except OSError:
                    self.close_connection = True
                    return
                if proxy._random.random() < proxy.loses:
                    proxy.lost += 1
                    self.close_connection = True
                    return
                self.answer(status, answer, ("Content-Type", "application/x-amz-json-1.0"))

        return Handler

    def _forward(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.engine_port, timeout=PATIENCE_S)
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
