"""The decision page and everything people see behind a link. No web framework: bytes in, bytes out.

Rules kept here (click protocol, C.3; design, "The decision page"):

- GET reads and renders; nothing else. Only a POST of the page's own form decides;
- before anything is written: signature, origin, form, nonce, an explicit choice, a comment's rule;
- what a page says comes from committed state; each page has a JSON twin with a stable ``code``;
- what all pages have in common is in `frame.py`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from app.approvals.asking import asks, deadline, style_of, writes
from app.approvals.language import Languages, Reader
from app.approvals.model import Action, Approval, CommentRule, Holder
from app.approvals.pages.afterwards import Afterwards, Onlooker, afterwards, is_open
from app.approvals.pages.form import DecisionForm, FormRefused, OwnOrigins, read_form
from app.approvals.pages.frame import Answer, PageFrame
from app.approvals.typed_text import MAX_COMMENT, read_comment
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
from app.json_value import Json

log = logging.getLogger(__name__)


class Submission(NamedTuple):
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


class _Fault(NamedTuple):
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
        frame: PageFrame,
        clock: Clock,
        base_url: str,
    ) -> None:
        self._service = service
        self._nonces = nonces
        self._languages = languages
        self._clock = clock
        self._own_origins = OwnOrigins(base_url)
        self._frame = frame
        #: one page for every link that does not hold, by whether JSON is wanted
        self._unknown: dict[bool, Answer] = {}

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
            self._own_origins.check(submission.origin, submission.fetch_site)
            form = read_form(submission.content_type, submission.body)
            approval = await self._service.find(holder)
            now = self._clock()
            if is_open(approval, now):
                fault = self._fault(form, holder, approval, now)
                if fault is not None:
                    return self._form_page(holder, approval, now, fault, wants_json)
                approval = await self._record(holder, approval, form, submission)
            # Else no form is wrong any more: the page says what became of the request.
            return self._afterwards_page(holder, approval, now, True, wants_json)

        return await self._truthfully(link, page, "not_saved", wants_json)

    def refuse(self, code: str, *, wants_json: bool) -> Answer:
        """The page that says why the request cannot be used, before its link was looked at."""
        return self._frame.problem(code, self._languages.reader(), wants_json=wants_json)

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
            return self._unknown_link(wants_json)
        try:
            return await page(holder)
        except UnknownLink:
            return self._unknown_link(wants_json)
        except FormRefused as exc:
            code = exc.reason
        except StoreUnconfirmed:
            code = "not_confirmed"
        except StoreError:
            code = store_failed
        except Exception:
            log.exception("decision page failed", extra={"approval": holder.approval_id})
            code = "broken"
        return self._frame.problem(code, await self._reader_of(holder), wants_json=wants_json)

    def _unknown_link(self, wants_json: bool) -> Answer:
        if wants_json not in self._unknown:
            self._unknown[wants_json] = self.refuse("unknown_link", wants_json=wants_json)
        return self._unknown[wants_json]

    async def _reader_of(self, holder: Holder) -> Reader:
        """How to speak to *holder*, as far as it can be found out while something is wrong."""
        try:
            approval = await self._service.find(holder)
        except SignoffError:
            return self._languages.reader()
        return self._languages.reader(approval.request.recipient(holder.recipient))

    def _fault(
        self, form: DecisionForm, holder: Holder, approval: Approval, now: datetime
    ) -> _Fault | None:
        """What is wrong with the form of an open request; None if it may decide.

        Raises:
            FormRefused: the form is that of another link.
        """
        reader = self._languages.reader(approval.request.recipient(holder.recipient))
        action = approval.request.actions[holder.action]
        try:
            self._nonces.check_form_nonce(holder, form.nonce or "", now)
        except StaleForm:
            return _Fault(422, "stale_form", reader.say("page.stale_form"), kept=form.comment)
        except BadForm:
            return _Fault(400, "bad_form", reader.say("page.bad_form"))
        if form.decision not in (None, action.name):
            raise FormRefused("wrong_choice")
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
            return self._frame.json(*_form_twin(words, approval, fault))
        return self._frame.html(
            fault.status if fault else 200,
            "pages/decide.html",
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
            return self._frame.json(view.status, _afterwards_twin(view))
        return self._frame.statement(
            view.status,
            reader,
            view.heading,
            view.sentences,
            comment=view.decision.comment if view.own and view.decision else None,
            next_steps=view.next_steps,
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
