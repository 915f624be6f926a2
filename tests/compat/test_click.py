"""Using callback URLs: what Step Functions is sent, and what the user is answered."""

import asyncio
import json
from urllib.parse import quote

import pytest

from tests.approvals.world import NOW
from tests.compat.api import APPROVE, BEAT, BROWSER, REJECT, TOKEN, Api
from tests.compat.recorder import TIMED_OUT

pytestmark = pytest.mark.asyncio(loop_scope="session")

SUCCESS = ("SendTaskSuccess", {"taskToken": TOKEN, "output": '{"approved": true}'})
FAILURE = {"taskToken": TOKEN, "error": "rejected", "cause": "Ana rejected it"}


async def test_a_success_sends_the_output_as_json(api: Api, direct: bool) -> None:
    """Spelled as the original spells it, once, and nothing is added to it."""
    output = {"a": [1, None, "é"], "b": {}}
    created = await api.create({**APPROVE, "output": output}, direct=direct)

    response = await api.click(created["urls"]["approve"])

    assert response.status_code == 200
    assert response.json() == {
        "transaction_id": created["transaction_id"],
        "action": {"name": "approve", "type": "success"},
    }
    text = '{"a": [1, null, "\\u00e9"], "b": {}}'
    assert api.sent == [("SendTaskSuccess", {"taskToken": TOKEN, "output": text})]


@pytest.mark.parametrize(
    "given", [{}, {"error": "e"}, {"cause": "c"}, {"error": "", "cause": ""}, {"error": "$x $$"}]
)
async def test_a_failure_sends_the_members_that_were_given(
    api: Api, direct: bool, given: dict[str, str]
) -> None:
    """What the call leaves out is not sent; dollars mean nothing without parameters."""
    action = {"name": "reject", "type": "failure", **given}

    response = await api.click(await api.url(action, direct=direct))

    assert response.json()["action"] == {"name": "reject", "type": "failure"}
    assert api.sent == [("SendTaskFailure", {"taskToken": TOKEN, **given})]


async def test_a_heartbeat_sends_the_token_and_may_be_repeated(api: Api, direct: bool) -> None:
    """It decides nothing: the other actions still work."""
    urls = await api.urls(APPROVE, BEAT, direct=direct)

    answers = [await api.click(urls["beat"]) for _ in range(3)]
    decided = await api.click(urls["approve"])

    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].json()["action"] == {"name": "beat", "type": "heartbeat"}
    assert api.sent == [("SendTaskHeartbeat", {"taskToken": TOKEN})] * 3 + [SUCCESS]
    assert decided.status_code == 200


@pytest.mark.parametrize("action", [APPROVE, REJECT, BEAT], ids=["success", "failure", "heartbeat"])
async def test_under_apply_a_get_does_the_same_as_a_post(old: Api, action: dict[str, str]) -> None:
    """At once, with the same answer."""
    by_post = await old.click(await old.url(action))
    by_get = await old.get(await old.url(action, token="another"))

    assert by_get.json()["action"] == by_post.json()["action"]
    assert [operation for operation, _ in old.sent] == [old.sent[0][0]] * 2


@pytest.mark.parametrize(
    ("content", "content_type"), [("{", "application/json"), ("a=b", "text/plain"), (b"\xff", "")]
)
async def test_the_body_of_a_post_is_not_looked_at(
    api: Api, content: bytes, content_type: str
) -> None:
    """Only post actions have a body."""
    response = await api.click(await api.url(APPROVE), content, content_type=content_type)

    assert response.status_code == 200
    assert api.sent == [SUCCESS]


@pytest.mark.parametrize("missing", ["action=approve&", "type=success&"])
async def test_action_and_type_may_be_missing_or_empty(api: Api, missing: str) -> None:
    """The data says it all."""
    url, other = await api.url(APPROVE), await api.url(APPROVE, token="another")
    name = missing.partition("=")[0]

    responses = [
        await api.click(url.replace(missing, "")),
        await api.click(other.replace(missing, f"{name}=&")),
    ]

    assert [response.status_code for response in responses] == [200, 200]


async def test_action_and_type_must_be_those_of_the_data(api: Api) -> None:
    """ActionMismatched names both; the original's message about the type names one twice."""
    url = await api.url(APPROVE)

    by_name = await api.click(url.replace("action=approve", "action=reject"))
    by_type = await api.click(url.replace("type=success", "type=failure"))

    assert [by_name.status_code, by_type.status_code] == [400, 400]
    assert by_name.json() == {
        "error": "ActionMismatched",
        "message": "The action name says reject in the url but approve in the payload",
    }
    assert by_type.json() == {
        "error": "ActionMismatched",
        "message": "The action type says failure in the url but success in the payload",
    }
    assert api.sent == []


