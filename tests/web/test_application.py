"""The routes of the service as one application: what goes wrong around them."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.web.application import application


async def taken(request: Request) -> Response:
    """Read the body, all of it."""
    return Response(await request.body())


@pytest.mark.parametrize("path", ["/of-a-router", "/of-its-own"])
async def test_a_request_that_was_cut_short_is_no_fault_of_ours(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that hangs up while it sends is no error of the service, in logs or counts."""
    router = APIRouter()
    router.add_api_route("/of-a-router", taken, methods=["POST"])
    app = application([router], [Route("/of-its-own", taken, methods=["POST"])])
    pieces: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return pieces.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)

    assert sent[0]["status"] == 400
    assert caplog.messages == []
