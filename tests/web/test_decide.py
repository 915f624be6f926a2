"""The decision page over HTTP: methods, bodies, and what is negotiated."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from app.approvals.model import Holder
from app.web.decide import DecideFirst
from tests.approvals.asked import APPROVAL, FakeService, fake_service, pages

AGENTS = [
    "",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "WhatsApp/2.23",
    "facebookexternalhit/1.1",
    "SkypeUriPreview Preview/0.5",
    "Mozilla/5.0 (compatible; BingPreview/1.0b)",
    "BarracudaCentral",
    "Mimecast",
    "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0",
    "\xff\xfe",
]
PREFETCH = [
    {"sec-purpose": "prefetch;prerender"},
    {"purpose": "prefetch"},
    {"x-moz": "prefetch"},
    {"sec-purpose": "prefetch", "sec-fetch-site": "cross-site"},
]


@pytest.fixture
def service() -> FakeService:
    return fake_service()


@pytest.fixture
async def client(service: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    app = DecideFirst(pages(service), Starlette())
    transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(
        transport=transport, base_url="https://signoff.example.com"
    ) as http:
        yield http


def path(service: FakeService, action: int = 0) -> str:
    return service.link(APPROVAL, 0, action).removeprefix("https://signoff.example.com")


def form(service: FakeService, **fields: str) -> dict[str, str]:
    nonce = service.links.form_nonce(Holder(APPROVAL.id, 0, 0), service.now)
    return {"decision": "approve", "comment": "Go.", "nonce": nonce, **fields}


async def test_a_page_is_opened_and_its_form_sent(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    """The page and its form work over HTTP; the peer's address and agent are recorded."""
    opened = await client.get(path(service))
    sent = await client.post(path(service), data=form(service), headers={"user-agent": "Firefox"})

    assert (opened.status_code, sent.status_code) == (200, 200)
    assert "Approved by you on" in sent.text
    assert service.decisions == [
        {"action": "approve", "comment": "Go.", "ip": "192.0.2.7", "agent": "Firefox"}
    ]


