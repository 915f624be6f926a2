"""Task tokens at rest: sealed with XChaCha20-Poly1305, bound to their approval.

The cipher is libsodium's (PyNaCl): its nonces are long enough to be drawn at random for ever, and
it is less than half the size of its rivals, which the click function on Lambda feels.

The data key is random and lives in the store, wrapped once under every key of the ring (`wrap`).
Ring keys can therefore come and go: a new one gets a wrap at the next start, a removed one loses
its wrap, and what was sealed stays readable. So removing a key kills its links, while decisions
that are still owed are delivered.
"""

from secrets import token_bytes

from nacl.exceptions import CryptoError
from nacl.secret import Aead

from app.approvals.keyring import Key, KeyRing
from app.approvals.store.interface import Wraps, WrapStore
from app.errors import StartRefused

_WRAP_AAD = b"signoff data key"


class Sealer:
    """Seals and opens task tokens with one data key."""

    def __init__(self, data_key: bytes) -> None:
        self._aead = Aead(data_key)

    def seal(self, text: str, approval_id: str) -> bytes:
        """*text* so that nobody without the key can read it or move it to another approval."""
        return bytes(self._aead.encrypt(text.encode(), approval_id.encode()))

    def open(self, sealed: bytes, approval_id: str) -> str:
        """The text that was sealed for *approval_id*.

        Raises:
            ValueError: it was sealed for another approval, with another key, or was changed.
        """
        try:
            return self._aead.decrypt(sealed, approval_id.encode()).decode()
        except (CryptoError, ValueError) as exc:
            raise ValueError("The sealed task token cannot be opened.") from exc


async def open_sealer(ring: KeyRing, store: WrapStore) -> Sealer:
    """The sealer over the store's data key, which is made at the first start.

    Afterwards the stored wraps are exactly those of the ring's keys.

    Raises:
        StartRefused: none of the ring's keys opens the stored data key.
    """
    while True:
        wraps = await store.keep_wraps(_wrap_all(token_bytes(32), ring))
        data_key = _unwrap(wraps, ring)
        if wraps.keys() == {key.id for key in ring.keys}:
            return Sealer(data_key)
        # Another process may start at the same time with another ring: look again.
        if await store.replace_wraps(wraps, _wrap_all(data_key, ring)):
            return Sealer(data_key)


def _wrap_all(data_key: bytes, ring: KeyRing) -> Wraps:
    return {key.id: _wrap(data_key, key) for key in ring.keys}


def _wrap(data_key: bytes, key: Key) -> bytes:
    return bytes(Aead(key.derive("wrap")).encrypt(data_key, _WRAP_AAD))


def _unwrap(wraps: Wraps, ring: KeyRing) -> bytes:
    for key in ring.keys:
        wrap = wraps.get(key.id)
        if wrap is None:
            continue
        try:
            return Aead(key.derive("wrap")).decrypt(wrap, _WRAP_AAD)
        except CryptoError:
            continue
    raise StartRefused(
        "No key of SIGNOFF_SECRET_KEYS opens this store: its task tokens were sealed with other "
        "keys. Put the previous key back, after the new one (new,old); the old one can be removed "
        "at a later start, once the service ran with both."
    )
