"""The decision page: what it shows, what it refuses, and that only its own form decides."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from app.approvals.language_files import load_languages
from app.approvals.model import (
    Action,
    Approval,
    CommentRule,
    Failure,
    Holder,
    Person,
    Recipient,
    State,
    Success,
)
from app.approvals.pages.decision_pages import DecisionPages, Submission
from app.approvals.pages.frame import Answer, PageFrame
from app.errors import StoreUnavailable, StoreUnconfirmed
from tests.approvals.asked import (
    APPROVAL,
    BASE_URL,
    NOW,
    TEMPLATES,
    FakeService,
    approval,
    decided,
    fake_service,
    pages,
)
from tests.approvals.hostile import MARKUP, TEMPLATE_TEXTS

FORM = "application/x-www-form-urlencoded"
APPROVE, REJECT = 0, 1
UNKNOWN = "This link is incomplete. Copy the whole line from the mail."


class Page(HTMLParser):
    """A page's elements, its shown text and its form's fields."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(answer.body.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag = self._open[-1] if self._open else ""
        self.words[tag] = self.words.get(tag, "") + data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in tags]

    def paragraphs(self) -> str:
        return self.words.get("p", "")

    def skeleton(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(attributes)) for tag, attributes in self.tags]


def link(service: FakeService, action: int = APPROVE, recipient: int = 0) -> str:
    [of] = service.approvals.values()
    return service.link(of, recipient, action).rpartition("/")[2]


def filled(service: FakeService, action: int = APPROVE, **fields: str | None) -> Submission:
    """The form as a person fills it in, with other *fields*; None leaves one out."""
    [of] = service.approvals.values()
    form = {
        "decision": of.request.actions[action].name,
        "comment": "Looks good.",
        "nonce": service.links.form_nonce(Holder(of.id, 0, action), service.now),
        **fields,
    }
    body = urlencode({name: value for name, value in form.items() if value is not None})
    return Submission(FORM, body.encode(), from_ip="192.0.2.7", user_agent="Firefox")


async def get(service: FakeService, action: int = APPROVE, recipient: int = 0) -> Answer:
    return await pages(service).get(link(service, action, recipient), wants_json=False)


async def post(service: FakeService, submission: Submission, action: int = APPROVE) -> Answer:
    return await pages(service).post(link(service, action), submission, wants_json=False)


async def twin(service: FakeService, action: int = APPROVE, recipient: int = 0) -> Any:
    answer = await pages(service).get(link(service, action, recipient), wants_json=True)
    assert (b"content-type", b"application/json") in answer.headers
    return json.loads(answer.body)


# The page that asks


@pytest.mark.parametrize(
    ("action", "title"),
    [
        (APPROVE, "Approve: Deploy billing 4.2 to production?"),
        (REJECT, "Reject: Deploy billing 4.2 to production?"),
    ],
)
async def test_the_page_is_titled_by_what_it_asks(action: int, title: str) -> None:
    """Title and heading are the same question, and name the action of the link."""
    answer = await get(fake_service(), action)
    page = Page(answer)

    assert answer.status == 200
    assert (page.words["title"], page.words["h1"]) == (title, title)


async def test_the_page_says_who_asks_what_and_as_whom_you_act() -> None:
    """Requester, facts, message, own address, end and other way are on the page."""
    service = fake_service()
    page = Page(await get(service))

    assert page.words["dt"] == "ChangeRisk"
    assert page.words["dd"] == "CHG-1182medium"
    assert page.words["blockquote"] == "Release notes are in CHG-1182."
    for sentence in (
        "Ana Ruiz asks you to approve or reject this.",
        "Ana Ruiz writes:",
        "You act as marc@example.com.",
        "Please decide by 14 Nov 2025, 17:00 CET. After that the request ends,",
    ):
        assert sentence in page.paragraphs()
    assert page.words["button"] == "Approve deployment"
    assert page.all("a") == [{"href": service.link(APPROVAL, 0, REJECT), "dir": "auto"}]
    assert page.words["a"] == "Reject instead"


