"""The form of a post action, as people see it."""

import re
from html import unescape
from typing import Any

import pytest

from app.approvals.compat.form import make_form
from tests.compat.api import BEAT, BROWSER, TOKEN, Api, outcome, post
from tests.compat.test_get import confirmed, fields

pytestmark = pytest.mark.asyncio(loop_scope="session")

REVIEW = {
    "type": "object",
    "properties": {
        "decision": {"enum": ["approve", "reject"], "title": "Your decision"},
        "comment": {"type": "string", "minLength": 3, "maxLength": 500},
        "amount": {"type": "integer", "description": "In whole euros.", "maximum": 100},
        "share": {"type": "number"},
        "urgent": {"type": "boolean", "title": "This is urgent"},
        "mail": {"type": "string", "format": "email", "maxLength": 80},
    },
    "required": ["decision", "comment"],
    "additionalProperties": False,
}
RELAY = outcome("failure", name="rejected", error="rejected", cause_path="$.comment")


def controls(page: str) -> list[tuple[str, str]]:
    """The labels of the form's fields, each with its input's name."""
    found = re.findall(r'<label class="field" for="([^"]+)"[^>]*>([^<]*)</label>', page)
    return [(unescape(label), key) for key, label in found]


async def opened(api: Api, action: Any) -> tuple[str, str]:
    """The address of a post action and the page that it shows."""
    url = await api.url(action)
    response = await api.get(url, **BROWSER)
    assert response.status_code == 200
    return url, response.text


async def test_a_comment_is_asked_for_and_becomes_the_cause(full: Api) -> None:
    """What users of the original built a relay for: reject with comments."""
    schema = {
        "type": "object",
        "properties": {"comment": {"type": "string"}},
        "required": ["comment"],
    }
    action = post(RELAY | {"schema": schema}) | {"name": "reject_with_comments"}
    url, page = await opened(full, action)

    form = confirmed(page, **{"field-0": "Too risky\r\nthis week. "})
    done = await full.http.post(url, data=form, headers=BROWSER)

    assert controls(page) == [("Comment", "field-0")]
    assert "<h1" in page and "Reject with comments: Workflow task?" in page
    assert done.status_code == 200
    assert "“Reject with comments” was chosen on 12 Nov 2025, 09:41 UTC." in unescape(done.text)
    cause = {"taskToken": TOKEN, "error": "rejected", "cause": "Too risky\nthis week."}
    assert full.sent == [("SendTaskFailure", cause)]


async def test_a_form_is_shown_where_a_get_decides_too(old: Api) -> None:
    """Nothing could come of that GET but a refusal."""
    await opened(old, post(RELAY))

    assert old.sent == []


async def test_plain_members_become_fields(full: Api) -> None:
    """Choices, texts, numbers, boxes; titles and descriptions; what is needed is."""
    _, page = await opened(full, post(outcome(output_body=True) | {"schema": REVIEW}))

    assert controls(page) == [
        ("Your decision", "field-0"),
        ("Comment", "field-1"),
        ("Amount (optional)", "field-2"),
        ("Share (optional)", "field-3"),
        ("Mail (optional)", "field-5"),
    ]
    for part in (
        '<select id="field-0" name="field-0" required',
        '<textarea id="field-1" name="field-1" required',
        'type="number" step="1"',
        'type="number" step="any"',
        'type="email"',
        'aria-describedby="field-2-hint"',
        "In whole euros.",
    ):
        assert part in page
    assert '<input type="checkbox" id="field-4"' in page and " checked" not in page


async def test_a_form_has_the_name_that_its_schemas_agree_on(full: Api) -> None:
    """Outcomes that call it differently leave the page its usual heading."""
    one = outcome(name="one", output_body=True) | {"schema": REVIEW | {"title": "Review & <grade>"}}
    other = outcome(name="other", output_body=True) | {"schema": REVIEW | {"title": "Another"}}

    _, named = await opened(full, post(one))
    _, unnamed = await opened(full, post(one, other))

    assert "Review &amp; &lt;grade&gt;</h1>" in named
    assert "Workflow task?</h1>" in unnamed


async def test_what_is_filled_in_becomes_the_body(full: Api) -> None:
    """Numbers are numbers, boxes are flags, what is empty is left out."""
    url, page = await opened(full, post(outcome(output_body=True) | {"schema": REVIEW}))
    filled = {"field-0": "1", "field-1": "Fine.", "field-2": "42", "field-3": "0,5"}

    await full.http.post(url, data=confirmed(page, **filled), headers=BROWSER)

    output = (
        '{"decision": "reject", "comment": "Fine.", "amount": 42, "share": 0.5, "urgent": false}'
    )
    assert full.sent == [("SendTaskSuccess", {"taskToken": TOKEN, "output": output})]


FAULTS = [
    ({"field-0": ""}, "field-0", "Fill in “Your decision”."),
    ({"field-0": "7"}, "field-0", "Fill in “Your decision”."),
    ({"field-1": " "}, "field-1", "Fill in “Comment”."),
    ({"field-1": "ab"}, "field-1", "Write at least 3 characters in “Comment”."),
    ({"field-1": "x" * 501}, "field-1", "Shorten “Comment” to 500 characters."),
    ({"field-2": "many"}, "field-2", "Write a number in “Amount”."),
    ({"field-2": "1.5"}, "field-2", "Write a number in “Amount”."),
    ({"field-2": "500"}, "decision", "The workflow cannot use these answers together."),
]


