"""Making callback URLs: what is taken, what is refused, in which order, and what is answered."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.approvals.compat.callbacks import CallbackUrls
from app.approvals.compat.link import Switches
from app.approvals.compat.rules import PostRules
from app.approvals.links import MAX_LINK
from app.approvals.model import Approval, Request
from app.errors import TooLarge
from tests.approvals.world import BASE_URL, OTHER_BASE_URL
from tests.compat.api import APPROVE, BEAT, REJECT, TOKEN, Api, outcome, post

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALL = {"token": TOKEN, "actions": [APPROVE]}


async def test_a_call_is_answered_with_a_transaction_and_an_address_per_action(
    api: Api, direct: bool
) -> None:
    """Transaction id of 32 hexadecimal digits, addresses by name, nothing more."""
    answer = await api.create(APPROVE, REJECT, BEAT, direct=direct)

    assert list(answer) == ["transaction_id", "urls"]
    assert re.fullmatch(r"[0-9a-f]{32}", answer["transaction_id"])
    assert list(answer["urls"]) == ["approve", "reject", "beat"]


async def test_an_address_names_action_type_and_data_in_that_order(api: Api) -> None:
    """`<base>/respond?action=<name>&type=<type>&data=<reference>`."""
    url = await api.url(REJECT)

    assert url.startswith(f"{BASE_URL}/respond?action=reject&type=failure&data=")
    assert [name for name, _ in parse_qsl(urlsplit(url).query)] == ["action", "type", "data"]


async def test_addresses_are_short_and_tell_nothing(full: Api) -> None:
    """Below 200 characters with a token of 700, where the original needs 1,304 to 2,155."""
    secret = {"name": "approve", "type": "success", "output": {"secret": "s3cr3t" * 1000}}

    urls = await full.urls(secret, REJECT, BEAT, post(outcome(output_body=True)))

    assert max(map(len, urls.values())) < 200
    data = [dict(parse_qsl(urlsplit(url).query))["data"] for url in urls.values()]
    assert all(len(text) <= MAX_LINK and re.fullmatch(r"[\w.-]+", text, re.ASCII) for text in data)
    assert not any(part in url for url in urls.values() for part in (TOKEN[:8], "s3cr3t"))


async def test_every_call_is_a_transaction_of_its_own(api: Api) -> None:
    """The same call twice gives other addresses, as with the original."""
    first, second = await api.create(APPROVE), await api.create(APPROVE)

    assert first["transaction_id"] != second["transaction_id"]
    assert first["urls"] != second["urls"]


async def test_the_answer_over_http_is_json_that_nobody_keeps(api: Api) -> None:
    """Content type and caching are said; API Gateway added the first to the original's."""
    response = await api.post_urls(json.dumps(CALL))

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert "warning" not in response.headers


async def test_an_answer_under_apply_carries_a_warning(old: Api) -> None:
    """Who lets a GET decide is told with each call; the body stays as it is."""
    response = await old.post_urls(json.dumps(CALL))

    assert "SIGNOFF_CALLBACK_GET=apply" in response.headers["warning"]
    assert list(response.json()) == ["transaction_id", "urls"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_than_post_is_not_allowed(api: Api, method: str) -> None:
    """405, `Allow: POST`, no body; before anything else is looked at."""
    response = await api.http.request(method, "/urls", content="{")

    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["allow"] == "POST"


async def test_a_call_needs_the_api_key(api: Api) -> None:
    """As the original needs IAM."""
    response = await api.http.post("/urls", json=CALL)

    assert response.status_code == 401
    assert response.json()["error"] == "unauthorized"


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "text/plain", ""]
)
async def test_another_content_type_is_not_taken(api: Api, content_type: str) -> None:
    """Exactly `application/json`, else 415 without a body; before the JSON is read."""
    response = await api.post_urls("{", **{"Content-Type": content_type})

    assert (response.status_code, response.content) == (415, b"")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "\ufeff{}", "[" * 100_000, '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}'),
        *('{"token": "a", "token": "b", "actions": []}', "{}", '{"a": "\\ud800"}', '"text"', "[]"),
    ],
)
async def test_what_is_no_json_object_is_invalid_json(api: Api, text: str) -> None:
    """400 without a transaction; an empty body and deep nesting crash the original."""
    response = await api.post_urls(text)

    assert response.status_code == 400
    assert response.json()["error"] == "InvalidJSON"
    assert list(response.json()) == ["error", "message"]


