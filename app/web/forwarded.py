"""Whose request it is, when it comes through proxies that the operator trusts.

Anybody can send X-Forwarded-For. Each proxy adds on the right where the request came from; so the
list is read from the right, for as long as those who wrote it are trusted. Without trusted proxies,
which is the default, the header is not looked at.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

Networks = Sequence[IPv4Network | IPv6Network]


def read_networks(text: str) -> Networks:
    """The networks in a comma-separated list of addresses and networks (``10.0.0.0/8``).

    Raises:
        ValueError: an entry is neither.
    """
    return [ip_network(entry.strip()) for entry in text.split(",") if entry.strip()]


class ForwardedClient:
    """An ASGI application: *app*, told the client that trusted proxies name."""

    def __init__(self, app: ASGIApp, trusted: Networks) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        if scope["type"] == "http" and scope.get("client"):
            peer = scope["client"][0]
            client = self._client(peer, _forwarded(scope))
            if client != peer:
                scope["client"] = client, 0
        await self._app(scope, receive, send)

    def _client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The nearest address that is no trusted proxy's."""
        client = peer
        for hop in reversed(forwarded):
            if not self._trusts(client):
                break
            address = _address(hop)
            if address is None:
                break
            client = str(address)
        return client

    def _trusts(self, address: str) -> bool:
        ip = _address(address)
        return ip is not None and any(ip in network for network in self._trusted)


def _forwarded(scope: Scope) -> Sequence[str]:
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    text = b",".join(values).decode("latin-1")
    return text.split(",") if text else ()


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
