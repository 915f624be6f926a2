"""Task tokens: they name an execution, a frame and an attempt, and carry a MAC.

Whoever holds one may complete that attempt and no other. Finding what a token names is a lookup by
primary key, whatever the number of waiting executions.
"""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass

from app.errors import InvalidToken

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
