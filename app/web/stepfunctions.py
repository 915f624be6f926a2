"""The Step Functions API over HTTP: ``POST /`` with ``X-Amz-Target: AWSStepFunctions.<Operation>``.

AWS JSON 1.0, plain ASGI: what AWS clients send is one route, and it is the engine's hot path. Any
credentials are accepted. Errors are AWS's codes and texts; bad input is never a 500.
"""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Mapping

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from app.clock import utc_now
from app.engine.requests import MAX_NAME_CHARS, OPERATIONS, checked
from app.engine.runtime import Engine, Verb
from app.errors import (
    InvalidName,
    SerializationException,
    ServiceQuotaExceededException,
    StepFunctionsError,
    StoreError,
    TooLarge,
    UnknownOperationException,
)
from app.strict_json import Json
from app.web.health import owed_events
from app.web.limits import Headers

log = logging.getLogger(__name__)

#: A definition of AWS's greatest length with JSON's escapes; its length is then judged by itself.
MAX_BODY_BYTES = 4 * 1_048_576
_TARGET = "AWSStepFunctions."
_CONTENT_TYPE = b"application/x-amz-json-1.0"

_HALVES = re.compile("[\ud800-\udfff]")
_TRACED = frozenset({"StartExecution", "StartSyncExecution"})
_HELD = frozenset({"GetActivityTask"})  #: answered when there is something to answer

Verbs = Mapping[str, Verb]
#: what no AWS client sends: the request cannot be read
_UNREADABLE, _TOO_LARGE = "SerializationException", "RequestEntityTooLargeException"


def create_stepfunctions_app(engine: Engine) -> ASGIApp:
    """The API of *engine* as an ASGI application."""
    verbs = engine.verbs

    async def answered(scope: Scope, receive: Receive) -> tuple[int, Json]:
        if scope["method"] in ("GET", "HEAD") and scope["path"] == "/readyz":
            return await _ready(engine)
        return await _respond(verbs, scope, receive)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            status, body = await answered(scope, receive)
            await _send(send, status, body, head=scope["method"] == "HEAD")

    return app


async def _ready(engine: Engine) -> tuple[int, Json]:
    """200 if the store takes writes; and what is owed to the destinations of events."""
    try:
        await engine.probe()
        events = owed_events(engine.event_backlogs, utc_now())
    except StoreError:
        return 503, {"status": "unready", "reasons": ["store_unwritable"]}
    return 200, {"status": "ready", "reasons": [], **events}


async def _respond(verbs: Verbs, scope: Scope, receive: Receive) -> tuple[int, Json]:
    method, path = scope["method"], scope["path"]
    if method in ("GET", "HEAD") and path == "/healthz":
        return 200, {"status": "ok"}
    if method != "POST" or path != "/":
        return 404, _error("UnknownOperationException", "POST / is the only operation.")
    try:
        operation = _operation(scope)
        body = _traced(operation, scope, _parsed(await _read(receive)))
        answering = verbs[operation](**checked(operation, body))
        if operation in _HELD:
            answering = _while_connected(receive, answering)
        answer: Json = await answering
    except StepFunctionsError as exc:
        status = 402 if isinstance(exc, ServiceQuotaExceededException) else 400
        return status, {**_error(exc.code, exc.message), **exc.members}
    except TooLarge as exc:
        return 413, _error(_TOO_LARGE, exc.message)
    except StoreError as exc:
        return 503, _error("ServiceUnavailable", exc.message)
    except Exception:
        log.exception("a request failed")
        return 500, _error("InternalFailure", "An internal error occurred.")
    return 200, answer


def _operation(scope: Scope) -> str:
    target = _header(scope, b"x-amz-target")
    operation: str = target.decode("latin-1").removeprefix(_TARGET)
    if not target.startswith(_TARGET.encode()) or operation not in OPERATIONS:
        raise UnknownOperationException("The operation is not known.")
    return operation


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


def _traced(operation: str, scope: Scope, body: Mapping[str, Json]) -> Mapping[str, Json]:
    """*body*, with X-Ray's header for ``traceHeader``: AWS prefers it to the member."""
    trace = _header(scope, b"x-amzn-trace-id") if operation in _TRACED else b""
    return {**body, "traceHeader": trace.decode("latin-1")} if trace else body


async def _while_connected(receive: Receive, answering: Awaitable[Json]) -> Json:
    """The answer, unless the client goes away: a task must not be given to nobody."""
    answer = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return await answer if answer.done() else {}
    finally:
        answer.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise SerializationException("The request body is incomplete.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge()
        if not message.get("more_body"):
            return bytes(body)


def _parsed(body: bytes) -> Mapping[str, Json]:
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as exc:
        raise _unread(body) from exc
    if not isinstance(value, dict):
        raise SerializationException("The request body is not a JSON object.")
    return value


def _unread(body: bytes) -> StepFunctionsError:
    """Why *body* is refused, which is no JSON to us.

    AWS reads halves of surrogate pairs, but no name has them.
    """
    try:
        value = json.loads(body) if b"\\ud" in body.lower() else None
    except (ValueError, RecursionError):
        value = None
    name = value.get("name") if isinstance(value, dict) else None
    if isinstance(name, str) and _HALVES.search(name):
        return InvalidName(f"Invalid Name: '{_HALVES.sub('?', name)[:MAX_NAME_CHARS]}'")
    return SerializationException("The request body is not valid JSON.")


def _error(code: str, message: str) -> dict[str, Json]:
    return {"__type": code, "message": message}


def as_aws(code: str, sentence: str) -> tuple[Headers, bytes]:
    """A refusal of the limits in AWS's shape."""
    kind = _TOO_LARGE if code == TooLarge.code else _UNREADABLE
    return _headers(), orjson.dumps(_error(kind, sentence))


def _headers() -> Headers:
    return [
        (b"content-type", _CONTENT_TYPE),
        (b"x-amzn-requestid", str(uuid.uuid4()).encode()),
    ]


async def _send(send: Send, status: int, body: Json, *, head: bool) -> None:
    content = orjson.dumps(body)
    headers = [*_headers(), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else content})


async def _lifespan(receive: Receive, send: Send) -> None:
    # Whoever made the engine starts and stops it.
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