async def test_the_choice_is_required_and_nobody_ticks_it_by_default() -> None:
    """The box for the decision is not ticked, and the form sends nothing else that decides."""
    service = fake_service()
    page = Page(await get(service))

    [form] = page.all("form")
    fields = {field.get("name"): field for field in page.all("input", "textarea", "button")}
    assert form == {"method": "post", "accept-charset": "utf-8"}
    assert list(fields) == ["decision", "comment", "nonce", None]
    assert fields["decision"] == {
        "type": "checkbox",
        "id": "decision",
        "name": "decision",
        "value": "approve",
        "required": None,
    }
    assert fields[None] == {"type": "submit", "class": "primary", "dir": "auto"}


@pytest.mark.parametrize(
    ("rule", "label", "required"),
    [
        (CommentRule.OPTIONAL, "Comment (optional)", False),
        (CommentRule.REQUIRED, "Reason (required)", True),
    ],
)
async def test_the_comment_is_labelled_by_its_rule(
    rule: CommentRule, label: str, required: bool
) -> None:
    """The label says whether something must be written."""
    action = Action("approve", "Approve", "primary", rule, Success({}))
    page = Page(await get(fake_service(approval(actions=(action,)))))

    [area] = page.all("textarea")
    assert label in page.words["label"]
    assert ("required" in area) is required
    assert area["aria-describedby"] == "comment-hint"


async def test_an_action_without_comment_has_no_field_for_one() -> None:
    """Where no comment is wanted, none can be written."""
    action = Action("approve", "Approve", "primary", CommentRule.NONE, Success({}))
    service = fake_service(approval(actions=(action,)))

    assert Page(await get(service)).all("textarea") == []
    assert (await post(service, filled(service, comment="sneaked in"))).status == 200
    assert service.decisions[0]["comment"] is None


async def test_every_page_forbids_scripts_frames_caches_and_referrers() -> None:
    """All answers, errors too, carry the same protective headers."""
    service = fake_service()
    answers = [
        await get(service),
        await post(service, filled(service, decision=None)),
        await post(service, filled(service)),
        await post(service, Submission("text/plain", b"")),
        await pages(service).get("nonsense", wants_json=False),
        await pages(service).get("nonsense", wants_json=True),
        pages(service).refuse("too_large", wants_json=False),
    ]

    for answer in answers:
        headers = dict(answer.headers)
        policy = headers.pop(b"content-security-policy")
        assert re.fullmatch(
            rb"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; img-src data:; "
            rb"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            policy,
        )
        del headers[b"content-type"]
        assert headers == {
            b"content-length": b"%d" % len(answer.body),
            b"cache-control": b"no-store",
            b"cross-origin-opener-policy": b"same-origin",
            b"cross-origin-resource-policy": b"same-origin",
            b"referrer-policy": b"no-referrer",
            b"x-content-type-options": b"nosniff",
            b"x-frame-options": b"DENY",
            b"x-robots-tag": b"noindex",
        }


async def test_pages_load_nothing_and_run_nothing() -> None:
    """No script, no refresh, no event handler, nothing from another place."""
    for answer in (await get(fake_service()), await get(fake_service(decided()))):
        page = Page(answer)
        assert page.all("script", "img", "iframe", "object", "embed", "base") == []
        assert all("http-equiv" not in meta for meta in page.all("meta"))
        assert page.all("link") == [{"rel": "icon", "href": "data:,"}]
        assert not re.search(rb"url\(|@import|og:", answer.body)
        for _, attributes in page.tags:
            assert not any(name.startswith("on") or name == "style" for name in attributes)


async def test_opening_the_page_changes_nothing() -> None:
    """However often both pages are opened, nothing is recorded."""
    service = fake_service()

    bodies = [(await get(service, action)).status for action in (APPROVE, REJECT) * 50]

    assert bodies == [200] * 100
    assert service.decisions == []


