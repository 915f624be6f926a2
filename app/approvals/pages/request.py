"""One HTTP request for the page behind a link, whatever server it came through.

GET, HEAD and POST exist; whatever else is asked for, and however it is dressed up, is answered 405.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from app.approvals.pages.decision_pages import DecisionPages, Submission
from app.approvals.pages.frame import Answer

_METHODS = frozenset({"GET", "HEAD", "POST"})


class TooLargeForm(Exception):
    """The body is longer than any form of ours."""


class PageRequest(NamedTuple):
    """A request, but for its body."""

    method: str
    link: str  #: what follows ``/d/`` in the path
    headers: Mapping[bytes, bytes]  #: names in lower case
    from_ip: str | None = None

    @property
    def wants_json(self) -> bool:
        """Whether the client asks for JSON and not, like a browser, for anything it can show."""
        accept = self.headers.get(b"accept", b"")
        return b"application/json" in accept and b"text/html" not in accept


async def answer(
    pages: DecisionPages, request: PageRequest, read_body: Callable[[], Awaitable[bytes]]
) -> Answer:
    """What *pages* say to *request*; the caller leaves the body out for HEAD.

    *read_body* is called at most once; it raises `TooLargeForm` instead of reading on and on.
    """
    wants_json = request.wants_json
    if request.method not in _METHODS:
        refusal = pages.refuse("method_not_allowed", wants_json=wants_json)
        return refusal.adding(b"allow", b"GET, HEAD, POST")
    if request.method != "POST":
        return await pages.get(request.link, wants_json=wants_json)
    if request.headers.get(b"content-encoding", b"identity") != b"identity":
        return pages.refuse("not_a_form", wants_json=wants_json)
    try:
        body = await read_body()
    except TooLargeForm:
        return pages.refuse("too_large", wants_json=wants_json)
    return await pages.post(request.link, _submission(request, body), wants_json=wants_json)


def _submission(request: PageRequest, body: bytes) -> Submission:
    headers = request.headers
    return Submission(
        content_type=_text(headers.get(b"content-type")) or "",
        body=body,
        origin=_text(headers.get(b"origin")),
        fetch_site=_text(headers.get(b"sec-fetch-site")),
        from_ip=request.from_ip,
        user_agent=_text(headers.get(b"user-agent")),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
