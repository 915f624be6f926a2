"""Callback URLs as they are used: ``GET`` and ``POST /respond``, by programs and by people.

- A POST does what the link says, at once, as with the original.
- A GET does so only where the operator wants it (`CALLBACK_GET=apply`), and never for HEAD,
  prefetches, previews and scanners; otherwise a browser gets the page that asks, and programs are
  told to send a POST.
- What counts is recorded and delivered by the approval service, like every other decision.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from re import DOTALL, match
from types import MappingProxyType

from app.approvals.approval_ids import id_as_hex
from app.approvals.compat.link import CallbackLinks, Link, LinkAnswer, Switches, expired
from app.approvals.compat.pages import CallbackPages
from app.approvals.compat.replies import Replies, ReplyType, negotiated
from app.approvals.model import Approval, State
from app.approvals.pages.decision_pages import Submission
from app.approvals.pages.form import FORM_TYPE
from app.approvals.pages.frame import Answer
from app.approvals.service import ApprovalService
from app.approvals.targets import TargetError, TaskGone
from app.clock import Clock, iso
from app.errors import (
    CallbackRefused,
    InvalidOutput,
    InvalidToken,
    StepFunctionsError,
    StoreError,
    StoreUnconfirmed,
    TaskDoesNotExist,
    TaskTimedOut,
)
from app.strict_json import Json, NotJson, loads

log = logging.getLogger(__name__)

_AWS_ERRORS: Mapping[str, type[StepFunctionsError]] = MappingProxyType(
    {cls.__name__: cls for cls in (InvalidOutput, InvalidToken, TaskDoesNotExist, TaskTimedOut)}
)


@dataclass(frozen=True, slots=True)
class LinkUse:
    """One request to a callback URL."""

    method: str
    query: Mapping[str, str]  #: the last of each name
    accept: str
    speculative: bool  #: a prefetch, a preview, a scanner
    submission: Submission


class CallbackClicks:
    """Answers what comes to callback URLs."""

    def __init__(
        self,
        *,
        service: ApprovalService,
        links: CallbackLinks,
        pages: CallbackPages,
        replies: Replies,
        switches: Switches,
        clock: Clock,
    ) -> None:
        self._service = service
        self._links = links
        self._pages = pages
        self._replies = replies
        self._switches = switches
        self._clock = clock

    async def respond(self, use: LinkUse) -> Answer:
        """The answer to one request; never an exception."""
        kind = negotiated(use.accept)
        if use.method not in ("GET", "HEAD", "POST"):
            return self._replies.not_by("GET", "HEAD", "POST")
        try:
            return await self._respond(use, kind)
        except CallbackRefused as exc:
            return self._replies.refused(kind, exc)
        except StoreUnconfirmed:
            why = "It is not confirmed that this was recorded. Try again to see."
        except StoreError:
            why = "Nothing was recorded. Try again."
        except TargetError as exc:
            why = f"The workflow service was not told ({exc.code}). Try again."
        except Exception:
            log.exception("a callback URL failed")
            return self._replies.refused(kind, CallbackRefused("ServiceError", _BROKEN, 500))
        return self._replies.refused(kind, CallbackRefused("ServiceError", why, 503))

    async def _respond(self, use: LinkUse, kind: ReplyType) -> Answer:
        link = await self._links.open(use.query)
        if _is_our_form(use):
            self._links.check_use(link)
            return await self._pages.submit(link, use.submission)
        asks = use.method != "POST" and self._only_asks(use, kind, link)
        if asks and kind is ReplyType.HTML:
            self._links.check_use(link)
            if link.callback.takes_parameters and link.approval.state is State.PENDING:
                # A person need not confirm what would then be refused.
                await self._links.answer(link)
            return self._pages.show(link)
        self._links.check_date(link, self._clock())
        self._links.check_use(link)
        if link.callback.type == "post":
            return await self._post(link, use, kind)
        if asks:
            return self._replies.refused(kind, _POST_IT).adding(b"allow", b"POST")
        return await self._apply(link, await self._links.answer(link), use, kind)

    def _only_asks(self, use: LinkUse, kind: ReplyType, link: Link) -> bool:
        """Whether a GET or HEAD is not what decides."""
        if not self._switches.get_applies or use.speculative or use.method == "HEAD":
            return True
        # A browser that opens a post action is shown its form; nothing else could come of it.
        return link.callback.type == "post" and kind is ReplyType.HTML

    async def _post(self, link: Link, use: LinkUse, kind: ReplyType) -> Answer:
        if use.method != "POST":
            return self._replies.not_by("POST")
        if use.submission.content_type.partition(";")[0].strip() != "application/json":
            return self._replies.not_of_this_type()
        try:
            body = loads(use.submission.body)
        except NotJson as exc:
            raise CallbackRefused("InvalidPostActionBody", exc.message) from exc
        return await self._apply(link, await self._links.answer(link, body), use, kind)

    async def _apply(self, link: Link, answer: LinkAnswer, use: LinkUse, kind: ReplyType) -> Answer:
        document: dict[str, Json] = {
            "transaction_id": id_as_hex(link.approval.id),
            "action": {"name": link.action.name, "type": link.callback.type},
        }
        if answer.payload is None:
            return await self._keep_alive(link, answer, kind, document)
        decided = await self._service.decide(
            link.holder,
            link.approval,
            comment=None,
            from_ip=use.submission.from_ip,
            user_agent=use.submission.user_agent,
            payload=answer.payload,
        )
        approval = decided.approval
        if not decided.recorded:
            return self._too_late(approval, kind)
        if approval.state is State.DECIDED and _aws_code(approval) is None:
            # Recorded, and owed to the workflow: it will be told, and nobody need click again.
            document["delivered"] = False
        elif approval.state is not State.DELIVERED:
            raise _aws_refusal(_aws_code(approval))
        return self._replies.accepted(kind, document, answer)

    async def _keep_alive(
        self, link: Link, answer: LinkAnswer, kind: ReplyType, document: Json
    ) -> Answer:
        if link.approval.state is not State.PENDING:
            return self._too_late(link.approval, kind)
        try:
            await self._service.heartbeat(link.approval.id)
        except TaskGone as exc:
            raise _aws_refusal(exc.code) from exc
        return self._replies.accepted(kind, document, answer)

    def _too_late(self, approval: Approval, kind: ReplyType) -> Answer:
        """Nothing was done: what became of the approval before."""
        decision = approval.decision
        if decision is not None and approval.state in (State.DECIDED, State.DELIVERED):
            # What the original's users got for a second click: Step Functions' refusal of it.
            refusal = _aws_refusal(
                "TaskTimedOut", f" (already decided: {decision.action} at {iso(decision.at)})"
            )
            told = {"action": decision.action, "at": iso(decision.at)}
            return self._replies.refused(kind, refusal, told)
        if approval.state is State.EXPIRED:
            raise expired(approval)
        if approval.state is State.REVOKED:
            raise CallbackRefused("ExpiredPayload", "The request was withdrawn by its owner")
        raise _aws_refusal(_aws_code(approval))


_POST_IT = CallbackRefused(
    "ConfirmationRequired",
    "Nothing was done: a GET decides nothing here. Send a POST to this address, or open it in a "
    "browser. (The operator can allow GET with SIGNOFF_CALLBACK_GET=apply.)",
    405,
)
_BROKEN = "Something broke on our side. It has been logged."


def _is_our_form(use: LinkUse) -> bool:
    """Whether it is the form of our page; other forms' fields are not looked at."""
    body, kind = use.submission.body, use.submission.content_type
    is_form = kind.partition(";")[0].strip().lower() == FORM_TYPE
    return use.method == "POST" and is_form and match(rb"(.*&)?nonce=", body, DOTALL) is not None


def _aws_code(approval: Approval) -> str | None:
    """Step Functions' code, if it is that which keeps the workflow from being told."""
    code = (approval.evidence or "").partition(",")[0].partition(" ")[0]
    return code if code in _AWS_ERRORS else None


def _aws_refusal(code: str | None, more: str = "") -> CallbackRefused:
    """A refusal of Step Functions, in its own words."""
    known = _AWS_ERRORS.get(code or "", TaskTimedOut)
    return CallbackRefused("StepFunctionsError", f"{known.__name__}:{known().message}{more}")
