"""The decision page and everything people see behind a link. No web framework: bytes in, bytes out.

Rules kept here (click protocol, C.3; design, "The decision page"):

- GET reads and renders; nothing else. Only a POST of the page's own form decides;
- before anything is written: signature, origin, form, nonce, an explicit choice, a comment's rule;
- what a page says comes from committed state; each page has a JSON twin with a stable ``code``;
- no page runs a script, can be framed, cached or indexed, or tells other sites its address.
"""

import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import urlsplit

from markupsafe import Markup

from app.approvals.afterwards import Afterwards, Onlooker, afterwards, is_open
from app.approvals.asking import asks, deadline, style_of, writes
from app.approvals.decision_form import DecisionForm, FormRefused, read_form
from app.approvals.language import Languages, Reader
from app.approvals.model import Action, Approval, CommentRule, Holder
from app.approvals.request import MAX_COMMENT, read_comment
from app.clock import Clock, iso
from app.errors import (
    BadForm,
    BadRequest,
    SignoffError,
    StaleForm,
    StoreError,
    StoreUnconfirmed,
    UnknownLink,
)
from app.strict_json import Json, dumps

log = logging.getLogger(__name__)

RawHeaders = tuple[tuple[bytes, bytes], ...]

_HTML = (b"content-type", b"text/html; charset=utf-8")
_JSON = (b"content-type", b"application/json")
_STATUS = {
    "unknown_link": 404,
    "method_not_allowed": 405,
    "not_a_form": 415,
    "too_large": 413,
    "cross_site": 403,
    "not_saved": 503,
    "not_confirmed": 503,
    "unavailable": 503,
    "broken": 500,
}  # everything else that a form can be refused for is a 400


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: RawHeaders
    body: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """What came with a POST, as far as it matters."""

    content_type: str
    body: bytes
    origin: str | None = None
    fetch_site: str | None = None  #: the Sec-Fetch-Site header
    from_ip: str | None = None
    user_agent: str | None = None


class Recorded(Protocol):
    """What became of a decision."""

    @property
    def approval(self) -> Approval: ...


class Decisions(Protocol):
    """What the pages need of the approval service."""

    def holder(self, link: str) -> Holder: ...
    async def find(self, holder: Holder) -> Approval: ...
    async def decide(
        self,
        holder: Holder,
        approval: Approval,
        *,
        comment: str | None,
        from_ip: str | None,
        user_agent: str | None,
    ) -> Recorded: ...
    def link(self, approval: Approval, recipient: int, action: int) -> str: ...


class FormNonces(Protocol):
    """What the pages need of the link signer."""

    def form_nonce(self, holder: Holder, now: datetime) -> str: ...
    def check_form_nonce(self, holder: Holder, nonce: str, now: datetime) -> None: ...


class Template(Protocol):
    """Words in, text out."""

    def render(self, **words: Any) -> str: ...


