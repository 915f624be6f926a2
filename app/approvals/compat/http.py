"""The sfn-callback-urls API over HTTP, without any server's types: ``/urls`` and ``/respond``.

Who may call ``/urls`` is the server's question (an API key, IAM); ``/respond`` is open to whoever
has a link.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from app.approvals.compat.callbacks import CallbackUrls
from app.approvals.compat.click import CallbackClicks, LinkUse
from app.approvals.compat.fetchers import is_speculative
from app.approvals.compat.link import CallbackLinks, Switches
from app.approvals.compat.pages import CallbackPages
from app.approvals.compat.replies import Replies
from app.approvals.compat.rules import PostRules
from app.approvals.language import Languages
from app.approvals.links import LinkSigner
from app.approvals.pages.decision_pages import Submission
from app.approvals.pages.frame import Answer, PageFrame
from app.approvals.service import ApprovalService
from app.clock import Clock
from app.strict_json import Json, NotJson, dumps, loads

log = logging.getLogger(__name__)

MAX_PARAMETERS = 200

_JSON = (b"content-type", b"application/json")
_EVERY = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_WARNING = (
    b"warning",
    b'299 - "SIGNOFF_CALLBACK_GET=apply: whatever opens these addresses decides, scanners too"',
)


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """What came, whichever server took it."""

    method: str
    query: Mapping[str, str]  #: the last of each name (`read_query`)
    headers: Mapping[str, str]  #: by lower-case name
    body: bytes
    from_ip: str | None


class Callbacks:
    """The whole API: addresses are made, and answer."""

    def __init__(
        self,
        *,
        service: ApprovalService,
        links: LinkSigner,
        frame: PageFrame,
        languages: Languages,
        switches: Switches,
        base_url: str,
        more_base_urls: tuple[str, ...] = (),
        clock: Clock,
    ) -> None:
        """Addresses begin with *base_url*, or with what a call chooses of *more_base_urls*."""
        self._get_applies = switches.get_applies
        if switches.get_applies:
            log.warning("a GET of a callback URL decides, whoever sends it (CALLBACK_GET=apply)")
        self._rules = rules = PostRules()
        opener = CallbackLinks(service, links, rules, switches)
        replies = Replies(frame, languages)
        pages = CallbackPages(
            service=service,
            links=opener,
            nonces=links,
            frame=frame,
            replies=replies,
            languages=languages,
            clock=clock,
            base_urls=(base_url, *more_base_urls),
        )
        self._clicks = CallbackClicks(
            service=service,
            links=opener,
            pages=pages,
            replies=replies,
            switches=switches,
            clock=clock,
        )
        #: for direct invocation
        self.urls = CallbackUrls(
            service=service,
            links=links,
            rules=rules,
            switches=switches,
            base_url=base_url,
            more_base_urls=more_base_urls,
            clock=clock,
        )

    def close(self) -> None:
        """End the process that checks post actions, if one was needed."""
        self._rules.close()

    async def create(self, request: CallbackRequest) -> Answer:
        """The answer to ``/urls``.

        Raises:
            StoreUnavailable, StoreUnconfirmed: no approval can be promised.
        """
        if request.method != "POST":
            return _empty(405, (b"allow", b"POST"))
        # The original takes this one spelling, and answers others with nothing.
        if request.headers.get("content-type") != "application/json":
            return _empty(415)
        try:
            body = loads(request.body)
        except NotJson as exc:
            return self._created(400, {"error": "InvalidJSON", "message": exc.message})
        return self._created(*await self.urls.create(body))

    async def respond(self, request: CallbackRequest) -> Answer:
        """The answer to ``/respond``; never an exception."""
        headers = request.headers
        use = LinkUse(
            method=request.method,
            query=request.query,
            accept=headers.get("accept", ""),
            speculative=is_speculative(headers),
            submission=Submission(
                content_type=headers.get("content-type", ""),
                body=request.body,
                origin=headers.get("origin"),
                fetch_site=headers.get("sec-fetch-site"),
                from_ip=request.from_ip,
                user_agent=headers.get("user-agent"),
            ),
        )
        answer = await self._clicks.respond(use)
        return Answer(answer.status, answer.headers, b"") if use.method == "HEAD" else answer

    def _created(self, status: int, document: Json) -> Answer:
        body = dumps(document)
        length = (b"content-length", b"%d" % len(body))
        warning = (_WARNING,) if self._get_applies and status == 200 else ()
        return Answer(status, (_JSON, length, *_EVERY, *warning), body)


def read_query(text: str) -> dict[str, str]:
    """The parameters of a query string, the last of each name; none if there are too many."""
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="replace", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        return {}
    return dict(pairs)


def _empty(status: int, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(status, ((b"content-length", b"0"), *headers, *_EVERY), b"")
