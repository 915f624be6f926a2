"""The JSON API of approvals: mint, list, read, revoke, resend, audit."""

import re
from collections.abc import Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.approvals.mail.model import ApprovalView
from app.approvals.model import Approval, Person
from app.approvals.service import ApprovalService
from app.clock import iso
from app.errors import BadRequest, UnknownApproval
from app.strict_json import Json, NotJson, dumps, loads

#: who makes a request, as far as it may be known; Unauthorized if it is not allowed
Authorize = Callable[[Request], str]

DEFAULT_PAGE = 50
_ID = re.compile(r"^[a-z2-7]{26}$")
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class ApprovalsApi:
    """The routes under ``/approvals``; each is for callers that *authorize* lets in."""

    def __init__(self, service: ApprovalService, authorize: Authorize) -> None:
        self.service = service
        self.authorize = authorize

    def router(self) -> APIRouter:
        """The routes, ready to be included."""
        router = APIRouter()
        add = router.add_api_route
        # One route, so that a refused method is told of both (Allow).
        add("/approvals", self.mint_or_list, methods=["POST", "GET"])
        add("/approvals/{approval_id}", self.show, methods=["GET"])
        add("/approvals/{approval_id}/revoke", self.revoke, methods=["POST"])
        add("/approvals/{approval_id}/resend", self.resend, methods=["POST"])
        add("/approvals/{approval_id}/audit", self.audit, methods=["GET"])
        return router

    async def mint_or_list(self, request: Request) -> Response:
        """What ``/approvals`` answers to a POST or a GET."""
        return await (self.mint(request) if request.method == "POST" else self.list(request))

    async def mint(self, request: Request) -> Response:
        """Store an approval and queue its mails; 201, or 200 for the same request again."""
        self.authorize(request)
        content_type = request.headers.get("content-type", "application/json")
        if content_type.split(";")[0].strip().lower() != "application/json":
            raise BadRequest("Send the request as application/json.")
        try:
            body = loads(await request.body())
        except NotJson as exc:
            raise BadRequest(exc.message) from exc
        minted = await self.service.mint(body)
        return _answer(minted.document(), 201 if minted.created else 200)

    async def list(self, request: Request) -> Response:
        """One page of approvals, newest first."""
        self.authorize(request)
        query = request.query_params
        page = await self.service.list(
            state=query.get("state") or None,
            limit=_limit(query.get("limit")),
            cursor=query.get("cursor") or None,
        )
        approvals = [approval_json(view) for view in page.approvals]
        return _answer({"approvals": approvals, "next_cursor": page.next_cursor})

    async def show(self, request: Request, approval_id: str) -> Response:
        """One approval."""
        self.authorize(request)
        return _answer(approval_json(await self.service.show(_known(approval_id))))

    async def revoke(self, request: Request, approval_id: str) -> Response:
        """Withdraw an approval that nobody decided yet."""
        self.authorize(request)
        await self.service.revoke(_known(approval_id))
        return _answer(approval_json(await self.service.show(approval_id)))

    async def resend(self, request: Request, approval_id: str) -> Response:
        """Send the mails of a pending approval again, with the same links."""
        self.authorize(request)
        await self.service.resend(_known(approval_id))
        return _answer(approval_json(await self.service.show(approval_id)))

    async def audit(self, request: Request, approval_id: str) -> Response:
        """The audit entries of one approval, and whether their chain holds."""
        self.authorize(request)
        trail = await self.service.audit(_known(approval_id))
        return _answer({"entries": list(trail.entries), "verified": trail.verified})


def approval_json(view: ApprovalView) -> Json:
    """An approval as the API shows it: never the task token, never a link."""
    approval, request = view.approval, view.approval.request
    return {
        "id": approval.id,
        "state": approval.state.value,
        "title": request.title,
        "message": request.message,
        "facts": dict(request.facts),
        "requester": _person(request.requester),
        "recipients": [
            {
                "email": recipient.email,
                "name": recipient.name,
                "mail": view.mails[index].value if index in view.mails else None,
            }
            for index, recipient in enumerate(request.recipients)
        ],
        "actions": [
            {"name": action.name, "label": action.label, "style": action.style}
            for action in request.actions
        ],
        "execution_arn": request.execution_arn,
        "created_at": iso(approval.created_at),
        "expires_at": iso(request.expires_at),
        "decision": _decision(approval),
        "delivered_at": iso(approval.delivered_at) if approval.delivered_at else None,
        "needs_operator": approval.needs_operator,
    }


def _person(person: Person | None) -> Json:
    return {"name": person.name, "email": person.email} if person else None


def _decision(approval: Approval) -> Json:
    decision = approval.decision
    if decision is None:
        return None
    return {
        "action": decision.action,
        "by": decision.by,
        "at": iso(decision.at),
        "comment": decision.comment,
    }


def _known(approval_id: str) -> str:
    # Anything else cannot be an id of ours, so the store need not be asked.
    if not _ID.match(approval_id):
        raise UnknownApproval()
    return approval_id


def _limit(text: str | None) -> int:
    if not text:
        return DEFAULT_PAGE
    # Anything that is no number is answered like a number out of bounds.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0


def _answer(body: Json, status: int = 200) -> Response:
    return Response(dumps(body), status, _HEADERS, media_type="application/json")