class Templates(Protocol):
    """What the pages need of a template engine: Jinja2's environment has it."""

    def get_template(self, name: str, /) -> Template: ...


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why the form is shown once more."""

    status: int
    code: str
    sentence: str
    field: str = "decision"
    kept: str = ""  #: the comment that was typed


class DecisionPages:
    """Answers what comes to a link. Several requests may be in it at once."""

    def __init__(
        self,
        *,
        service: Decisions,
        nonces: FormNonces,
        languages: Languages,
        templates: Templates,
        clock: Clock,
        base_url: str,
    ) -> None:
        self._service = service
        self._nonces = nonces
        self._languages = languages
        self._clock = clock
        site = urlsplit(base_url)
        self._own_origins = frozenset({None, "null", f"{site.scheme}://{site.netloc}".lower()})
        self._decide = templates.get_template("pages/decide.html")
        self._afterwards = templates.get_template("pages/afterwards.html")
        self._style = Markup(templates.get_template("pages/style.css").render())  # noqa: S704
        self._headers = _page_headers(self._style)
        self._unknown = {
            wants_json: self._problem("unknown_link", languages.reader(), wants_json=wants_json)
            for wants_json in (False, True)
        }

    async def get(self, link: str, *, wants_json: bool) -> Answer:
        """The page behind *link*. Records nothing, whoever asks and however often."""

        async def page(holder: Holder) -> Answer:
            approval = await self._service.find(holder)
            now = self._clock()
            if is_open(approval, now):
                return self._form_page(holder, approval, now, None, wants_json)
            return self._afterwards_page(holder, approval, now, False, wants_json)

        return await self._truthfully(link, page, "unavailable", wants_json)

    async def post(self, link: str, submission: Submission, *, wants_json: bool) -> Answer:
        """Decide, if *submission* is the filled-in form of the page behind *link*."""

        async def page(holder: Holder) -> Answer:
            self._check_origin(submission)
            form = read_form(submission.content_type, submission.body)
            approval = await self._service.find(holder)
            now = self._clock()
            fault = self._fault(form, holder, approval, now)
            if fault is not None:
                return self._form_page(holder, approval, now, fault, wants_json)
            if is_open(approval, now):
                approval = await self._record(holder, approval, form, submission)
            return self._afterwards_page(holder, approval, now, True, wants_json)

        return await self._truthfully(link, page, "not_saved", wants_json)

    def refuse(self, code: str, *, wants_json: bool) -> Answer:
        """The page that says why the request cannot be used, before its link was looked at."""
        return self._problem(code, self._languages.reader(), wants_json=wants_json)

    async def _truthfully(
        self,
        link: str,
        page: Callable[[Holder], Awaitable[Answer]],
        store_failed: str,
        wants_json: bool,
    ) -> Answer:
        """*page*'s answer, or the page that says what is so instead; never an exception."""
        try:
            holder = self._service.holder(link)
        except UnknownLink:
            return self._unknown[wants_json]
        try:
            return await page(holder)
        except UnknownLink:
            return self._unknown[wants_json]
        except FormRefused as exc:
            code = exc.reason
        except StoreUnconfirmed:
            code = "not_confirmed"
        except StoreError:
            code = store_failed
        except Exception:
            log.exception("decision page failed", extra={"approval": holder.approval_id})
            code = "broken"
        return self._problem(code, await self._reader_of(holder), wants_json=wants_json)

    async def _reader_of(self, holder: Holder) -> Reader:
        """How to speak to *holder*, as far as it can be found out while something is wrong."""
        try:
            approval = await self._service.find(holder)
        except SignoffError:
            return self._languages.reader()
        return self._languages.reader(approval.request.recipient(holder.recipient))

    def _check_origin(self, submission: Submission) -> None:
        """Browsers say where a form was; ours can only have been here.

        "null" is what they say of our own page, because it sends no referrer.
        """
        origin = submission.origin and submission.origin.lower()
        if origin not in self._own_origins or submission.fetch_site in ("cross-site", "same-site"):
            raise FormRefused("cross_site")

    def _fault(
        self, form: DecisionForm, holder: Holder, approval: Approval, now: datetime
    ) -> _Fault | None:
        """What is wrong with a form that could be read; None if it may decide.

        Once the request is no longer open, an old nonce or an empty box is no fault any more: the
        page then says what became of the request.
        """
        reader = self._languages.reader(approval.request.recipient(holder.recipient))
        action = approval.request.actions[holder.action]
        open_ = is_open(approval, now)
        try:
            self._nonces.check_form_nonce(holder, form.nonce or "", now)
        except StaleForm:
            if open_:
                return _Fault(422, "stale_form", reader.say("page.stale_form"), kept=form.comment)
        except BadForm:
            return _Fault(400, "bad_form", reader.say("page.bad_form"))
        if form.decision not in (None, action.name):
            raise FormRefused("wrong_choice")
        if not open_:
            return None
        if form.decision is None:
            choose = reader.say_action(action, "choose")
            return _Fault(422, "choice_missing", choose, kept=form.comment)
        return _comment_fault(form, action, reader)

    async def _record(
        self, holder: Holder, approval: Approval, form: DecisionForm, submission: Submission
    ) -> Approval:
        rule = approval.request.actions[holder.action].comment
        decided = await self._service.decide(
            holder,
            approval,
            comment=None if rule is CommentRule.NONE else read_comment(form.comment, rule),
            from_ip=submission.from_ip,
            user_agent=submission.user_agent,
        )
        return decided.approval

    def _form_page(
        self,
        holder: Holder,
        approval: Approval,
        now: datetime,
        fault: _Fault | None,
        wants_json: bool,
    ) -> Answer:
        reader = self._languages.reader(approval.request.recipient(holder.recipient))
        words = self._form_words(holder, approval, reader, now)
        if wants_json:
            return self._answer_json(*_form_twin(words, approval, fault))
        return self._answer(
            fault.status if fault else 200,
            self._decide,
            reader,
            problem=fault and fault.sentence,
            problem_field=fault and fault.field,
            problem_label=reader.say("page.problem"),
            comment=fault.kept if fault else "",
            **words,
        )

    def _form_words(
        self, holder: Holder, approval: Approval, reader: Reader, now: datetime
    ) -> dict[str, Any]:
        request = approval.request
        action = request.actions[holder.action]
        return {
            "heading": reader.say_action(action, "ask", title=request.title),
            "asks": asks(request, reader),
            "message_from": writes(request, reader),
            "message": request.message,
            "facts": request.facts,
            "action": action.name,
            "confirm": reader.say_action(action, "confirm"),
            "button": action.label,
            "button_style": style_of(action),
            **_comment_words(action, reader),
            "nonce": self._nonces.form_nonce(holder, now),
            "others": self._others(holder, approval, reader),
            "otherwise": reader.say("page.otherwise"),
            "expiry": deadline(request, reader, reader.full(request.expires_at)),
            "you_act_as": reader.say(
                "page.you_act_as", address=request.recipient(holder.recipient).email
            ),
        }

    def _others(self, holder: Holder, approval: Approval, reader: Reader) -> list[dict[str, str]]:
        return [
            {
                "action": action.name,
                "url": self._service.link(approval, holder.recipient, index),
                "words": reader.say_action(action, "switch"),
            }
            for index, action in enumerate(approval.request.actions)
            if index != holder.action
        ]

    def _afterwards_page(
        self, holder: Holder, approval: Approval, now: datetime, answered: bool, wants_json: bool
    ) -> Answer:
        reader = self._languages.reader(approval.request.recipient(holder.recipient))
        view = afterwards(Onlooker(approval, holder, reader, now, answered))
        if wants_json:
            return self._answer_json(view.status, _afterwards_twin(view))
        return self._answer(
            view.status,
            self._afterwards,
            reader,
            heading=view.heading,
            sentences=view.sentences,
            next_steps=view.next_steps,
            comment=view.decision.comment if view.own and view.decision else None,
            comment_label=reader.say("page.comment_label"),
        )

    def _problem(self, code: str, reader: Reader, *, wants_json: bool) -> Answer:
        status = _STATUS.get(code, 400)
        heading = reader.say(f"problem.{code}_heading")
        sentence = reader.say(f"problem.{code}")
        if wants_json:
            return self._answer_json(status, {"code": code, "title": heading, "message": sentence})
        return self._answer(
            status,
            self._afterwards,
            reader,
            heading=heading,
            sentences=(sentence,),
            next_steps=(),
            comment=None,
        )

    def _answer(self, status: int, template: Template, reader: Reader, **words: Any) -> Answer:
        language = reader.language
        html = template.render(
            style=self._style, lang=language.tag, direction=language.direction, **words
        )
        return self._whole(status, _HTML, html.encode("utf-8", "replace"))

    def _answer_json(self, status: int, content: Json) -> Answer:
        return self._whole(status, _JSON, dumps(content))

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
        (b"content-security-policy", policy.encode("ascii")),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"x-robots-tag", b"noindex"),
    )