async def test_the_name_is_compared_before_the_type(api: Api) -> None:
    """Both are wrong: the name is named."""
    url = (await api.url(APPROVE)).replace("action=approve&type=success", "action=x&type=y")

    assert "action name" in (await api.click(url)).json()["message"]


async def test_the_date_is_looked_at_before_the_name(api: Api) -> None:
    """Expired, with the date in UTC; nothing is sent."""
    url = await api.url(APPROVE, expiration="2025-11-12T10:00:00Z")
    api.world.clock.advance(hours=1)

    response = await api.click(url.replace("action=approve", "action=x"))

    assert response.status_code == 400
    assert response.json() == {
        "error": "ExpiredPayload",
        "message": "Response expired on 2025-11-12T10:00:00",
    }
    assert api.sent == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "InvalidPayload"),
        ("action=approve", "InvalidPayload"),
        ("data=", "InvalidPayload"),
        ("data=x", "InvalidPayload"),
        ("data=%ff%fe", "InvalidPayload"),
        ("data=é", "InvalidPayload"),
        ("data=" + "a" * 5000, "InvalidPayload"),
        ("data=....", "InvalidPayload"),
        ("data=3-AAAA", "InvalidPayload"),
        ("data=1-eyJ0b2tlbiI6ICJ0In0=", "EncryptionRequired"),
        ("data=2-AYADeA==", "DecryptionUnsupported"),
        ("&".join(f"p{number}=x" for number in range(500)), "InvalidPayload"),
    ],
)
async def test_data_that_is_not_ours_is_refused(api: Api, query: str, code: str) -> None:
    """Never 500; addresses of the original itself are known by their first characters."""
    response = await api.click(f"/respond?{query}")

    assert response.status_code == 400
    assert response.json()["error"] == code


async def test_changed_data_is_refused_wherever_it_was_changed(api: Api) -> None:
    """No character can be another one, added or left out; the original takes some of that."""
    url = await api.url(APPROVE)
    base, _, data = url.partition("data=")
    changed = [data[:n] + "A" + data[n + 1 :] for n in range(len(data)) if data[n] != "A"]
    longer = [data + more for more in ("A", "=", "AAAA", "!", data)]

    codes = {
        (await api.click(f"{base}data={quote(text)}")).json()["error"]
        for text in (*changed, *longer, data[:-1])
    }

    assert codes == {"InvalidPayload"}
    assert api.sent == []


async def test_the_link_of_a_mail_is_no_callback(api: Api) -> None:
    """What one door opens, the other does not."""
    approval = await api.world.mint("mailed", execution_arn=None)
    link = api.world.service.link(approval, 0, 0).rpartition("/")[2]

    response = await api.click(f"/respond?data={link}")

    assert response.json()["error"] == "InvalidPayload"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "application/json"),
        ("TEXT/HTML", "application/json"),
        ("image/png", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/plain, application/json", "text/plain; charset=utf-8"),
        ("text/html;q=0, application/json", "text/html; charset=utf-8"),
        ("image/png, text/html;level=1", "text/html; charset=utf-8"),
        ("application/json;q=0.1,text/html", "application/json"),
    ],
)
async def test_the_answer_is_of_the_first_known_type(api: Api, accept: str, kind: str) -> None:
    """In the order of Accept; weights, cases and wildcards are not looked at."""
    accepted = await api.click(await api.url(APPROVE), accept=accept)
    refused = await api.click("/respond?data=x", accept=accept)

    assert (accepted.status_code, accepted.headers["content-type"]) == (200, kind)
    assert (refused.status_code, refused.headers["content-type"]) == (400, kind)


async def test_a_text_is_the_json_indented(api: Api) -> None:
    """By two spaces."""
    created = await api.create(APPROVE)

    response = await api.click(created["urls"]["approve"], accept="text/plain")

    assert response.text == json.dumps(
        {
            "transaction_id": created["transaction_id"],
            "action": {"name": "approve", "type": "success"},
        },
        indent=2,
    )


async def test_a_page_says_in_words_what_happened(api: Api) -> None:
    """With the details; everything an address said is escaped, and nothing runs."""
    url = await api.url(APPROVE)
    evil = quote("<script>alert(1)</script>")

    refused = await api.click(url.replace("action=approve", f"action={evil}"), accept="text/html")
    accepted = await api.click(url, accept="text/html")

    assert "<h1>Response rejected!</h1>" in refused.text
    assert "<script" not in refused.text and "&lt;script&gt;" in refused.text
    assert "<h1>Response accepted!</h1>" in accepted.text
    assert "&#34;approve&#34;" in accepted.text.partition("<pre")[2]
    for response in (refused, accepted):
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"


