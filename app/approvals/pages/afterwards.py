"""What the pages say once there is nothing (more) to decide: an approval's state as words.

Pure: from committed state, who looks, and when. Statuses and sentences are those of the design's
table; an error is never called a rejection, and every page names one next step.
"""

from datetime import datetime
from typing import NamedTuple

from app.approvals.asking import requester_name, what_followed
from app.approvals.language import Reader
from app.approvals.model import Action, Approval, Decision, Holder, State


class Afterwards(NamedTuple):
    """One page without a form."""

    status: int
    code: str  #: stable, for machines
    heading: str
    sentences: tuple[str, ...]
    next_steps: tuple[str, ...] = ()
    decision: Decision | None = None  #: what is shown of the decision
    own: bool = False  #: whether the reader made that decision


class Onlooker(NamedTuple):
    """Who looks at which approval, when, and whether they have just tried to decide."""

    approval: Approval
    holder: Holder
    reader: Reader
    now: datetime
    answered: bool

    @property
    def own(self) -> bool:
        """Whether the decision is this person's, by this very action."""
        decision = self.approval.decision
        return (
            decision is not None
            and decision.recipient == self.holder.recipient
            and decision.action == self.approval.request.actions[self.holder.action].name
        )

    def heading(self, key: str) -> str:
        """The page's title: the phrase *key* about this request."""
        return self.reader.say(key, title=self.approval.request.title)


def is_open(approval: Approval, now: datetime) -> bool:
    """Whether somebody may still decide. The sweeper may not have written an expiry down yet."""
    return approval.state is State.PENDING and now < approval.request.expires_at


def afterwards(onlooker: Onlooker) -> Afterwards:
    """What *onlooker* is told about an approval that is no longer open."""
    state = onlooker.approval.state
    decision, action = onlooker.approval.decision, onlooker.approval.decided_action
    if state is State.REVOKED:
        return _revoked(onlooker)
    if state in (State.CLOSED, State.TOO_LATE):
        return _too_late(onlooker)
    if decision is None or action is None:
        return _expired(onlooker)
    if state is State.SUPERSEDED:
        return _superseded(onlooker)
    if onlooker.own:
        return _decided(onlooker, decision, action)
    return _already(onlooker, decision, action)


def _decided(onlooker: Onlooker, decision: Decision, action: Action) -> Afterwards:
    say, approval = onlooker.reader.say_action, onlooker.approval
    code, step = _PROGRESS[approval.state]
    when = onlooker.reader.full(decision.at)
    return Afterwards(
        status=200,
        code=code,
        heading=say(action, "decided_heading", title=approval.request.title),
        sentences=(say(action, f"decided{_anyone(onlooker)}", when=when),),
        next_steps=(onlooker.reader.say(step),),
        decision=decision,
        own=True,
    )


_PROGRESS = {
    State.DELIVERED: ("decided", "after.told"),
    State.DECIDED: ("recorded", "after.owed"),
    State.UNRESOLVED: ("unresolved", "after.unresolved"),
}


def _already(onlooker: Onlooker, decision: Decision, action: Action) -> Afterwards:
    say, request = onlooker.reader.say_action, onlooker.approval.request
    when = onlooker.reader.short(decision.at, onlooker.now)
    if not request.recipients:
        sentence = say(action, "already_anyone", when=when)
    elif decision.recipient == onlooker.holder.recipient:
        sentence = say(action, "already_you", when=when)
    else:
        who = request.recipient(decision.recipient).display
        sentence = say(action, "already", who=who, when=when)
    return Afterwards(
        status=409,
        code="already_decided",
        heading=say(action, "already_heading", title=request.title),
        sentences=(sentence,),
        decision=decision,
    )


def _anyone(onlooker: Onlooker) -> str:
    """The variant of a phrase for links whose holder nobody knows."""
    return "" if onlooker.approval.request.recipients else "_anyone"


def _expired(onlooker: Onlooker) -> Afterwards:
    reader, request = onlooker.reader, onlooker.approval.request
    sentence = reader.say(
        "after.expired",
        when=reader.full(request.expires_at),
        ending=what_followed(request, reader),
    )
    return Afterwards(
        status=410,
        code="expired",
        heading=onlooker.heading("after.expired_heading"),
        sentences=(f"{sentence} {_ask(onlooker)}",),
    )


def _revoked(onlooker: Onlooker) -> Afterwards:
    who = requester_name(onlooker.approval.request.requester)
    say = onlooker.reader.say
    return Afterwards(
        status=410,
        code="revoked",
        heading=onlooker.heading("after.revoked_heading"),
        sentences=(say("after.revoked", who=who) if who else say("after.revoked_nobody"),),
        next_steps=(say("after.nothing_to_do"),),
    )


def _too_late(onlooker: Onlooker) -> Afterwards:
    say = onlooker.reader.say
    tried = onlooker.own or onlooker.answered
    consequence = say("after.not_used" if tried else "after.nobody_answered")
    return Afterwards(
        status=410,
        code="too_late",
        heading=onlooker.heading("after.too_late_heading"),
        sentences=(f"{say('after.too_late')} {consequence}",),
        next_steps=(say("after.nothing_to_do"),),
        decision=onlooker.approval.decision if onlooker.own else None,
        own=onlooker.own,
    )


def _superseded(onlooker: Onlooker) -> Afterwards:
    say = onlooker.reader.say
    return Afterwards(
        status=409,
        code="superseded",
        heading=onlooker.heading("after.superseded_heading"),
        sentences=(say("after.superseded" if onlooker.own else "after.superseded_other"),),
        next_steps=(say("after.nothing_to_do"),),
        decision=onlooker.approval.decision if onlooker.own else None,
        own=onlooker.own,
    )


def _ask(onlooker: Onlooker) -> str:
    who = requester_name(onlooker.approval.request.requester)
    say = onlooker.reader.say
    return say("after.ask_requester", who=who) if who else say("after.ask_nobody")
