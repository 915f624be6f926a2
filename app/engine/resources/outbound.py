"""HTTP requests that tasks make: bounded in time and size, and shown as AWS shows the answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from app.engine.payload import MAX_BYTES, Payload
from app.engine.resources.clients import NotCalled
from app.strict_json import Json

TIMEOUT_S = 60.0  #: AWS's, for an HTTP task
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "host.docker.internal")

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

    def __init__(self) -> None:
        self._client: Any = None

    async def send(
        self, method: str, url: str, headers: Pairs, query: Pairs, content: bytes | None
    ) -> Answer:
        """The answer to one request.

        Raises:
            NotCalled: the server cannot be reached, or breaks off.
        """
        import httpx  # noqa: PLC0415  # few workflows need it, and it is not small

        if self._client is None:
            # No proxies of the environment: a proxy would change where a call goes.
            self._client = httpx.AsyncClient(
                timeout=TIMEOUT_S, trust_env=False, follow_redirects=False
            )
        try:
            async with self._client.stream(
                method, url, headers=list(headers), params=list(query) or None, content=content
            ) as response:
                parts, size = [], 0
                async for part in response.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > MAX_BYTES:
                        break  # more is refused anyway
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as exc:
            raise NotCalled(f"{type(exc).__name__}: {exc}") from exc
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
    return urlsplit(url).hostname in _LOOPBACK


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
