"""A Step Functions endpoint that writes down what is sent to it, and refuses as it is told.

Reached like any other: by AWS_ENDPOINT_URL_SFN. A token is taken once, as by the real one.
"""

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TIMED_OUT = "Task Timed Out: 'Provided task does not exist anymore'"


@dataclass
class Recorder:
    """What arrived, in order, and what is answered next."""

    sent: list[tuple[str, Any]] = field(default_factory=list)
    refusals: deque[tuple[int, str, str]] = field(default_factory=deque)
    closed: set[str] = field(default_factory=set)
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address."""
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_port}"

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

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                status, answer = recorder.answer(operation, json.loads(self.rfile.read(length)))
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()
