"""What all pages for people have in common: frame, headers, JSON twin, and what is wrong.

No page runs a script, can be framed, cached or indexed, or tells other sites its address.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from markupsafe import Markup

from app.approvals.language import Reader
from app.json_value import Json

RawHeaders = tuple[tuple[bytes, bytes], ...]

_HTML = (b"content-type", b"text/html; charset=utf-8")
_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_POLICY = b"content-security-policy"
_STATUS: Mapping[str, int] = MappingProxyType(
    {
        "unknown_link": 404,
        "method_not_allowed": 405,
        "not_a_form": 415,
        "too_large": 413,
        "too_many_requests": 429,
        "cross_site": 403,
        "not_saved": 503,
        "not_confirmed": 503,
        "unavailable": 503,
        "broken": 500,
    }
)  # everything else that a form can be refused for is a 400


class Answer(NamedTuple):
    """A whole HTTP answer."""

    status: int
    headers: RawHeaders
    body: bytes

    def adding(self, name: bytes, value: bytes) -> "Answer":
        """The same answer with one more header."""
        return Answer(self.status, (*self.headers, (name, value)), self.body)

    def under(self, policy: bytes) -> "Answer":
        """The same page under another content security policy."""
        kept = tuple(header for header in self.headers if header[0] != _POLICY)
        return Answer(self.status, (*kept, (_POLICY, policy)), self.body)


class Template(Protocol):
    """Words in, text out."""

    def render(self, **words: Any) -> str: ...


class Templates(Protocol):
    """What the pages need of a template engine: Jinja2's environment has it."""

    def get_template(self, name: str, /) -> Template: ...


class PageFrame:
    """Renders pages, and answers with them."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        self._style = Markup(templates.get_template("pages/style.css").render())  # noqa: S704
        self._headers = _page_headers(self._style)

    def html(self, status: int, template: str, reader: Reader, **words: Any) -> Answer:
        """The page that *template* makes of *words*."""
        language = reader.language
        html = self._templates.get_template(template).render(
            style=self._style, lang=language.tag, direction=language.direction, **words
        )
        return self._whole(status, _HTML, html.encode("utf-8", "replace"))

    def statement(
        self,
        status: int,
        reader: Reader,
        heading: str,
        sentences: Sequence[str],
        *,
        comment: str | None = None,
        next_steps: Sequence[str] = (),
    ) -> Answer:
        """The page without a form: what is so, a *comment* that was made, and what to do next."""
        return self.html(
            status,
            "pages/afterwards.html",
            reader,
            heading=heading,
            sentences=sentences,
            comment=comment,
            comment_label=reader.say("page.comment_label"),
            next_steps=next_steps,
        )

    def json(self, status: int, content: Json) -> Answer:
        """A page's twin for machines."""
        # Not at the top: browsers ask for no JSON, and a cold look should not wait for its library.
        from app.strict_json import dumps  # noqa: PLC0415

        return self._whole(status, _JSON, dumps(content))

    def problem(self, code: str, reader: Reader, *, wants_json: bool) -> Answer:
        """The page that says what is wrong, and what to do."""
        status = _STATUS.get(code, 400)
        heading = reader.say(f"problem.{code}_heading")
        sentence = reader.say(f"problem.{code}")
        if wants_json:
            return self.json(status, {"code": code, "title": heading, "message": sentence})
        return self.statement(status, reader, heading, (sentence,))

    def text(self, status: int, text: str) -> Answer:
        """Plain text."""
        return self._whole(status, _TEXT, text.encode("utf-8", "replace"))

    def sending_on(self, page: Answer, schemes: Iterable[str]) -> Answer:
        """*page*, whose form may be answered with a redirect to any address of *schemes*.

        Browsers follow the redirects of a form no further than ``form-action`` allows, to the
        address that was named and whatever that one redirects to.
        """
        sources = "".join(f" {scheme}:" for scheme in sorted(schemes))
        own = b"form-action 'self'"
        policy = next(value for name, value in page.headers if name == _POLICY)
        return page.under(policy.replace(own, own + sources.encode("ascii")))

    def foreign(self, html: str) -> Answer:
        """A page that a workflow wrote: shown as it is, but nothing in it runs or is trusted."""
        return self._whole(200, _HTML, html.encode("utf-8", "replace")).under(b"sandbox")

    def bare(self, status: int, *headers: tuple[bytes, bytes]) -> Answer:
        """No body at all."""
        length = (b"content-length", b"0")
        return Answer(status, (length, *headers, *self._headers), b"")

    def _whole(self, status: int, content_type: tuple[bytes, bytes], body: bytes) -> Answer:
        length = (b"content-length", b"%d" % len(body))
        retry = ((b"retry-after", b"60"),) if status == 503 else ()
        return Answer(status, (content_type, length, *self._headers, *retry), body)


def _page_headers(style: str) -> RawHeaders:
    digest = base64.b64encode(sha256(style.encode("utf-8")).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return (
        (b"cache-control", b"no-store"),
        (_POLICY, policy.encode("ascii")),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"x-robots-tag", b"noindex"),
    )
