"""Whose request it is, behind proxies."""

from typing import Any

import pytest

from app.web.forwarded import ForwardedClient, read_networks


async def client_of(peer: str, trusted: str, *forwarded: str) -> str:
    """The client's address as the application sees it."""
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"][0])

    async def nothing() -> Any:
        """Neither body nor answer."""

    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope = {"type": "http", "client": (peer, 4711), "headers": headers}
    await ForwardedClient(app, read_networks(trusted))(scope, nothing, nothing)  # type: ignore[arg-type]
    return seen[0]


PROXIES = "127.0.0.1, 10.0.0.0/8, fd00::/8"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["6.6.6.6", "203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        ("127.0.0.1", ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:127.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("203.0.113.9", ["6.6.6.6"], "203.0.113.9"),
        ("127.0.0.1", ["6.6.6.6, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["6.6.6.6, <script>, 10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", [""], "127.0.0.1"),
    ],
)
async def test_the_nearest_untrusted_address_is_the_client(
    peer: str, forwarded: list[str], client: str
) -> None:
    """What strangers wrote on the left is not believed, nor what is no address."""
    assert await client_of(peer, PROXIES, *forwarded) == client


async def test_without_trusted_proxies_nobody_is_believed() -> None:
    """Loopback neither."""
    assert await client_of("127.0.0.1", "", "6.6.6.6") == "127.0.0.1"
