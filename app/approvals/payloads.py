"""What the workflow is told: the very bytes, frozen when a decision is recorded."""

from hashlib import sha256

from app.approvals.model import (
    Callback,
    Decision,
    Failure,
    Outcome,
    Payload,
    Recipient,
    Request,
    Success,
)
from app.clock import iso
from app.strict_json import Json, canonical, dumps


def decision_payload(approval_id: str, request: Request, decision: Decision) -> Payload:
    """What the workflow is told about *decision*; a callback's answer came with it instead."""
    mark: Json = {
        "id": approval_id,
        "action": decision.action,
        "by": decision.by,
        "at": iso(decision.at),
        "comment": decision.comment,
        "decision_id": decision.id,
    }
    action = request.action(decision.action)
    if isinstance(action.outcome, Callback):
        raise TypeError("a callback's answer is given by its caller")
    who = _named(request.recipient(decision.recipient))
    sentence = f"{who} chose {action.label} at {iso(decision.at)} (decision_id={decision.id})."
    return _payload(action.outcome, mark, decision.comment or sentence)


def expiry_payload(approval_id: str, request: Request) -> Payload | None:
    """What the workflow is told when nobody decided; None for nothing."""
    if request.on_expiry is None:
        return None
    at = iso(request.expires_at)
    mark: Json = {"id": approval_id, "action": None, "by": None, "at": at, "comment": None}
    sentence = f"Nobody decided before {at} (approval={approval_id})."
    return _payload(request.on_expiry, mark, sentence)


def payload_digest(payload: Payload) -> str:
    """SHA-256 of what is sent, as hex: for the audit."""
    content = [payload.output, payload.error, payload.cause]
    return sha256(canonical(content)).hexdigest()


def _payload(outcome: Outcome, mark: Json, cause: str) -> Payload:
    if isinstance(outcome, Failure):
        given = outcome.cause
        return Payload(error=outcome.error, cause=cause if given is None else given)
    return Payload(output=dumps(_marked(outcome, mark)).decode())


def _marked(outcome: Success, mark: Json) -> Json:
    output = outcome.output
    return {**output, "approval": mark} if isinstance(output, dict) else output


def _named(recipient: Recipient) -> str:
    return f"{recipient.name} <{recipient.email}>" if recipient.name else recipient.email
