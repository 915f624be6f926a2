"""Task tokens: they name an execution, a frame and an attempt, and carry a MAC. Page tokens too.

Whoever holds one may complete that attempt and no other. Finding what a token names is a lookup by
primary key, whatever the number of waiting executions.
"""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass

import orjson

from app.clock import Clock, to_ms
from app.errors import InvalidToken
from app.strict_json import Json

KEY_BYTES = 32
MAC_BYTES = 24
MAX_CHARS = 2_048

_NAMED = struct.Struct(">BQII")  # version, execution, frame, attempt
_VERSION = 1


@dataclass(frozen=True, slots=True)
class TaskReference:
    """Which attempt a token is for."""

    execution_id: int
    frame: int
    attempt: int


PAGE_LIFE_S = 86_400  #: how long a page token is good


class PageTokens:
    """Makes page tokens and takes them back: where a list goes on, signed, for a day."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def make(self, purpose: str, *where: Json) -> str:
        """A token for the list that *purpose* names."""
        content = orjson.dumps([to_ms(self._clock()), *where])
        return base64.urlsafe_b64encode(self._mac(purpose, content) + content).decode()

    def open(self, purpose: str, token: str) -> Json:
        """Where the list goes on: what `make` was given.

        Raises:
            InvalidToken: it is not ours, of another list, or too old.
        """
        try:
            content = base64.urlsafe_b64decode(token)[MAC_BYTES:]
        except (binascii.Error, ValueError) as exc:
            raise InvalidToken() from exc
        # The one canonical text is accepted: Base64 has several for the same bytes.
        expected = base64.urlsafe_b64encode(self._mac(purpose, content) + content)
        if not hmac.compare_digest(expected, token.encode()):
            raise InvalidToken()
        made_ms, *where = orjson.loads(content)
        if to_ms(self._clock()) - made_ms > PAGE_LIFE_S * 1000:
            raise InvalidToken()
        return where[0] if len(where) == 1 else where

    def _mac(self, purpose: str, content: bytes) -> bytes:
        signed = f"page token {purpose} ".encode() + content
        return hmac.digest(self._key, signed, "sha256")[:MAC_BYTES]


class TokenMint:
    """Makes task tokens and takes them back."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mint(self, execution_id: int, frame: int, attempt: int) -> str:
        """The token of this attempt: always the same, so a repeated call carries the same one."""
        named = _NAMED.pack(_VERSION, execution_id, frame, attempt)
        return base64.b64encode(named + self._mac(named)).decode()

    def open(self, token: str) -> TaskReference:
        """What *token* names.

        Raises:
            InvalidToken: it is not one of ours, to the last character.
        """
        try:
            # The one canonical text is accepted: Base64 has several for the same bytes.
            content = base64.b64decode(token, validate=True) if len(token) <= MAX_CHARS else b""
            named = content[: _NAMED.size]
            version, execution_id, frame, attempt = _NAMED.unpack(named)
        except (binascii.Error, ValueError, struct.error) as exc:
            raise InvalidToken() from exc
        expected = base64.b64encode(named + self._mac(named))
        if version != _VERSION or not hmac.compare_digest(expected, token.encode()):
            raise InvalidToken()
        return TaskReference(execution_id, frame, attempt)

    def _mac(self, named: bytes) -> bytes:
        return hmac.digest(self._key, b"task token" + named, "sha256")[:MAC_BYTES]
