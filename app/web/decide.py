"""The approver's pages over HTTP: a thin adapter around `DecisionPages`.

It is an ASGI application of its own rather than a framework's function, because the page is the
hottest route there is and needs nothing of the framework.
"""

from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.approvals.pages.decision_pages import DecisionPages
from app.approvals.pages.form import MAX_FORM_BYTES
from app.approvals.pages.frame import Answer
from app.approvals.pages.request import PageRequest, TooLargeForm, answer

_PREFIX = "/d/"


class _Gone(Exception):
    """The client went away before its body was complete."""


class DecideFirst:
    """An ASGI application: the pages under ``/d/``, whatever the link looks like, else *rest*.

    In front of the framework, because routing and its middleware cost as much as the page.
    """

    def __init__(self, pages: DecisionPages, rest: ASGIApp) -> None:
        self._endpoint = DecideEndpoint(pages)
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http" or not scope["path"].startswith(_PREFIX):
            await self._rest(scope, receive, send)
            return
        scope["endpoint"] = self._endpoint
        scope["path_params"] = {"link": scope["path"][len(_PREFIX) :]}
        await self._endpoint(scope, receive, send)


class DecideEndpoint:
    """An ASGI application for one link per request."""

    def __init__(self, pages: DecisionPages) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        client = scope.get("client")
        request = PageRequest(
            scope["method"], scope["path_params"]["link"], headers, client[0] if client else None
        )
        read_body = partial(_read, receive, headers.get(b"content-length", b"0"))
        try:
            whole = await answer(self._pages, request, read_body)
        except _Gone:
            return
        await _send(send, whole, with_body=scope["method"] != "HEAD")


async def _read(receive: Receive, declared: bytes) -> bytes:
    """The request's body, as long as it may be a form of ours; counted, whatever was declared."""
    if declared.isdigit() and int(declared[:20]) > MAX_FORM_BYTES:
        raise TooLargeForm
    chunks, length = [], 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        length += len(chunk)
        if length > MAX_FORM_BYTES:
            raise TooLargeForm
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _send(send: Send, answer: Answer, *, with_body: bool) -> None:
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)}
    )
    await send({"type": "http.response.body", "body": answer.body if with_body else b""})
