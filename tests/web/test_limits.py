"""The outermost ring: what is refused before any route sees it."""

from collections.abc import Iterable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.errors import TooLarge
from app.strict_json import loads
from app.web.errors import on_signoff_error
from app.web.limits import AsgiApp, Limits, Message, Receive, Scope, Send

Header = tuple[bytes, bytes]


async def length(request: Request) -> Response:
    """Answer with the length of the body that arrived."""
    return Response(str(len(await request.body())))


APP = Starlette(
    routes=[Route("/{rest:path}", length, methods=["GET", "POST"])],
    exception_handlers={TooLarge: on_signoff_error},
)


async def send(
    *,
    path: str = "/",
    headers: Iterable[Header] = (),
    chunks: Iterable[bytes] = (b"",),
    host: bytes | None = b"signoff.example.com",
    version: str = "1.1",
    app: AsgiApp = APP,
) -> tuple[int, bytes, dict[bytes, bytes]]:
    """The status, body and headers of one request through the ring."""
    parts = list(chunks)
    incoming = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
        for index, part in enumerate(parts)
    ]
    answer: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def collect(message: Message) -> None:
        answer.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [*headers, *([] if host is None else [(b"host", host)])],
        "root_path": "",
        "http_version": version,
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9),
    }
    await Limits(app, max_body_bytes=1000)(scope, receive, collect)
    body = b"".join(message.get("body", b"") for message in answer[1:])
    return answer[0]["status"], body, dict(answer[0]["headers"])


REFUSED: dict[str, tuple[dict[str, object], int, str]] = {
    "a length above the limit": ({"headers": [(b"content-length", b"1001")]}, 413, "too_large"),
    "a length that is no number": ({"headers": [(b"content-length", b"1e3")]}, 413, "too_large"),
    "length and chunks": (
        {"headers": [(b"content-length", b"4"), (b"transfer-encoding", b"chunked")]},
        400,
        "ambiguous_length",
    ),
    "two lengths": (
        {"headers": [(b"content-length", b"4"), (b"content-length", b"5")]},
        400,
        "ambiguous_length",
    ),
    "a compressed body": ({"headers": [(b"content-encoding", b"gzip")]}, 415, "encoded_body"),
    "two hosts": ({"headers": [(b"host", b"a.com")]}, 400, "bad_host"),
    "no host": ({"host": None}, 400, "bad_host"),
    "a host with a path": ({"host": b"a.com/b"}, 400, "bad_host"),
    "a host with a user": ({"host": b"a@b.com"}, 400, "bad_host"),
    "a host with an impossible port": ({"host": b"a.com:99999"}, 400, "bad_host"),
    "a path of 70 kB": ({"path": "/" + "x" * 70_000}, 414, "address_too_long"),
    "200 headers": ({"headers": [(b"x-a", b"b")] * 200}, 431, "headers_too_large"),
    "a header of 40 kB": ({"headers": [(b"x-a", b"b" * 40_000)]}, 431, "headers_too_large"),
}


@pytest.mark.parametrize(("request_", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_ambiguous_and_oversized_requests_are_refused(
    request_: dict[str, object], status: int, code: str
) -> None:
    """Each gets its status, a stable code and a sentence, and the connection is closed."""
    found, body, headers = await send(**request_)  # type: ignore[arg-type]

    assert (found, loads(body)["error"]) == (status, code)
    assert loads(body)["message"].endswith(".")
    assert headers[b"connection"] == b"close"


async def test_a_body_without_a_length_is_counted_while_it_arrives() -> None:
    """An endless upload ends at the limit."""
    status, body, _ = await send(
        headers=[(b"transfer-encoding", b"chunked")], chunks=[b"x" * 400] * 3
    )

    assert (status, loads(body)["error"]) == (413, "too_large")


async def test_an_application_need_not_know_of_the_limit() -> None:
    """One that only reads its body does not make a failure of ours out of it."""

    async def reads(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    status, body, headers = await send(
        headers=[(b"transfer-encoding", b"chunked")], chunks=[b"x" * 400] * 4, app=reads
    )

    assert (status, loads(body)["error"]) == (413, "too_large")
    assert headers[b"connection"] == b"close"


async def test_old_clients_need_not_say_the_host() -> None:
    """HTTP/1.0 has no such rule, and health checks still speak it."""
    status, _, _ = await send(host=None, version="1.0")

    assert status == 200


@pytest.mark.parametrize("host", [b"a.com", b"127.0.0.1:8080", b"[::1]:8080", b"xn--a-0ga.com"])
async def test_ordinary_requests_pass(host: bytes) -> None:
    """Names, addresses and ports are hosts; a body within the limit arrives whole."""
    status, body, _ = await send(host=host, headers=[(b"content-length", b"8")], chunks=[b"x" * 8])

    assert (status, body) == (200, b"8")
