"""API keys: easy to find when leaked, refused at once when mistyped, stored as hashes only.

A key is ``sgn_`` + 40 random characters + 6 characters of checksum (letters and digits; CRC-32,
as in GitHub's tokens). The settings hold ``sha256:<hex of the key>``, so neither a settings file
nor a process list gives a key away. A key that somebody else made works too, if its hash is in the
settings; it just has no checksum.
"""

import re
import secrets
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from zlib import crc32

from app.errors import StartRefused, Unauthorized

PREFIX = "sgn_"
RANDOM_CHARACTERS = 40  #: 238 bits
_CHECKSUM_CHARACTERS = 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MAX_KEY = 256
_FORM = re.compile(f"{PREFIX}[0-9A-Za-z]{{{RANDOM_CHARACTERS + _CHECKSUM_CHARACTERS}}}")
_ENTRY = re.compile(r"sha256:[0-9a-f]{64}")


class ApiKeys:
    """The API keys that are accepted."""

    def __init__(self, entries: Iterable[str]) -> None:
        """The keys behind *entries* (``sha256:<hex>``).

        Raises:
            StartRefused: an entry has another form.
        """
        self._digests: list[bytes] = []
        for position, entry in enumerate(entries, 1):
            if not _ENTRY.fullmatch(entry):
                raise StartRefused(
                    f"SIGNOFF_API_KEYS: entry {position} is not sha256:<64 hexadecimal digits>. "
                    "Use the entry that `signoff keys new` prints."
                )
            self._digests.append(bytes.fromhex(entry.removeprefix("sha256:")))

    def check(self, key: str) -> str:
        """The id of *key* (the start of its hash: safe to log and to keep).

        Raises:
            Unauthorized: it is not one of the accepted keys.
        """
        if len(key) > MAX_KEY or (key.startswith(PREFIX) and not is_well_formed(key)):
            raise Unauthorized()
        digest = sha256(key.encode("utf-8", "surrogatepass")).digest()
        # No early exit: the time tells nothing about which entry was close.
        matches = [compare_digest(digest, accepted) for accepted in self._digests]
        if not any(matches):
            raise Unauthorized()
        return digest.hex()[:12]


def new_api_key() -> str:
    """A fresh key."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return PREFIX + body + _checksum(body)


def api_key_entry(key: str) -> str:
    """What the settings hold of *key*."""
    return "sha256:" + sha256(key.encode()).hexdigest()


def is_well_formed(key: str) -> bool:
    """Whether *key* has the form and the checksum of a key: junk and typing errors do not."""
    if not _FORM.fullmatch(key):
        return False
    body = key[len(PREFIX) : -_CHECKSUM_CHARACTERS]
    return _checksum(body) == key[-_CHECKSUM_CHARACTERS:]


def _checksum(body: str) -> str:
    number = crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
