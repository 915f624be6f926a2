"""The life of an approval: which moves exist, and when it is looked at.

What the workflow is told is in `payloads.py`, what becomes of telling it in `attempts.py`. All of
it is pure: values in, values out. The rules, which stores and the service only carry out:

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

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

from app.approvals.model import Approval, Request, State

MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.PENDING: frozenset({State.DECIDED, State.EXPIRED, State.REVOKED, State.CLOSED}),
        State.DECIDED: frozenset(
            {State.DELIVERED, State.TOO_LATE, State.SUPERSEDED, State.UNRESOLVED}
        ),
    }
)

#: how long a pending approval's task is not looked at, at least and at most
FIRST_LOOK = timedelta(minutes=1)
RAREST_LOOK = timedelta(hours=6)
#: so many heartbeats fit into the time in which one must come
HEARTBEATS_IN_TIME = 3
MIN_HEARTBEAT = timedelta(seconds=1)


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
