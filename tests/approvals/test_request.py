"""What a mint may say, and how every fault is named."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.approvals.document import read_request_document, request_document
from app.approvals.model import (
    Action,
    CommentRule,
    Decision,
    Failure,
    Person,
    Recipient,
    Request,
    Success,
)
from app.approvals.payloads import decision_payload
from app.approvals.request import (
    MAX_OUTPUT_BYTES,
    OUTPUT_ROOM_BYTES,
    NoticeBody,
    read_mint,
    read_notice,
)
from app.approvals.typed_text import MAX_COMMENT, read_comment
from app.errors import BadRequest, InvalidApprovalRequest
from app.strict_json import dumps, loads
from tests.approvals.world import NOW, mint_body

WEEK = 604_800

FULL = {
    "task_token": "AQB8",
    "execution_arn": "arn:aws:states:us-east-1:123456789012:execution:deploy:1",
    "title": "Deploy billing 4.2 to production",
    "message": "Release notes\r\nare in CHG-1182.",
    "facts": {"Change": "CHG-1182", "Amount": 12.5, "Urgent": True},
    "requester": {"name": "Ana Ruiz", "email": "ana@example.com"},
    "recipients": [
        {
            "email": "marc@example.com",
            "name": "Marc",
            "language": "de",
            "time_zone": "Europe/Berlin",
        }
    ],
    "actions": [
        {
            "name": "approve",
            "label": "Approve deployment",
            "style": "primary",
            "outcome": {"type": "success", "output": {"ok": True}},
        },
        {
            "name": "reject",
            "label": "Reject",
            "style": "danger",
            "comment": "required",
            "outcome": {"type": "failure", "error": "Rejected"},
        },
    ],
    "comment": "none",
    "expires_in": 3600,
    "on_expiry": {"type": "failure", "error": "Expired", "cause": "Nobody answered."},
}


def faults(body: Any) -> dict[str, str]:
    """What is wrong with *body*, by field."""
    with pytest.raises(InvalidApprovalRequest) as refusal:
        read_mint(body, NOW, WEEK)
    return dict(refusal.value.fields)


def fault(**changes: Any) -> dict[str, str]:
    """What is wrong with a mint that is fine but for *changes*."""
    return faults(mint_body() | changes)


def test_a_full_request_is_read_field_by_field() -> None:
    """Everything that can be said is understood."""
    mint = read_mint(FULL, NOW, WEEK)

    assert mint.task_token == "AQB8"
    assert mint.warnings == ()
    assert mint.request == Request(
        title="Deploy billing 4.2 to production",
        message="Release notes\nare in CHG-1182.",
        facts=(("Change", "CHG-1182"), ("Amount", "12.5"), ("Urgent", "true")),
        requester=Person("ana@example.com", "Ana Ruiz"),
        recipients=(Recipient("marc@example.com", "Marc", "de", "Europe/Berlin"),),
        actions=(
            Action(
                "approve", "Approve deployment", "primary", CommentRule.NONE, Success({"ok": True})
            ),
            Action("reject", "Reject", "danger", CommentRule.REQUIRED, Failure("Rejected")),
        ),
        expires_at=NOW + timedelta(hours=1),
        on_expiry=Failure("Expired", "Nobody answered."),
        execution_arn="arn:aws:states:us-east-1:123456789012:execution:deploy:1",
    )


def test_a_short_request_gets_the_documented_defaults() -> None:
    """Token, title and recipients are enough."""
    body = {"task_token": "t", "title": "Deploy?", "recipients": ["marc@example.com"]}

    request = read_mint(body, NOW, WEEK).request

    assert request == Request(
        title="Deploy?",
        message=None,
        facts=(),
        requester=None,
        recipients=(Recipient("marc@example.com"),),
        actions=(
            Action("approve", "Approve", "primary", CommentRule.OPTIONAL, Success({})),
            Action("reject", "Reject", "danger", CommentRule.OPTIONAL, Failure("Rejected")),
        ),
        expires_at=NOW + timedelta(days=7),
        on_expiry=None,
        execution_arn=None,
    )


def test_an_action_of_ones_own_needs_an_outcome() -> None:
    """Only approve and reject mean something by themselves."""
    actions = [{"name": "approve"}, {"name": "ask_more"}]

    assert fault(actions=actions) == {"actions.1.outcome": "This field is required."}


def test_labels_and_styles_have_defaults() -> None:
    """A name alone makes a readable button."""
    outcome = {"type": "success"}
    body = mint_body(actions=[{"name": "ask_more", "outcome": outcome}, {"name": "reject"}])

    actions = read_mint(body, NOW, WEEK).request.actions

    assert [(action.label, action.style) for action in actions] == [
        ("Ask more", "default"),
        ("Reject", "danger"),
    ]


def test_null_is_an_absent_field() -> None:
    """Workflows that pass null for what they do not have are understood."""
    absent = dict.fromkeys(
        ["message", "facts", "requester", "actions", "comment", "expires_in", "on_expiry"]
    )

    assert (
        read_mint(mint_body() | absent, NOW, WEEK).request
        == read_mint(mint_body(), NOW, WEEK).request
    )


def test_without_the_execution_there_is_a_warning() -> None:
    """The one thing that helps after a lost answer is asked for."""
    (warning,) = read_mint(mint_body(), NOW, WEEK).warnings

    assert "execution_arn" in warning


def test_all_faults_are_named_at_once() -> None:
    """Nobody has to send a request five times to learn five faults."""
    body = {
        "titel": "Deploy?",
        "recipients": ["a@b.example, c@d.example", {"email": "x@y.example", "name": "a\nb"}],
        "actions": [{"name": "1"}, {"name": "reject", "outcome": {"type": "failure"}}],
        "on_expiry": {"type": "success"},
        "expires_in": 0,
    }

    assert faults(body) == {
        "titel": "There is no such field.",
        "task_token": "This field is required.",
        "expires_in": "A whole number from 1 to 31,536,000 is needed.",
        "title": "This field is required.",
        "recipients.0.email": "One e-mail address is needed, such as marc@example.com.",
        "recipients.1.name": "Control characters and line breaks are not allowed here.",
        "actions.0.name": "A name is needed: a letter, then up to 31 letters, digits, _ or -.",
        "actions.0.outcome": "This field is required.",
        "actions.1.outcome.error": "This field is required.",
        "on_expiry": "Silence may not become a success unless allow_default_approve is true.",
    }


@pytest.mark.parametrize("body", [None, [], "text", 1, True])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    """Anything but an object is refused as a whole."""
    assert faults(body)[""] == "An object is needed."


LINE = "Control characters and line breaks are not allowed here."


@pytest.mark.parametrize(
    "control",
    ["\r\n", "\n", "\r", "\x00", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"],
)
@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("title", {"title": "Deploy{}Bcc: evil@example.com"}),
        ("requester.name", {"requester": {"name": "Ana{}Bcc: evil@example.com"}}),
        ("recipients.0.name", {"recipients": [{"email": "a@example.com", "name": "M{}x"}]}),
        ("facts.0", {"facts": {"Change": "a{}b"}}),
        ("facts.0", {"facts": {"Cha{}nge": "a"}}),
        ("actions.0.label", {"actions": [{"name": "approve", "label": "A{}b"}]}),
    ],
)
def test_control_characters_are_refused_in_lines(
    path: str, changes: dict[str, Any], control: str
) -> None:
    """Nothing that breaks a line gets near a header."""
    assert fault(**_filled(changes, control)) == {path: LINE}


def _filled(value: Any, control: str) -> Any:
    if isinstance(value, str):
        return value.replace("{}", control)
    if isinstance(value, dict):
        return {_filled(name, control): _filled(item, control) for name, item in value.items()}
    return [_filled(item, control) for item in value]


def test_a_message_may_have_lines_but_no_other_controls() -> None:
    """Paragraphs are fine, escapes are not."""
    assert read_mint(mint_body(message="a\n\tb\r\nc"), NOW, WEEK).request.message == "a\n\tb\nc"
    assert fault(message="a\x00b") == {"message": "Control characters are not allowed here."}


@pytest.mark.parametrize("control", ["\u202e", "\u2066", "\u200f", "\u061c"])
def test_characters_that_reorder_a_line_are_taken_out(control: str) -> None:
    """What people read is what was written, in that order."""
    body = mint_body(title=f"Pay {control}100", facts={f"a{control}": f"b{control}"})

    request = read_mint(body, NOW, WEEK).request

    assert request.title == "Pay 100"
    assert request.facts == (("a", "b"),)


def test_a_title_of_invisible_characters_is_empty() -> None:
    """A title has to say something."""
    assert fault(title=" \u202e ") == {"title": "This field is required; it may not be empty."}


@pytest.mark.parametrize("word", ["=?utf-8?q?a=0d=0aBcc:_evil=40x?=", "=?UTF-8?B?QQ==?=", "=??q?"])
def test_encoded_words_are_refused_where_headers_are_made(word: str) -> None:
    """Some mail libraries decode them on the way out, line breaks included."""
    sentence = "Encoded words (=?charset?q?...?=) are not allowed. Write plain text."

    assert fault(title=f"Deploy {word}") == {"title": sentence}
    assert fault(requester={"name": word}) == {"requester.name": sentence}
    assert fault(recipients=[{"email": "a@example.com", "name": word}]) == {
        "recipients.0.name": sentence
    }


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example, e@x.example",
        "a@b.example;e@x.example",
        '"a@ok.example"@evil.example',
        "v@ok.example <e@x.example>",
        "<e@x.example>",
        "Group: a@b.example;",
        "a@b.example>\r\nRCPT TO:<e@x.example",
        "a b@x.example",
        "a@x.example\n",
        "a@[127.0.0.1]",
        "a@b@c.example",
        "@x.example",
        "a@",
        "a",
        "",
        ".a@x.example",
        "a..b@x.example",
        "a@-x.example",
        "a@x-.example",
        "a@x..example",
        "a@.example",
        "=?utf-8?q?a?=@x.example",
        "ü@x.example",
        "a" * 65 + "@x.example",
        "a@" + "b" * 64 + ".example",
        "a@" + ".".join(["b" * 60] * 5),
        "a@x.example\u2028",
        "a\x00@x.example",
        None,
        3,
        ["a@x.example"],
    ],
)
def test_anything_but_one_plain_address_is_refused(address: Any) -> None:
    """One recipient is one address: nothing can smuggle a second one in."""
    found = fault(recipients=[{"email": address}])

    assert list(found) == ["recipients.0.email"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("marc@example.com", "marc@example.com"),
        ("Marc.O'Neil+x@Example.COM", "Marc.O'Neil+x@Example.COM"),
        ("a@localhost", "a@localhost"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@\u0430\u0440\u0440l\u0435.example", "a@xn--l-7sbq6ba.example"),
    ],
)
def test_plain_addresses_are_kept_and_domains_are_shown_in_ascii(given: str, kept: str) -> None:
    """A domain that only looks like another one is seen as what it is."""
    request = read_mint(mint_body(recipients=[given]), NOW, WEEK).request

    assert request.recipients == (Recipient(kept),)


def test_nobody_is_asked_twice() -> None:
    """The same address twice is a mistake."""
    assert fault(recipients=["a@example.com", "A@Example.com"]) == {
        "recipients.1": "This address is already a recipient."
    }


def recipient(**fields: Any) -> dict[str, Any]:
    """A change: one recipient with these fields."""
    return {"recipients": [{"email": "a@example.com", **fields}]}


def outcome(**fields: Any) -> dict[str, Any]:
    """A change: one action with this outcome."""
    return {"actions": [{"name": "approve", "outcome": fields}]}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"task_token": ""}, "task_token"),
        ({"task_token": "t" * 2049}, "task_token"),
        ({"task_token": 7}, "task_token"),
        ({"title": "t" * 201}, "title"),
        ({"title": 7}, "title"),
        ({"title": "   "}, "title"),
        ({"message": "m" * 10_001}, "message"),
        ({"facts": {f"f{n}": "v" for n in range(51)}}, "facts"),
        ({"facts": []}, "facts"),
        ({"facts": {"": "v"}}, "facts.0"),
        ({"facts": {"a": {"b": 1}}}, "facts.0"),
        ({"facts": {"a": "v" * 1001}}, "facts.0"),
        ({"facts": {"n" * 101: "v"}}, "facts.0"),
        ({"requester": "Ana"}, "requester"),
        ({"requester": {}}, "requester"),
        ({"requester": {"email": "ana"}}, "requester.email"),
        ({"requester": {"phone": "1"}}, "requester.phone"),
        ({"recipients": []}, "recipients"),
        ({"recipients": "a@example.com"}, "recipients"),
        ({"recipients": [f"a{n}@example.com" for n in range(51)]}, "recipients"),
        (recipient(language="Deutsch!"), "recipients.0.language"),
        (recipient(time_zone="Mars/Base"), "recipients.0.time_zone"),
        (recipient(time_zone="Europe"), "recipients.0.time_zone"),
        (recipient(time_zone="../etc"), "recipients.0.time_zone"),
        ({"actions": []}, "actions"),
        ({"actions": {}}, "actions"),
        ({"actions": [{"name": "approve"}] * 11}, "actions"),
        ({"actions": [{"name": "reject"}, {"name": "reject"}]}, "actions.1.name"),
        ({"actions": [{"name": "approve", "style": "green"}]}, "actions.0.style"),
        ({"actions": [{"name": "approve", "comment": "maybe"}]}, "actions.0.comment"),
        ({"actions": [{"name": "approve", "label": "L" * 61}]}, "actions.0.label"),
        (outcome(type="maybe"), "actions.0.outcome.type"),
        ({"actions": [{"name": "approve", "outcome": "success"}]}, "actions.0.outcome"),
        (outcome(type="success", error="E"), "actions.0.outcome.error"),
        (outcome(type="failure", error="E" * 257), "actions.0.outcome.error"),
        (
            outcome(type="failure", error="E", cause="c" * 32_769),
            "actions.0.outcome.cause",
        ),
        (outcome(type="success", output={"approval": 1}), "actions.0.outcome.output"),
        ({"comment": "maybe"}, "comment"),
        ({"expires_in": 31_536_001}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
        ({"expires_in": 60.5}, "expires_in"),
        ({"expires_in": "60"}, "expires_in"),
        ({"allow_default_approve": 1}, "allow_default_approve"),
        ({"execution_arn": "deploy-1"}, "execution_arn"),
        ({"execution_arn": "arn:aws:\n"}, "execution_arn"),
        ({"execution_arn": "arn:" + "x" * 509}, "execution_arn"),
    ],
)
def test_each_limit_names_its_field(changes: dict[str, Any], path: str) -> None:
    """A value outside its limits is refused under its own name, and only that."""
    assert path in fault(**changes)


def test_names_that_could_be_secrets_are_not_repeated() -> None:
    """An unknown field is named to find the typo, unless its name looks like content."""
    assert fault(**{"AQB8" * 20: 1}) == {"": "This object has a field that does not exist."}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*FULL, "email", "name", "type"]), inner, max_size=6)
        ),
        max_leaves=25,
    )
)
def test_whatever_is_sent_is_read_or_refused(body: Any) -> None:
    """No body makes the reader fail in any other way than by saying what is wrong."""
    try:
        read_mint(body, NOW, WEEK)
    except InvalidApprovalRequest as refusal:
        assert refusal.fields


SECRET = "AQB8-the-secret-of-somebody-7411"


@pytest.mark.parametrize("name", list(FULL))
def test_refusals_never_repeat_what_was_sent(name: str) -> None:
    """An error answer can be logged: it holds nothing of the request."""
    wrong = [[SECRET], {"x": SECRET}, SECRET + "\n", SECRET * 2000]
    for value in wrong:
        try:
            read_mint(FULL | {name: value}, NOW, WEEK)
        except InvalidApprovalRequest as refusal:
            assert SECRET not in str(refusal) + str(dict(refusal.fields))


def test_an_output_has_room_for_the_longest_decision() -> None:
    """What was accepted at the mint can always be sent, with the longest comment by anybody."""
    filler = MAX_OUTPUT_BYTES - OUTPUT_ROOM_BYTES - len(dumps({"x": ""}))
    recipient = {"email": "a" * 64 + "@" + ".".join(["b" * 59] * 3), "name": "N" * 100}
    name = "a" * 32
    outcome = {"type": "success", "output": {"x": "y" * filler}}
    body = mint_body(recipients=[recipient], actions=[{"name": name, "outcome": outcome}])

    request = read_mint(body, NOW, WEEK).request
    decision = Decision("d" * 32, name, 0, request.recipients[0].email, NOW, "😀" * MAX_COMMENT)
    output = decision_payload("i" * 26, request, decision).output

    assert output is not None
    assert len(output.encode()) <= MAX_OUTPUT_BYTES
    outcome["output"] = {"x": "y" * (filler + 1)}
    assert fault(actions=[{"name": name, "outcome": outcome}]) == {
        "actions.0.outcome.output": f"At most {MAX_OUTPUT_BYTES - OUTPUT_ROOM_BYTES:,} bytes of "
        "JSON are allowed here."
    }


def test_an_output_that_is_no_object_gets_nothing_added_and_may_be_full_size() -> None:
    """Lists and texts are sent as they are."""
    text = "y" * (MAX_OUTPUT_BYTES - 2)
    actions = [{"name": "approve", "outcome": {"type": "success", "output": text}}]

    request = read_mint(mint_body(actions=actions), NOW, WEEK).request

    decision = Decision("d" * 32, "approve", 0, "marc@example.com", NOW, "Fine.")
    assert decision_payload("i" * 26, request, decision).output == f'"{text}"'


@pytest.mark.parametrize("output", [{"x": "\ud800"}, 2**70])
def test_an_output_that_cannot_be_stored_is_refused(output: Any) -> None:
    """What JSON cannot hold is found at the mint, not at the delivery."""
    actions = [{"name": "approve", "outcome": {"type": "success", "output": output}}]

    assert list(fault(actions=actions)) == ["actions.0.outcome.output"]


def test_the_fingerprint_is_of_the_content() -> None:
    """Order of keys and spelled-out defaults do not matter; any other difference does."""
    first = read_mint(FULL, NOW, WEEK).fingerprint
    reordered = dict(reversed(FULL.items()))
    short = read_mint(mint_body(), NOW, WEEK).fingerprint
    spelled = mint_body(comment="optional", expires_in=WEEK, on_expiry=None)

    assert read_mint(reordered, NOW + timedelta(hours=1), WEEK).fingerprint == first
    assert read_mint(spelled, NOW, WEEK).fingerprint == short
    for change in (
        {"title": "Other"},
        {"expires_in": 3601},
        {"message": None},
        {"execution_arn": None},
        {"comment": "optional"},
        {"on_expiry": None},
        {"facts": {"Change": "CHG-1183"}},
        {"recipients": ["marc@example.com"]},
    ):
        assert read_mint(FULL | change, NOW, WEEK).fingerprint != first


def test_a_request_survives_being_stored() -> None:
    """What is read back is what was asked."""
    for body in (FULL, mint_body()):
        mint = read_mint(body, NOW, WEEK)
        stored = loads(dumps(mint.document))

        assert request_document(mint.request) == mint.document
        assert read_request_document(stored, mint.request.expires_at) == mint.request


def test_a_notice_is_read_by_the_same_rules() -> None:
    """A plain mail has recipients, a subject, words and facts."""
    body = {"to": ["a@example.com"], "subject": "Deployed", "facts": {"By": "Marc"}}

    assert read_notice(body) == NoticeBody(
        (Recipient("a@example.com"),), "Deployed", None, (("By", "Marc"),), None
    )
    with pytest.raises(InvalidApprovalRequest) as refusal:
        read_notice({"to": [], "subject": "a\nb", "body": ""})
    assert dict(refusal.value.fields) == {
        "body": "There is no such field.",
        "to": "An array of 1 to 50 entries is needed.",
        "subject": LINE,
    }


def test_a_confirmation_needs_no_subject() -> None:
    """Its subject is the outcome of the approval it is about."""
    arn = "arn:aws:states:us-east-1:123456789012:execution:m:e"

    notice = read_notice({"to": ["a@example.com"], "decision_of": arn})

    assert (notice.subject, notice.decision_of) == (None, arn)
    with pytest.raises(InvalidApprovalRequest) as refusal:
        read_notice({"to": ["a@example.com"], "decision_of": "e"})
    assert list(refusal.value.fields) == ["decision_of"]


@pytest.mark.parametrize(
    ("typed", "rule", "kept"),
    [
        (None, CommentRule.OPTIONAL, None),
        ("  ", CommentRule.OPTIONAL, None),
        ("\u202eevil\x00", CommentRule.OPTIONAL, "evil"),
        (" a\r\nb\rc ", CommentRule.REQUIRED, "a\nb\nc"),
        ("", CommentRule.NONE, None),
        ("x" * MAX_COMMENT, CommentRule.REQUIRED, "x" * MAX_COMMENT),
    ],
)
def test_comments_are_cleaned(typed: str | None, rule: CommentRule, kept: str | None) -> None:
    """What a person typed is kept without what nobody types."""
    assert read_comment(typed, rule) == kept


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("", CommentRule.REQUIRED),
        (" \n ", CommentRule.REQUIRED),
        ("x", CommentRule.NONE),
        ("x" * (MAX_COMMENT + 1), CommentRule.OPTIONAL),
    ],
)
def test_comments_that_break_their_rule_are_refused(typed: str, rule: CommentRule) -> None:
    """A missing, unwanted or endless comment is named as that field."""
    with pytest.raises(BadRequest) as refusal:
        read_comment(typed, rule)

    assert list(refusal.value.fields) == ["comment"]
