"""Which addresses a request that a workflow asks for may be sent to.

A definition, or the input of an execution, may name any host; the engine stands in a network whose
other hosts trust it. So a name is looked up once, the request goes to an address that was found
then, and addresses that are not on the internet are refused: private and link-local ones (a cloud's
metadata among them), loopback under another name than its own. The operator may name hosts that are
reached all the same.
"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from app.engine.resources.clients import NotCalled

log = logging.getLogger(__name__)

#: this machine by its own names: a developer's servers
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "host.docker.internal"})

#: IPv6 addresses that stand for IPv4 ones (RFC 6052)
_NAT64 = IPv6Network("64:ff9b::/96")


async def public_address(host: str, port: int) -> str:
    """An address of *host*, which has none but such as belong to the internet.

    Raises:
        NotCalled: it has no address, or another one.
    """
    found = await _looked_up(host, port)
    if not all(is_public(address) for address in found):
        log.warning("a request to a private address was refused", extra={"host": host})
        raise NotCalled(
            f"{host} is not on the internet. The operator can allow it with "
            "SIGNOFF_HTTP_TASK_HOSTS."
        )
    return found[0]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet, whatever way it is written."""
    ip = _plain(ip_address(address.partition("%")[0]))
    return ip.is_global and not ip.is_multicast


async def _looked_up(host: str, port: int) -> Sequence[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise NotCalled(f"{type(exc).__name__}: {host} cannot be found") from exc
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def _plain(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    # Teredo's second address is the client's own.
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or ip
