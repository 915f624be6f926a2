"""Lambda's Invoke for local functions, asked by boto3 as a glue function asks."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from app.engine.functions import Invocation, handler_function
from app.strict_json import Json
from app.web.lambda_invoke import LocalLambda

INVOKE = "/2015-03-31/functions/{}/invocations"


async def double(event: Json, invocation: Invocation) -> Json:
    """A function of ours."""
    return {"twice": event["n"] * 2, "as": invocation.function_name}


def broken(_event: Any, _context: Any) -> Any:
    """A handler that fails."""
    raise RuntimeError("no luck")


@pytest.fixture
async def port() -> AsyncIterator[httpx.AsyncClient]:
    """The engine's port with two functions."""
    functions = {"double": double, "broken": handler_function(broken)}
    app = LocalLambda(functions, PlainTextResponse("the engine"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize(
    "name", ["double", "double:1", "arn:aws:lambda:us-east-1:123456789012:function:double"]
)
async def test_a_function_answers(port: httpx.AsyncClient, name: str) -> None:
    """By its name or its ARN, with status and version as on Lambda."""
    response = await port.post(INVOKE.format(name), content='{"n": 4}')

    assert (response.status_code, response.json()) == (200, {"twice": 8, "as": "double"})
    assert response.headers["x-amz-executed-version"] == "$LATEST"
    assert "x-amz-function-error" not in response.headers


async def test_what_a_function_raises_is_its_answer(port: httpx.AsyncClient) -> None:
    """200 with the error as Lambda describes it."""
    response = await port.post(INVOKE.format("broken"))

    assert response.status_code == 200
    assert response.headers["x-amz-function-error"] == "Unhandled"
    assert response.json()["errorType"] == "RuntimeError"
    assert response.json()["errorMessage"] == "no luck"


async def test_an_unknown_function_is_not_found(port: httpx.AsyncClient) -> None:
    """With Lambda's code."""
    response = await port.post(INVOKE.format("other"))

    assert response.status_code == 404
    assert response.headers["x-amzn-errortype"] == "ResourceNotFoundException"
    assert response.json() == {"Type": "User", "Message": "Function not found: other"}


@pytest.mark.parametrize("body", ["{", "NaN", "[" * 9999, b"\xff"])
async def test_an_event_that_is_no_json_is_refused(port: httpx.AsyncClient, body: Any) -> None:
    """Never 500."""
    response = await port.post(INVOKE.format("double"), content=body)

    assert response.status_code == 400
    assert response.headers["x-amzn-errortype"] == "InvalidRequestContentException"


@pytest.mark.parametrize(("kind", "status"), [("Event", 202), ("DryRun", 204)])
async def test_nobody_waits_for_an_event(port: httpx.AsyncClient, kind: str, status: int) -> None:
    """It is taken, and its result is nobody's."""
    headers = {"X-Amz-Invocation-Type": kind}

    response = await port.post(INVOKE.format("double"), content='{"n": 1}', headers=headers)

    assert (response.status_code, response.content) == (status, b"")


async def test_everything_else_is_the_engine_s(port: httpx.AsyncClient) -> None:
    """Other paths and other methods."""
    answers = [
        await port.post("/", content=json.dumps({})),
        await port.get(INVOKE.format("double")),
        await port.post("/2015-03-31/functions/a/b/invocations"),
    ]

    assert [answer.text for answer in answers] == ["the engine"] * 3