@pytest.mark.parametrize("text", MARKUP)
async def test_markup_in_any_text_stays_text(text: str) -> None:
    """Whatever is written where, the page has the same elements, and shows what was written."""
    clean = re.sub(r"[\r\n]", "", text)
    hostile = Page(await get(fake_service(_everywhere(text))))
    plain = Page(await get(fake_service(_everywhere("x"))))

    assert hostile.skeleton() == plain.skeleton()
    assert [a["href"] for a in hostile.all("a")] == [a["href"] for a in plain.all("a")]
    assert hostile.words["button"] == clean
    assert hostile.words["h1"] == f"Approve: {clean}?"


@pytest.mark.parametrize("text", MARKUP)
async def test_markup_in_what_the_person_types_stays_text(text: str) -> None:
    """A comment is shown as it was typed, in the field and afterwards."""
    service = fake_service()

    kept = Page(await post(service, filled(service, decision=None, comment=text)))
    shown = Page(await post(service, filled(service, comment=text)))

    assert kept.words["textarea"] == f"\n{text}"
    assert shown.words["blockquote"] == text.replace("\0", "")
    assert [tag for tag, _ in kept.tags].count("script") == 0
    assert [tag for tag, _ in shown.tags].count("script") == 0


@pytest.mark.parametrize("text", TEMPLATE_TEXTS)
async def test_template_syntax_in_any_text_stays_text(text: str) -> None:
    """Braces and percent signs are shown as they were written."""
    page = Page(await get(fake_service(_everywhere(text))))

    assert page.words["h1"] == f"Approve: {text}?"
    assert page.words["dd"] == text
    assert page.words["blockquote"] == text


async def test_the_json_twin_has_what_a_machine_needs_to_answer() -> None:
    """Who asks for JSON gets the request, the form's fields and the other links."""
    service = fake_service()

    found = await twin(service)

    assert found == {
        "code": "open",
        "title": "Approve: Deploy billing 4.2 to production?",
        "message": "Ana Ruiz asks you to approve or reject this.",
        "request": {
            "title": "Deploy billing 4.2 to production",
            "message": "Release notes are in CHG-1182.",
            "facts": {"Change": "CHG-1182", "Risk": "medium"},
            "expires_at": "2025-11-14T16:00:00.000Z",
        },
        "form": {
            "decision": "approve",
            "nonce": service.links.form_nonce(Holder(APPROVAL.id, 0, APPROVE), NOW),
            "comment": "optional",
        },
        "others": [{"action": "reject", "url": service.link(APPROVAL, 0, REJECT)}],
    }


# Deciding


async def test_the_filled_in_form_decides() -> None:
    """A ticked box and a comment are recorded with where they came from, and shown."""
    service = fake_service()

    answer = await post(service, filled(service))
    page = Page(answer)

    assert answer.status == 200
    assert service.decisions == [
        {"action": "approve", "comment": "Looks good.", "ip": "192.0.2.7", "agent": "Firefox"}
    ]
    assert page.words["h1"] == "Approved: Deploy billing 4.2 to production"
    assert "Approved by you on 12 Nov 2025, 09:41 CET." in page.paragraphs()
    assert "The workflow has been told. You can close this page." in page.paragraphs()
    assert page.words["blockquote"] == "Looks good."


async def test_the_same_form_again_shows_the_same_page() -> None:
    """A second click is no error and decides nothing again, hours later too."""
    service = fake_service()
    submission = filled(service)

    first = await post(service, submission)
    again = await post(service, submission)
    service.later(hours=2)
    later = await post(service, submission)

    assert again == first == later
    assert len(service.decisions) == 1