INVALID_CALLS: list[Any] = [
    {"token": "t"},
    {"actions": [APPROVE]},
    {"token": 1, "actions": [APPROVE]},
    {"token": None, "actions": [APPROVE]},
    {"token": "", "actions": [APPROVE]},
    {"token": "t" * 2049, "actions": [APPROVE]},
    {"token": "t", "actions": []},
    {"token": "t", "actions": {}},
    {"token": "t", "actions": [1]},
    {"token": "t", "actions": [APPROVE], "callback": "x"},
    {"token": "t", "actions": [APPROVE], "expiration": 5},
    {"token": "t", "actions": [APPROVE], "enable_output_parameters": "true"},
    {"token": "t", "actions": [APPROVE], "base_url": 5},
    {"token": "t", "actions": [APPROVE], "base_url": None},
    {"token": "t", "actions": [APPROVE], "base_url": {"api_id": "a"}},
    {"token": "t", "actions": [APPROVE], "base_url": {"api_id": "a", "stage": "v1", "x": "y"}},
]


@pytest.mark.parametrize("call", INVALID_CALLS, ids=lambda call: json.dumps(call)[-50:])
async def test_a_call_of_another_shape_is_invalid_json(api: Api, direct: bool, call: Any) -> None:
    """Only known fields, of their types; token and actions are needed."""
    answer = await api.call(direct, call)

    assert answer["error"] == "InvalidJSON"
    assert list(answer) == ["error", "message"]


INVALID_ACTIONS: list[Any] = [
    {"type": "success", "output": 1},
    {"name": "", "type": "success", "output": 1},
    {"name": "a-b", "type": "success", "output": 1},
    {"name": "a b", "type": "success", "output": 1},
    {"name": "approve\n", "type": "success", "output": 1},
    {"name": 5, "type": "success", "output": 1},
    {"name": "n" * 101, "type": "success", "output": 1},
    {"name": "a", "output": 1},
    {"name": "a", "type": "other", "output": 1},
    {"name": "a", "type": "Success", "output": 1},
    {"name": "a", "type": ["success"], "output": 1},
    {"name": "a", "type": "success"},
    {"name": "a", "type": "success", "output": "x" * 262_143},
    {"name": "a", "type": "failure", "error": 5},
    {"name": "a", "type": "failure", "cause": None},
    {"name": "a", "type": "failure", "error": "x" * 257},
    {"name": "a", "type": "failure", "cause": "x" * 32_769},
    {"name": "a", "type": "heartbeat", "response": "x"},
    {"name": "a", "type": "heartbeat", "response": {"json": "x"}},
    {"name": "a", "type": "heartbeat", "response": {"html": {}}},
    {"name": "a", "type": "heartbeat", "response": {"text": 1}},
    {"name": "a", "type": "heartbeat", "response": {"redirect": 1}},
    {"name": "a", "type": "post"},
    {"name": "a", "type": "post", "outcomes": []},
    post({"name": "o", "type": "success", "output": 1}),
    post({"name": "o", "type": "success", "output": 1, "schema": True}),
    post({"name": "o", "type": "post", "schema": {}}),
    post({"name": "o-", "type": "heartbeat", "schema": {}}),
    post({"type": "heartbeat", "schema": {}}),
    post(outcome()),
    post(outcome(output=1, output_path="$")),
    post(outcome(output=1, output_body=True)),
    post(outcome(output_body=False)),
    post(outcome(output_path=1)),
    post(outcome("failure", error="x", error_path="$")),
    post(outcome("failure", cause="x", cause_path="$")),
    post(outcome("failure", error_path=5)),
]