OWN = {"json": {"ok": [1]}, "html": "<b>Thanks</b><script>alert(1)</script>", "text": "Thanks"}


@pytest.mark.parametrize(
    ("accept", "body"),
    [("application/json", '{"ok":[1]}'), ("text/html", OWN["html"]), ("text/plain", "Thanks")],
)
@pytest.mark.parametrize("action", [APPROVE, BEAT], ids=["success", "heartbeat"])
async def test_a_response_replaces_the_body_of_its_type(
    api: Api, action: dict[str, str], accept: str, body: str
) -> None:
    """And of its type only; a page of the caller's runs in a sandbox."""
    url = await api.url({**action, "response": OWN})

    response = await api.click(url, accept=accept)

    assert (response.status_code, response.text) == (200, body)
    if accept == "text/html":
        assert response.headers["content-security-policy"] == "sandbox"


async def test_another_type_than_the_response_has_is_answered_as_ever(api: Api) -> None:
    """A text does not replace JSON."""
    url = await api.url({**APPROVE, "response": {"text": "Thanks"}})

    assert "transaction_id" in (await api.click(url)).json()


async def test_a_response_is_not_for_refusals(api: Api) -> None:
    """It replaces what is said on success only."""
    url = await api.url({**APPROVE, "response": OWN | {"redirect": "https://example.com"}})

    response = await api.click(url.replace("type=success", "type=failure"))

    assert response.json()["error"] == "ActionMismatched"


async def test_a_redirect_wins_over_all_other_responses(api: Api) -> None:
    """303 to where the caller wants, without a body, after the workflow was told."""
    there = "https://example.com/thanks?a=$b"
    url = await api.url({**APPROVE, "response": OWN | {"redirect": there}})

    response = await api.click(url, accept="text/html")

    assert (response.status_code, response.content) == (303, b"")
    assert response.headers["location"] == there
    assert api.sent == [SUCCESS]


@pytest.mark.parametrize("code", ["InvalidToken", "TaskDoesNotExist", "TaskTimedOut"])
@pytest.mark.parametrize("action", [APPROVE, REJECT, BEAT], ids=["success", "failure", "heartbeat"])
async def test_a_task_that_nobody_waits_for_is_a_step_functions_error(
    api: Api, action: dict[str, str], code: str
) -> None:
    """400 with AWS's code; a second try says the same and sends nothing more."""
    url = await api.url(action)
    api.recorder.refuse(code)

    first = await api.click(url)
    second = await api.click(url)

    for response in (first, second):
        assert response.status_code == 400
        assert response.json()["error"] == "StepFunctionsError"
        assert response.json()["message"].startswith(f"{code}:")
        assert "decision" not in response.json()
    assert len(api.sent) == 1


async def test_an_output_that_step_functions_refuses_is_a_step_functions_error(api: Api) -> None:
    """The click counts all the same: it is sent again, for the operator may mend it."""
    url = await api.url(APPROVE)
    api.recorder.refuse("InvalidOutput")

    response = await api.click(url)
    await api.world.settle()

    assert response.status_code == 400
    assert response.json()["message"].startswith("InvalidOutput:")
    assert api.sent == [SUCCESS, SUCCESS]


async def test_a_second_use_of_a_link_is_refused_and_told_so(api: Api) -> None:
    """400 as from Step Functions, and what was decided when; nothing is sent twice."""
    url = await api.url(APPROVE)
    await api.click(url)
    api.world.clock.advance(hours=1)

    response = await api.click(url)

    assert response.status_code == 400
    assert response.json() == {
        "error": "StepFunctionsError",
        "message": f"TaskTimedOut:{TIMED_OUT} (already decided: approve at "
        "2025-11-12T09:41:00.000Z)",
        "decision": {"action": "approve", "at": "2025-11-12T09:41:00.000Z"},
    }
    assert api.sent == [SUCCESS]


async def test_a_second_get_under_apply_is_refused_too(old: Api) -> None:
    """The original's own integration tests ask for it."""
    url = await old.url(APPROVE)

    assert [(await old.get(url)).status_code for _ in range(2)] == [200, 400]


async def test_the_second_action_of_a_call_is_told_of_the_first(api: Api, direct: bool) -> None:
    """The first decision is the only one; a heartbeat comes too late as well."""
    urls = await api.urls(APPROVE, REJECT, BEAT, direct=direct)
    await api.click(urls["reject"])

    late = [await api.click(urls[name]) for name in ("approve", "beat")]

    assert [response.status_code for response in late] == [400, 400]
    assert [response.json()["decision"]["action"] for response in late] == ["reject", "reject"]
    assert api.sent == [("SendTaskFailure", FAILURE)]


