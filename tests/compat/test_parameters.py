"""Query parameters in outputs and responses."""

from typing import Any

import pytest

from app.approvals.compat.template import MAX_FILLED_CHARS
from tests.compat.api import APPROVE, BEAT, TOKEN, Api, outcome, post, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def url_of(api: Api, action: Any) -> str:
    """The address of an action whose templates are filled."""
    return await api.url(action, enable_output_parameters=True)


def output(*texts: str) -> list[tuple[str, Any]]:
    """What Step Functions is sent."""
    return [("SendTaskSuccess", {"taskToken": TOKEN, "output": text}) for text in texts]


@pytest.mark.parametrize(
    ("template", "query", "text"),
    [
        ("$who", "who=Ana", '"Ana"'),
        ("${who}!", "who=Ana", '"Ana!"'),
        ({"$k": ["$v", 5, None, {"x": "$v"}]}, "k=key&v=5", '{"key": ["5", 5, null, {"x": "5"}]}'),
        ("$action is $type", "", '"approve is success"'),
        ("$$5 and $$$a", "a=1", '"$5 and $1"'),
        ("$a", "a=%24b&b=2", '"$b"'),
        ("$a", "a=1&a=2", '"2"'),
        ("$a", "a=", '""'),
        ("$a", "a=%22%7D%2C", '"\\"},"'),
        ("$_A1", "_A1=x", '"x"'),
        ("$a", "a=%C3%A9%00", '"\\u00e9\\u0000"'),
        (["none"], "unused=1", '["none"]'),
    ],
)
async def test_parameters_fill_every_text_and_key(
    full: Api, template: Any, query: str, text: str
) -> None:
    """Once, as texts, the last of each name; action and type are parameters too."""
    url = await url_of(full, {**APPROVE, "output": template})

    response = await full.click(f"{url}&{query}")

    assert response.status_code == 200
    assert full.sent == output(text)


async def test_parameters_fill_error_and_cause(full: Api) -> None:
    """Both are templates."""
    url = await url_of(full, {"name": "no", "type": "failure", "error": "$e", "cause": "by $who"})

    await full.click(f"{url}&e=Late&who=Ana")

    failure = {"taskToken": TOKEN, "error": "Late", "cause": "by Ana"}
    assert full.sent == [("SendTaskFailure", failure)]


@pytest.mark.parametrize(
    ("accept", "text"),
    [
        ("application/json", '{"k":"<b>"}'),
        ("text/html", "<i>&lt;b&gt;</i>"),
        ("text/plain", "- <b>"),
    ],
)
async def test_parameters_fill_responses(full: Api, accept: str, text: str) -> None:
    """In pages they are escaped, which the original forgets."""
    response = {"json": {"$k": "$v"}, "html": "<i>$v</i>", "text": "- $v"}
    url = await url_of(full, {**BEAT, "response": response})

    answer = await full.click(f"{url}&k=k&v=%3Cb%3E", accept=accept)

    assert answer.text == text


async def test_a_redirect_is_no_template(full: Api) -> None:
    """Against the original's README, as it does."""
    url = await url_of(full, {**BEAT, "response": {"redirect": "https://example.com/$who"}})

    response = await full.click(f"{url}&who=Ana")

    assert response.headers["location"] == "https://example.com/$who"


@pytest.mark.parametrize(
    "action",
    [
        {**APPROVE, "output": {"deep": ["$who"]}},
        {**APPROVE, "output": {"$who": 1}},
        {"name": "approve", "type": "failure", "error": "$who"},
        {"name": "approve", "type": "failure", "cause": "$who"},
        {**APPROVE, "response": {"json": {"a": "$who"}}},
        {**APPROVE, "response": {"html": "$who"}},
        {**APPROVE, "response": {"text": "$who"}},
    ],
)
async def test_a_missing_parameter_stops_all_before_anything_is_sent(
    full: Api, action: Any
) -> None:
    """The original sends the decision and only then finds that its reply lacks something."""
    url = await url_of(full, action)

    refused = await full.click(url)
    accepted = await full.click(f"{url}&who=Ana")

    assert refused.status_code == 400
    assert refused.json() == {
        "error": "OutputFormatting",
        "message": "The parameter who is missing.",
    }
    assert (accepted.status_code, len(full.sent)) == (200, 1)


@pytest.mark.parametrize("text", ["5$", "$1", "$\u00f1", "$ a", "${a", "${a b}", "$-"])
@pytest.mark.parametrize("where", ["output", "html"])
async def test_a_dollar_without_meaning_is_refused_when_it_comes(
    full: Api, direct: bool, text: str, where: str
) -> None:
    """At the click it would be too late; the original answers 500 there."""
    action = {**APPROVE, "output": text}
    if where == "html":
        action = {**APPROVE, "response": {"html": text}}

    asked = await full.create(action, direct=direct, enable_output_parameters=True)
    unasked = await full.create(action, direct=direct)

    assert asked["error"] == "OutputFormatting"
    assert "urls" in unasked


async def test_without_being_asked_for_parameters_fill_nothing(full: Api) -> None:
    """The call decides; dollars stay."""
    url = await full.url({**APPROVE, "output": "$who $$ 5$"})

    await full.click(f"{url}&who=Ana")

    assert full.sent == output('"$who $$ 5$"')


async def test_post_actions_are_no_templates(full: Api) -> None:
    """Neither their outputs nor their responses."""
    action = post(outcome(output="$who"), response={"text": "$who"})
    url = await url_of(full, action)

    response = await full.answer(f"{url}&who=Ana", {}, accept="text/plain")

    assert response.text == "$who"
    assert full.sent == output('"$who"')


async def test_parameters_may_not_make_what_step_functions_refuses(full: Api) -> None:
    """Too long an error: nothing is sent."""
    url = await url_of(full, {"name": "no", "type": "failure", "error": "$a"})

    response = await full.click(f"{url}&a={'x' * 257}")

    assert response.json()["error"] == "OutputFormatting"
    assert full.sent == []


async def test_a_short_template_cannot_make_gigabytes(full: Api) -> None:
    """What parameters fill in is counted."""
    url = await url_of(full, {**APPROVE, "response": {"text": "$a" * 1000}})

    response = await full.click(f"{url}&a={'x' * (MAX_FILLED_CHARS // 1000 + 1)}")

    assert response.json()["error"] == "OutputFormatting"
    assert full.sent == []


async def test_the_switches_are_asked_at_the_click_too(
    full: Api, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Links that were made while it was allowed are refused once it is not."""
    path = tmp_path_factory.mktemp("switched")
    async with serving(path, output_parameters=True, post_actions=True) as before:
        url = await url_of(before, {**APPROVE, "output": "$who"})
        answer = await before.url(post(outcome(output=1)))
    async with serving(path) as after:
        by_parameters = await after.click(f"{url}&who=Ana")
        by_post = await after.answer(answer, {})
        by_get = await after.get(answer)
        mismatched = await after.click(f"{url}&who=Ana".replace("type=success", "type=x"))

    assert by_parameters.json()["error"] == "ParametersDisabled"
    assert by_post.json()["error"] == by_get.json()["error"] == "PostActionsDisabled"
    assert mismatched.json()["error"] == "ActionMismatched"