async def test_the_other_action_afterwards_is_told_what_was_decided() -> None:
    """Who rejects after having approved is told that it is approved."""
    service = fake_service()
    await post(service, filled(service))

    answer = await post(service, filled(service, REJECT, comment="No."), REJECT)

    assert answer.status == 409
    assert "Already approved by you, 12 Nov, 09:41 CET." in Page(answer).paragraphs()
    assert len(service.decisions) == 1


@pytest.mark.parametrize("nonce", [None, "", "x", "1762936860000.aaaaaaaa.xxxx", "é", "." * 50])
async def test_a_missing_or_forged_nonce_decides_nothing(nonce: str | None) -> None:
    """A form that this page did not make is shown anew, and keeps nothing of what came."""
    service = fake_service()

    answer = await post(service, filled(service, nonce=nonce, comment="planted"))
    page = Page(answer)

    assert answer.status == 400
    assert page.words["h2"] == "There is a problem"
    assert page.words["textarea"] == "\n"
    assert service.decisions == []


@pytest.mark.parametrize("fields", [{"nonce": "x"}, {"nonce": None}, {"decision": "reject"}])
async def test_once_decided_no_form_is_wrong_any_more(fields: dict[str, Any]) -> None:
    """Whatever a form holds, nobody is asked to choose again what was decided already."""
    service = fake_service(decided(comment="Go."))

    answer = await post(service, filled(service, **fields))

    assert answer == await get(service)
    assert answer.status == 200
    assert service.decisions == []


async def test_the_nonce_of_another_page_decides_nothing() -> None:
    """A nonce is good for one recipient and one action."""
    service = fake_service()
    foreign = [
        service.links.form_nonce(holder, NOW)
        for holder in (Holder(APPROVAL.id, 0, REJECT), Holder(APPROVAL.id, 1, APPROVE))
    ]

    answers = [await post(service, filled(service, nonce=nonce)) for nonce in foreign]

    assert [answer.status for answer in answers] == [400, 400]
    assert service.decisions == []


async def test_a_page_left_open_for_long_asks_once_more() -> None:
    """After half an hour the form comes back with what was typed and a new nonce."""
    service = fake_service()
    old = filled(service)
    service.later(minutes=31)

    answer = await post(service, old)
    page = Page(answer)

    assert answer.status == 422
    assert page.words["a"].startswith("This page was open for a long time. Please confirm once")
    assert page.words["textarea"] == "\nLooks good."
    assert service.decisions == []
    assert (await post(service, filled(service))).status == 200


@pytest.mark.parametrize("decision", [None, ""])
async def test_the_button_alone_decides_nothing(decision: str | None) -> None:
    """Without a ticked box the page comes back, asks for it and keeps the comment."""
    service = fake_service()

    answer = await post(service, filled(service, decision=decision))
    page = Page(answer)

    assert answer.status == 422
    assert page.words["title"] == page.words["h1"] == "Approve: Deploy billing 4.2 to production?"
    assert page.words["h2"] == "There is a problem"
    assert page.all("a")[0] == {"href": "#decision"}
    assert "Tick the box to approve. Nothing has been decided yet." in page.words["a"]
    assert page.words["textarea"] == "\nLooks good."
    assert service.decisions == []


@pytest.mark.parametrize(
    ("comment", "sentence"),
    [
        (None, "Write a reason. Nothing has been decided yet."),
        ("", "Write a reason. Nothing has been decided yet."),
        (" \r\n\t ", "Write a reason. Nothing has been decided yet."),
        ("x" * 4_001, "Shorten the text to 4000 characters. Nothing has been decided yet."),
    ],
)
async def test_a_reason_must_be_given_where_it_is_required(
    comment: str | None, sentence: str
) -> None:
    """Without a reason, or with one too long, the field is named and nothing is decided."""
    service = fake_service()

    answer = await post(service, filled(service, REJECT, comment=comment), REJECT)
    page = Page(answer)

    assert answer.status == 422
    assert page.all("a")[0] == {"href": "#comment"}
    assert page.words["a"].startswith(sentence)
    [area] = page.all("textarea")
    assert area["aria-describedby"] == "comment-error comment-hint"
    assert area["aria-invalid"] == "true"
    assert service.decisions == []


