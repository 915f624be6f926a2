"""Post actions by programs: a JSON body chooses the outcome."""

import asyncio
import json
import time
from typing import Any

import pytest

from app.approvals.compat.rules import MAX_WAITING, Chosen, PostRules
from app.approvals.model import Payload
from app.errors import CallbackRefused
from tests.compat.api import TOKEN, Api, outcome, post

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITH_COMMENT = {
    "type": "object",
    "properties": {"comment": {"type": "string"}},
    "required": ["comment"],
}


def sent(api: Api) -> Any:
    """What Step Functions was sent, once."""
    [(operation, body)] = api.sent
    assert body.pop("taskToken") == TOKEN
    return operation, body


async def test_the_answer_names_the_action_and_not_the_outcome(full: Api, direct: bool) -> None:
    """Type post, whatever the outcome's was."""
    created = await full.create(post(outcome("failure")), direct=direct)

    response = await full.answer(created["urls"]["answer"], {})

    assert response.json() == {
        "transaction_id": created["transaction_id"],
        "action": {"name": "answer", "type": "post"},
    }
    assert sent(full) == ("SendTaskFailure", {})


async def test_only_a_post_will_do(full: Api, old: Api) -> None:
    """405 with `Allow: POST` and no body, where a GET decides as well."""
    for api in (full, old):
        response = await api.get(await api.url(post(outcome(output=1))))

        assert (response.status_code, response.content) == (405, b"")
        assert response.headers["allow"] == "POST"
        assert api.sent == []


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
async def test_only_json_will_do(full: Api, content_type: str, status: int) -> None:
    """With parameters, in lower case; else 415 without a body."""
    url = await full.url(post(outcome(output=1)))

    response = await full.answer(url, b"{}", content_type=content_type)

    assert response.status_code == status
    assert status == 200 or (response.content, full.sent) == (b"", [])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": NaN}', b'{"a":1,"a":2}', b"[" * 9999])
async def test_a_body_that_is_no_json_is_refused_with_a_reason(full: Api, body: bytes) -> None:
    """The original answers nothing, or 500."""
    response = await full.answer(await full.url(post(outcome(output=1))), body)

    assert response.status_code == 400
    assert response.json()["error"] == "InvalidPostActionBody"
    assert full.sent == []


async def test_the_first_outcome_that_fits_is_taken(full: Api) -> None:
    """In their order, whatever their names."""
    action = post(
        outcome("failure", error="no") | {"schema": {"const": "no"}},
        outcome(output="first") | {"schema": {"type": "string"}},
        outcome(output="second") | {"schema": {"type": ["string", "integer"]}},
    )
    told = []
    for body in ("no", "x", 5, None):
        response = await full.answer(await full.url(action), body)
        told.append((response.status_code, response.json().get("error")))

    # One token for all: Step Functions takes the first answer to it.
    closed = (400, "StepFunctionsError")
    assert told == [(200, None), closed, closed, (400, "InvalidPostActionBody")]
    assert [body.get("output", body.get("error")) for _, body in full.sent] == [
        "no",
        '"first"',
        '"second"',
    ]


async def test_the_order_of_questions_is_switch_method_type_body(full: Api) -> None:
    """Each is asked before the next one's answer is looked at."""
    url = await full.url(post(outcome(output=1) | {"schema": {"type": "string"}}))

    method = await full.get(url, content_type="text/plain")
    kind = await full.click(url, "{", content_type="text/plain")
    text = await full.answer(url, b"{")
    misfit = await full.answer(url, 5)

    statuses = [response.status_code for response in (method, kind, text, misfit)]
    assert statuses == [405, 415, 400, 400]
    assert "fits no outcome" not in text.json()["message"]
    assert "fits no outcome" in misfit.json()["message"]


async def test_an_action_is_decided_once_whatever_the_outcome(full: Api) -> None:
    """A second body is told what was decided."""
    url = await full.url(post(outcome(output_body=True)))

    first, second = await full.answer(url, 1), await full.answer(url, 2)

    assert (first.status_code, second.status_code) == (200, 400)
    assert second.json()["decision"]["action"] == "answer"
    assert sent(full) == ("SendTaskSuccess", {"output": "1"})


async def test_a_heartbeat_outcome_may_be_repeated(full: Api) -> None:
    """It decides nothing."""
    url = await full.url(post(outcome("heartbeat")))

    assert [(await full.answer(url, {})).status_code for _ in range(2)] == [200, 200]
    assert [operation for operation, _ in full.sent] == ["SendTaskHeartbeat"] * 2


@pytest.mark.parametrize(
    ("outcomes", "body", "output"),
    [
        ({"output": {"fixed": True}}, {"a": 1}, '{"fixed": true}'),
        ({"output_body": True}, {"a": [1, "é"]}, '{"a": [1, "\\u00e9"]}'),
        ({"output_path": "$.a"}, {"a": 1}, "[1]"),
        ({"output_path": "$.a[*].b"}, {"a": [{"b": 1}, {"b": [2]}]}, "[1, [2]]"),
        ({"output_path": "$..c"}, {"a": {"c": 1}, "b": [{"c": 2}]}, "[1, 2]"),
        ({"output_path": "$.missing"}, {"a": 1}, "[]"),
        ({"output_path": "$.a"}, None, "null"),
        ({"output_path": "a"}, {"a": "x"}, '["x"]'),
    ],
)
async def test_an_output_is_fixed_or_the_body_or_what_a_path_selects(
    full: Api, outcomes: Any, body: Any, output: str
) -> None:
    """A path always gives an array."""
    response = await full.answer(await full.url(post(outcome(**outcomes))), body)

    assert response.status_code == 200
    assert sent(full) == ("SendTaskSuccess", {"output": output})


@pytest.mark.parametrize(
    ("paths", "body", "failure"),
    [
        ({"error": "E", "cause": "c"}, {}, {"error": "E", "cause": "c"}),
        (
            {"error_path": "$.e", "cause_path": "$.c"},
            {"e": "E", "c": "why"},
            {"error": "E", "cause": "why"},
        ),
        ({"error_path": "$.e"}, {"e": 5}, {"error": "[5]"}),
        ({"cause_path": "$.c[*]"}, {"c": ["x", "y"]}, {"cause": '["x", "y"]'}),
        ({"cause_path": "$.c"}, {"c": {"a": "é"}}, {"cause": '[{"a": "\\u00e9"}]'}),
        ({"error": "E", "cause_path": "$.missing"}, {"a": 1}, {"error": "E"}),
        ({"error_path": "$.a", "cause": "c"}, {}, {"cause": "c"}),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_error_and_cause_are_fixed_or_what_a_path_selects(
    full: Api, paths: Any, body: Any, failure: Any
) -> None:
    """One text is itself, nothing is left out, all else is the JSON of the array."""
    response = await full.answer(await full.url(post(outcome("failure", **paths))), body)

    assert response.status_code == 200
    assert sent(full) == ("SendTaskFailure", failure)


@pytest.mark.parametrize(
    ("schema", "fits", "misfit"),
    [
        (WITH_COMMENT, {"comment": "x"}, {"comment": 5}),
        ({"items": [{"type": "string"}]}, ["x", 5], [5]),
        ({"dependencies": {"a": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}),
        ({"format": "email", "type": "string"}, "no address", 5),
        ({"prefixItems": [{"type": "string"}]}, [5], None),
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "prefixItems": [{"type": "string"}],
            },
            ["x"],
            [5],
        ),
        (
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "minimum": 1,
                "exclusiveMinimum": True,
            },
            2,
            1,
        ),
        (
            {"$ref": "#/definitions/text", "definitions": {"text": {"type": "string"}}},
            "x",
            1,
        ),
    ],
)
async def test_schemas_are_draft_7_unless_they_say_otherwise(
    full: Api, schema: Any, fits: Any, misfit: Any
) -> None:
    """Formats are not checked; unknown keywords of a dialect mean nothing."""
    url = await full.url(post(outcome(output=1) | {"schema": schema}))

    refused = await full.answer(url, misfit) if misfit is not None else None
    accepted = await full.answer(url, fits)

    assert refused is None or refused.json()["error"] == "InvalidPostActionBody"
    assert accepted.status_code == 200


@pytest.mark.parametrize(
    ("of_outcome", "told"), [({"text": "outcome"}, "outcome"), ({}, None), (None, "action")]
)
async def test_the_response_of_an_outcome_replaces_the_action_s(
    full: Api, of_outcome: Any, told: str | None
) -> None:
    """An empty one too."""
    own = {} if of_outcome is None else {"response": of_outcome}
    url = await full.url(post(outcome(output=1, **own), response={"text": "action"}))

    response = await full.answer(url, {}, accept="text/plain")

    assert response.text == told if told else "transaction_id" in response.text


@pytest.mark.parametrize(
    "action",
    [
        outcome("failure", error_path="$"),
        outcome("failure", cause_path="$"),
        outcome(output_path="$..*"),
    ],
)
async def test_what_step_functions_would_refuse_is_not_sent(full: Api, action: Any) -> None:
    """Too long an error, cause or output: 400, and another body still works."""
    url = await full.url(post(action))

    refused = await full.answer(url, ["x" * 200_000, "x" * 200_000])

    assert refused.status_code == 400
    assert refused.json()["error"] == "InvalidPostActionBody"
    assert full.sent == []
    assert (await full.answer(url, "short")).status_code == 200


def doubling(depth: int) -> Any:
    """A schema of a few lines that takes 2^depth steps."""
    definitions: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": f"#/definitions/d{n + 1}"}] * 2} for n in range(depth)
    }
    return {"$ref": "#/definitions/d0", "definitions": definitions | {f"d{depth}": {}}}


