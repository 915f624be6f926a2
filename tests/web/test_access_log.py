"""The access log: one line per request, and never a link."""

import io

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.logs import LogLines
from app.strict_json import loads
from app.web.access_log import AccessLog


class Counts:
    """A meter that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []

    def count(self, name: str, **labels: str) -> None:
        """Remember it."""
        self.seen.append((name, labels))


async def page(request: Request) -> Response:
    """Answer, or break if the link says so."""
    if request.path_params["link"] == "broken":
        raise RuntimeError("secret")
    return Response("ok")


def logged() -> tuple[AccessLog, io.StringIO, Counts]:
    """An application behind the log, what it writes and what it counts."""
    stream, counts = io.StringIO(), Counts()
    app = Starlette(routes=[Route("/d/{link:path}", page)])
    return AccessLog(app, counts, LogLines(stream)), stream, counts


def flush(app: AccessLog) -> None:
    """Write what was gathered."""
    app.lines.flush()


async def get(app: AccessLog, path: str) -> None:
    """One GET."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
        base_url="http://127.0.0.1",
    ) as client:
        await client.get(path)


async def test_a_link_is_shown_as_its_route() -> None:
    """The line says which route answered how, and holds neither link nor query."""
    app, stream, counts = logged()

    await get(app, "/d/abc.0.0.key.signature?decision=approve")
    flush(app)

    line = loads(stream.getvalue())
    assert {name: line[name] for name in ("method", "route", "status")} == {
        "method": "GET",
        "route": "/d/{link}",
        "status": 200,
    }
    assert "signature" not in stream.getvalue() and "decision" not in stream.getvalue()
    assert counts.seen == [("http_requests", {"route": "/d/{link}", "status": "200"})]


@pytest.mark.parametrize(
    ("path", "route"),
    [("/d/", "/d/"), ("/d/d", "/d/{link}"), ("/d//d", "/d/{link}"), ("/d/a/b", "/d/{link}")],
)
async def test_a_link_that_reads_like_its_route_is_shown_as_its_route(
    path: str, route: str
) -> None:
    """Whoever makes up addresses makes up no routes for the metrics."""
    app, _, counts = logged()

    await get(app, path)

    assert counts.seen == [("http_requests", {"route": route, "status": "200"})]


@pytest.mark.parametrize("path", ["/D/abc.0.0.key.signature", "/x/d/abc.0.0.key.signature"])
async def test_a_path_that_no_route_serves_is_not_shown(path: str) -> None:
    """It may be a link with a typing error."""
    app, stream, _ = logged()

    await get(app, path)
    flush(app)

    assert loads(stream.getvalue())["route"] == "unrouted"


async def test_the_root_is_shown_though_no_router_names_it() -> None:
    """The engine answers everything there, without a router."""
    app, stream, _ = logged()

    await get(app, "/")
    flush(app)

    assert loads(stream.getvalue())["route"] == "/"


async def test_a_request_that_breaks_is_logged_too() -> None:
    """An exception in a route does not swallow the line."""
    app, stream, counts = logged()

    await get(app, "/d/broken")
    flush(app)

    assert loads(stream.getvalue())["status"] == 500
    assert counts.seen == [("http_requests", {"route": "/d/{link}", "status": "500"})]