async def test_a_late_click_in_a_browser_is_no_rejection(api: Api) -> None:
    """Whose decision counted is not told that it was rejected."""
    url = await api.url(APPROVE)
    await api.click(url)

    response = await api.click(url, accept="text/html")

    assert response.status_code == 400
    assert "<h1>Already answered</h1>" in response.text and "rejected" not in response.text


async def test_of_many_clicks_at_once_one_counts(api: Api) -> None:
    """Both actions, from all sides: one call to Step Functions, one accepted answer."""
    urls = await api.urls(APPROVE, REJECT)

    answers = await asyncio.gather(
        *(api.click(urls[name]) for name in ("approve", "reject") for _ in range(16))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 31
    assert len(api.sent) == 1


async def test_calls_for_one_token_are_apart(api: Api) -> None:
    """Each call's links work; which answer the task takes is Step Functions' word."""
    first, second = await api.url(APPROVE), await api.url(APPROVE)

    answers = [await api.click(first), await api.click(second)]

    assert [answer.status_code for answer in answers] == [200, 400]
    assert api.sent == [SUCCESS, SUCCESS]
    assert answers[1].json()["error"] == "StepFunctionsError"


async def test_what_the_workflow_was_not_told_yet_is_recorded_and_delivered(api: Api) -> None:
    """The click counts at once; the answer says that delivery is still owed."""
    urls = await api.urls(APPROVE, REJECT)
    api.recorder.refuse("ThrottlingException")

    response = await api.click(urls["approve"])
    other = await api.click(urls["reject"])
    await api.world.settle()

    assert response.status_code == 200
    assert response.json()["delivered"] is False
    assert other.json()["decision"]["action"] == "approve"
    assert api.sent == [SUCCESS, SUCCESS]


async def test_a_heartbeat_that_is_not_sent_is_a_service_error(api: Api) -> None:
    """Nothing keeps heartbeats for later, so the caller hears of it."""
    url = await api.url(BEAT)
    api.recorder.refuse("ThrottlingException")

    response = await api.click(url)

    assert response.status_code == 503
    assert response.json()["error"] == "ServiceError"
    assert (await api.click(url)).status_code == 200


async def test_a_withdrawn_call_is_refused(api: Api) -> None:
    """Operators can withdraw what nobody decided."""
    created = await api.create(APPROVE, BEAT)
    approvals, _ = await api.world.store.list(None, 1, None)
    await api.world.service.revoke(approvals[0].id)

    responses = [await api.click(url) for url in created["urls"].values()]

    assert [response.json()["error"] for response in responses] == ["ExpiredPayload"] * 2
    assert api.sent == []


async def test_without_an_expiration_a_link_lives_as_long_as_a_task_may(api: Api) -> None:
    """A year, Step Functions' own limit."""
    url = await api.url(APPROVE)
    api.world.clock.advance(days=364)

    assert (await api.click(url)).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_do_nothing(old: Api, method: str) -> None:
    """405 with those that exist."""
    response = await old.http.request(method, await old.url(APPROVE))

    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert old.sent == []


async def test_approvals_of_callbacks_are_seen_like_all_others(api: Api) -> None:
    """State, actions and decision; never token or link. The audit holds."""
    urls = await api.urls(APPROVE, REJECT, expiration="2026-01-01T00:00:00Z")
    await api.click(urls["reject"])
    headers = {"Authorization": f"Bearer {api.key}"}

    listed = (await api.http.get("/approvals?limit=1", headers=headers)).json()["approvals"][0]
    audit = (await api.http.get(f"/approvals/{listed['id']}/audit", headers=headers)).json()

    assert listed["state"] == "DELIVERED"
    assert listed["recipients"] == []
    assert listed["expires_at"] == "2026-01-01T00:00:00.000Z"
    assert listed["decision"] == {
        "action": "reject",
        "by": "",
        "at": NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "comment": None,
    }
    assert [entry["event"] for entry in audit["entries"]] == ["CREATED", "DECIDED", "DELIVERED"]
    assert audit["verified"]
    assert audit["entries"][1]["from_ip"] == "192.0.2.7"


async def test_a_browser_header_alone_decides_nothing_by_itself(api: Api) -> None:
    """A POST with a browser's Accept is still a POST: it does what the link says."""
    response = await api.click(await api.url(APPROVE), **BROWSER)

    assert response.status_code == 200
    assert api.sent == [SUCCESS]
