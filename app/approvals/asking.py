"""A request put into words: who asks for what until when, in mails and on pages alike."""

from app.approvals.language import Reader
from app.approvals.model import Action, Outcome, Person, Request, Success
from app.approvals.plain_text import one_line

#: actions that the phrases know by name; whatever else there is, is "to decide"
_KNOWN_ACTIONS = frozenset({"approve", "reject"})
_STYLES = frozenset({"primary", "danger"})


def requester_name(requester: Person | None) -> str | None:
    """The name people know the requester by, if any."""
    if requester is None:
        return None
    return one_line(requester.name or requester.email or "") or None


def asks(request: Request, reader: Reader, key: str = "ask.asks") -> str:
    """Who asks for what, in the variant of the phrase *key* that fits the request."""
    known = all(action.name in _KNOWN_ACTIONS for action in request.actions)
    any_ = "" if known else "_any"
    who = requester_name(request.requester)
    if who is None:
        return reader.say(f"{key}_nobody{any_}")
    return reader.say(f"{key}{any_}", who=who)


def writes(request: Request, reader: Reader) -> str:
    """Whose words the message is."""
    who = requester_name(request.requester)
    return reader.say("ask.writes", who=who) if who else reader.say("ask.writes_nobody")


def deadline(request: Request, reader: Reader, when: str) -> str:
    """Until when to decide, and what happens then."""
    return reader.say(f"expiry.by_{_ending(request.on_expiry)}", when=when)


def what_followed(request: Request, reader: Reader) -> str:
    """What happened when nobody decided."""
    return reader.say(f"expiry.ended_{_ending(request.on_expiry)}")


def style_of(action: Action) -> str:
    """primary, danger or default; whatever else a workflow says looks plain."""
    return action.style if action.style in _STYLES else "default"


def _ending(on_expiry: Outcome | None) -> str:
    if on_expiry is None:
        return "nothing"
    return "success" if isinstance(on_expiry, Success) else "failure"