@pytest.mark.parametrize(("changes", "field", "sentence"), FAULTS)
async def test_a_wrong_field_is_named_and_nothing_that_was_typed_is_lost(
    full: Api, changes: dict[str, str], field: str, sentence: str
) -> None:
    """422, a summary that leads to the field, everything else as it was."""
    url, page = await opened(full, post(outcome(output_body=True) | {"schema": REVIEW}))
    filled = {"field-0": "0", "field-1": "Kept <b>", "field-4": "on", "field-3": "7"} | changes

    response = await full.http.post(url, data=confirmed(page, **filled), headers=BROWSER)

    assert response.status_code == 422
    assert f'<a href="#{field}">{sentence}' in unescape(response.text)
    assert 'value="7"' in response.text
    assert '<input type="checkbox" id="field-4" name="field-4" value="on" checked' in response.text
    assert "<b>" not in response.text
    assert full.sent == []


async def test_a_robot_that_submits_the_form_decides_nothing(full: Api) -> None:
    """Where every body fits, too: the box is ticked by nobody by default."""
    url, page = await opened(full, post(outcome(output=1)))

    response = await full.http.post(url, data=fields(page), headers=BROWSER)

    assert response.status_code == 422
    assert full.sent == []


async def test_outcomes_share_a_form_and_what_is_chosen_decides(full: Api) -> None:
    """Constants of the same member are its choices."""

    def choice(name: str, kind: str, **members: Any) -> Any:
        schema = {"properties": {"answer": {"const": name}}, "required": ["answer"]}
        return outcome(kind, **members) | {"schema": schema, "name": name}

    action = post(choice("yes", "success", output=1), choice("no", "failure", error="no"))
    url, page = await opened(full, action)

    await full.http.post(url, data=confirmed(page, **{"field-0": "1"}), headers=BROWSER)

    assert re.findall(r"<option value=\"(\d*)\">([^<]*)<", page) == [
        ("", "Choose one"),
        ("0", "yes"),
        ("1", "no"),
    ]
    assert full.sent == [("SendTaskFailure", {"taskToken": TOKEN, "error": "no"})]


async def test_a_text_that_is_the_whole_body_has_a_field(full: Api) -> None:
    """`{"type": "string"}` asks for one text."""
    url, page = await opened(full, post(outcome(output_body=True) | {"schema": {"type": "string"}}))

    await full.http.post(url, data=confirmed(page, **{"field-0": "Yes"}), headers=BROWSER)

    assert controls(page) == [("Answer", "field-0")]
    assert full.sent == [("SendTaskSuccess", {"taskToken": TOKEN, "output": '"Yes"'})]


async def test_what_a_workflow_writes_is_text(full: Api) -> None:
    """In names, titles, descriptions, choices and values."""
    evil = '"><script>alert(1)</script>'
    schema = {
        "properties": {
            evil: {"title": evil, "description": evil},
            "b": {"enum": [evil]},
        }
    }

    _, page = await opened(full, post(outcome(output=1) | {"schema": schema}))

    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"type": "integer"},
        {"properties": {"a": {"type": "array"}}, "required": ["a"]},
        {"properties": {f"m{n}": {"type": "string"} for n in range(50)}},
    ],
)
async def test_what_no_form_can_show_is_left_to_programs(full: Api, schema: Any) -> None:
    """The page says so; a program's JSON is taken as ever."""
    url = await full.url(post(outcome(output=1) | {"schema": schema}))

    response = await full.get(url, **BROWSER)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert "This address is used by a program" in response.text


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        (BEAT, "'self'"),
        ({**BEAT, "response": {"html": "<p>Thanks</p>"}}, "'self'"),
        ({**BEAT, "response": {"redirect": "HTTPS://thanks.example.com/you"}}, "'self' https:"),
        (post(outcome(output=1), response={"redirect": "http://127.0.0.1/"}), "'self' http:"),
        (
            post(
                outcome(output=1, response={"redirect": "https://a.example.com/"}),
                outcome(output=2, response={"redirect": "http://b.example.com/"}),
            ),
            "'self' http: https:",
        ),
    ],
)
async def test_a_form_may_be_answered_with_the_redirects_of_its_action(
    full: Api, action: Any, allowed: str
) -> None:
    """Browsers follow a form's redirects no further than the page's policy allows."""
    shown = await full.get(await full.url(action), **BROWSER)

    directives = shown.headers["content-security-policy"].split("; ")
    assert f"form-action {allowed}" in directives


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ({}, []),
        ({"properties": {"a": True, "b": False, "c": {}}}, ["a", "c"]),
        ({"properties": {"a": {"type": ["null", "integer"]}}}, ["a"]),
        ({"required": ["x"]}, ["x"]),
        ({"$ref": "#/definitions/r", "definitions": {"r": {"required": ["x"]}}}, ["x"]),
        ({"properties": {"a": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"type": "boolean"}}}, ["a"]),
        ({"properties": {"a": {"type": "object"}, "b": {"type": "string"}}}, ["b"]),
        ({"$ref": "#"}, []),
        ({"$ref": "#/$defs/0", "$defs": [{"required": ["x"]}]}, []),
        ({"$ref": "#/$defs/a", "$defs": {"a": True}}, []),
        ({"type": ["object", "null"], "properties": {"a": {}}}, ["a"]),
    ],
)
async def test_forms_are_made_of_many_schemas(schema: Any, names: list[str]) -> None:
    """References are followed, what is optional and no plain value is left out."""
    form = make_form([outcome(output=1) | {"schema": schema}])

    assert form is not None
    assert [field.member for field in form] == names


async def test_a_member_that_a_path_reads_has_a_field() -> None:
    """However the path is written, as long as it is plain."""
    for path in ("$.comment", "comment", "$['comment']"):
        form = make_form([outcome("failure", cause_path=path)])
        assert form is not None
        assert [(field.member, field.required) for field in form] == [("comment", False)]