async def test_a_comment_too_long_is_kept_for_shortening() -> None:
    """Nobody has to type a long text again."""
    service = fake_service()
    comment = "word " * 1_000

    page = Page(await post(service, filled(service, comment=comment)))

    assert page.words["textarea"] == f"\n{comment}"


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ("decision=approve&decision=reject", 400, "held the same field twice"),
        ("decision=approve&decision=approve", 400, "held the same field twice"),
        ("comment=a&comment=b", 400, "held the same field twice"),
        ("nonce=a&nonce=b", 400, "held the same field twice"),
        ("x=1&x=2", 400, "held the same field twice"),
        ("decision=%ff%fe", 400, "cannot be read"),
        ("decision=\xe4", 400, "cannot be read"),
        ("&".join(f"f{n}=1" for n in range(51)), 400, "too many fields"),
        ("&" * 10_000, 400, "too many fields"),
        ("comment=" + "x" * 65_536, 413, "too long"),
    ],
)
async def test_a_form_that_cannot_be_read_decides_nothing(
    body: str, status: int, sentence: str
) -> None:
    """Ambiguous, unreadable and oversized forms are refused with a sentence."""
    service = fake_service()
    nonce = service.links.form_nonce(Holder(APPROVAL.id, 0, APPROVE), NOW)
    submission = Submission(FORM, f"{body}&nonce2={nonce}".encode("latin-1"))

    answer = await post(service, submission)

    assert answer.status == status
    assert sentence in Page(answer).paragraphs()
    assert "Nothing has been decided." in Page(answer).paragraphs()
    assert service.decisions == []


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "multipart/form-data; boundary=x", "application/json", "x" + FORM],
)
async def test_only_urlencoded_forms_are_read(content_type: str) -> None:
    """What a browser would not send for this page is refused."""
    service = fake_service()

    answer = await post(service, filled(service)._replace(content_type=content_type))

    assert answer.status == 415
    assert service.decisions == []


async def test_parameters_of_the_content_type_do_not_matter() -> None:
    """Browsers and tools write the type in several ways."""
    service = fake_service()
    content_type = "Application/X-WWW-Form-URLencoded; charset=UTF-8"
    submission = filled(service)._replace(content_type=content_type)

    assert (await post(service, submission)).status == 200


@pytest.mark.parametrize("decision", ["reject", "APPROVE", "approve ", "x", "on"])
async def test_a_choice_that_is_not_the_links_decides_nothing(decision: str) -> None:
    """An approve link approves or does nothing; it cannot be made to reject."""
    service = fake_service()

    answer = await post(service, filled(service, decision=decision))

    assert answer.status == 400
    assert "The choice does not belong to this link." in Page(answer).paragraphs()
    assert service.decisions == []


@pytest.mark.parametrize(
    ("origin", "fetch_site"),
    [
        ("https://evil.example", None),
        ("https://signoff.example.com.evil.example", None),
        ("http://signoff.example.com", None),
        (None, "cross-site"),
        (None, "same-site"),
        ("null", "cross-site"),
        (BASE_URL, "cross-site"),
    ],
)
async def test_answers_from_other_sites_decide_nothing(
    origin: str | None, fetch_site: str | None
) -> None:
    """A form that another site submits is refused even with a good nonce."""
    service = fake_service()

    answer = await post(service, filled(service)._replace(origin=origin, fetch_site=fetch_site))

    assert answer.status == 403
    assert "The answer came from another site." in Page(answer).paragraphs()
    assert service.decisions == []


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://signoff.example.com:443", "https://signoff.example.com"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://signoff.example.com:8443", "https://signoff.example.com:8443"),
        ("https://Signoff.example.com/approvals", "https://signoff.example.com"),
    ],
)
async def test_an_origin_is_known_however_the_base_url_is_written(
    base_url: str, origin: str
) -> None:
    """Browsers write a site in lower case and leave out the port that its scheme has anyway."""
    service = fake_service()
    answer = await pages(service, base_url).post(
        link(service), filled(service)._replace(origin=origin), wants_json=False
    )

    assert answer.status == 200