BOMBS: list[tuple[str, Any, Any]] = [
    ("pattern", {"schema": {"pattern": "^(a+)+$"}, "output": 1}, "a" * 40 + "!"),
    ("references", {"schema": doubling(40), "output": 1}, 1),
    ("recursion", {"schema": {"$ref": "#"}, "output": 1}, 1),
    ("unique", {"schema": {"uniqueItems": True}, "output": 1}, [{"a": n} for n in range(30_000)]),
    ("path", {"schema": {}, "output_path": "$..*..*..*..*"}, [[[[1] * 20] * 20] * 20] * 5),
]


@pytest.mark.parametrize(("name", "changes", "body"), BOMBS, ids=[name for name, _, _ in BOMBS])
async def test_what_takes_forever_is_given_up(
    full: Api, name: str, changes: Any, body: Any
) -> None:
    """Hostile schemas, patterns, paths and bodies are ended elsewhere; the next answer works."""
    url = await full.url(post({"name": "o", "type": "success", **changes}))
    good = await full.url(post(outcome(output=1)), token="other")
    began = time.process_time()

    response = await full.answer(url, body)

    assert time.process_time() - began < 2
    assert response.status_code == 400
    assert response.json()["error"] == "InvalidPostActionBody"
    assert (await full.answer(good, {})).status_code == 200


