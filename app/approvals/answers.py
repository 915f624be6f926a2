"""The JSON that API, function and CLI answer with. Times are ISO 8601, UTC, ``Z``."""

from collections.abc import Mapping
from datetime import datetime

from app.approvals.model import Action, Approval, ApprovalView, Decision, Person
from app.approvals.service import AuditView, Minted, Page
from app.clock import iso
from app.strict_json import Json


def mint_answer(minted: Minted) -> Json:
    """What a mint answers."""
    approval = minted.approval
    return {
        "id": approval.id,
        "state": approval.state.value,
        "expires_at": iso(approval.request.expires_at),
        "links": [
            {"recipient": link.recipient, "action": link.action, "url": link.url}
            for link in minted.links
        ],
        "warnings": list(minted.warnings),
    }


def approval_answer(view: ApprovalView) -> Json:
    """An approval as operators see it; never its task token or its links."""
    approval = view.approval
    request = approval.request
    return {
        "id": approval.id,
        "state": approval.state.value,
        "title": request.title,
        "message": request.message,
        "facts": dict(request.facts),
        "requester": request.requester and _person(request.requester),
        "recipients": _recipients(view),
        "actions": [_action(action) for action in request.actions],
        "execution_arn": request.execution_arn,
        "created_at": iso(approval.created_at),
        "expires_at": iso(request.expires_at),
        "decision": approval.decision and _decision(approval.decision),
        "delivered_at": _date(approval.delivered_at),
        "closed_at": _date(approval.closed_at),
        **_operator(approval),
    }


def list_answer(page: Page) -> Json:
    """Some approvals, newest first."""
    return {
        "approvals": [approval_answer(view) for view in page.approvals],
        "next_cursor": page.next_cursor,
    }


def audit_answer(audit: AuditView) -> Json:
    """An approval's audit."""
    return {
        "entries": [entry.document() for entry in audit.entries],
        "verified": audit.verified,
    }


def _recipients(view: ApprovalView) -> Json:
    return [
        {
            "email": recipient.email,
            "name": recipient.name,
            "mail": _mail_state(view.mails, index),
        }
        for index, recipient in enumerate(view.approval.request.recipients)
    ]


def _mail_state(mails: Mapping[int, str], index: int) -> str | None:
    state = mails.get(index)
    return None if state is None else str(state)


def _operator(approval: Approval) -> Json:
    return {"needs_operator": approval.needs_operator, "evidence": approval.evidence}


def _person(person: Person) -> Json:
    return {"name": person.name, "email": person.email}


def _action(action: Action) -> Json:
    return {
        "name": action.name,
        "label": action.label,
        "style": action.style,
        "comment": action.comment.value,
    }


def _decision(decision: Decision) -> Json:
    return {
        "action": decision.action,
        "by": decision.by,
        "at": iso(decision.at),
        "comment": decision.comment,
    }


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
