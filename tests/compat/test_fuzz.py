"""Whatever comes, the answer is a refusal or a result, never a failure of ours."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.compat.api import APPROVE, BROWSER, REJECT, Api, outcome, post
from tests.compat.test_get import confirmed

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The fixture is one service for all; each example has links of its own.
few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(["success", "failure", "post", "$a", "$", "$.a", "#", "2030", "https://a.b"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
CALL = {
    "token": "t",
    "actions": [
        {**APPROVE, "response": {"json": {}, "html": "h", "text": "t", "redirect": "https://a.b"}},
        REJECT,
        post(outcome(output_path="$.a"), outcome("failure", error_path="$.b"), outcome()),
    ],
    "expiration": "2030-01-01T00:00:00Z",
    "enable_output_parameters": True,
    "base_url": "https://signoff.example.com",
}
KEYWORDS = st.sampled_from(
    [
        *("type", "enum", "const", "properties", "required", "title", "description", "items"),
        *("minLength", "maxLength", "minimum", "pattern", "format", "$ref", "$id", "$schema"),
        *("allOf", "not", "definitions", "$defs", "if", "additionalProperties", "default"),
    ]
)
schema_values = st.one_of(
    values,
    st.sampled_from(
        ["string", "integer", "boolean", "object", "array", "#/definitions/a", "email"]
    ),
    st.integers(0, 9),
)
schemas = st.recursive(
    st.dictionaries(KEYWORDS, schema_values, max_size=4),
    lambda inner: st.dictionaries(
        KEYWORDS,
        st.one_of(
            schema_values, inner, st.dictionaries(st.text(max_size=5), inner), st.lists(inner)
        ),
        max_size=4,
    ),
    max_leaves=8,
)


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """The call above with one thing in it replaced, or one added."""
    call = json.loads(json.dumps(CALL))
    node: Any = call
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or draw(st.booleans()):
            break
        node = node[key]
    if isinstance(node, dict) and draw(st.booleans()):
        key = draw(st.text(max_size=12))
    node[key] = draw(values)
    return call


@given(call=spoiled())
@few
async def test_a_spoiled_call_is_answered(full: Api, call: Any) -> None:
    """With its addresses, or with a code; by direct invocation too."""
    over_http = await full.post_urls(json.dumps(call))
    direct = await full.function._urls.invoke(call)

    assert over_http.status_code in (200, 400)
    assert ("urls" in direct) != ("error" in direct)


@given(
    query=st.dictionaries(
        st.sampled_from(["action", "type", "data", "x"]), st.text(max_size=40), max_size=4
    ),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT"]),
    body=st.binary(max_size=100),
    kind=st.sampled_from(["", "application/json", "application/x-www-form-urlencoded"]),
    accept=st.sampled_from(["", "text/html", "text/plain", "application/json"]),
)
@few
async def test_any_use_is_answered(
    old: Api, query: Any, method: str, body: bytes, kind: str, accept: str
) -> None:
    """With a real link among the wrong ones."""
    action = post(outcome(output_body=True))
    url = await old.url(action)
    text = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    headers = {"Content-Type": kind, "Accept": accept}

    for address in (f"/respond?{text}", f"{url}&{text}"):
        response = await old.http.request(method, address, content=body, headers=headers)
        assert response.status_code in (200, 400, 403, 405, 415, 422)


@given(schema=schemas, filled=st.text(max_size=30), body=values)
@few
async def test_any_schema_is_refused_or_works(
    full: Api, schema: Any, filled: str, body: Any
) -> None:
    """When it comes; as a form; with what people type; with what programs send."""
    text = json.dumps(schema)
    created = await full.create(post(outcome(output_body=True) | {"schema": json.loads(text)}))
    if "error" in created:
        assert created["error"] in ("InvalidPostActionOutcome", "InvalidJSON")
        return
    url = created["urls"]["answer"]
    page = await full.get(url, **BROWSER)
    assert page.status_code in (200, 405)
    if page.status_code == 200:
        form = confirmed(page.text, **{f"field-{n}": filled for n in range(3)})
        done = await full.http.post(url, data=form, headers=BROWSER)
        assert done.status_code in (200, 400, 409, 410, 422)

    assert (await full.answer(url, body)).status_code in (200, 400)
