"""The approver's pages over HTTP: a thin adapter around `DecisionPages`.

It is an ASGI application of its own rather than a framework's function, because the page is the
hottest route there is and needs nothing of the framework. GET, HEAD and POST exist; whatever else
is asked for, and however it is dressed up, is answered 405.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.approvals.decision_form import MAX_FORM_BYTES
from app.approvals.page_frame import Answer
from app.approvals.pages import DecisionPages, Submission

_PREFIX = "/d/"
_ALLOW = (b"allow", b"GET, HEAD, POST")
_METHODS = frozenset({"GET", "HEAD", "POST"})


class _TooLarge(Exception):
    """The body is longer than any form of ours."""


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
        wants_json = _wants_json(headers.get(b"accept", b""))
        try:
            answer = await self._answer(scope, headers, receive, wants_json)
        except _Gone:
            return
        await _send(send, answer, with_body=scope["method"] != "HEAD")

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, wants_json: bool
    ) -> Answer:
        method, link = scope["method"], scope["path_params"]["link"]
        if method not in _METHODS:
            refusal = self._pages.refuse("method_not_allowed", wants_json=wants_json)
            return Answer(refusal.status, (*refusal.headers, _ALLOW), refusal.body)
        if method != "POST":
            return await self._pages.get(link, wants_json=wants_json)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return self._pages.refuse("not_a_form", wants_json=wants_json)
        try:
            body = await _read(receive, headers.get(b"content-length", b"0"))
        except _TooLarge:
            return self._pages.refuse("too_large", wants_json=wants_json)
        submission = _submission(scope, headers, body)
        return await self._pages.post(link, submission, wants_json=wants_json)


def _submission(scope: Scope, headers: dict[bytes, bytes], body: bytes) -> Submission:
    client = scope.get("client")
    return Submission(
        content_type=_text(headers.get(b"content-type")) or "",
        body=body,
        origin=_text(headers.get(b"origin")),
        fetch_site=_text(headers.get(b"sec-fetch-site")),
        from_ip=client[0] if client else None,
        user_agent=_text(headers.get(b"user-agent")),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _wants_json(accept: bytes) -> bool:
    """Whether the client asks for JSON and not, like a browser, for anything it can show."""
    return b"application/json" in accept and b"text/html" not in accept


async def _read(receive: Receive, declared: bytes) -> bytes:
    """The request's body, as long as it may be a form of ours; counted, whatever was declared."""
    if declared.isdigit() and int(declared[:20]) > MAX_FORM_BYTES:
        raise _TooLarge
    chunks, length = [], 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        length += len(chunk)
        if length > MAX_FORM_BYTES:
            raise _TooLarge
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _send(send: Send, answer: Answer, *, with_body: bool) -> None:
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)}
    )
    await send({"type": "http.response.body", "body": answer.body if with_body else b""})
