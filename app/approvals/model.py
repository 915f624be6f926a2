"""What an approval is: frozen values and the rules they keep.

A *request* is what the workflow asked for; it never changes. An *approval* is a request with a
life: the state it is in, the decision if there is one, and what became of it (`protocol.py` has the
moves).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from app.json_value import Json


class State(StrEnum):
    """Where an approval is in its life. Only PENDING and DECIDED can be left."""

    PENDING = "PENDING"  #: nobody decided yet
    DECIDED = "DECIDED"  #: recorded, and owed to the workflow
    DELIVERED = "DELIVERED"  #: the workflow took the decision
    TOO_LATE = "TOO_LATE"  #: the task or its execution had ended before
    SUPERSEDED = "SUPERSEDED"  #: somebody else completed the task otherwise
    UNRESOLVED = "UNRESOLVED"  #: the task is closed and nothing tells how
    EXPIRED = "EXPIRED"  #: nobody decided in time
    REVOKED = "REVOKED"  #: withdrawn by the workflow's owner
    CLOSED = "CLOSED"  #: the task ended while nobody had decided


class CommentRule(StrEnum):
    """Whether the person who decides may or must say why."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks."""

    email: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is asked. Each has an own link; votes are recorded per recipient."""

    email: str
    name: str | None = None
    language: str | None = None  #: BCP 47, such as "de"; None is the service's default
    time_zone: str | None = (
        None  #: IANA name, such as "Europe/Berlin"; None is the service's default
    )

    @property
    def display(self) -> str:
        """The name people know, or the address."""
        return self.name or self.email


#: whoever has a link of a request that names no recipients
ANYONE = Recipient("")


@dataclass(frozen=True, slots=True)
class Success:
    """The task completes with this output (SendTaskSuccess)."""

    output: Json


@dataclass(frozen=True, slots=True)
class Failure:
    """The task fails with this error (SendTaskFailure)."""

    error: str
    cause: str | None = None  #: None: the comment, or a sentence that names who and when


Outcome = Success | Failure


@dataclass(frozen=True, slots=True)
class Callback:
    """What an action of the sfn-callback-urls API does, as it was given (`compat/request.py`).

    What the workflow is told may depend on how the link is used; so it comes with the decision.
    """

    type: str  #: "success", "failure", "heartbeat" or "post"
    content: Json  #: the members of the action that matter for its type
    takes_parameters: bool  #: the query fills the templates in it


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a recipient can do."""

    name: str  #: stable, such as "approve"
    label: str  #: the button's words
    style: str  #: "primary", "danger" or "default"
    comment: CommentRule
    outcome: Outcome | Callback


@dataclass(frozen=True, slots=True)
class Request:
    """What the workflow asked for; fixed at mint."""

    title: str
    message: str | None
    facts: tuple[tuple[str, str], ...]
    requester: Person | None
    recipients: tuple[Recipient, ...]  #: empty: the links were handed to the caller, mailed to none
    actions: tuple[Action, ...]
    expires_at: datetime
    on_expiry: Outcome | None  #: what the workflow is told when nobody decides; None: nothing
    execution_arn: str | None  #: lets a lost answer be reconciled with the execution's history
    #: of the task's state: while the approval is pending, heartbeats are sent in time
    heartbeat_seconds: int | None = None

    def action(self, name: str) -> Action:
        """The action called *name* (KeyError if there is none)."""
        for action in self.actions:
            if action.name == name:
                return action
        raise KeyError(name)

    def recipient(self, index: int) -> Recipient:
        """Who holds the links of recipient number *index*: nobody we know, if none was named."""
        return self.recipients[index] if self.recipients else ANYONE


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person decided. Never changes once recorded."""

    id: str  #: 128 random bits, hex, drawn by the request that recorded it
    action: str  #: the action's name
    recipient: int  #: index into the request's recipients
    by: str  #: that recipient's address; empty if none was named
    at: datetime
    comment: str | None


@dataclass(frozen=True, slots=True)
class Approval:
    """A request and its life."""

    id: str
    target: str
    request: Request
    state: State
    created_at: datetime
    decision: Decision | None = None
    closed_at: datetime | None = None  #: when a terminal state was reached
    delivered_at: datetime | None = None
    needs_operator: bool = False  #: the target refuses for a reason that retrying will not mend
    evidence: str | None = None  #: what proves the end, or why there is none yet; for operators

    @property
    def decided_action(self) -> Action | None:
        """The action that was decided, if any."""
        return self.request.action(self.decision.action) if self.decision else None


class Holder(NamedTuple):
    """What a valid link says: this recipient may do this with this approval."""

    approval_id: str
    recipient: int
    action: int


class Payload(NamedTuple):
    """The frozen answer to the workflow: the very bytes that every delivery attempt sends."""

    output: str | None = None  #: JSON text for SendTaskSuccess; None for a failure
    error: str | None = None
    cause: str | None = None
