"""A webhook's receiver: a real HTTP server that answers as the test says."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.loopback import LoopbackHandler, LoopbackServer
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
        self._server = LoopbackServer(self._handler())
        self.url = f"{self._server.url}/hook"

    def close(self) -> None:
        """Stop listening, and let held requests go."""
        self.go_on.set()
        self._server.close()

    def told(self) -> list[tuple[str, str]]:
        """What all requests were about."""
        return [received.told for received in self.received]

    def _take(self, received: Received) -> int:
        with self._lock:
            number = len(self.received)
            self.received.append(received)
        self.go_on.wait(PATIENCE_S)
        return self.judge(number, received.event)

    def _handler(self) -> type[LoopbackHandler]:
        receiver = self

        class Handler(LoopbackHandler):
            def do_POST(self) -> None:
                body = self.body()
                if len(body) < int(self.headers["content-length"]):
                    self.close_connection = True
                    return
                status = receiver._take(Received(self.path, self.lower_headers(), body))
                content = b"" if status == 204 else receiver.answer_body
                self.answer(status, content, *receiver.answer_headers.items())

        return Handler
