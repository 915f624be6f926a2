"""The pages of callback URLs: the one that asks, a post action's form, what is true afterwards.

The same rules as for the pages behind mailed links (`app/approvals/pages`): GET reads and renders;
only a POST of the page's own form, with a choice that nobody makes by default, does anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from app.approvals.asking import asks, deadline, style_of
from app.approvals.compat.form import FieldFault, FormField, make_form, make_title, read_answer
from app.approvals.compat.link import CallbackLinks, Link, LinkAnswer
from app.approvals.compat.replies import Replies, ReplyType
from app.approvals.language import Languages, Reader
from app.approvals.model import Approval
from app.approvals.pages.afterwards import Onlooker, afterwards, is_open
from app.approvals.pages.decision_pages import FormNonces, Submission
from app.approvals.pages.form import FormRefused, OwnOrigins, read_fields
from app.approvals.pages.frame import Answer, PageFrame
from app.approvals.protocol import as_of
from app.approvals.service import ApprovalService
from app.approvals.targets import TargetError, TaskGone
from app.clock import Clock
from app.errors import BadForm, CallbackRefused, StaleForm, StoreError, StoreUnconfirmed
from app.strict_json import Json


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why the form is shown once more."""

    status: int
    sentence: str
    field: str = "decision"


class CallbackPages:
    """Answers people who open callback URLs."""

    def __init__(
        self,
        *,
        service: ApprovalService,
        links: CallbackLinks,
        nonces: FormNonces,
        frame: PageFrame,
        replies: Replies,
        languages: Languages,
        clock: Clock,
        base_urls: tuple[str, ...],
    ) -> None:
        self._service = service
        self._links = links
        self._nonces = nonces
        self._frame = frame
        self._replies = replies
        self._languages = languages
        self._clock = clock
        self._own_origins = OwnOrigins(*base_urls)

    def show(self, link: Link) -> Answer:
        """The page that asks, or what became of it; records nothing."""
        now = self._clock()
        if is_open(link.approval, now):
            return self._ask(link, now, None, {})
        return self._afterwards(link, link.approval, now, False)

    async def submit(self, link: Link, submission: Submission) -> Answer:
        """Do what the filled-in form says.

        Raises:
            CallbackRefused: the link's templates need parameters that the address does not have.
        """
        reader = self._languages.reader()
        try:
            self._own_origins.check(submission.origin, submission.fetch_site)
            form = read_fields(submission.content_type, submission.body)
        except FormRefused as exc:
            return self._frame.problem(exc.reason, reader, wants_json=False)
        now = self._clock()
        if not is_open(link.approval, now):
            return self._afterwards(link, as_of(link.approval, now), now, True)
        fault = self._fault(link, form, reader, now)
        if fault is not None:
            return self._ask(link, now, fault, form)
        try:
            answer = await self._answer(link, form)
        except FieldFault as exc:
            return self._ask(link, now, _field_fault(exc, reader), form)
        except CallbackRefused as exc:
            if exc.code != "InvalidPostActionBody":
                raise
            return self._ask(link, now, _Fault(422, reader.say("callback.no_fit")), form)
        return await self._truthfully(link, answer, submission, reader)

    def _fault(
        self, link: Link, form: Mapping[str, str], reader: Reader, now: datetime
    ) -> _Fault | None:
        try:
            self._nonces.check_form_nonce(link.holder, form.get("nonce", ""), now)
        except StaleForm:
            return _Fault(422, reader.say("page.stale_form"))
        except BadForm:
            return _Fault(400, reader.say("page.bad_form"))
        if form.get("decision") != link.action.name:
            return _Fault(422, reader.say_action(link.action, "choose"))
        return None

    async def _answer(self, link: Link, form: Mapping[str, str]) -> LinkAnswer:
        if link.callback.type != "post":
            return await self._links.answer(link)
        fields = make_form(link.callback.content["outcomes"]) or ()
        return await self._links.answer(link, read_answer(fields, form))

    async def _truthfully(
        self, link: Link, answer: LinkAnswer, submission: Submission, reader: Reader
    ) -> Answer:
        """What is so after *answer* was given, or the page that says why it was not."""
        try:
            if answer.payload is None:
                return await self._keep_alive(link, answer, reader)
            return await self._decide(link, answer, submission)
        except StoreUnconfirmed:
            code = "not_confirmed"
        except StoreError:
            code = "not_saved"
        return self._frame.problem(code, reader, wants_json=False)

    async def _decide(self, link: Link, answer: LinkAnswer, submission: Submission) -> Answer:
        decided = await self._service.decide(
            link.holder,
            link.approval,
            comment=None,
            from_ip=submission.from_ip,
            user_agent=submission.user_agent,
            payload=answer.payload,
        )
        counts = decided.recorded and decided.approval.delivered_at is not None
        if counts and not answer.response.keys().isdisjoint(("html", "redirect")):
            return self._replies.accepted(ReplyType.HTML, None, answer)
        return self._afterwards(link, decided.approval, self._clock(), True)

    async def _keep_alive(self, link: Link, answer: LinkAnswer, reader: Reader) -> Answer:
        try:
            await self._service.heartbeat(link.approval.id)
        except TaskGone:
            found = await self._service.find(link.holder)
            return self._afterwards(link, found, self._clock(), True)
        except TargetError:
            return self._words(503, reader, "callback.kept_heading", "callback.not_kept")
        if not answer.response.keys().isdisjoint(("html", "redirect")):
            return self._replies.accepted(ReplyType.HTML, None, answer)
        return self._words(200, reader, "callback.kept_heading", "callback.kept")

    def _ask(
        self, link: Link, now: datetime, fault: _Fault | None, form: Mapping[str, str]
    ) -> Answer:
        page = self._form_page(link, now, fault, form)
        schemes = _redirect_schemes(link.callback.content)
        return self._frame.sending_on(page, schemes) if schemes else page

    def _form_page(
        self, link: Link, now: datetime, fault: _Fault | None, form: Mapping[str, str]
    ) -> Answer:
        reader = self._languages.reader()
        words = self._form_words(link, reader, now) | {
            "problem": fault and fault.sentence,
            "problem_field": fault and fault.field,
            "problem_label": reader.say("page.problem"),
        }
        status = fault.status if fault else 200
        if link.callback.type != "post":
            return self._frame.html(status, "pages/decide.html", reader, **_NO_MORE, **words)
        outcomes = link.callback.content["outcomes"]
        fields = make_form(outcomes)
        if fields is None:
            refusal = self._words(405, reader, "callback.no_form_heading", "callback.no_form")
            return refusal.adding(b"allow", b"POST")
        return self._frame.html(
            status,
            "pages/answer.html",
            reader,
            fields=[_labelled(field, reader) for field in fields],
            values={field.key: form.get(field.key, "") for field in fields},
            choose_one=reader.say("callback.choose"),
            **(words | {"heading": make_title(outcomes) or words["heading"]}),
        )

    def _form_words(self, link: Link, reader: Reader, now: datetime) -> dict[str, Any]:
        request, action = link.approval.request, link.action
        return {
            "heading": reader.say_action(action, "ask", title=request.title),
            "asks": asks(request, reader),
            "action": action.name,
            "confirm": reader.say_action(action, "confirm"),
            "button": action.label,
            "button_style": style_of(action),
            "nonce": self._nonces.form_nonce(link.holder, now),
            "expiry": deadline(request, reader, reader.full(request.expires_at)),
            "you_act_as": reader.say("page.you_act_as_anyone"),
        }

    def _afterwards(self, link: Link, approval: Approval, now: datetime, answered: bool) -> Answer:
        reader = self._languages.reader()
        view = afterwards(Onlooker(approval, link.holder, reader, now, answered))
        return self._frame.statement(
            view.status, reader, view.heading, view.sentences, next_steps=view.next_steps
        )

    def _words(self, status: int, reader: Reader, heading: str, sentence: str) -> Answer:
        return self._frame.statement(status, reader, reader.say(heading), (reader.say(sentence),))


#: what the decision page can show and these links never have
_NO_MORE: Mapping[str, Json] = {
    "facts": (),
    "message": None,
    "message_from": "",
    "comment": "",
    "comment_label": None,
    "others": (),
    "otherwise": "",
}


def _redirect_schemes(content: Mapping[str, Json]) -> set[str]:
    """Of the addresses that whoever sends the form may be sent on to: http, https, or none."""
    outcomes = content.get("outcomes", ())
    replies = (part.get("response", {}) for part in (content, *outcomes))
    return {urlsplit(reply["redirect"]).scheme for reply in replies if "redirect" in reply}


def _labelled(field: FormField, reader: Reader) -> FormField:
    if field.required or field.kind == "flag":
        return field
    return replace(field, label=reader.say("callback.optional", label=field.label))


def _field_fault(exc: FieldFault, reader: Reader) -> _Fault:
    words = {"label": exc.field.label}
    if exc.phrase in ("too_long", "too_short"):
        words["limit"] = str(exc.limit)
    return _Fault(422, reader.say(f"callback.{exc.phrase}", **words), exc.field.key)
