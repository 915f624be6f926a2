"""How often one caller may mint, and one address may answer.

A token bucket each: it holds a minute's worth and fills evenly. Callers of the API are told apart
by the key they send, known or not (a stranger's requests cannot empty the bucket of a key that he
does not have); those who answer, by their address. GET and HEAD are never limited: mail scanners
must not lock people out.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from time import monotonic

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from app.approvals.pages.decision_pages import DecisionPages
from app.approvals.pages.frame import Answer
from app.approvals.pages.request import PageRequest

MAX_BUCKETS = 50_000  #: callers remembered; the one not seen for longest is forgotten first
CODE = "too_many_requests"

#: what stores approvals or sends mails
_MINTS = re.compile(r"/approvals|/urls|/approvals/[^/]+/resend")
_ANSWERS = re.compile(r"/d/.*|/respond", re.DOTALL)


class TokenBuckets:
    """A bucket for each key, of *per_minute* tokens; 0 is no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at

    def take(self, key: str) -> float:
        """Take a token; 0 if there was one, else the seconds until there is."""
        if self._per_minute == 0:
            return 0.0
        now, full = self._clock(), float(self._per_minute)
        tokens, at = self._buckets.pop(key, (full, now))
        tokens = min(full, tokens + (now - at) * full / 60)
        missing = max(0.0, 1 - tokens)
        self._buckets[key] = (tokens if missing else tokens - 1, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return missing * 60 / full


@dataclass(frozen=True, slots=True)
class Rates:
    """What is allowed in a minute; 0 is no limit."""

    mints: int = 0  #: for each API key
    answers: int = 0  #: for each address


class RateLimits:
    """An ASGI application: *app*, for as many requests as one caller may make; 429 for more."""

    def __init__(
        self,
        app: ASGIApp,
        rates: Rates,
        pages: DecisionPages,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """*pages* have the words for people."""
        self._app = app
        self._mints = TokenBuckets(rates.mints, clock)
        self._answers = TokenBuckets(rates.answers, clock)
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        start = {"status": refusal.status, "headers": list(refusal.headers)}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": refusal.body})

    def _refusal(self, scope: Scope) -> Answer | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        if _MINTS.fullmatch(scope["path"]):
            wait_s = self._mints.take(_caller(scope))
            return _for_programs(wait_s) if wait_s else None
        if _ANSWERS.fullmatch(scope["path"]):
            wait_s = self._answers.take(_address(scope))
            return self._for_people(scope, wait_s) if wait_s else None
        return None

    def _for_people(self, scope: Scope, wait_s: float) -> Answer:
        request = PageRequest("POST", "", dict(scope["headers"]))
        page = self._pages.refuse(CODE, wants_json=request.wants_json)
        return page.adding(*_retry_after(wait_s))


def _for_programs(wait_s: float) -> Answer:
    message = "Too many requests with this API key. Nothing was stored. Try again later."
    body = orjson.dumps({"error": CODE, "message": message})
    headers = (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        _retry_after(wait_s),
    )
    return Answer(429, headers, body)


def _retry_after(wait_s: float) -> tuple[bytes, bytes]:
    return b"retry-after", b"%d" % max(1, ceil(wait_s))


def _caller(scope: Scope) -> str:
    """What tells API keys apart, but is none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return sha256(value).hexdigest()
    return _address(scope)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
