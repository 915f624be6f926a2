"""Where HTTP tasks may go, and where not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from app.engine.resources import addresses
from app.engine.resources.addresses import is_public, public_address
from app.engine.resources.clients import NotCalled
from app.engine.resources.outbound import Outbound
from tests.engine.driving import Driver, only

Names = Mapping[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the DNS says; other names are numbers, which the system reads."""
    known: dict[str, list[str]] = {}
    asked = asyncio.BaseEventLoop.getaddrinfo

    async def getaddrinfo(loop: Any, host: str | bytes, port: int, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in known:
            return await asked(loop, name, port, **{**kwargs, "flags": socket.AI_NUMERICHOST})
        tcp = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
        return [(*tcp, "", (address, port)) for address in known[name]]

    # The one thing that tests cannot have for real: a DNS that answers as they like.
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # an address to be refused
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    """However they are written."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    """In both versions, and the one in the other."""
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "2130706433", "0x7f.1", "::ffff:127.0.0.1", "169.254.169.254", "inside", "mixed"],
)
async def test_private_hosts_are_refused(names: dict[str, list[str]], host: str) -> None:
    """Numbers in any spelling, and names that lead there, if only sometimes."""
    names["inside"] = ["10.1.2.3"]
    names["mixed"] = ["93.184.216.34", "127.0.0.1"]

    with pytest.raises(NotCalled, match="is not on the internet"):
        await public_address(host, 443)


@pytest.fixture
async def served() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server's port, and the heads of the requests that reached it."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


async def test_the_operator_may_allow_a_host(
    names: dict[str, list[str]], served: tuple[int, list[bytes]]
) -> None:
    """By its name."""
    names["inside"] = ["127.0.0.1"]
    port, heads = served

    sent = await Outbound({"inside"}).send("GET", f"http://INSIDE:{port}/a", (), (), None)

    assert (sent.status, len(heads)) == (204, 1)


async def test_a_request_goes_to_the_address_that_was_looked_at(
    names: dict[str, list[str]],
    served: tuple[int, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that changes after that leads nowhere else; the server sees its own name."""
    port, heads = served

    def changed(_address: str) -> bool:
        names["changing.example"] = ["10.0.0.1"]
        return True

    # A test has no address on the internet to be served from.
    monkeypatch.setattr(addresses, "is_public", changed)
    names["changing.example"] = ["127.0.0.1"]

    sent = await Outbound().send("GET", f"http://changing.example:{port}/a", (), (), None)

    assert sent.status == 204
    assert heads[0].startswith(b"GET /a HTTP/1.1\r\n")
    assert f"Host: changing.example:{port}\r\n".encode() in heads[0]


async def test_a_task_is_refused_a_private_address(driver: Driver, names: Names) -> None:
    """It fails like one whose server is away, and says why."""
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::apigateway:invoke",
        "Parameters": {"ApiEndpoint": "169.254.169.254", "Method": "GET"},
        "End": True,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_EXECUTE_API", "https://execute-api.amazonaws.com")
        described = await driver.describe(await driver.run(only(state)))

    assert described["error"] == "ApiGateway.SdkClientException"
    assert described["cause"].startswith("169.254.169.254 is not on the internet.")
