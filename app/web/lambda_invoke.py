"""Lambda's Invoke for local functions, on the engine's port: boto3 in a glue function finds them.

A function that a workflow calls may itself invoke another one, such as ``signoff``. On one machine
both answer here, with ``AWS_ENDPOINT_URL_LAMBDA`` set to the engine's address. Waiting calls and
calls that nobody waits for (``InvocationType`` Event) are answered as Lambda does; credentials are
not looked at, as by the whole port.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.engine.functions import Invocation, LocalFunction, error_document, marshal
from app.engine.resources.functions import function_name
from app.strict_json import Json, NotJson, loads

log = logging.getLogger(__name__)

_INVOKE = re.compile(r"/2015-03-31/functions/([^/]{1,200})/invocations")


class LocalLambda:
    """An ASGI application: Invoke of *functions*, else *rest*."""

    def __init__(self, functions: Mapping[str, LocalFunction], rest: ASGIApp) -> None:
        self._functions = functions
        self._rest = rest
        self._unattended: set[asyncio.Task[Response]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        match = _INVOKE.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if match is None or scope["method"] != "POST":
            await self._rest(scope, receive, send)
            return
        # For the access log: a name of ours, or nothing.
        scope["endpoint"], scope["path_params"] = self, {"function": match[1]}
        request = Request(scope, receive)
        try:
            response = await self._answer(function_name(match[1]), request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, name: str, request: Request) -> Response:
        function = self._functions.get(name)
        if function is None:
            return _refusal(404, "ResourceNotFoundException", f"Function not found: {name}")
        try:
            event = loads(await request.body() or b"{}")
        except NotJson as exc:
            return _refusal(400, "InvalidRequestContentException", exc.message)
        kind = request.headers.get("x-amz-invocation-type", "RequestResponse")
        if kind == "DryRun":
            return Response(status_code=204)
        if kind == "Event":
            task = asyncio.ensure_future(_invoke(name, function, event))
            self._unattended.add(task)
            task.add_done_callback(self._unattended.discard)
            return Response(status_code=202)
        return await _invoke(name, function, event)


async def _invoke(name: str, function: LocalFunction, event: Json) -> Response:
    request_id = str(uuid.uuid4())
    headers = {"X-Amzn-RequestId": request_id, "X-Amz-Executed-Version": "$LATEST"}
    try:
        text = marshal(await function(event, Invocation(request_id, name, None)))
    except Exception as exc:
        # Whatever a function raises is its own error, and its caller's to handle.
        log.info("a function failed", extra={"function": name, "why": type(exc).__name__})
        headers["X-Amz-Function-Error"] = "Unhandled"
        text = orjson.dumps(error_document(exc, request_id)).decode()
    return Response(text, 200, headers, media_type="application/json")


def _refusal(status: int, code: str, message: str) -> Response:
    body: dict[str, Any] = {"Type": "User", "Message": message}
    return Response(
        orjson.dumps(body), status, {"x-amzn-ErrorType": code}, media_type="application/json"
    )