@pytest.mark.parametrize(
    ("origin", "fetch_site"),
    [
        (None, None),
        ("null", "same-origin"),
        ("null", None),
        (BASE_URL, "same-origin"),
        ("HTTPS://Signoff.Example.com", "none"),
    ],
)
async def test_answers_from_the_page_itself_decide(
    origin: str | None, fetch_site: str | None
) -> None:
    """Browsers name our origin, none, or "null" because the page sends no referrer."""
    service = fake_service()

    answer = await post(service, filled(service)._replace(origin=origin, fetch_site=fetch_site))

    assert answer.status == 200


async def test_a_machine_can_decide_with_the_twin_alone() -> None:
    """What the JSON of the page names is enough to post, and the answer is JSON too."""
    service = fake_service()
    form = (await twin(service))["form"]
    body = urlencode({"decision": form["decision"], "nonce": form["nonce"]}).encode()

    answer = await pages(service).post(link(service), Submission(FORM, body), wants_json=True)

    assert answer.status == 200
    assert json.loads(answer.body) == {
        "code": "decided",
        "title": "Approved: Deploy billing 4.2 to production",
        "message": "Approved by you on 12 Nov 2025, 09:41 CET."
        " The workflow has been told. You can close this page.",
        "decision": {
            "action": "approve",
            "at": "2025-11-12T08:41:00.000Z",
            "by_you": True,
            "comment": None,
        },
    }


# What pages say afterwards


AFTERWARDS = [
    (decided(), 200, "decided", "Approved by you on 12 Nov 2025, 09:41 CET."),
    (
        decided(State.DECIDED),
        200,
        "recorded",
        "Your decision is saved. We are still telling the workflow; you need not click again.",
    ),
    (decided(State.UNRESOLVED), 200, "unresolved", "Your decision is saved."),
    (
        decided(recipient=1),
        409,
        "already_decided",
        "Already approved by Lena Vogt, 12 Nov, 09:41 CET. Nothing for you to do.",
    ),
    (
        decided(State.DECIDED, recipient=1, action="reject"),
        409,
        "already_decided",
        "Already rejected by Lena Vogt, 12 Nov, 09:41 CET. Nothing for you to do.",
    ),
    (
        replace(APPROVAL, state=State.EXPIRED),
        410,
        "expired",
        "This request ended on 14 Nov 2025, 17:00 CET without your answer;"
        " the workflow got no answer. Ask Ana Ruiz for a new one.",
    ),
    (
        replace(approval(on_expiry=Failure("E"), requester=None), state=State.EXPIRED),
        410,
        "expired",
        "This request ended on 14 Nov 2025, 17:00 CET without your answer; the workflow is told"
        " that nobody decided. Ask the owner of the workflow for a new one.",
    ),
    (approval(expires_at=NOW), 410, "expired", "This request ended on 12 Nov 2025, 09:41 CET"),
    (
        replace(APPROVAL, state=State.REVOKED),
        410,
        "revoked",
        "Ana Ruiz withdrew this request.",
    ),
    (
        replace(approval(requester=None), state=State.REVOKED),
        410,
        "revoked",
        "This request was withdrawn.",
    ),
    (
        decided(State.TOO_LATE),
        410,
        "too_late",
        "Too late: the workflow had already ended. Your answer was not used.",
    ),
    (
        replace(APPROVAL, state=State.CLOSED),
        410,
        "too_late",
        "Too late: the workflow had already ended. No answer can be used any more.",
    ),
    (
        decided(State.SUPERSEDED),
        409,
        "superseded",
        "The workflow already had another answer. Your answer was not used.",
    ),
]


