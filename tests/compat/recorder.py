"""A Step Functions endpoint that writes down what is sent to it, and refuses as it is told.

Reached like any other: by AWS_ENDPOINT_URL_SFN. A token is taken once, as by the real one.
"""

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

from tests.loopback import LoopbackHandler, LoopbackServer

TIMED_OUT = "Task Timed Out: 'Provided task does not exist anymore'"


@dataclass
class Recorder:
    """What arrived, in order, and what is answered next."""

    sent: list[tuple[str, Any]] = field(default_factory=list)
    refusals: deque[tuple[int, str, str]] = field(default_factory=deque)
    closed: set[str] = field(default_factory=set)
    server: LoopbackServer | None = None

    @property
    def url(self) -> str:
        """Its address."""
        assert self.server is not None
        return self.server.url

    def refuse(self, code: str, message: str = "No.", status: int = 400) -> None:
        """Answer the next call with an error."""
        self.refusals.append((status, code, message))

    def answer(self, operation: str, body: Any) -> tuple[int, Any]:
        """Write a call down; status and body of the answer."""
        self.sent.append((operation, body))
        if self.refusals:
            status, code, message = self.refusals.popleft()
            return status, {"__type": code, "message": message}
        if body["taskToken"] in self.closed:
            return 400, {"__type": "TaskTimedOut", "message": TIMED_OUT}
        if operation != "SendTaskHeartbeat":
            self.closed.add(body["taskToken"])
        return 200, {}

    def __enter__(self) -> Self:
        recorder = self

        class Handler(LoopbackHandler):
            def do_POST(self) -> None:
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                status, answer = recorder.answer(operation, json.loads(self.body()))
                content = json.dumps(answer).encode()
                self.answer(status, content, ("Content-Type", "application/x-amz-json-1.0"))

        self.server = LoopbackServer(Handler)
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self.server is not None
        self.server.close()
