"""Keys that others could know stop the start."""

import secrets

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.approvals.keyring import KeyRing
from app.errors import StartRefused
from tests.approvals.world import KEY, OLDER_KEY


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "changeme",
        "x" * 31,
        "9f2c4e7a1b3d5f60718293a4b5c6d7e",
        "a" * 64,
        "ab" * 32,
        "0123456789abcdef" * 4,
        "changeme-changeme-changeme-changeme",
        "CHANGE-ME-to-something-long-and-random",
        "your-secret-key-goes-here-at-least-32-bytes",
        "this-is-an-example-key-of-more-than-32-bytes",
        "\u00e9" * 16,
        " " * 40,
    ],
)
def test_weak_keys_are_refused_without_being_shown(secret: str) -> None:
    """The refusal says which key and what to do, never what it is."""
    with pytest.raises(StartRefused) as refusal:
        KeyRing([KEY, secret])

    assert str(refusal.value).startswith("SIGNOFF_SECRET_KEYS: key 2 ")
    assert "signoff keys secret" in str(refusal.value)
    assert not secret.strip() or secret not in str(refusal.value)


def test_no_key_at_all_is_refused() -> None:
    """Without a secret there is nothing to sign with."""
    with pytest.raises(StartRefused, match="SIGNOFF_SECRET_KEYS is empty"):
        KeyRing([])


def test_the_same_key_twice_is_refused() -> None:
    """Two equal keys are a mistake in the settings."""
    with pytest.raises(StartRefused, match="same key twice"):
        KeyRing([KEY, OLDER_KEY, KEY])


def test_random_keys_of_any_usual_form_are_fine() -> None:
    """Hexadecimal, URL-safe and base64 keys of 32 random bytes are accepted, always."""
    for _ in range(200):
        KeyRing([secrets.token_hex(32), secrets.token_urlsafe(32), secrets.token_hex(16)])


def test_keys_have_stable_ids_and_unrelated_purposes() -> None:
    """The same secret gives the same id and keys each time; each purpose its own key."""
    first, again = KeyRing([KEY, OLDER_KEY]), KeyRing([KEY])

    assert first.newest.id == again.newest.id
    assert first.newest.derive("link") == again.newest.derive("link")
    derived = {key.derive(purpose) for key in first.keys for purpose in ("link", "form", "wrap")}
    assert len(derived) == 6


def test_keys_are_derived_as_rfc_5869_says() -> None:
    """The library that implements the standard derives the same key."""
    library = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"signoff link")

    assert KeyRing([KEY]).newest.derive("link") == library.derive(KEY.encode())


def test_a_key_does_not_show_itself() -> None:
    """What is printed of a key by accident is its id."""
    ring = KeyRing([KEY])

    assert KEY not in repr(ring.newest)
    assert repr(ring.newest) == f"Key({ring.newest.id})"
