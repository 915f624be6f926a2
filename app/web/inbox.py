"""The development mailbox's pages, for the demo only: they show everybody's mail to whoever asks.

What people see of a mail is served from an address of its own under a policy that makes it a
sandbox: no scripts, no forms, nothing from elsewhere; its links open in a new tab, outside it.
"""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any

import orjson
from jinja2 import Environment
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.approvals.language_files import load_languages
from app.inbox import KEPT, Inbox, Received
from app.templating import environment
from app.web.own_pages import is_local_host

_NOT_LOCAL = "The inbox opens at an address of this host, such as http://127.0.0.1:8080/inbox."

SHOWN = 200  #: in the list; the JSON has all

_PLAIN_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
_SANDBOX = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
_NEW_TAB = '<base target="_blank">'
_HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)


def inbox_routes(inbox: Inbox) -> list[Route]:
    """``/inbox`` and what is under it."""
    pages = InboxPages(inbox, environment())
    return [
        Route("/inbox", _local(pages.list)),
        Route("/inbox/messages", _local(pages.messages)),
        Route("/inbox/{id:int}", _local(pages.message)),
        Route("/inbox/{id:int}/html", _local(pages.html)),
    ]


def _local(
    page: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """*page*, for those who call this host by a name of its own.

    A public name that an attacker leads to loopback would let his page read everybody's links.
    """

    async def answer(request: Request) -> Response:
        if is_local_host(request.scope):
            return await page(request)
        return Response(_NOT_LOCAL, 403, _PLAIN_HEADERS, media_type="text/plain")

    return answer


class InboxPages:
    """The mailbox as pages and as JSON."""

    def __init__(self, inbox: Inbox, templates: Environment) -> None:
        self._inbox = inbox
        self._reader = load_languages().reader()
        self._list = templates.get_template("inbox/list.html")
        self._message = templates.get_template("inbox/message.html")
        parts = (templates.get_template(f"{name}/style.css").render() for name in _STYLES)
        self._style = Markup("".join(parts))  # noqa: S704  # our own file, no user's text
        self._headers = {**_PLAIN_HEADERS, **_page_policy(self._style)}

    async def list(self, request: Request) -> Response:
        """The mails there are, newest first."""
        messages = [self._shown(message) for message in await self._inbox.messages(SHOWN)]
        return self._page(self._list, heading="Inbox", messages=messages, kept=KEPT)

    async def messages(self, request: Request) -> Response:
        """All mails as JSON, newest first."""
        messages = [message.document() for message in await self._inbox.messages()]
        return Response(
            orjson.dumps(messages), headers=_PLAIN_HEADERS, media_type="application/json"
        )

    async def message(self, request: Request) -> Response:
        """One mail."""
        message = self._inbox.message(_id(request))
        if message is None:
            return self._gone()
        heading = message.subject or "(no subject)"
        return self._page(self._message, heading=heading, message=self._shown(message))

    async def html(self, request: Request) -> Response:
        """What people see of one mail, in a sandbox."""
        message = self._inbox.message(_id(request))
        if message is None or message.html is None:
            return self._gone()
        return Response(
            _opening_in_new_tabs(message.html).encode("utf-8", "replace"),
            headers={**_PLAIN_HEADERS, "content-security-policy": _SANDBOX},
            media_type="text/html",
        )

    def _shown(self, message: Received) -> Mapping[str, Any]:
        return {
            "id": message.id,
            "sender": message.sender,
            "recipients": message.recipients,
            "subject": message.subject,
            "headers": message.headers,
            "text": message.text,
            "html": message.html,
            "at": self._reader.full(message.received_at),
        }

    def _gone(self) -> Response:
        page = self._page(self._list, heading="No such mail", messages=[], kept=KEPT)
        page.status_code = 404
        return page

    def _page(self, template: Any, **words: Any) -> Response:
        html = template.render(style=self._style, lang="en", direction="ltr", **words).encode(
            "utf-8", "replace"
        )
        return Response(html, headers=self._headers, media_type="text/html")


_STYLES = ("pages", "inbox")


def _id(request: Request) -> int:
    """The id in the address; SQLite knows none above 2**63."""
    return min(int(request.path_params["id"]), 2**63 - 1)


def _page_policy(style: str) -> Mapping[str, str]:
    digest = base64.b64encode(sha256(style.encode("utf-8")).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; frame-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
    return {"content-security-policy": policy, "x-frame-options": "DENY"}


def _opening_in_new_tabs(html: str) -> str:
    """*html* whose links open in a tab of their own, because the frame is too small for a page."""
    head = _HEAD.search(html)
    if head is None:
        return _NEW_TAB + html
    return html[: head.end()] + _NEW_TAB + html[head.end() :]