@pytest.mark.parametrize(("of", "status", "code", "sentence"), AFTERWARDS)
async def test_afterwards_the_page_says_what_is_so(
    of: Approval, status: int, code: str, sentence: str
) -> None:
    """Every end has its words, its status and its code, for people and machines."""
    service = fake_service(of)

    answer = await get(service)
    page, found = Page(answer), await twin(service)

    assert answer.status == status
    assert sentence in page.paragraphs()
    assert (found["code"], found["title"]) == (code, page.words["h1"])
    assert page.words["title"] == page.words["h1"]
    assert sentence in found["message"]
    assert page.all("form") == []


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("recipient", [0, 1])
@pytest.mark.parametrize("action", [APPROVE, REJECT])
async def test_no_end_of_a_request_is_shown_without_words(
    state: State, recipient: int, action: int
) -> None:
    """Whoever opens whichever link in whichever state gets a page, never an error of ours."""
    of = (
        decided(state)
        if state in (State.DECIDED, State.DELIVERED, State.TOO_LATE, State.SUPERSEDED)
        or state is State.UNRESOLVED
        else replace(APPROVAL, state=state)
    )

    answer = await get(fake_service(of), action, recipient)

    assert answer.status in (200, 409, 410)
    assert Page(answer).words["h1"]


@pytest.mark.parametrize("state", [State.EXPIRED, State.REVOKED, State.CLOSED])
async def test_an_answer_after_the_end_is_not_used(state: State) -> None:
    """A filled-in form that comes after the end changes nothing and says so."""
    service = fake_service(replace(APPROVAL, state=state))

    answer = await post(service, filled(service))

    assert answer.status == 410
    assert service.decisions == []


async def test_a_decision_about_other_actions_is_named_by_its_label() -> None:
    """Actions of the workflow's own are named as it labels them."""
    action = Action("hold", "Hold until Monday", "default", CommentRule.NONE, Success({}))
    of = approval(actions=(action,))

    own = Page(await get(fake_service(decided(action="hold", of=of))))
    others = Page(await get(fake_service(decided(action="hold", recipient=1, of=of))))

    assert "You chose “Hold until Monday” on 12 Nov 2025, 09:41 CET." in own.paragraphs()
    assert "Lena Vogt already chose “Hold until Monday”, 12 Nov" in others.paragraphs()


async def test_a_comment_is_shown_to_its_author_only() -> None:
    """Others are told what was decided by whom, not what was written."""
    service = fake_service(decided(comment="Between us."))

    own, other = await get(service), await get(service, recipient=1)

    assert Page(own).words["blockquote"] == "Between us."
    assert b"Between us." not in other.body
    assert (await twin(service, recipient=1))["decision"]["comment"] is None


async def test_a_page_is_in_the_zone_of_its_recipient() -> None:
    """Each recipient reads times on the own clock."""
    tokyo = Recipient("yuki@example.com", None, None, "Asia/Tokyo")
    service = fake_service(decided(of=approval(recipients=(tokyo,))))

    assert "12 Nov 2025, 17:41 JST" in Page(await get(service)).paragraphs()


# What goes wrong


@pytest.mark.parametrize(
    "bad",
    ["", "x", "a" * 100_000, "\0", "\ud800", "é" * 50, "." * 10_000, "../../etc/passwd", "a/b/c"],
)
async def test_every_bad_link_gets_the_same_answer(bad: str) -> None:
    """Whatever is wrong with a link, the page is one and the same and says what to do."""
    service = fake_service()
    unknown = await pages(service).get("another", wants_json=False)

    assert await pages(service).get(bad, wants_json=False) == unknown
    assert await pages(service).post(bad, filled(service), wants_json=False) == unknown
    assert unknown.status == 404
    assert UNKNOWN in Page(unknown).paragraphs()


