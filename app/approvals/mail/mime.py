"""A mail as bytes: headers that say what they were given and nothing else, and two bodies.

Written by hand, because the standard library's `EmailMessage` decodes what it is given and lets an
RFC 2047 word smuggle a line break into the header block (`=?utf-8?q?a=0d=0aBcc:_x?=`), and because
it takes a millisecond per mail. Rules kept here:

- header text stands literally only when it is printable ASCII that nothing could decode or fold
  differently; everything else becomes base64 words of RFC 2047, which hold no special character;
- control characters are refused, not repaired: the caller decides what to drop;
- what was written is parsed again, and a header list other than the one asked for is refused;
- lines end in CRLF, hold at most 998 octets, and none begins with a dot.
"""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import compat32

import idna

from app.errors import SignoffError, StartRefused

_LINE = 76  #: octets in a line of a body or of folded words (RFC 2045)
_WORD_PAYLOAD = 45  #: UTF-8 octets in one encoded word: 60 in base64, 72 in all (RFC 2047: 75)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HARMLESS = re.compile(r"[\x20-\x7e]*")
_FOLDABLE = re.compile(r"[!-~]{1,70}(?: [!-~]{1,70})*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_TOKEN = re.compile(r"[!-~]+(?: [!-~]+)*")
_SETTING = re.compile(r"(?:(?P<name>[^<>]*)<)?(?P<address>[^<>\s]+)(?(name)>)")
_LEADING_DOTS = re.compile(rb"^\.+", re.MULTILINE)
_ADDRESS_MAX = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets

_PARSER = BytesHeaderParser(policy=compat32)


class NotMailable(SignoffError):
    """This text or address cannot be put into a mail."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A name for people and an address for machines."""

    address: str
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Mailbox":
        """The sender that an operator sets as ``address`` or ``Name <address>``.

        Raises:
            StartRefused: it is neither.
        """
        match = _SETTING.fullmatch(text.strip())
        try:
            if match is None:
                raise NotMailable()
            name = (match["name"] or "").strip(' "')
            return cls(ascii_address(match["address"]), name or None)
        except NotMailable as exc:
            raise StartRefused(
                "SIGNOFF_MAIL_FROM cannot be used: an address is needed, such as "
                "Signoff <signoff@example.com>."
            ) from exc


@dataclass(frozen=True, slots=True)
class Header:
    """A header as it will stand in the mail, without its line end."""

    name: str
    value: str  #: may hold CRLF SP, where it is folded


def text_header(name: str, text: str) -> Header:
    """An unstructured header such as Subject."""
    _refuse_control(text)
    return Header(name, _literal(name, text) or _words(text, len(name) + 2))


def mailbox_header(name: str, *mailboxes: Mailbox) -> Header:
    """A header of addresses such as From, To or Reply-To."""
    parts = [_mailbox(mailbox, len(name) + 2) for mailbox in mailboxes]
    return Header(name, ",\r\n ".join(parts))


def token_header(name: str, token: str) -> Header:
    """A header that machines read, such as Message-ID or Date: printable ASCII, never encoded."""
    if not _TOKEN.fullmatch(token) or len(token) > 900 or "=?" in token:
        raise NotMailable(f"The value of the header {name} cannot be written as it is.")
    return Header(name, token)


def ascii_address(address: str) -> str:
    """*address* as an ASCII addr-spec, a domain of other scripts in its ``xn--`` form.

    Raises:
        NotMailable: it is not one plain address, or its local part is not ASCII.
    """
    local, _, domain = address.rpartition("@")
    if not domain.isascii():
        domain = _punycode(domain)
    if (
        not _LOCAL_PART.fullmatch(local)
        or not _DOMAIN.fullmatch(domain)
        or len(local) > 64
        or len(local) + 1 + len(domain) > _ADDRESS_MAX
    ):
        raise NotMailable("The address is not one plain mail address.")
    return f"{local}@{domain}"


def alternative(headers: Sequence[Header], *, text: str, html: str, boundary: str) -> bytes:
    """The whole mail: *headers*, then *text* and *html* as two forms of the same.

    *boundary* is 1 to 60 letters, digits or ``-``; it is safe whatever the bodies hold, because
    ``=_`` stands in no encoded body.

    Raises:
        NotMailable: the headers do not read back as they were meant.
    """
    mark = f"=_{boundary}"
    whole = (
        *headers,
        Header("MIME-Version", "1.0"),
        Header("Content-Type", f'multipart/alternative;\r\n boundary="{mark}"'),
    )
    block = "".join(f"{header.name}: {header.value}\r\n" for header in whole).encode("ascii")
    _check_reads_back(block, whole)
    separator = f"\r\n--{mark}\r\n".encode("ascii")  # its first line end is not the body's
    return b"".join(
        (
            block,
            separator,
            _part("plain", text),
            separator,
            _part("html", html),
            f"\r\n--{mark}--\r\n".encode("ascii"),
        )
    )


def _refuse_control(text: str) -> None:
    if _CONTROL.search(text):
        raise NotMailable("A header cannot hold control characters or line breaks.")


def _literal(name: str, text: str) -> str | None:
    """*text* as it is, folded at single spaces; None if it must be encoded to be safe."""
    if "=?" in text or not text or not _HARMLESS.fullmatch(text):
        return None
    room = 78 - len(name) - 2
    if len(text) <= room and text == text.strip(" "):
        return text
    if not _FOLDABLE.fullmatch(text):
        return None
    return _fold(text.split(" "), room)


def _fold(words: list[str], room: int) -> str:
    lines, line = [], ""
    for word in words:
        joined = f"{line} {word}" if line else word
        if line and len(joined) > room:
            lines.append(line)
            line, room = word, 77
        else:
            line = joined
    return "\r\n ".join([*lines, line])


def _words(text: str, used: int) -> str:
    """*text* as encoded words, whole characters in each, one to a line."""
    first = max(9, min(_WORD_PAYLOAD, (_LINE - used - 12) // 4 * 3))
    chunks = _chunks(text, first)
    return "\r\n ".join(
        f"=?utf-8?b?{binascii.b2a_base64(chunk, newline=False).decode('ascii')}?="
        for chunk in chunks
    )


def _chunks(text: str, first: int) -> list[bytes]:
    chunks, chunk, room = [], b"", first
    for character in text:
        octets = character.encode("utf-8")
        if len(chunk) + len(octets) > room:
            chunks.append(chunk)
            chunk, room = b"", _WORD_PAYLOAD
        chunk += octets
    return [*chunks, chunk]


def _mailbox(mailbox: Mailbox, used: int) -> str:
    address = ascii_address(mailbox.address)
    if not mailbox.name:
        return address
    _refuse_control(mailbox.name)
    phrase = _phrase(mailbox.name, used)
    last_line = used + len(phrase) if "\r" not in phrase else len(phrase) - phrase.rindex("\r")
    gap = " " if last_line + len(address) + 3 <= 78 else "\r\n "
    return f"{phrase}{gap}<{address}>"


def _phrase(name: str, used: int) -> str:
    """A display name: atoms, a quoted string, or encoded words."""
    if "=?" in name or len(name) > 60 or not _HARMLESS.fullmatch(name) or name != name.strip(" "):
        return _words(name, used)
    if _ATOMS.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _punycode(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as exc:
        raise NotMailable("The domain of the address is no name of the internet.") from exc


def _check_reads_back(block: bytes, headers: Sequence[Header]) -> None:
    """Parse what was written: the same names and values in the same order, or no mail at all."""
    read = _PARSER.parsebytes(block)
    # The parser's list of defects says nothing here: some versions miss the parts in it.
    if read.get_payload() or read.items() != [(h.name, h.value) for h in headers]:
        raise NotMailable("The headers of the mail would not read back as they were meant.")


def _part(subtype: str, body: str) -> bytes:
    """One form of the body with its own two headers."""
    octets = _normal_lines(body).encode("utf-8", "replace")
    # Quoted-printable keeps plain text readable in the raw mail; HTML nobody reads raw, and base64
    # is quicker. Scripts beyond Latin are shorter in base64.
    if subtype == "plain" and len(octets) <= len(body) * 1.25:
        encoding, encoded = "quoted-printable", _quoted_printable(octets)
    else:
        encoding, encoded = "base64", _base64(octets)
    head = (
        f"Content-Type: text/{subtype}; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode("ascii") + encoded


def _normal_lines(body: str) -> str:
    """*body* with CRLF line ends, one at its end, and no other CR or LF."""
    lines = body.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    return lines.replace("\n", "\r\n") + "\r\n"


def _quoted_printable(octets: bytes) -> bytes:
    encoded = binascii.b2a_qp(octets, quotetabs=False, istext=True)
    return _LEADING_DOTS.sub(_quote_dots, encoded) if b"\n." in b"\n" + encoded else encoded


def _quote_dots(dots: re.Match[bytes]) -> bytes:
    """Dots at the start of a line, each on a line of its own that the reader joins again."""
    return b"=2E=\r\n" * len(dots[0])


def _base64(octets: bytes) -> bytes:
    encoded = binascii.b2a_base64(octets, newline=False)
    lines = [encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)]
    return b"\r\n".join(lines) + b"\r\n"