def _comment_fault(form: DecisionForm, action: Action, reader: Reader) -> _Fault | None:
    if action.comment is CommentRule.NONE:
        return None
    try:
        read_comment(form.comment, action.comment)
    except BadRequest:
        if form.comment.strip():
            sentence = reader.say("page.comment_too_long", limit=f"{MAX_COMMENT}")
            return _Fault(422, "comment_too_long", sentence, "comment", form.comment)
        return _Fault(422, "comment_missing", reader.say("page.comment_missing"), "comment")
    return None


def _comment_words(action: Action, reader: Reader) -> Mapping[str, Any]:
    if action.comment is CommentRule.NONE:
        return {"comment_rule": "none", "comment_label": None}
    return {
        "comment_rule": action.comment.value,
        "comment_label": reader.say(f"page.comment_{action.comment.value}"),
        "comment_hint": reader.say("page.comment_hint"),
        "comment_required": action.comment is CommentRule.REQUIRED,
    }


def _form_twin(
    words: Mapping[str, Any], approval: Approval, fault: _Fault | None
) -> tuple[int, Json]:
    request = approval.request
    return fault.status if fault else 200, {
        "code": fault.code if fault else "open",
        "title": words["heading"],
        "message": fault.sentence if fault else words["asks"],
        "request": {
            "title": request.title,
            "message": request.message,
            "facts": dict(request.facts),
            "expires_at": iso(request.expires_at),
        },
        "form": {
            "decision": words["action"],
            "nonce": words["nonce"],
            "comment": words["comment_rule"],
        },
        "others": [{"action": other["action"], "url": other["url"]} for other in words["others"]],
    }


def _afterwards_twin(view: Afterwards) -> Json:
    decision = view.decision
    return {
        "code": view.code,
        "title": view.heading,
        "message": " ".join((*view.sentences, *view.next_steps)),
        "decision": decision
        and {
            "action": decision.action,
            "at": iso(decision.at),
            "by_you": view.own,
            "comment": decision.comment if view.own else None,
        },
    }
