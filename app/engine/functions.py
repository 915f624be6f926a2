"""Local functions: Python functions that answer for AWS Lambda.

A `LocalFunction` is an async function of an event and an `Invocation`. A handler as Lambda has it,
``handler(event, context)``, becomes one by `handler_function`: it runs in a bounded pool, so that
a slow one holds up nobody but its own callers.
"""

import importlib
import inspect
import json
import sys
import traceback
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.clock import utc_now
from app.engine.threads import Threads
from app.errors import StartRefused
from app.strict_json import Json

THREADS = 16  #: handlers of one function that run at the same time
DEFAULT_TIMEOUT_MS = 900_000  #: what a context says is left when the task has no timeout

_REQUESTS = uuid.UUID("6f1d3a5e-8f7c-4f0e-9a57-51b0a6c2d7e4")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a function."""

    request_id: str  #: the same when a call is repeated after a crash
    function_name: str
    deadline: datetime | None
    heartbeat_s: int | None = None  #: of the state that calls, if it wants heartbeats


LocalFunction = Callable[[Json, Invocation], Awaitable[Json]]
Handler = Callable[[Json, "HandlerContext"], Any]


def request_id(execution_arn: str, frame: int, attempt: int) -> str:
    """The request id of an attempt."""
    return str(uuid.uuid5(_REQUESTS, f"{execution_arn}:{frame}:{attempt}"))


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """What a handler gets beside the event, as on Lambda."""

    aws_request_id: str
    function_name: str
    invoked_function_arn: str
    deadline: datetime | None
    function_version: str = "$LATEST"
    memory_limit_in_mb: str = "128"
    log_group_name: str = ""
    log_stream_name: str = ""

    def get_remaining_time_in_millis(self) -> int:
        """How long the task still waits."""
        if self.deadline is None:
            return DEFAULT_TIMEOUT_MS
        return max(0, int((self.deadline - utc_now()).total_seconds() * 1000))


def handler_function(handler: Handler) -> LocalFunction:
    """A local function that calls *handler* as Lambda does; it may be a coroutine function."""
    if inspect.iscoroutinefunction(handler):

        async def call_async(event: Json, invocation: Invocation) -> Json:
            return await handler(event, _context(invocation))

        return call_async
    threads = Threads(THREADS, "function")

    async def call(event: Json, invocation: Invocation) -> Json:
        return await threads.run(handler, event, _context(invocation))

    return call


def _context(invocation: Invocation) -> HandlerContext:
    name = invocation.function_name
    return HandlerContext(invocation.request_id, name, name, invocation.deadline)


def load_function(reference: str) -> LocalFunction:
    """The function that ``module:callable`` names; modules are looked for in the working directory
    too.

    Raises:
        StartRefused: there is none.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise StartRefused(f"A function is given as NAME=module:callable, not as {reference!r}.")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        handler = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as exc:
        raise StartRefused(f"The function {reference} cannot be loaded: {exc}.") from exc
    if not callable(handler):
        raise StartRefused(f"{reference} is no function.")
    return handler_function(handler)


def error_document(exc: BaseException, invocation_id: str) -> dict[str, Json]:
    """What Lambda says about an exception in a handler."""
    return {
        "errorMessage": str(exc),
        "errorType": type(exc).__name__,
        "requestId": invocation_id,
        "stackTrace": traceback.format_list(_own_frames(exc)),
    }


def _own_frames(exc: BaseException) -> traceback.StackSummary:
    """The frames from the handler on: ours and the pool's say nothing to its author."""
    frames = traceback.extract_tb(exc.__traceback__)
    ours = (__file__, "engine/threads.py", "engine/resources/functions.py")
    inner = [n for n, frame in enumerate(frames) if frame.filename.endswith(ours)]
    start = inner[-1] + 1 if inner else 0
    return traceback.StackSummary.from_list(list(frames)[start:])


def marshal(result: Any) -> str:
    """A handler's result as JSON text, as Lambda writes it.

    Raises:
        TypeError, ValueError: it is not JSON.
    """
    if isinstance(result, bytes):
        return result.decode()
    text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text.encode()  # what UTF-8 cannot hold is refused here
    return text