@pytest.mark.parametrize("action", INVALID_ACTIONS, ids=lambda action: json.dumps(action)[:60])
async def test_an_action_of_another_shape_is_invalid_json(
    full: Api, direct: bool, action: Any
) -> None:
    """What can never work is refused when it comes, not when somebody clicks."""
    answer = await full.create(action, direct=direct)

    assert answer["error"] == "InvalidJSON"
    assert "actions[0]" in answer["message"]
    assert "transaction_id" not in answer


@pytest.mark.parametrize(
    "redirect",
    [
        *("javascript:alert(1)", "data:text/html,x", "//evil.example", "/relative", "https:evil"),
        *("https://good@evil.example", "/\\evil", "https://x\r\nSet-Cookie: a", "https://a b"),
        *(
            "ftp://x",
            "https://",
            "https://\u0430\u0440\u0440l\u0435.com",
            "http://x:99999",
            "",
            "x",
        ),
    ],
)
async def test_a_redirect_leads_to_a_web_address_or_is_refused(api: Api, redirect: str) -> None:
    """The original takes anything, scripts too."""
    answer = await api.create({**BEAT, "response": {"redirect": redirect}})

    assert answer["error"] == "InvalidJSON"
    assert answer["message"].startswith("actions[0].response.redirect")


VALID_ACTIONS: list[Any] = [
    {"name": "a", "type": "success", "output": None},
    {"name": "a", "type": "success", "output": "text"},
    {"name": "a", "type": "success", "output": [1, {"b": []}]},
    {"name": "a", "type": "success", "output": "x" * 262_142},
    {"name": "a", "type": "failure"},
    {"name": "a", "type": "failure", "error": "", "cause": "x" * 32_768},
    {"name": "a", "type": "failure", "error": "x" * 256},
    {"name": "Ünï_١٢", "type": "heartbeat"},
    {"name": "a", "type": "heartbeat", "unknown": "kept by the original"},
    {"name": "a", "type": "heartbeat", "response": {}},
    {"name": "a", "type": "heartbeat", "response": {"json": {}, "xml": "ignored"}},
    {"name": "a", "type": "heartbeat", "response": {"redirect": "HTTPS://Example.com/a?b=c#d"}},
    post(outcome(output=None)),
    post(outcome(output_body=True), outcome("heartbeat"), outcome("failure")),
    post(outcome("failure", error_path="$.a", cause="c"), response={"text": "t"}),
]


@pytest.mark.parametrize("action", VALID_ACTIONS, ids=lambda action: json.dumps(action)[:60])
async def test_what_the_original_takes_is_taken(full: Api, direct: bool, action: Any) -> None:
    """All types, with and without what is optional; unknown fields of actions are no fault."""
    answer = await full.create(action, direct=direct)

    assert list(answer["urls"]) == [action["name"]]


async def test_names_are_compared_with_their_case(api: Api, direct: bool) -> None:
    """`a` and `A` are two actions; twice `a` is refused, with the transaction."""
    one, other = {**BEAT, "name": "a"}, {**BEAT, "name": "A"}

    assert list((await api.create(one, other, direct=direct))["urls"]) == ["a", "A"]
    refused = await api.create(one, other, one, direct=direct)
    assert list(refused) == ["transaction_id", "error", "message"]
    assert refused["error"] == "DuplicateActionName"


async def test_outcome_names_need_not_differ(full: Api) -> None:
    """Only actions are told apart by name."""
    assert await full.urls(post(outcome("failure"), outcome("heartbeat")))


async def test_post_actions_need_their_switch(api: Api, direct: bool) -> None:
    """PostActionsDisabled as the service comes."""
    answer = await api.create(APPROVE, post(outcome(output=1)), direct=direct)

    assert answer["error"] == "PostActionsDisabled"


