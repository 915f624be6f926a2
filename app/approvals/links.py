"""The links that people get, and the nonces of the forms behind them.

A link is ``<base URL>/d/<approval id>.<recipient>.<action>.<key id>.<signature>``: one path
segment of unreserved characters, about 90 characters, without the task token and without any
content. Recipient and action are indexes into the approval; all parts are under the signature
(itsdangerous, HMAC-SHA-256, a salt per purpose).

Verifying signs what is claimed once more and compares the *whole text* in constant time. So there
is exactly one text for a link: base64 aliases, padding, other cases or other digits are not it.
"""

from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Any

from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm

from app.approvals.keyring import KeyRing
from app.approvals.model import Holder
from app.clock import to_ms
from app.errors import BadForm, StaleForm, UnknownLink

MAX_LINK = 160  #: a longer text is no link of ours; nothing else is done with it
MAX_NONCE = 100
FORM_LIFE_MS = 30 * 60 * 1000
CLOCK_LEEWAY_MS = 60 * 1000  #: by which two of our machines may disagree


class LinkSigner:
    """Makes and verifies links and form nonces. No store is needed for either."""

    def __init__(self, ring: KeyRing, base_url: str) -> None:
        self._prefix = base_url.rstrip("/") + "/d/"
        self._key_id = ring.newest.id
        self._links = _signers(ring, "link")
        self._callbacks = _signers(ring, "callback")
        self._forms = _signers(ring, "form")

    def url(self, holder: Holder) -> str:
        """The address that lets *holder* act; signed with the newest key."""
        return self._prefix + self.sign(holder)

    def sign(self, holder: Holder) -> str:
        """The last path segment of `url`."""
        return _signed(holder, self._key_id, self._links)

    def holder(self, link: str) -> Holder:
        """Who may do what, says *link* (the last path segment).

        Raises:
            UnknownLink: for every link that does not hold, whatever is wrong with it.
        """
        return _holder(link, self._links)

    def sign_callback(self, holder: Holder) -> str:
        """The ``data`` of a callback URL; it opens no page under ``/d/``, nor the other way."""
        return _signed(holder, self._key_id, self._callbacks)

    def callback_holder(self, data: str) -> Holder:
        """Who may do what, says the ``data`` of a callback URL. Raises as `holder`."""
        return _holder(data, self._callbacks)

    def form_nonce(self, holder: Holder, now: datetime) -> str:
        """A nonce for the form that *holder* is shown *now*; good for 30 minutes."""
        issued = f"{to_ms(now)}.{self._key_id}"
        signature = self._forms[self._key_id].get_signature(_form(holder, issued)).decode()
        return f"{issued}.{signature}"

    def check_form_nonce(self, holder: Holder, nonce: str, now: datetime) -> None:
        """Accept the nonce of a form that *holder* was shown.

        Raises:
            BadForm: it was made for another link, or not by us.
            StaleForm: it is genuine, but older than 30 minutes.
        """
        issued, _, signature = nonce.rpartition(".")
        stamp, _, key_id = issued.partition(".")
        signer = self._forms.get(key_id)
        if signer is None or len(nonce) > MAX_NONCE or not nonce.isascii():
            raise BadForm()
        expected = signer.get_signature(_form(holder, issued))
        if not compare_digest(expected, signature.encode()):
            raise BadForm()
        age_ms = to_ms(now) - int(stamp)
        if not -CLOCK_LEEWAY_MS <= age_ms <= FORM_LIFE_MS:
            raise StaleForm()


class _HmacSha256(SigningAlgorithm):
    """itsdangerous' own HMAC in one call instead of an object: half the time, the same bytes."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac_digest(key, value, "sha256")


class _PurposeSigner(Signer):
    """A signer that derives its key once; itsdangerous would do so for each signature."""

    def __init__(self, secret_key: bytes, **settings: Any) -> None:
        super().__init__(secret_key, **settings)
        self._derived = super().derive_key()

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        return self._derived if secret_key is None else super().derive_key(secret_key)


def _signers(ring: KeyRing, purpose: str) -> dict[str, Signer]:
    return {
        key.id: _PurposeSigner(
            key.derive(purpose),
            salt=b"signoff." + purpose.encode(),
            key_derivation="hmac",
            digest_method=sha256,
            algorithm=_HmacSha256(),
        )
        for key in ring.keys
    }


def _signed(holder: Holder, key_id: str, signers: dict[str, Signer]) -> str:
    value = f"{holder.approval_id}.{holder.recipient}.{holder.action}.{key_id}"
    return _sign(signers[key_id], value)


def _sign(signer: Signer, value: str) -> str:
    return f"{value}.{signer.get_signature(value).decode()}"


def _verified(text: str, limit: int, signers: dict[str, Signer]) -> str | None:
    """The signed value in *text*; None if it is not to the letter what we would sign."""
    if len(text) > limit or not text.isascii():
        return None
    value, _, _ = text.rpartition(".")
    signer = signers.get(value.rpartition(".")[2])
    if signer is None:
        return None
    return value if compare_digest(_sign(signer, value).encode(), text.encode()) else None


def _holder(text: str, signers: dict[str, Signer]) -> Holder:
    value = _verified(text, MAX_LINK, signers)
    if value is None:
        raise UnknownLink()
    # We signed exactly this text, so it has exactly this form.
    approval_id, recipient, action, _ = value.split(".")
    return Holder(approval_id, int(recipient), int(action))


def _form(holder: Holder, issued: str) -> str:
    return f"{holder.approval_id}.{holder.recipient}.{holder.action}.{issued}"
