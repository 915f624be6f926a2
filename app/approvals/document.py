"""A request as one JSON document: how stores keep it, and what its fingerprint is taken of.

The document holds everything that never changes but the task token (sealed, elsewhere) and the
dates (columns). Absent values are left out, so that the document stays small and a new optional
field does not change the fingerprints of requests that do not use it.
"""

from collections.abc import Iterable
from datetime import datetime

from app.approvals.model import (
    Action,
    Callback,
    CommentRule,
    Failure,
    Outcome,
    Person,
    Recipient,
    Request,
    Success,
)
from app.json_value import Json


def request_document(request: Request) -> Json:
    """*request* as JSON, without its expiry date."""
    return _present(
        title=request.title,
        message=request.message,
        facts=dict(request.facts) or None,
        requester=request.requester
        and _present(email=request.requester.email, name=request.requester.name),
        recipients=recipient_documents(request.recipients),
        actions=[_action_document(action) for action in request.actions],
        on_expiry=request.on_expiry and _outcome_document(request.on_expiry),
        execution_arn=request.execution_arn,
        heartbeat_seconds=request.heartbeat_seconds,
    )


def read_request_document(document: Json, expires_at: datetime) -> Request:
    """The request that `request_document` wrote."""
    requester = document.get("requester")
    on_expiry = document.get("on_expiry")
    return Request(
        title=document["title"],
        message=document.get("message"),
        facts=tuple(document.get("facts", {}).items()),
        requester=Person(requester.get("email"), requester.get("name")) if requester else None,
        recipients=read_recipient_documents(document["recipients"]),
        actions=tuple(_read_action(action) for action in document["actions"]),
        expires_at=expires_at,
        on_expiry=_read_outcome(on_expiry) if on_expiry else None,
        execution_arn=document.get("execution_arn"),
        heartbeat_seconds=document.get("heartbeat_seconds"),
    )


def recipient_documents(recipients: Iterable[Recipient]) -> Json:
    """*recipients* as JSON."""
    return [
        _present(
            email=recipient.email,
            name=recipient.name,
            language=recipient.language,
            time_zone=recipient.time_zone,
        )
        for recipient in recipients
    ]


def read_recipient_documents(documents: Json) -> tuple[Recipient, ...]:
    """The recipients that `recipient_documents` wrote."""
    return tuple(
        Recipient(entry["email"], entry.get("name"), entry.get("language"), entry.get("time_zone"))
        for entry in documents
    )


def _action_document(action: Action) -> Json:
    return {
        "name": action.name,
        "label": action.label,
        "style": action.style,
        "comment": action.comment.value,
        "outcome": _outcome_document(action.outcome),
    }


def _read_action(document: Json) -> Action:
    return Action(
        name=document["name"],
        label=document["label"],
        style=document["style"],
        comment=_COMMENT_RULES[document["comment"]],
        outcome=_read_action_outcome(document["outcome"]),
    )


def _outcome_document(outcome: Outcome | Callback) -> Json:
    if isinstance(outcome, Callback):
        callback = {"type": outcome.type, "content": outcome.content}
        return {"callback": callback | {"takes_parameters": outcome.takes_parameters}}
    if isinstance(outcome, Success):
        return {"output": outcome.output}
    return _present(error=outcome.error, cause=outcome.cause)


def _read_action_outcome(document: Json) -> Outcome | Callback:
    callback = document.get("callback")
    if callback is None:
        return _read_outcome(document)
    return Callback(callback["type"], callback["content"], callback["takes_parameters"])


def _read_outcome(document: Json) -> Outcome:
    if "error" in document:
        return Failure(document["error"], document.get("cause"))
    return Success(document["output"])


def _present(**members: Json) -> Json:
    return {name: value for name, value in members.items() if value is not None}


_COMMENT_RULES = {rule.value: rule for rule in CommentRule}