async def test_parameters_need_their_switch_but_not_for_post_actions(
    api: Api, full: Api, direct: bool
) -> None:
    """ParametersDisabled for whoever asks for them; post actions never use them."""
    refused = await api.create(APPROVE, direct=direct, enable_output_parameters=True)

    assert refused["error"] == "ParametersDisabled"
    assert "urls" in await api.create(APPROVE, direct=direct, enable_output_parameters=False)
    assert "urls" in await full.create(APPROVE, direct=direct, enable_output_parameters=True)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"pattern": "("},
        {"patternProperties": {"(": {}}},
        {"$ref": "#/definitions/missing"},
        {"$ref": "https://schemas.example.com/answer.json"},
        {"$ref": "http://127.0.0.1:1/secret"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"allOf": [{"$ref": "other.json"}]}}},
        {"$schema": ["x"]},
        {"required": "a"},
        # Not looked at by draft 7, but for the reference.
        {"$ref": "#/$defs/a", "$defs": {"a": {"properties": 5}}},
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"maxLength": "x"}}},
        {"$ref": "#/x/a", "x": {"a": {"$ref": "#/x/b"}, "b": {"required": [{}]}}},
        {"$ref": "#/enum/0", "enum": [5]},
    ],
)
async def test_a_schema_that_cannot_be_used_is_refused(
    full: Api, direct: bool, schema: Any
) -> None:
    """The original finds out at the click, with 500, or fetches what the schema names."""
    answer = await full.create(post(outcome(output=1) | {"schema": schema}), direct=direct)

    assert answer["error"] == "InvalidPostActionOutcome"
    assert "transaction_id" in answer


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/definitions/a", "definitions": {"a": {"type": "string"}}},
        {"$ref": "http://json-schema.org/draft-07/schema#"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{}]},
        {"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": True}
        | {"minimum": 1},
        {"$schema": "https://nobody.example/knows"},
        {"const": {"$ref": "not a reference"}},
        {"properties": {"$ref": {"type": "string"}}},
        {"$id": "https://x.example/a", "$ref": "b", "definitions": {"b": {"$id": "b"}}},
    ],
)
async def test_a_schema_of_any_dialect_is_taken(full: Api, schema: Any) -> None:
    """Draft 7 unless it says otherwise; references to itself and to the dialects."""
    assert await full.urls(post(outcome(output=1) | {"schema": schema}))


@pytest.mark.parametrize("name", ["output_path", "error_path", "cause_path"])
@pytest.mark.parametrize("path", ["$[", "", "$.a..", "$.a[?(]", "$" * 5000])
async def test_a_path_that_is_none_is_refused(
    full: Api, direct: bool, name: str, path: str
) -> None:
    """InvalidJsonPath, after the schemas of the action."""
    kind = "success" if name == "output_path" else "failure"

    answer = await full.create(post(outcome(kind, **{name: path})), direct=direct)

    assert answer["error"] == "InvalidJsonPath"


FAULTS: list[tuple[str, Any]] = [
    ("InvalidDate", {"expiration": "never"}),
    ("DuplicateActionName", {"actions": [BEAT, BEAT, post(outcome(output=1))]}),
    ("PostActionsDisabled", {"actions": [post(outcome(output=1) | {"schema": {"type": 1}})]}),
    ("ParametersDisabled", {"actions": [BEAT, BEAT], "enable_output_parameters": True}),
]


@pytest.mark.parametrize(("code", "changes"), FAULTS, ids=[code for code, _ in FAULTS])
async def test_the_first_fault_is_the_answer(
    api: Api, direct: bool, code: str, changes: Any
) -> None:
    """Shape, expiration, then action by action: name, switch, schemas, paths, parameters."""
    shapeless = await api.call(direct, CALL | changes | {"unknown": 1})
    answer = await api.call(direct, CALL | {"actions": [BEAT]} | changes)

    assert shapeless["error"] == "InvalidJSON"
    assert answer["error"] == code


async def test_schemas_are_looked_at_before_paths(full: Api) -> None:
    """All of one action's, before its paths, before the next action."""
    broken_path, broken_schema = outcome(output_path="$["), outcome(output=1)
    broken_schema["schema"] = {"type": "nothing"}

    answer = await full.create(post(broken_path, broken_schema), BEAT, BEAT)

    assert answer["error"] == "InvalidPostActionOutcome"


