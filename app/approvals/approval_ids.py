"""The ids of approvals: 128 bits as 26 characters of base32, in lower case."""

import secrets
from base64 import b32decode, b32encode
from hashlib import sha256


def approval_id(target: str, task_token: str) -> str:
    """The id that a mint for this task token always gets: 26 characters of base32.

    The first 128 bits of SHA-256 over target and token. Task tokens are secrets of at least that
    strength, so the id gives nothing away.
    """
    digest = sha256(b"signoff approval\0" + target.encode() + b"\0" + task_token.encode()).digest()
    return _id(digest[:16])


def new_approval_id() -> str:
    """An id of the same form from 128 random bits, for a mint that shall not find another."""
    return _id(secrets.token_bytes(16))


def id_as_hex(approval_id: str) -> str:
    """The 128 bits of an id as 32 hexadecimal digits."""
    return b32decode(approval_id.upper() + "======").hex()


def _id(bits: bytes) -> str:
    return b32encode(bits).decode().rstrip("=").lower()
