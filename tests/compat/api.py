"""The sfn-callback-urls API of a real service: over HTTP, and by direct invocation.

Decisions go through boto3 to a recording endpoint; time is moved by hand.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.approvals.api_keys import ApiKeys, api_key_entry, new_api_key
from app.approvals.compat.http import Callbacks
from app.approvals.function import SignoffFunction
from app.approvals.targets.stepfunctions import StepFunctionsTarget, connect
from app.errors import SignoffError
from app.web.approvals import ApprovalsApi
from app.web.bearer import BearerKeys
from app.web.compat import callback_routes
from app.web.errors import on_signoff_error
from app.web.limits import Limits
from tests.approvals.world import NOW, World, open_world
from tests.compat.recorder import Recorder

TOKEN = "AQB8" + "+/=x" * 174  # 700 characters, as AWS's may be
JSON = {"Content-Type": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

APPROVE = {"name": "approve", "type": "success", "output": {"approved": True}}
REJECT = {"name": "reject", "type": "failure", "error": "rejected", "cause": "Ana rejected it"}
BEAT = {"name": "beat", "type": "heartbeat"}


def post(*outcomes: Any, **members: Any) -> Any:
    """A post action with these outcomes."""
    return {"name": "answer", "type": "post", "outcomes": list(outcomes), **members}


def outcome(kind: str = "success", **members: Any) -> Any:
    """An outcome that every body fits."""
    return {"name": "any", "type": kind, "schema": {}, **members}


@dataclass
class Api:
    """What a test has in its hands."""

    world: World
    recorder: Recorder
    http: httpx.AsyncClient
    function: SignoffFunction
    key: str

    @property
    def sent(self) -> list[tuple[str, Any]]:
        """The calls that arrived at Step Functions."""
        return self.recorder.sent

    async def call(self, direct: bool, body: Any, **fields: Any) -> Any:
        """The answer to a call with *body*, over HTTP or by direct invocation."""
        if direct:
            return await self.function(body | fields, "request-1")
        response = await self.post_urls(json.dumps(body | fields))
        assert response.status_code == (400 if "error" in response.json() else 200)
        return response.json()

    async def create(self, *actions: Any, direct: bool = False, **fields: Any) -> Any:
        """The answer to a call with these actions."""
        return await self.call(direct, {"token": TOKEN, "actions": list(actions)}, **fields)

    async def urls(self, *actions: Any, **fields: Any) -> dict[str, str]:
        """The addresses of these actions, by name."""
        answer = await self.create(*actions, **fields)
        assert "urls" in answer, answer
        urls: dict[str, str] = answer["urls"]
        return urls

    async def url(self, action: Any, **fields: Any) -> str:
        """The address of one action."""
        return (await self.urls(action, **fields))[action["name"]]

    def begin(self) -> "Api":
        """As new, for the next test: approvals stay, but everybody's links are their own."""
        self.recorder.sent.clear()
        self.recorder.refusals.clear()
        self.recorder.closed.clear()
        self.world.clock.now = NOW
        return self

    async def post_urls(self, content: str | bytes, **headers: str) -> httpx.Response:
        """``POST /urls`` with the API key."""
        authorization = {"Authorization": f"Bearer {self.key}"}
        headers = authorization | JSON | headers
        return await self.http.post("/urls", content=content, headers=headers)

    async def get(self, url: str, **headers: str) -> httpx.Response:
        """GET a callback URL."""
        return await self.http.get(url, headers=_named(headers))

    async def click(self, url: str, content: Any = None, **headers: str) -> httpx.Response:
        """POST to a callback URL."""
        return await self.http.post(url, content=content, headers=_named(headers))

    async def answer(self, url: str, body: Any, **headers: str) -> httpx.Response:
        """POST *body* as JSON to a callback URL."""
        content = body if isinstance(body, bytes) else json.dumps(body)
        return await self.click(url, content, **({"content_type": "application/json"} | headers))


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@asynccontextmanager
async def serving(path: Path, **switches: bool) -> AsyncIterator[Api]:
    """The API with these switches."""
    with Recorder() as recorder:
        target = StepFunctionsTarget(_client(recorder.url))
        world = await open_world(path / "approvals.sqlite3", target=target)
        callbacks = world.callbacks(**switches)
        key = new_api_key()
        transport = httpx.ASGITransport(_app(world, callbacks, key), client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(
            transport=transport, base_url="https://signoff.example.com"
        ) as client:
            client.headers.clear()
            function = SignoffFunction(world.service, callbacks.urls)
            yield Api(world, recorder, client, function, key)
        callbacks.close()
        await world.close()
        target.close()


def _client(endpoint: str) -> Any:
    """Step Functions as it is configured on any machine."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_SFN", endpoint)
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_REGION", "us-east-1")
        return connect()


def _app(world: World, callbacks: Callbacks, key: str) -> Any:
    keys = BearerKeys(ApiKeys((api_key_entry(key),)))
    api = ApprovalsApi(world.service, keys.check)
    app = FastAPI(openapi_url=None)
    app.include_router(api.router())
    app.router.routes.extend(callback_routes(callbacks, api.authorize))
    app.add_exception_handler(SignoffError, on_signoff_error)
    return Limits(app)