async def test_an_expiration_is_looked_at_before_the_actions(api: Api) -> None:
    """InvalidDate though the names are the same too."""
    answer = await api.create(BEAT, BEAT, expiration="2000-01-01")

    assert answer["error"] == "InvalidDate"


async def test_one_bad_action_fails_the_whole_call(api: Api, direct: bool) -> None:
    """Nothing is stored of it."""
    before = await api.world.store.list(None, 1, None)

    await api.create(APPROVE, post(outcome(output=1)), direct=direct)

    assert await api.world.store.list(None, 1, None) == before


@pytest.mark.parametrize("wanted", [BASE_URL, BASE_URL + "/", OTHER_BASE_URL, OTHER_BASE_URL + "/"])
async def test_addresses_begin_as_the_call_says_if_that_is_here(
    api: Api, direct: bool, wanted: str
) -> None:
    """A string breaks the original; a slash at its end is cut."""
    answer = await api.create(APPROVE, direct=direct, base_url=wanted)

    assert answer["urls"]["approve"].startswith(wanted.rstrip("/") + "/respond?action=approve&")


async def test_a_base_url_may_be_given_in_parts(api: Api) -> None:
    """The undocumented object of the original: API, stage, region."""
    parts = {"api_id": "abc123", "stage": "v1", "region": "eu-west-1"}

    url = await api.url(APPROVE, base_url=parts)

    assert url.startswith(OTHER_BASE_URL + "/respond?")


@pytest.mark.parametrize(
    "wanted",
    [
        *("https://evil.example", BASE_URL + ".evil.example", BASE_URL + "@evil.example", "", "x"),
        *({"api_id": "evil", "stage": "v1"}, {"api_id": "evil.example/?", "stage": "v1"}),
    ],
)
async def test_addresses_never_lead_elsewhere(api: Api, direct: bool, wanted: Any) -> None:
    """Only to addresses that the operator named."""
    answer = await api.create(APPROVE, direct=direct, base_url=wanted)

    assert answer["error"] == "InvalidBaseUrl"


@pytest.mark.parametrize("event", ['{"token": "t"}', 5, None, [], {"actions": [{1: 2}]}])
async def test_an_event_that_is_no_object_is_not_for_this_api(api: Api, event: Any) -> None:
    """A text with JSON in it is refused, as by the original."""
    answer = await api.function._urls.invoke(event)

    assert answer["error"] == "InvalidJSON"


async def test_an_event_may_hold_nothing_that_cannot_be_stored(api: Api) -> None:
    """What Lambda's parser lets through is found here."""
    for output in (float("nan"), float("inf"), 10**30, "\ud800"):
        action = {"name": "a", "type": "success", "output": output}
        assert (await api.create(action, direct=True))["error"] == "InvalidJSON"


async def test_an_error_echoes_neither_token_nor_output(api: Api, direct: bool) -> None:
    """What is refused is named by its place."""
    answer = await api.create({**APPROVE, "output": "s3cr3t", "type": "s3cr3t"}, direct=direct)

    assert "s3cr3t" not in json.dumps(answer) and TOKEN[:9] not in json.dumps(answer)


class SmallStore:
    """A service whose store takes nothing as large as this."""

    async def open(self, new_id: str, task_token: str, request: Request) -> Approval:
        """Refuse."""
        raise TooLarge("The request is too large to be stored.")


async def test_a_call_that_the_store_cannot_hold_is_refused(api: Api) -> None:
    """DynamoDB's items have an end; a direct invocation gets a value, too."""
    small = CallbackUrls(
        service=SmallStore(),
        links=api.world.links,
        rules=PostRules(),
        switches=Switches(),
        base_url=BASE_URL,
        clock=api.world.clock,
    )

    status, answer = await small.create(CALL)

    assert status == 413
    assert (answer["error"], "transaction_id" in answer) == ("RequestTooLarge", True)