async def test_forwarded_addresses_are_not_believed(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    """The audit names the real peer, whatever a header says."""
    await client.post(
        path(service), data=form(service), headers={"x-forwarded-for": "203.0.113.66"}
    )

    assert service.decisions[0]["ip"] == "192.0.2.7"


async def test_head_answers_like_get_without_a_body(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    """A probe gets the same status and headers, and nothing is read or written for it."""
    for address in (path(service), "/d/nonsense"):
        got, probed = await client.get(address), await client.head(address)

        assert probed.status_code == got.status_code
        assert probed.headers == got.headers
        assert (probed.content, got.content != b"") == (b"", True)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"])
async def test_other_methods_are_refused(
    client: httpx.AsyncClient, service: FakeService, method: str
) -> None:
    """Only GET, HEAD and POST exist, and the answer says so."""
    answer = await client.request(method, path(service), data=form(service))

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert "access-control-allow-origin" not in answer.headers
    assert service.decisions == []


@pytest.mark.parametrize(
    "disguise",
    [{"x-http-method-override": "POST"}, {"x-method-override": "POST"}, {"x-http-method": "POST"}],
)
async def test_a_get_stays_a_get(
    client: httpx.AsyncClient, service: FakeService, disguise: dict[str, str]
) -> None:
    """No header and no parameter turns opening a page into a decision."""
    answer = await client.get(
        path(service), params={"_method": "POST", **form(service)}, headers=disguise
    )

    assert answer.status_code == 200
    assert service.decisions == []


@pytest.mark.parametrize("agent", AGENTS)
async def test_scanners_and_previewers_decide_nothing(
    client: httpx.AsyncClient, service: FakeService, agent: str
) -> None:
    """Whoever fetches both links, however often, changes nothing, and is shown the same page."""
    for action in (0, 1):
        plain = await client.get(path(service, action))
        for method in ("GET", "HEAD"):
            fetched = await client.request(
                method,
                path(service, action),
                headers=httpx.Headers({"user-agent": agent}, encoding="latin-1"),
            )
            assert fetched.status_code == 200
            assert fetched.text == (plain.text if method == "GET" else "")

    assert service.decisions == []


@pytest.mark.parametrize("headers", PREFETCH)
async def test_prefetching_is_like_opening(
    client: httpx.AsyncClient, service: FakeService, headers: dict[str, str]
) -> None:
    """A browser that looks ahead gets the page; nothing is recorded."""
    answer = await client.get(path(service), headers=headers)

    assert answer.status_code == 200
    assert service.decisions == []


@pytest.mark.parametrize(
    "mangled",
    ["{}?utm_source=mail", "{}?action=reject&amp;x=1", "{}#top", "{}?decision=approve"],
)
async def test_links_with_something_appended_as_a_query_still_open(
    client: httpx.AsyncClient, service: FakeService, mangled: str
) -> None:
    """Mail systems append parameters; they are ignored."""
    answer = await client.get(mangled.format(path(service)))

    assert answer.status_code == 200
    assert service.decisions == []


@pytest.mark.parametrize(
    "mangled", ["{}.", "{}>", "{})", "{}/", "{}%20", "{}%00", "/d/", "/d/%ff%fe", "/d/..%2f..%2fx"]
)
async def test_broken_links_get_the_one_page_for_broken_links(
    client: httpx.AsyncClient, service: FakeService, mangled: str
) -> None:
    """A link that was cut or mangled is answered with what to do, and never an error of ours."""
    answer = await client.get(mangled.format(path(service)))
    other = await client.get("/d/other")

    assert answer.status_code == 404
    assert (answer.text, answer.headers) == (other.text, other.headers)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("application/json, */*", "application/json"),
        ("text/html,application/xhtml+xml,application/json;q=0.9", "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        ("", "text/html; charset=utf-8"),
    ],
)
async def test_json_is_for_those_who_ask_for_it(
    client: httpx.AsyncClient, service: FakeService, accept: str, kind: str
) -> None:
    """Machines ask for JSON; everybody else is a person with a browser."""
    answers = [
        await client.get(address, headers={"accept": accept})
        for address in (path(service), "/d/nonsense")
    ]

    assert [answer.headers["content-type"] for answer in answers] == [kind, kind]


async def test_a_body_too_large_is_refused_while_it_comes(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    """An endless body is cut off at 64 KiB, whatever its length was said to be."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"comment=" + b"x" * 8_192

    answer = await client.post(
        path(service),
        content=endless(),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )

    assert answer.status_code == 413
    assert sent <= 9
    assert service.decisions == []


async def test_a_body_declared_too_large_is_not_read(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    """A length above the limit is refused before the first byte."""
    for declared in ("65537", "9" * 4_000):
        answer = await client.post(
            path(service), content=b"x", headers={"content-length": declared}
        )
        assert answer.status_code == 413


async def test_compressed_bodies_are_refused(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    """Nobody compresses this form; a bomb would."""
    answer = await client.post(
        path(service), data=form(service), headers={"content-encoding": "gzip"}
    )

    assert answer.status_code == 415
    assert service.decisions == []


@pytest.mark.parametrize("content_type", ["multipart/form-data", "text/plain", "application/json"])
async def test_other_kinds_of_bodies_are_refused(
    client: httpx.AsyncClient, service: FakeService, content_type: str
) -> None:
    """Only the form of the page is read."""
    answer = await client.post(
        path(service),
        content=urlencode(form(service)),
        headers={"content-type": content_type, "accept": "application/json"},
    )

    assert answer.status_code == 415
    assert answer.json() == {
        "code": "not_a_form",
        "title": "Answer not understood",
        "message": "The answer did not come from the form of this page."
        " Nothing has been decided. Open the link from the mail again.",
    }
    assert service.decisions == []


async def test_a_client_that_goes_away_decides_nothing(service: FakeService) -> None:
    """Half a form is no form."""
    app = DecideFirst(pages(service), Starlette())
    body = urlencode(form(service)).encode()
    messages: list[Message] = [
        {"type": "http.request", "body": body, "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "path": path(service), "headers": headers}
    await app({**scope, "query_string": b"", "root_path": ""}, receive, send)

    assert sent == []
    assert service.decisions == []