async def test_a_link_to_nothing_is_a_bad_link() -> None:
    """A good signature on an approval that is gone is answered like any bad link."""
    service = fake_service()
    address = link(service)
    service.approvals.clear()

    gone = await pages(service).get(address, wants_json=False)

    assert gone == await pages(service).get("x", wants_json=False)


async def test_the_twin_of_a_bad_link_says_its_code() -> None:
    """Machines get a code and the same sentence."""
    answer = await pages(fake_service()).get("x", wants_json=True)

    assert answer.status == 404
    assert json.loads(answer.body) == {
        "code": "unknown_link",
        "title": "This link is incomplete",
        "message": UNKNOWN,
    }


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (
            StoreUnavailable(),
            503,
            "Your decision was not saved. Nothing happened. Please try again in a minute.",
        ),
        (
            StoreUnconfirmed(),
            503,
            "Your decision is not confirmed. Reload this page to see whether it was saved.",
        ),
        (RuntimeError("secret detail"), 500, "Something went wrong on our side."),
    ],
)
async def test_a_failure_is_never_a_success_page(
    error: Exception, status: int, sentence: str
) -> None:
    """When the store fails the page says what is known, and nothing of the inside."""
    service = fake_service()
    service.fails_with = error

    answer = await post(service, filled(service))

    assert answer.status == status
    assert sentence in Page(answer).paragraphs()
    assert b"secret" not in answer.body
    assert ((b"retry-after", b"60") in answer.headers) is (status == 503)


@pytest.mark.parametrize(
    "submission",
    [
        Submission(FORM, b"decision=approve&decision=reject"),
        Submission("text/plain", b""),
        Submission(FORM, b"", origin="https://evil.example"),
    ],
)
async def test_refusals_are_in_the_language_of_the_recipient(
    tmp_path: Path, submission: Submission
) -> None:
    """Who is addressed in one language is not told off in another."""
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "de.toml").write_text(
        '[language]\ntag = "de"\n'
        '[problem]\nduplicate_field_heading = "Unklar"\nnot_a_form_heading = "Unklar"\n'
        'cross_site_heading = "Unklar"\n',
        encoding="utf-8",
    )
    service = fake_service(approval(recipients=(Recipient("m@example.com", None, "de"),)))
    german = DecisionPages(
        service=service,
        nonces=service.links,
        languages=load_languages(tmp_path),
        frame=PageFrame(TEMPLATES),
        clock=lambda: service.now,
        base_url=BASE_URL,
    )

    page = Page(await german.post(link(service), submission, wants_json=False))

    assert page.words["h1"] == "Unklar"
    assert page.all("html") == [{"lang": "de", "dir": "ltr"}]


async def test_a_request_that_cannot_be_read_is_said_to_be_unavailable() -> None:
    """When the store cannot be read, opening the page says to come back."""

    class Unreadable(FakeService):
        async def find(self, holder: Holder) -> Approval:
            raise StoreUnavailable

    service = Unreadable(fake_service().links)

    answer = await get(service)

    assert answer.status == 503
    assert "This page cannot be shown at the moment." in Page(answer).paragraphs()


async def test_expiry_is_judged_at_the_moment_of_the_request() -> None:
    """Until the last moment the page asks; from then on it says that the time is over."""
    of = approval(expires_at=datetime(2025, 11, 12, 9, 0, tzinfo=UTC))
    service = fake_service(of)

    service.now = of.request.expires_at - timedelta(milliseconds=1)
    before = (await get(service)).status
    service.now = of.request.expires_at
    after = (await get(service)).status

    assert (before, after) == (200, 410)


def _everywhere(text: str) -> Approval:
    return approval(
        title=text,
        message=text,
        facts=((text, text),),
        requester=Person("ana@example.com", text),
        recipients=(Recipient("marc@example.com", text),),
        actions=(
            Action("approve", text, "primary", CommentRule.OPTIONAL, Success({})),
            Action("x", text, "danger", CommentRule.OPTIONAL, Success({})),
        ),
    )
