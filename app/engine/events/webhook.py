"""A webhook as a destination: each event as one signed POST.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA-256 over
``<webhook-id>.<webhook-timestamp>.<body>``. The id stays the same over all attempts, so a receiver
that must not act twice remembers it. A redirect is a refusal: the signed body goes to the address
that the operator wrote down, and nowhere else.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256

import orjson

from app.clock import Clock, to_ms, utc_now
from app.engine.events import OwedEvent, Refusals
from app.errors import StartRefused

PREFIX = "whsec_"  #: what a secret begins with; base64 follows
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
CALL_S = 15.0  #: for one POST, connecting included
CONNECT_S = 5.0
MAX_ANSWER_BYTES = 4_096  #: read, so that the connection can be used again; more is not waited for
AT_ONCE = 8  #: POSTs under way


class Signer:
    """Signs bodies, with one key or several while they are changed."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """
        Raises:
            StartRefused: there is no secret, or one cannot be used.
        """
        self._keys = [_key(secret) for secret in secrets]
        if not self._keys:
            raise StartRefused(
                "SIGNOFF_EVENT_WEBHOOK_SECRETS is needed: whsec_ and 24 to 64 bytes in base64, "
                "which the receiver knows too."
            )

    def headers(self, message_id: str, seconds: int, body: bytes) -> dict[str, str]:
        """The three headers of a message that is sent at *seconds* since the epoch."""
        signed = f"{message_id}.{seconds}.".encode() + body
        digests = (hmac.new(key, signed, sha256).digest() for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
        }


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise StartRefused(
            "SIGNOFF_EVENT_WEBHOOK_SECRETS cannot be used: each is whsec_ and 24 to 64 bytes in "
            "base64."
        )
    return key


class Webhook:
    """POSTs events to one address."""

    name = "webhook"
    number = 2
    batch = 2 * AT_ONCE

    def __init__(
        self, url: str, signer: Signer, *, clock: Clock = utc_now, call_s: float = CALL_S
    ) -> None:
        self._url = url
        self._signer = signer
        self._clock = clock
        self._call_s = call_s
        self._room = asyncio.Semaphore(AT_ONCE)
        # Not needed without a webhook, and not small.
        import httpx  # noqa: PLC0415

        self._failures = (httpx.HTTPError, httpx.InvalidURL)
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=httpx.Timeout(call_s, connect=min(CONNECT_S, call_s)),
            limits=httpx.Limits(max_connections=AT_ONCE),
        )

    async def deliver(self, events: Sequence[OwedEvent]) -> Refusals:
        """POST events, some at a time; anything but a 2xx in time is a refusal."""
        reasons = await asyncio.gather(*(self._post(owed) for owed in events))
        return {e.number: why for e, why in zip(events, reasons, strict=True) if why is not None}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, owed: OwedEvent) -> str | None:
        body = owed.text.encode()
        async with self._room:
            seconds = to_ms(self._clock()) // 1000
            headers = self._signer.headers(orjson.loads(body)["id"], seconds, body)
            headers |= {"content-type": "application/json", "user-agent": "signoff"}
            try:
                async with asyncio.timeout(self._call_s):
                    status = await self._status(body, headers)
            except TimeoutError:
                return "timeout"
            except self._failures as exc:
                return type(exc).__name__
        return None if 200 <= status < 300 else f"http_{status}"

    async def _status(self, body: bytes, headers: dict[str, str]) -> int:
        request = self._client.stream("POST", self._url, content=body, headers=headers)
        async with request as response:
            size = 0
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    break
            return response.status_code
