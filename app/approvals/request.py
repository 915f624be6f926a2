"""The body of a mint (and of a plain notice) -> values that keep every rule, or all its faults.

| field | what is allowed |
|---|---|
| task_token | 1 to 2,048 characters, no line break |
| execution_arn, decision_of | an ARN of at most 512 characters |
| title, subject | 1 to 200 characters, one line |
| message | up to 10,000 characters, several lines |
| facts | up to 50; names of 1 to 100 characters, values (text, number, true/false) up to 1,000 |
| requester | name (one line, 100 characters), email, or both |
| recipients, to | 1 to 50, no address twice; name, language, time zone each optional |
| actions | 1 to 10; names ``[A-Za-z][A-Za-z0-9_-]{0,31}``, labels up to 60 characters |
| outcome | success: any JSON; failure: error 1 to 256, cause up to 32,768 characters |
| comment | none, optional, required; for all actions or for one |
| expires_in | 1 second to 1 year |
| heartbeat_seconds | 1 to 99,999,999, as in a state's HeartbeatSeconds |

An outcome must leave room for what the decision adds to it (the ``approval`` object with the
longest comment): the whole output is at most 262,144 bytes of UTF-8, Step Functions' own limit. So
a decision that was recorded can never be refused for its size.

Unknown fields are refused: a typo must not become a silent default. A bare null is an absent field.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from app.approvals.document import request_document
from app.approvals.fields import Faults, Fields, plain_line, text_fault
from app.approvals.model import (
    Action,
    CommentRule,
    Failure,
    Outcome,
    Person,
    Recipient,
    Request,
    Success,
)
from app.approvals.typed_text import MAX_COMMENT
from app.errors import InvalidApprovalRequest
from app.strict_json import Json, canonical

MAX_TASK_TOKEN = 2_048
MAX_ARN = 512
MAX_TITLE = 200
MAX_MESSAGE = 10_000
MAX_FACTS = 50
MAX_FACT_NAME = 100
MAX_FACT_VALUE = 1_000
MAX_NAME = 100
MAX_RECIPIENTS = 50
MAX_ACTIONS = 10
MAX_LABEL = 60
MAX_ERROR = 256
MAX_CAUSE = 32_768
MAX_EXPIRES_IN = 31_536_000
MAX_HEARTBEAT_SECONDS = 99_999_999

SHOWN_FAULTS = 5  #: in the message; all are in `fields`

MAX_OUTPUT_BYTES = 262_144
#: what the added ``approval`` object takes at most: 4 bytes for each character of the comment, and
#: its other members (id, action, by, at, decision_id, names and braces)
OUTPUT_ROOM_BYTES = 4 * MAX_COMMENT + 600

NO_ARN_WARNING = (
    "Without execution_arn ($$.Execution.Id) a lost answer of the workflow service cannot be "
    "reconciled with the execution's history."
)


@dataclass(frozen=True, slots=True)
class MintBody:
    """A mint request that keeps all rules."""

    task_token: str
    request: Request
    document: Json  #: of the request (`document.py`)
    fingerprint: bytes  #: SHA-256 of the content: equal for a repeated request
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoticeBody:
    """A request for a plain mail that keeps all rules."""

    to: tuple[Recipient, ...]
    subject: str | None
    message: str | None
    facts: tuple[tuple[str, str], ...]
    decision_of: str | None  #: the execution whose newest approval it confirms


def read_mint(body: Json, now: datetime, default_expires_in: int) -> MintBody:
    """The mint request that *body* is.

    Raises:
        InvalidApprovalRequest: with every fault by its field.
    """
    faults = Faults()
    fields = Fields(body, "", _MINT, faults)
    task_token = fields.secret("task_token", MAX_TASK_TOKEN)
    expires_in = fields.integer("expires_in", 1, MAX_EXPIRES_IN, default_expires_in)
    request = _request(fields, faults, now + timedelta(seconds=expires_in))
    _refuse(faults)
    document = request_document(request)
    content = canonical([document, expires_in])
    warnings = () if request.execution_arn else (NO_ARN_WARNING,)
    return MintBody(task_token, request, document, sha256(content).digest(), warnings)


def read_notice(body: Json) -> NoticeBody:
    """The plain mail that *body* (the object under ``notify``) asks for.

    Raises:
        InvalidApprovalRequest: with every fault by its field.
    """
    faults = Faults()
    fields = Fields(body, "", _NOTICE, faults)
    notice = NoticeBody(
        to=_recipients(fields, "to", faults),
        subject=fields.header("subject", MAX_TITLE, required=not fields.given("decision_of")),
        message=fields.text("message", MAX_MESSAGE),
        facts=_facts(fields, faults),
        decision_of=_execution(fields, "decision_of"),
    )
    _refuse(faults)
    return notice


_MINT = frozenset(
    {
        "task_token",
        "execution_arn",
        "title",
        "message",
        "facts",
        "requester",
        "recipients",
        "actions",
        "comment",
        "expires_in",
        "heartbeat_seconds",
        "on_expiry",
        "allow_default_approve",
    }
)
_NOTICE = frozenset({"to", "subject", "message", "facts", "decision_of"})
_PERSON = frozenset({"name", "email"})
_RECIPIENT = frozenset({"email", "name", "language", "time_zone"})
_ACTION = frozenset({"name", "label", "style", "comment", "outcome"})
_SUCCESS = frozenset({"type", "output"})
_FAILURE = frozenset({"type", "error", "cause"})

_COMMENTS = {rule.value: rule for rule in CommentRule}
_STYLES = {style: style for style in ("primary", "danger", "default")}

_ACTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_ARN = re.compile(r"arn:[!-~]+")

#: what an action is when the mint says no more than its name
_KNOWN_ACTIONS: dict[str, tuple[str, Outcome]] = {
    "approve": ("primary", Success({})),
    "reject": ("danger", Failure("Rejected")),
}


def _request(fields: Fields, faults: Faults, expires_at: datetime) -> Request:
    return Request(
        title=fields.header("title", MAX_TITLE, required=True) or "",
        message=fields.text("message", MAX_MESSAGE) or None,
        facts=_facts(fields, faults),
        requester=_requester(fields, faults),
        recipients=_recipients(fields, "recipients", faults),
        actions=_actions(fields, faults),
        expires_at=expires_at,
        on_expiry=_on_expiry(fields, faults),
        execution_arn=_execution(fields, "execution_arn"),
        # Zero is no number that may be given.
        heartbeat_seconds=fields.integer("heartbeat_seconds", 1, MAX_HEARTBEAT_SECONDS, 0) or None,
    )


def _facts(fields: Fields, faults: Faults) -> tuple[tuple[str, str], ...]:
    facts = fields.raw("facts")
    if facts is None:
        return ()
    if not isinstance(facts, dict) or len(facts) > MAX_FACTS:
        fields.fault("facts", f"An object of at most {MAX_FACTS} facts is needed.")
        return ()
    # A fact's name is free text of the workflow: faults name its place, not its name.
    return tuple(
        (plain_line(name), _fact_value(value))
        for index, (name, value) in enumerate(facts.items())
        if _is_fact(name, value, f"facts.{index}", faults)
    )


def _is_fact(name: str, value: Json, path: str, faults: Faults) -> bool:
    fault = text_fault(name, MAX_FACT_NAME) or (None if name.strip() else "A name is needed.")
    if fault is None and not isinstance(value, bool | int | float):
        fault = text_fault(value, MAX_FACT_VALUE)
    if fault is not None:
        faults.add(path, fault)
    return fault is None


def _fact_value(value: str | bool | int | float) -> str:
    if isinstance(value, str):
        return plain_line(value)
    return canonical(value).decode()


def _execution(fields: Fields, name: str) -> str | None:
    if not fields.given(name):
        return None
    sentence = "The ARN of the execution is needed ($$.Execution.Id)."
    return fields.pattern(name, _ARN, MAX_ARN, sentence)


def _requester(fields: Fields, faults: Faults) -> Person | None:
    if not fields.given("requester"):
        return None
    person = Fields(fields.raw("requester"), fields.path("requester"), _PERSON, faults)
    email, name = person.email("email"), person.header("name", MAX_NAME)
    if not faults and not (email or name):
        fields.fault("requester", "A name or an e-mail address is needed.")
    return Person(email, name or None)


def _recipients(fields: Fields, name: str, faults: Faults) -> tuple[Recipient, ...]:
    recipients: list[Recipient] = []
    seen: set[str] = set()
    for item, path in fields.items(name, 1, MAX_RECIPIENTS):
        recipient = _recipient(item, path, faults)
        address = recipient.email.casefold()
        if address and address in seen:
            faults.add(path, "This address is already a recipient.")
        seen.add(address)
        recipients.append(recipient)
    return tuple(recipients)


def _recipient(item: Json, path: str, faults: Faults) -> Recipient:
    # A bare address is short for an object with nothing but the address.
    value = {"email": item} if isinstance(item, str) else item
    fields = Fields(value, path, _RECIPIENT, faults)
    return Recipient(
        email=fields.email("email", required=True) or "",
        name=fields.header("name", MAX_NAME) or None,
        language=fields.language("language"),
        time_zone=fields.time_zone("time_zone"),
    )


def _actions(fields: Fields, faults: Faults) -> tuple[Action, ...]:
    comment = fields.one_of("comment", _COMMENTS, CommentRule.OPTIONAL)
    if not fields.given("actions"):
        return _default_actions(comment)
    actions: list[Action] = []
    seen: set[str] = set()
    for item, path in fields.items("actions", 1, MAX_ACTIONS):
        action = _action(Fields(item, path, _ACTION, faults), comment, faults)
        if action.name.casefold() in seen:
            faults.add(f"{path}.name", "Another action has this name.")
        seen.add(action.name.casefold())
        actions.append(action)
    return tuple(actions)


def _default_actions(comment: CommentRule) -> tuple[Action, ...]:
    return tuple(
        Action(name, name.capitalize(), style, comment, outcome)
        for name, (style, outcome) in _KNOWN_ACTIONS.items()
    )


def _action(fields: Fields, comment: CommentRule, faults: Faults) -> Action:
    name = fields.pattern("name", _ACTION_NAME, 32, _ACTION_NAME_SENTENCE)
    style, known_outcome = _KNOWN_ACTIONS.get(name, ("default", None))
    if fields.given("outcome"):
        outcome = _outcome(fields.raw("outcome"), fields.path("outcome"), faults)
    elif known_outcome is not None:
        outcome = known_outcome
    else:
        fields.fault("outcome", "This field is required.")
        outcome = Success({})
    return Action(
        name=name,
        label=fields.line("label", MAX_LABEL) or name.replace("_", " ").capitalize(),
        style=fields.one_of("style", _STYLES, style),
        comment=fields.one_of("comment", _COMMENTS, comment),
        outcome=outcome,
    )


_ACTION_NAME_SENTENCE = "A name is needed: a letter, then up to 31 letters, digits, _ or -."


def _on_expiry(fields: Fields, faults: Faults) -> Outcome | None:
    may_approve = fields.flag("allow_default_approve")
    if not fields.given("on_expiry"):
        return None
    outcome = _outcome(fields.raw("on_expiry"), fields.path("on_expiry"), faults)
    if isinstance(outcome, Success) and not may_approve:
        fields.fault(
            "on_expiry",
            "Silence may not become a success unless allow_default_approve is true.",
        )
    return outcome


def _outcome(value: Json, path: str, faults: Faults) -> Outcome:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "failure":
        return _failure(Fields(value, path, _FAILURE, faults))
    fields = Fields(value, path, _SUCCESS if kind == "success" else _SUCCESS | _FAILURE, faults)
    if kind != "success":
        fields.fault("type", "One of these is needed: success, failure.")
    return _success(fields)


def _success(fields: Fields) -> Success:
    output = fields.raw("output", {})
    room = 0
    if isinstance(output, dict):
        room = OUTPUT_ROOM_BYTES
        if "approval" in output:
            fields.fault("output", "The key approval is added by Signoff and may not be given.")
    limit = MAX_OUTPUT_BYTES - room
    try:
        if len(canonical(output)) > limit:
            fields.fault("output", f"At most {limit:,} bytes of JSON are allowed here.")
    except TypeError:
        fields.fault("output", "JSON that can be stored is needed.")
    return Success(output)


def _failure(fields: Fields) -> Failure:
    error = fields.line("error", MAX_ERROR, required=True) or ""
    return Failure(error, fields.text("cause", MAX_CAUSE))


def _refuse(faults: Faults) -> None:
    if faults:
        count = len(faults.by_path)
        what = "One field is wrong." if count == 1 else f"{count} fields are wrong."
        # State machines see the message only, so the first faults stand in it too.
        first = list(faults.by_path.items())[:SHOWN_FAULTS]
        named = " ".join(f"{path or 'body'}: {sentence}" for path, sentence in first)
        raise InvalidApprovalRequest(f"{what} {named}", fields=faults.by_path)
