"""The life of an approval: which moves exist, what the workflow is told, when to try again.

Pure: values in, values out. The rules, which stores and the service only carry out:

1. Every move is a compare-and-set on the old state (`MOVES`); a final state never changes.
2. What the workflow will be told is frozen in the transaction that records the decision. Every
   attempt sends the same bytes, and none can fail on its content (the mint left room).
3. A row that owes the workflow an answer is the outbox. It is owed until the workflow's own answer
   or its history proves what became of it.

Expiry is no decision. An expired approval is EXPIRED for good, at once; when the mint asked for an
answer on expiry, that answer is owed and delivered like a decision, with its own audit entry
(`EXPIRY_DELIVERED` and so on), and the state stays EXPIRED. So no EXPIRED, REVOKED or CLOSED
approval ever has a decision, and nothing but ``on_expiry`` is ever sent for one.
"""

import secrets
from base64 import b32decode, b32encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType

from app.approvals.model import (
    Approval,
    Callback,
    Decision,
    Failure,
    Outcome,
    Payload,
    Recipient,
    Request,
    State,
    Success,
)
from app.clock import iso
from app.strict_json import Json, canonical, dumps

MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.PENDING: frozenset({State.DECIDED, State.EXPIRED, State.REVOKED, State.CLOSED}),
        State.DECIDED: frozenset(
            {State.DELIVERED, State.TOO_LATE, State.SUPERSEDED, State.UNRESOLVED}
        ),
    }
)

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 60.0
#: while the service cannot be reached at all: it is told within seconds of its return
DOWN_CAP_S = 3.0
#: between two attempts while an operator has to mend something
OPERATOR_DELAY_S = (30.0, 60.0)
#: so many attempts in vain are no hiccup any more (about ten minutes, either way)
PUZZLING_ATTEMPTS = 20
PUZZLING_DOWN_ATTEMPTS = 400

#: how long a pending approval's task is not looked at, at least and at most
FIRST_LOOK = timedelta(minutes=1)
RAREST_LOOK = timedelta(hours=6)
#: so many heartbeats fit into the time in which one must come
HEARTBEATS_IN_TIME = 3
MIN_HEARTBEAT = timedelta(seconds=1)

#: a float in [low, high), like `random.uniform`
Uniform = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Settled:
    """It is proven what became of an answer."""

    state: State  #: DELIVERED, TOO_LATE, SUPERSEDED or UNRESOLVED
    evidence: str  #: what proves it, such as "TaskSucceeded 6"


@dataclass(frozen=True, slots=True)
class Retry:
    """It is not known, or not done: try again."""

    delay_s: float
    needs_operator: bool
    reason: str  #: a code, for operators


def is_final(state: State) -> bool:
    """Whether no move leads out of *state*."""
    return state not in MOVES


def approval_id(target: str, task_token: str) -> str:
    """The id that a mint for this task token always gets: 26 characters of base32.

    The first 128 bits of SHA-256 over target and token. Task tokens are secrets of at least that
    strength, so the id gives nothing away.
    """
    digest = sha256(b"signoff approval\0" + target.encode() + b"\0" + task_token.encode()).digest()
    return _id(digest[:16])


def new_approval_id() -> str:
    """An id of the same form from 128 random bits, for a mint that shall not find another."""
    return _id(secrets.token_bytes(16))


def id_as_hex(approval_id: str) -> str:
    """The 128 bits of an id as 32 hexadecimal digits."""
    return b32decode(approval_id.upper() + "======").hex()


def as_of(approval: Approval, now: datetime) -> Approval:
    """*approval* as it is true at *now*.

    From its expiry on nobody can decide (the compare-and-set asks for it), whether or not the
    sweeper came by already; so people and API are told EXPIRED from that moment on.
    """
    if approval.state is State.PENDING and approval.request.expires_at <= now:
        expired_at = approval.request.expires_at
        return replace(approval, state=State.EXPIRED, closed_at=expired_at)
    return approval


def next_look(request: Request, created_at: datetime, now: datetime) -> datetime | None:
    """When a pending approval's task is to be looked at again; None for never.

    In time for its heartbeat, if it asks for them. Else, if its execution is known, whenever the
    approval's age has doubled, so that what ended early is seen early and nobody is asked often.
    """
    if request.heartbeat_seconds is not None:
        every = timedelta(seconds=request.heartbeat_seconds) / HEARTBEATS_IN_TIME
        return now + max(MIN_HEARTBEAT, every)
    if request.execution_arn is not None:
        return now + min(max(FIRST_LOOK, now - created_at), RAREST_LOOK)
    return None


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


def after_busy(attempts: int, reason: str, uniform: Uniform) -> Retry:
    """When to try again after attempt number *attempts* (1 is the first) got no clear answer.

    Full jitter: between now and a limit that doubles up to a minute, so that a thousand rows that
    failed together do not come back together.
    """
    limit = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempts, 16))
    return Retry(uniform(0.0, limit), attempts >= PUZZLING_ATTEMPTS, reason)


def after_silence(attempts: int, reason: str, uniform: Uniform) -> Retry:
    """When to try again after attempt number *attempts* found nobody to talk to."""
    limit = min(DOWN_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempts, 16))
    return Retry(uniform(0.0, limit), attempts >= PUZZLING_DOWN_ATTEMPTS, reason)


def after_refusal(reason: str, uniform: Uniform) -> Retry:
    """When to try again after a refusal that only an operator can mend."""
    return Retry(uniform(*OPERATOR_DELAY_S), True, reason)


def _payload(outcome: Outcome, mark: Json, cause: str) -> Payload:
    if isinstance(outcome, Failure):
        given = outcome.cause
        return Payload(error=outcome.error, cause=cause if given is None else given)
    return Payload(output=dumps(_marked(outcome, mark)).decode())


def _marked(outcome: Success, mark: Json) -> Json:
    output = outcome.output
    return {**output, "approval": mark} if isinstance(output, dict) else output


def _id(bits: bytes) -> str:
    return b32encode(bits).decode().rstrip("=").lower()


def _named(recipient: Recipient) -> str:
    return f"{recipient.name} <{recipient.email}>" if recipient.name else recipient.email
