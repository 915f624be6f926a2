"""The decision page on Lambda: the shared pages between API Gateway's events and the table.

A look at the page reads two things, the secret keys and the approval, and imports nothing else. A
decision imports the approval service, which is as it is on a server (`deciding.py`).

Secret keys may be rotated while this environment lives (`rotation.py`).
"""

import logging
import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, NoReturn, TypeVar

from app.approvals.keyring import KeyRing
from app.approvals.language import Languages
from app.approvals.links import LinkSigner
from app.approvals.pages.decision_pages import DecisionPages, Decisions
from app.approvals.pages.form import MAX_FORM_BYTES
from app.approvals.pages.frame import Answer, PageFrame, Templates
from app.approvals.pages.request import PageRequest, TooLargeForm, answer
from app.approvals.reading import Reading
from app.approvals.store.dynamodb.in_place import InPlace
from app.approvals.store.dynamodb.reading import ApprovalReader
from app.approvals.store.dynamodb.table import open_table
from app.aws_lambda.http_event import HttpRequest, http_result, read_http_event
from app.aws_lambda.rotation import may_judge
from app.clock import utc_now
from app.errors import StartRefused, StoreError
from app.logs import configure_logs
from app.secrets_source import read_secret_keys

log = logging.getLogger(__name__)

T = TypeVar("T")

_PREFIX = "/d/"
_TABLE = "dynamodb:"


class Clicks:
    """What one execution environment keeps between events."""

    def __init__(self, templates: Templates, languages: Languages) -> None:
        self._frame = PageFrame(templates)
        self._languages = languages
        self._lines = configure_logs(os.environ.get("SIGNOFF_LOG_LEVEL", "INFO"), sys.stdout)
        self._table = open_table(os.environ["SIGNOFF_STORE"].removeprefix(_TABLE))
        self._current: _Current | None = None

    def handle(self, event: Any, _context: Any) -> dict[str, Any]:
        """What API Gateway sends back for *event*.

        Raises:
            BadRequest: it is no HTTP event.
        """
        request = read_http_event(event)
        try:
            page = self._page(request)
        finally:
            self._lines.flush()
        body = b"" if request.method == "HEAD" else page.body
        return http_result(page.status, page.headers, body)

    def _page(self, request: HttpRequest) -> Answer:
        link = request.path.removeprefix(_PREFIX)
        asked = PageRequest(request.method, link, request.headers, request.from_ip)
        current = self._under_keys(link, request.body)
        if current is None:
            return self._problem("unavailable", asked)
        body = _Body(request.body)
        if request.method == "POST":
            # Not at the top, nor what a decision needs: looking needs none of it.
            from asyncio import run  # noqa: PLC0415

            return run(self._decided(current, asked, body))
        # Looking waits for the table only, and that in place: it needs no event loop.
        return _straight(answer(current.looking, asked, body.read))

    async def _decided(self, current: "_Current", asked: PageRequest, body: "_Body") -> Answer:
        from app.aws_lambda.deciding import approval_service  # noqa: PLC0415

        if current.deciding is None:
            try:
                service = await approval_service(self._table, current.links, current.ring)
            except (StartRefused, StoreError) as exc:
                log.error("nothing can be decided", extra={"why": exc.message})
                return self._problem("not_saved", asked)
            current.deciding = self._pages(service, current.links)
        return await answer(current.deciding, asked, body.read)

    def _problem(self, code: str, asked: PageRequest) -> Answer:
        return self._frame.problem(code, self._languages.reader(), wants_json=asked.wants_json)

    def _under_keys(self, link: str, form: bytes) -> "_Current | None":
        """The pages under the secret keys that are valid now; None if there are none."""
        current = self._current
        if current and may_judge(current.ring, monotonic() - current.read_at, link, form):
            return current
        try:
            self._current = self._renewed()
        except StartRefused as exc:
            # The keys of before are better than none, and nobody waits again for what fails.
            log.error("the secret keys cannot be read", extra={"why": exc.message})
            if current is not None:
                current.read_at = monotonic()
        return self._current

    def _renewed(self) -> "_Current":
        ring = KeyRing(read_secret_keys(os.environ["SIGNOFF_SECRET_KEYS"]))
        links = LinkSigner(ring, os.environ["SIGNOFF_BASE_URL"])
        reader = ApprovalReader(self._table, InPlace())
        looking = self._pages(_Looking(reader, links, utc_now), links)
        return _Current(ring, links, looking, monotonic())

    def _pages(self, decisions: Decisions, links: LinkSigner) -> DecisionPages:
        return DecisionPages(
            service=decisions,
            nonces=links,
            languages=self._languages,
            frame=self._frame,
            clock=utc_now,
            base_url=os.environ["SIGNOFF_BASE_URL"],
        )


@dataclass(slots=True)
class _Current:
    """What there is under one reading of the secret keys."""

    ring: KeyRing
    links: LinkSigner
    looking: DecisionPages
    read_at: float  #: on the monotonic clock
    deciding: DecisionPages | None = None  #: from the first decision on


class _Looking(Reading):
    """Looks at approvals, and decides nothing."""

    async def decide(self, *_: object, **__: object) -> NoReturn:
        """Never: only a POST decides, and that has the whole service."""
        raise RuntimeError("a page that is looked at decides nothing")


class _Body:
    """The body of an event: it is there already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        """All of it, if it may be a form of ours."""
        if len(self._body) > MAX_FORM_BYTES:
            raise TooLargeForm
        return self._body


def _straight(work: Coroutine[Any, Any, T]) -> T:
    """The result of *work*, which never waits for anything."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("it waits for something")
