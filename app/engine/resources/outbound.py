"""HTTP requests that tasks make: bounded in time and size, to addresses that they may have
(`addresses.py`), and shown as AWS shows the answer."""

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from app.engine.payload import MAX_BYTES, Payload
from app.engine.resources.addresses import LOOPBACK, public_address
from app.engine.resources.clients import NotCalled
from app.strict_json import Json

TIMEOUT_S = 60.0  #: AWS's, for an HTTP task, from the first look-up to the answer's last byte
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    reason: str
    headers: Mapping[str, list[str]]
    text: str

    @property
    def well(self) -> bool:
        """Whether it is a success. Redirects are none: AWS does not follow them."""
        return 200 <= self.status < 300

    def shown(self) -> Payload:
        """As a task's result."""
        body: dict[str, Json] = {"ResponseBody": self._body()} if self.text else {}
        return Payload(
            {
                "Headers": dict(self.headers),
                **body,
                "StatusCode": self.status,
                "StatusText": self.reason,
            }
        )

    def _body(self) -> Json:
        kind = ",".join(self.headers.get("content-type", self.headers.get("Content-Type", [])))
        if "json" not in kind:
            return self.text
        try:
            return orjson.loads(self.text)
        except orjson.JSONDecodeError:
            return self.text


class Outbound:
    """Sends requests."""

    def __init__(self, hosts: Collection[str] = (), timeout_s: float = TIMEOUT_S) -> None:
        """*hosts* may have addresses that are not on the internet."""
        self._trusted = LOOPBACK.union(hosts)
        self._timeout_s = timeout_s
        self._client: Any = None

    async def send(
        self,
        method: str,
        url: str,
        headers: Pairs,
        query: Pairs,
        content: bytes | None,
        *,
        configured: bool = False,
    ) -> Answer:
        """The answer to one request. *configured*: the operator named the host, so it is fine.

        Raises:
            NotCalled: the server cannot be reached, may not be, or breaks off.
        """
        import httpx  # noqa: PLC0415  # few workflows need it, and it is not small

        if self._client is None:
            # No proxies of the environment: a proxy would change where a call goes.
            self._client = httpx.AsyncClient(
                timeout=self._timeout_s, trust_env=False, follow_redirects=False
            )
        try:
            request = self._client.build_request(
                method, url, headers=list(headers), params=list(query) or None, content=content
            )
            # httpx's limit is for each read: a server that drips would never reach it.
            async with asyncio.timeout(self._timeout_s):
                if not configured and request.url.host not in self._trusted:
                    await self._aim(request)
                return await self._answer(request)
        except TimeoutError as exc:
            reason = f"ReadTimeout: the answer is not there after {self._timeout_s:g} seconds"
            raise NotCalled(reason) from exc
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, LookupError) as exc:
            raise NotCalled(f"{type(exc).__name__}: {exc}") from exc

    async def _aim(self, request: Any) -> None:
        """Direct *request* to an address of its host that was looked at, so that a second look-up
        cannot lead elsewhere. Host header and certificate stay those of the name."""
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        name = url.raw_host.decode("ascii").strip("[]")
        request.url = url.copy_with(host=await public_address(name, port))
        request.extensions["sni_hostname"] = name
        # Connections are kept by address; another name at this one has another certificate.
        request.headers["Connection"] = "close"

    async def _answer(self, request: Any) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            parts, size = [], 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > MAX_BYTES:
                    break  # more is refused anyway
        finally:
            await response.aclose()
        names: dict[str, list[str]] = {}
        for name, value in response.headers.multi_items():
            names.setdefault(name, []).append(value)
        text = b"".join(parts).decode(response.encoding or "utf-8", "replace")
        return Answer(response.status_code, _reason(response), names, text)


def _reason(response: Any) -> str:
    if response.reason_phrase:
        return str(response.reason_phrase)
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return ""


def is_loopback(url: str) -> bool:
    """Whether a URL is on this machine."""
    return urlsplit(url).hostname in LOOPBACK


def text_value(value: Json) -> str:
    """A header's or a query's value."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def pairs(given: Json) -> list[tuple[str, str]]:
    """Names and values; a name with several values repeats."""
    made = []
    for name, value in (given or {}).items():
        values = value if isinstance(value, list) else [value]
        made += [(name, text_value(item)) for item in values if item is not None]
    return made
