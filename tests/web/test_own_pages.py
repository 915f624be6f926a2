"""Who may call the engine's port from a browser."""

import httpx
import pytest
from starlette.responses import PlainTextResponse

from app.web.own_pages import OwnPagesOnly

INVOKE = "/2015-03-31/functions/signoff/invocations"
MACHINE = "http://127.0.0.1:8083"


async def posted(base_url: str, headers: dict[str, str]) -> httpx.Response:
    """The answer to what needs no preflight: a POST of plain text."""
    transport = httpx.ASGITransport(OwnPagesOnly(PlainTextResponse("called")))
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
        return await client.post(INVOKE, content=b'{"notify": {}}', headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example", "Content-Type": "text/plain"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": MACHINE, "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_pages_of_other_origins_call_nothing(headers: dict[str, str]) -> None:
    """A page that a developer opens cannot start executions or have mails sent."""
    answer = await posted(MACHINE, headers)

    assert answer.status_code == 403
    assert answer.json() == {
        "__type": "AccessDeniedException",
        "message": "Pages of other origins may not call this service.",
    }
    assert "access-control-allow-origin" not in answer.headers


async def test_a_name_that_leads_to_loopback_calls_nothing() -> None:
    """An attacker's DNS may give his page's name the address of this machine."""
    evil = "http://evil.example:8083"

    answer = await posted(evil, {"Origin": evil, "Sec-Fetch-Site": "same-origin"})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("base_url", "headers"),
    [
        (MACHINE, {}),
        ("http://engine.example.com", {}),
        (MACHINE, {"Origin": MACHINE, "Sec-Fetch-Site": "same-origin"}),
        ("http://[::1]:8083", {"Origin": "http://[::1]:8083"}),
    ],
)
async def test_programs_and_own_pages_call(base_url: str, headers: dict[str, str]) -> None:
    """AWS's clients say nothing of origins, by whatever name they know the engine."""
    answer = await posted(base_url, headers)

    assert (answer.status_code, answer.text) == (200, "called")
