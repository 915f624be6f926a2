"""AES-GCM in Python, for the one place that has no room for `cryptography`: the click function.

That library is four megabytes and 15 ms of a cold start on Lambda, for opening one task token and
the key it is under. This does the same in two milliseconds and a page of code: the same names, the
same bytes (tests hold it against NIST's vectors and against the library itself). Do not use it
where others can measure its time: the tables leave traces in caches.

Source: FIPS 197 (AES), NIST SP 800-38D (GCM), with nonces of 96 bits and tags of 128.
"""

from hmac import compare_digest
from struct import pack, unpack

TAG_BYTES = 16
_NONCE_BYTES = 12
_ROUNDS = {16: 10, 24: 12, 32: 14}  # by the length of the key in bytes
_POLYNOMIAL = 0xE1 << 120


class InvalidTag(Exception):
    """The text was changed, or made with another key, nonce or associated data."""


class AESGCM:
    """Encrypts and decrypts with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) not in _ROUNDS:
            raise ValueError("AESGCM key must be 128, 192, or 256 bits.")
        self._round_keys = _round_keys(key)
        self._multiples = _multiples(int.from_bytes(self._block(bytes(16))))

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """*data* encrypted, and the tag."""
        text = self._crypt(nonce, data)
        return text + self._tag(nonce, text, associated_data or b"")

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """What was encrypted.

        Raises:
            InvalidTag: it is not what `encrypt` gave for this nonce and associated data.
        """
        text, tag = data[:-TAG_BYTES], data[-TAG_BYTES:]
        if len(nonce) != _NONCE_BYTES or len(tag) != TAG_BYTES:
            raise InvalidTag
        if not compare_digest(self._tag(nonce, text, associated_data or b""), tag):
            raise InvalidTag
        return self._crypt(nonce, text)

    def _crypt(self, nonce: bytes, data: bytes) -> bytes:
        if len(nonce) != _NONCE_BYTES:
            raise ValueError("The nonce must have 12 bytes.")
        blocks = -(-len(data) // 16)
        stream = b"".join(self._block(nonce + count.to_bytes(4)) for count in range(2, blocks + 2))[
            : len(data)
        ]
        return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))

    def _tag(self, nonce: bytes, text: bytes, associated_data: bytes) -> bytes:
        lengths = pack(">QQ", 8 * len(associated_data), 8 * len(text))
        total = 0
        for part in (associated_data, text, lengths):
            for start in range(0, len(part), 16):
                block = part[start : start + 16].ljust(16, b"\0")
                total = self._times_h(total ^ int.from_bytes(block))
        mask = int.from_bytes(self._block(nonce + b"\0\0\0\x01"))
        return (total ^ mask).to_bytes(16)

    def _times_h(self, value: int) -> int:
        """*value* times the hash key in GF(2^128), four bits at a time (Shoup's tables)."""
        product = 0
        for _ in range(32):
            low = product & 15
            product = (product >> 4) ^ _REDUCED[low] ^ self._multiples[value & 15]
            value >>= 4
        return product

    def _block(self, block: bytes) -> bytes:
        """One block encrypted with AES."""
        first, *middle, last = self._round_keys
        a, b, c, d = (word ^ key for word, key in zip(unpack(">4I", block), first, strict=True))
        for k0, k1, k2, k3 in middle:
            a, b, c, d = (
                _T0[a >> 24] ^ _T1[b >> 16 & 255] ^ _T2[c >> 8 & 255] ^ _T3[d & 255] ^ k0,
                _T0[b >> 24] ^ _T1[c >> 16 & 255] ^ _T2[d >> 8 & 255] ^ _T3[a & 255] ^ k1,
                _T0[c >> 24] ^ _T1[d >> 16 & 255] ^ _T2[a >> 8 & 255] ^ _T3[b & 255] ^ k2,
                _T0[d >> 24] ^ _T1[a >> 16 & 255] ^ _T2[b >> 8 & 255] ^ _T3[c & 255] ^ k3,
            )
        words = (_last(a, b, c, d), _last(b, c, d, a), _last(c, d, a, b), _last(d, a, b, c))
        return pack(">4I", *(word ^ key for word, key in zip(words, last, strict=True)))


def _last(a: int, b: int, c: int, d: int) -> int:
    """A word of the last round, which mixes no columns."""
    return (
        _SBOX[a >> 24] << 24
        | _SBOX[b >> 16 & 255] << 16
        | _SBOX[c >> 8 & 255] << 8
        | (_SBOX[d & 255])
    )


def _round_keys(key: bytes) -> list[tuple[int, ...]]:
    width = len(key) // 4
    words = list(unpack(f">{width}I", key))
    constant = 1
    for position in range(width, 4 * (_ROUNDS[len(key)] + 1)):
        word = words[-1]
        if position % width == 0:
            word = _substituted(word << 8 & 0xFFFFFFFF | word >> 24) ^ constant << 24
            constant = _doubled(constant)
        elif width == 8 and position % width == 4:
            word = _substituted(word)
        words.append(words[-width] ^ word)
    return [tuple(words[start : start + 4]) for start in range(0, len(words), 4)]


def _substituted(word: int) -> int:
    return _last(word, word, word, word)


def _doubled(value: int) -> int:
    """*value* times x in AES's field GF(2^8)."""
    return value << 1 ^ (0x11B if value & 0x80 else 0)


def _sbox() -> list[int]:
    """Inverses in GF(2^8) through powers of the generator 3, then the affine map."""
    powers, logarithms, value = [0] * 256, [0] * 256, 1
    for exponent in range(255):
        powers[exponent], logarithms[value] = value, exponent
        value ^= _doubled(value)
    box = [0x63] * 256
    for number in range(1, 256):
        inverse = powers[(255 - logarithms[number]) % 255]
        # Itself and its four rotations to the left; what overflows comes in again on the right.
        spread = inverse ^ inverse << 1 ^ inverse << 2 ^ inverse << 3 ^ inverse << 4
        box[number] = (spread & 255) ^ (spread >> 8) ^ 0x63
    return box


def _multiples(hash_key: int) -> list[int]:
    """The hash key times every polynomial of four bits; bit 3 stands for 1, as GCM reflects."""
    table = [0] * 16
    power = hash_key
    for bit in (8, 4, 2, 1):
        for number in range(16):
            if number & bit:
                table[number] ^= power
        power = _times_x(power)
    return table


def _reduced() -> list[int]:
    """What four bits that leave on the right come back as."""
    return [_times_x(_times_x(_times_x(_times_x(number)))) for number in range(16)]


def _times_x(value: int) -> int:
    """*value* times x in GCM's field, whose bits are reflected."""
    return (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)


def _columns(turn: int) -> list[int]:
    """For each byte: its substitute times the column 2, 1, 1, 3, turned down by *turn* rows."""
    table = []
    for substitute in _SBOX:
        double = _doubled(substitute)
        word = double << 24 | substitute << 16 | substitute << 8 | double ^ substitute
        table.append((word >> 8 * turn | word << 32 - 8 * turn) & 0xFFFFFFFF)
    return table


_SBOX = _sbox()
_T0, _T1, _T2, _T3 = (_columns(turn) for turn in range(4))
_REDUCED = _reduced()
