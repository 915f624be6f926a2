"""The services that functions call, on one port: moto, the bundled engine, and the functions.

Calls of Step Functions go to the engine, invocations to the built functions, the rest to moto. Each
can be made to fail once, before or after it was done. What a function's role does not allow is
refused, as IAM would.
"""

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import unquote

import httpx
from moto.backends import get_backend
from werkzeug.serving import WSGIRequestHandler, make_server

from app.strict_json import Json, dumps, loads
from tests.approvals.store.moto import OneAtATime
from tests.aws.functions import FunctionError
from tests.aws.intrinsics import ACCOUNT, REGION
from tests.aws.rights import Rights, caller, needs
from tests.processes import PATIENCE_S

Environ = dict[str, Any]
Answer = tuple[str, list[tuple[str, str]], bytes]


@dataclass
class Fault:
    """What goes wrong with the next call of an operation."""

    operation: str  #: such as "TransactWriteItems"
    code: str | None = None  #: the error that is answered instead of doing it
    lost: bool = False  #: it is done, and the answer never comes
    hangs: bool = False  #: nothing is done, for longer than anybody waits


@dataclass
class Cloud:
    """Services on loopback."""

    engine_url: str = ""
    invoke: Callable[[str, Json], Json] | None = None  #: a function by its name
    faults: deque[Fault] = field(default_factory=deque)
    calls: list[str] = field(default_factory=list)  #: operations, in order
    rights: dict[str, Rights] = field(default_factory=dict)  #: of functions, by access key

    def __post_init__(self) -> None:
        self._moto = OneAtATime()
        self._ended = threading.Event()
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Nobody answers any more."""
        self._ended.set()
        self._server.shutdown()

    def mails(self) -> list[Any]:
        """The mails that SES took, oldest first."""
        backend = get_backend("ses")[ACCOUNT][REGION]
        return list(backend.sent_messages)

    def _answer(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        self.calls.append(operation or environ["PATH_INFO"])
        fault = self._fault(operation)
        if fault is not None and fault.hangs:
            self._ended.wait()
        if fault is not None and fault.code is not None:
            return _refused(fault.code, "as the test wants it", start_response)
        if not self._allowed(environ):
            return _refused("AccessDeniedException", "the role does not allow it", start_response)
        answer = self._forward(environ, start_response)
        if fault is not None and fault.lost:
            list(answer)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return answer

    def _fault(self, operation: str) -> Fault | None:
        if self.faults and self.faults[0].operation == operation:
            return self.faults.popleft()
        return None

    def _allowed(self, environ: Environ) -> bool:
        rights = self.rights.get(caller(environ.get("HTTP_AUTHORIZATION", "")) or "")
        if rights is None:
            return True  # the test itself, or the engine
        body = _body(environ)
        environ["wsgi.input"] = BytesIO(body)
        return rights.cover(needs(environ.get("HTTP_X_AMZ_TARGET", ""), environ["PATH_INFO"], body))

    def _forward(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target.startswith("AWSStepFunctions."):
            answered = httpx.post(
                self.engine_url,
                content=_body(environ),
                headers={
                    "X-Amz-Target": target,
                    "Content-Type": "application/x-amz-json-1.0",
                    "Authorization": environ.get("HTTP_AUTHORIZATION", ""),
                },
                timeout=PATIENCE_S,
            )
            kind = answered.headers["content-type"]
            start_response(f"{answered.status_code} -", [("Content-Type", kind)])
            return [answered.content]
        if environ["PATH_INFO"].startswith("/2015-03-31/functions/"):
            return self._invoked(environ, start_response)
        return self._moto(environ, start_response)

    def _invoked(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        assert self.invoke is not None
        name = unquote(environ["PATH_INFO"]).split("/")[3].rpartition(":")[2]
        headers = [("Content-Type", "application/json")]
        try:
            body = self.invoke(name, loads(_body(environ)))
        except FunctionError as error:
            body = {"errorType": error.type, "errorMessage": error.message}
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        start_response("200 OK", headers)
        return [dumps(body)]


class _Quiet(WSGIRequestHandler):
    """Says nothing of each request."""

    def log(self, *_: Any) -> None:
        """Nothing."""


def _refused(code: str, message: str, start_response: Any) -> Iterable[bytes]:
    start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.0")])
    return [dumps({"__type": code, "message": message})]


def _body(environ: Environ) -> bytes:
    content: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return content
