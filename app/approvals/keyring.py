"""The secret keys: the newest signs, all of them verify, each purpose has keys of its own.

A key never signs anything itself. Every purpose (links, form nonces, audit digests, wrapping of
the data key) derives its own key with HKDF-SHA-256, so that what was signed for one purpose means
nothing to another. A key's id is a short fingerprint; it is looked up in the ring and nowhere else.
"""

from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest

from app.errors import StartRefused

MIN_KEY_BYTES = 32
MIN_DISTINCT_BYTES = 8  #: 32 random bytes as hex have about 14

#: parts of keys that people copy from documents, in lower case
PLACEHOLDERS = (
    b"changeme",
    b"change-me",
    b"change_me",
    b"replace-me",
    b"replace-this",
    b"replace_me",
    b"your-secret",
    b"your_secret",
    b"example",
    b"placeholder",
    b"not-a-secret",
    b"insecure",
    b"default-secret",
    b"default-key",
    b"secretsecret",
    b"password",
    b"0123456789abcdef0123456789abcdef",
    b"1234567890123456",
    b"abcdefghijklmnopqrstuvwxyz",
)
MAKE_ONE = "Make one with: signoff keys secret"


@dataclass(frozen=True, slots=True)
class Key:
    """One secret key of the ring."""

    id: str  #: 8 characters of a fingerprint; safe to show
    _secret: bytes

    def derive(self, purpose: str) -> bytes:
        """The 32-byte key for *purpose*; the same each time, unrelated to those of others."""
        # HKDF (RFC 5869) without a salt; one block, as 32 bytes are what SHA-256 gives.
        pseudorandom = digest(bytes(32), self._secret, "sha256")
        return digest(pseudorandom, b"signoff " + purpose.encode() + b"\x01", "sha256")

    def __repr__(self) -> str:
        return f"Key({self.id})"


class KeyRing:
    """The keys that count, newest first."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """The ring of *secrets*.

        Raises:
            StartRefused: there is none, or one is too short, guessable or there twice.
        """
        if not secrets:
            raise StartRefused(
                f"SIGNOFF_SECRET_KEYS is empty: set at least one secret key. {MAKE_ONE}"
            )
        for position, secret in enumerate(secrets, 1):
            _check(secret.encode("utf-8", "surrogateescape"), position)
        self.keys = tuple(_key(secret) for secret in secrets)
        self._by_id = {key.id: key for key in self.keys}
        if len(self._by_id) < len(self.keys):
            raise StartRefused(
                "SIGNOFF_SECRET_KEYS has the same key twice. Name each key once, newest first."
            )

    @property
    def newest(self) -> Key:
        """The key that signs."""
        return self.keys[0]

    def __getitem__(self, key_id: str) -> Key:
        """The key with this id (KeyError if it is not in the ring)."""
        return self._by_id[key_id]

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._by_id


def _key(secret: str) -> Key:
    data = secret.encode("utf-8", "surrogateescape")
    fingerprint = sha256(b"signoff key id\0" + data).digest()
    return Key(b32encode(fingerprint[:5]).decode().lower(), data)


def _check(secret: bytes, position: int) -> None:
    fault = _weakness(secret)
    if fault is not None:
        raise StartRefused(f"SIGNOFF_SECRET_KEYS: key {position} {fault}. {MAKE_ONE}")


def _weakness(secret: bytes) -> str | None:
    if len(secret) < MIN_KEY_BYTES:
        return f"is shorter than {MIN_KEY_BYTES} bytes"
    if len(set(secret)) < MIN_DISTINCT_BYTES or _repeats(secret):
        return "repeats itself"
    lowered = secret.lower()
    if any(placeholder in lowered for placeholder in PLACEHOLDERS):
        return "is a placeholder that others know"
    return None


def _repeats(secret: bytes) -> bool:
    # A text is a repetition of a shorter one if it is found in its double before the second half.
    return (secret + secret).find(secret, 1) < len(secret)
