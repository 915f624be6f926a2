"""AES-GCM in Python gives the same bytes as the standard and as the library."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM as Library
from hypothesis import given, settings
from hypothesis import strategies as st

from app.approvals.aes_gcm import AESGCM, InvalidTag

#: test cases 13 to 16 of "The Galois/Counter Mode of Operation" (McGrew, Viega): AES-256
KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
NONCE = bytes.fromhex("cafebabefacedbaddecaf888")
PLAIN = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
CIPHER = bytes.fromhex(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
EXTRA = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")

keys = st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
nonces = st.binary(min_size=12, max_size=12)


@pytest.mark.parametrize(
    ("key", "nonce", "plain", "extra", "expected"),
    [
        (bytes(32), bytes(12), b"", b"", "530f8afbc74536b9a963b4f1c4cb738b"),
        (
            bytes(32),
            bytes(12),
            bytes(16),
            b"",
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (KEY, NONCE, PLAIN, b"", CIPHER.hex() + "b094dac5d93471bdec1a502270e3cc6c"),
        (KEY, NONCE, PLAIN[:60], EXTRA, CIPHER[:60].hex() + "76fc6ece0f4e1768cddf8853bb2d551b"),
    ],
)
def test_the_standards_vectors_hold(
    key: bytes, nonce: bytes, plain: bytes, extra: bytes, expected: str
) -> None:
    """Nothing, one block, four blocks, and a broken block with associated data."""
    sealed = AESGCM(key).encrypt(nonce, plain, extra)

    assert sealed.hex() == expected
    assert AESGCM(key).decrypt(nonce, sealed, extra) == plain


@settings(max_examples=60, deadline=None)
@given(keys, nonces, st.binary(max_size=300), st.binary(max_size=40))
def test_it_says_what_the_library_says(
    key: bytes, nonce: bytes, plain: bytes, extra: bytes
) -> None:
    """For any key, nonce, text and associated data: the same bytes, readable by either."""
    theirs = Library(key).encrypt(nonce, plain, extra)

    assert AESGCM(key).encrypt(nonce, plain, extra) == theirs
    assert AESGCM(key).decrypt(nonce, theirs, extra) == plain


@pytest.mark.parametrize("position", range(0, 76, 3))
def test_no_byte_can_be_another_one(position: int) -> None:
    """Text and tag are both guarded."""
    sealed = bytearray(AESGCM(KEY).encrypt(NONCE, PLAIN[:60], EXTRA))
    sealed[position] ^= 1

    with pytest.raises(InvalidTag):
        AESGCM(KEY).decrypt(NONCE, bytes(sealed), EXTRA)


def test_what_is_no_sealed_text_is_refused() -> None:
    """Too short, another nonce, other associated data, a key of another size."""
    sealed = AESGCM(KEY).encrypt(NONCE, PLAIN, EXTRA)

    for nonce, text, extra in (
        (NONCE, b"", EXTRA),
        (NONCE, sealed[:15], EXTRA),
        (NONCE[:11], sealed, EXTRA),
        (NONCE, sealed, b""),
        (bytes(12), sealed, EXTRA),
    ):
        with pytest.raises(InvalidTag):
            AESGCM(KEY).decrypt(nonce, text, extra)
    with pytest.raises(ValueError, match="bits"):
        AESGCM(bytes(31))
    with pytest.raises(ValueError, match="12 bytes"):
        AESGCM(KEY).encrypt(bytes(11), b"x", None)