async def test_a_schema_that_takes_forever_to_check_is_refused(full: Api) -> None:
    """In a second or so, with a code."""
    schema: Any = {"allOf": [{}] * 200_000}

    answer = await full.create(post(outcome(output=1) | {"schema": schema}))

    assert answer["error"] == "InvalidPostActionOutcome"


async def test_answers_at_once_are_checked_one_by_one_and_not_without_end() -> None:
    """Each gets its own answer; too many at once are refused, not queued for minutes."""
    rules = PostRules()
    outcomes = [outcome(output_body=True)]

    answers = await asyncio.gather(
        *(rules.choose(outcomes, number) for number in range(MAX_WAITING + 5)),
        return_exceptions=True,
    )

    taken, refused = answers[:MAX_WAITING], answers[MAX_WAITING:]
    payloads = [Payload(output=str(number)) for number in range(MAX_WAITING)]
    assert [isinstance(one, Chosen) and one.payload for one in taken] == payloads
    assert [isinstance(one, CallbackRefused) and one.status for one in refused] == [503] * 5
    rules.close()


async def test_a_caller_that_goes_away_does_not_mix_up_answers() -> None:
    """The next question is not answered with what the one before asked."""
    rules = PostRules()
    await rules.choose([outcome(output_body=True)], "warm")
    slow = {**outcome(output=1), "schema": {"pattern": "^(a+)+$"}}
    gone = asyncio.ensure_future(rules.choose([slow], "a" * 24 + "!"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()

    chosen = await rules.choose([outcome(output_body=True)], "mine")

    assert chosen.payload == Payload(output='"mine"')
    rules.close()
