"""How much one caller may ask for, and that others do not notice."""

from collections.abc import Callable

import httpx
import pytest
from starlette.responses import PlainTextResponse

from app.web.rate_limits import MAX_BUCKETS, RateLimits, Rates, TokenBuckets
from tests.approvals.asked import fake_service, pages

Ask = Callable[[str, str], httpx.Response]


class Ticking:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


class Callers:
    """Callers from several addresses, of a service that allows 3 mints and 2 answers a minute."""

    def __init__(self, clock: Ticking) -> None:
        rates = Rates(mints=3, answers=2)
        done = PlainTextResponse("done")
        self._app = RateLimits(done, rates, pages(fake_service()), clock)

    async def ask(
        self, path: str, *, address: str = "192.0.2.1", method: str = "POST", **headers: str
    ) -> httpx.Response:
        """The answer to one request."""
        transport = httpx.ASGITransport(self._app, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://signoff") as client:
            return await client.request(method, path, headers=headers)

    async def statuses(self, times: int, path: str, **how: str) -> list[int]:
        """The statuses of as many requests."""
        return [(await self.ask(path, **how)).status_code for _ in range(times)]


@pytest.fixture
def callers(clock: Ticking) -> Callers:
    return Callers(clock)


async def test_a_key_mints_only_so_much(callers: Callers, clock: Ticking) -> None:
    """Then it is told when to come again; each twenty seconds give room for one of three."""
    statuses = await callers.statuses(4, "/approvals", authorization="Bearer one")
    refused = await callers.ask("/urls", authorization="Bearer one")
    clock.now += 20
    later = await callers.statuses(2, "/approvals/abc/resend", authorization="Bearer one")

    assert statuses == [200, 200, 200, 429]
    assert refused.json()["error"] == "too_many_requests"
    assert (refused.headers["retry-after"], refused.headers["cache-control"]) == ("20", "no-store")
    assert later == [200, 429]


async def test_one_key_takes_nothing_from_another(callers: Callers) -> None:
    """Whatever strangers send, with keys of their invention or with none."""
    await callers.statuses(9, "/approvals", authorization="Bearer one")
    await callers.statuses(9, "/approvals")

    assert await callers.statuses(3, "/approvals", authorization="Bearer two") == [200] * 3


@pytest.mark.parametrize("path", ["/d/some.link", "/respond?data=x"])
async def test_an_address_answers_only_so_often(callers: Callers, path: str) -> None:
    """People are told in words; another address is not concerned."""
    statuses = await callers.statuses(2, path)
    page = await callers.ask(path)
    twin = await callers.ask(path, accept="application/json")
    other = await callers.ask(path, address="192.0.2.2")

    assert (statuses, page.status_code, other.status_code) == ([200, 200], 429, 200)
    assert "Please wait" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert (twin.status_code, twin.json()["code"]) == (429, "too_many_requests")
    assert twin.headers["retry-after"] == "30"


async def test_looking_is_never_limited(callers: Callers) -> None:
    """A scanner that opens a link a hundred times locks nobody out."""
    for method in ("GET", "HEAD"):
        assert set(await callers.statuses(100, "/d/some.link", method=method)) == {200}
    assert set(await callers.statuses(100, "/healthz", method="GET")) == {200}
    assert await callers.statuses(1, "/d/some.link") == [200]


async def test_limits_are_off_by_default() -> None:
    """As many as the machine can take."""
    buckets = TokenBuckets(0)

    assert {buckets.take("one") for _ in range(1_000)} == {0.0}


def test_callers_are_forgotten_in_the_end(clock: Ticking) -> None:
    """Who invents keys fills no memory; the one seen last is remembered."""
    buckets = TokenBuckets(1, clock)
    for number in range(MAX_BUCKETS + 10):
        buckets.take(str(number))

    assert buckets.take("0") == 0.0
    assert buckets.take(str(MAX_BUCKETS + 9)) == 60.0
