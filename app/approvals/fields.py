"""Reading JSON objects strictly: fields known, typed and bounded, all faults reported at once.

A `Fields` reads one object. What is wrong is noted in the shared `Faults` under the path of the
field ("recipients.0.email") with a sentence that never repeats what was sent. Readers give a
harmless value for a wrong field, so that reading goes on and all faults come together; nobody uses
what was read once there is a fault.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from app.approvals.typed_text import BIDI, CONTROLS, NOT_IN_TEXT
from app.strict_json import Json

T = TypeVar("T")

MAX_FAULTS = 50  #: more are not listed

_MISSING: Any = object()

_NOT_IN_A_LINE = re.compile(f"[\t\n\r{CONTROLS}]")
_NOT_IN_TEXT = re.compile(NOT_IN_TEXT)
_BIDI = re.compile(BIDI)
# RFC 2047: some mail libraries decode these on the way out, line breaks included.
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[bBqQ]\?")

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")


class Faults:
    """What is wrong, by the path of the field."""

    __slots__ = ("by_path",)

    def __init__(self) -> None:
        self.by_path: dict[str, str] = {}

    def add(self, path: str, sentence: str) -> None:
        """Note that the field at *path* is wrong; the first fault of a field stays."""
        if len(self.by_path) < MAX_FAULTS:
            self.by_path.setdefault(path, sentence)

    def __bool__(self) -> bool:
        return bool(self.by_path)


class Fields:
    """One JSON object, read field by field."""

    __slots__ = ("_faults", "_path", "_value")

    def __init__(self, value: Json, path: str, known: frozenset[str], faults: Faults) -> None:
        self._faults = faults
        self._path = path
        if not isinstance(value, dict):
            self._faults.add(path, "An object is needed.")
            value = {}
        self._value: dict[str, Json] = value
        if not value.keys() <= known:
            self._note_unknown(value.keys() - known)

    def fault(self, name: str, sentence: str) -> None:
        """Note that the field *name* is wrong."""
        self._faults.add(self.path(name), sentence)

    def path(self, name: str) -> str:
        """The path of the field *name*."""
        return f"{self._path}.{name}" if self._path else name

    def given(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._value.get(name) is not None

    def raw(self, name: str, default: Json = None) -> Json:
        """The field's value, whatever it is; null where it was sent as null."""
        return self._value.get(name, default)

    def line(self, name: str, limit: int, *, required: bool = False) -> str | None:
        """A text of one line, without control characters; bidi controls are taken out."""
        return self._string(name, limit, required, _NOT_IN_A_LINE, _LINE)

    def text(self, name: str, limit: int) -> str | None:
        """A text that may have several lines, with LF line ends."""
        text = self._string(name, limit, False, _NOT_IN_TEXT, _TEXT)
        return text.replace("\r\n", "\n").replace("\r", "\n") if text else None

    def secret(self, name: str, limit: int) -> str:
        """A required opaque text of one line, kept to the letter."""
        value = self._value.get(name)
        if value is None:
            self.fault(name, "This field is required.")
        elif not isinstance(value, str):
            self.fault(name, "A text is needed.")
        elif not 1 <= len(value) <= limit:
            self.fault(name, f"Between 1 and {limit:,} characters are allowed.")
        elif _NOT_IN_A_LINE.search(value):
            self.fault(name, _LINE)
        else:
            return value
        return ""

    def header(self, name: str, limit: int, *, required: bool = False) -> str | None:
        """A line that goes into a mail header: no RFC 2047 encoded word either."""
        line = self.line(name, limit, required=required)
        if line and "=?" in line and _ENCODED_WORD.search(line):
            self.fault(name, "Encoded words (=?charset?q?...?=) are not allowed. Write plain text.")
        return line

    def email(self, name: str, *, required: bool = False) -> str | None:
        """One bare e-mail address, its domain in ASCII (xn--)."""
        value = self._value.get(name)
        if value is None:
            if required:
                self.fault(name, "This field is required.")
            return None
        address = email_address(value)
        if address is None:
            self.fault(name, "One e-mail address is needed, such as marc@example.com.")
        return address

    def language(self, name: str) -> str | None:
        """A BCP 47 language tag."""
        return self._matching(name, 35, _LANGUAGE, "A language tag is needed, such as de or pt-BR.")

    def time_zone(self, name: str) -> str | None:
        """The IANA name of a time zone that this machine knows."""
        sentence = "The name of a time zone is needed, such as Europe/Berlin."
        zone = self._matching(name, 64, _ZONE, sentence)
        if zone is not None and not is_time_zone(zone):
            self.fault(name, sentence)
            return None
        return zone

    def one_of(self, name: str, choices: dict[str, T], default: T) -> T:
        """The choice that the field names."""
        value = self._value.get(name)
        if value is None:
            return default
        if isinstance(value, str) and value in choices:
            return choices[value]
        self.fault(name, f"One of these is needed: {', '.join(choices)}.")
        return default

    def integer(self, name: str, low: int, high: int, default: int) -> int:
        """A whole number between *low* and *high*."""
        value = self._value.get(name)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.fault(name, f"A whole number from {low:,} to {high:,} is needed.")
        return default

    def flag(self, name: str) -> bool:
        """True or false; false when absent."""
        value = self._value.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.fault(name, "True or false is needed.")
        return False

    def items(self, name: str, low: int, high: int) -> Iterator[tuple[Json, str]]:
        """The elements of an array of *low* to *high* elements, each with its path."""
        value = self._value.get(name)
        if value is None:
            self.fault(name, "This field is required.")
        elif not isinstance(value, list) or not low <= len(value) <= high:
            self.fault(name, f"An array of {low} to {high} entries is needed.")
        else:
            base = self.path(name)
            for index, item in enumerate(value):
                yield item, f"{base}.{index}"

    def pattern(self, name: str, pattern: re.Pattern[str], limit: int, sentence: str) -> str:
        """A required text that *pattern* matches whole."""
        if not self.given(name):
            self.fault(name, "This field is required.")
            return ""
        return self._matching(name, limit, pattern, sentence) or ""

    def _string(
        self, name: str, limit: int, required: bool, forbidden: re.Pattern[str], sentence: str
    ) -> str | None:
        value = self._value.get(name)
        if value is None:
            if required:
                self.fault(name, "This field is required.")
            return None
        fault = text_fault(value, limit, forbidden, sentence)
        if fault is None:
            value = plain_line(value)
            if not required or value.strip():
                return str(value)
            fault = "This field is required; it may not be empty."
        self.fault(name, fault)
        return None

    def _matching(
        self, name: str, limit: int, pattern: re.Pattern[str], sentence: str
    ) -> str | None:
        value = self._value.get(name)
        if value is None:
            return None
        if isinstance(value, str) and len(value) <= limit and pattern.fullmatch(value):
            return value
        self.fault(name, sentence)
        return None

    def _note_unknown(self, names: set[str]) -> None:
        for name in sorted(names):
            # A plain name helps to find the typo; anything else might be the secret itself.
            if _PLAIN_NAME.fullmatch(name):
                self.fault(name, "There is no such field.")
            else:
                self._faults.add(self._path, "This object has a field that does not exist.")


_LINE = "Control characters and line breaks are not allowed here."
_TEXT = "Control characters are not allowed here."


def text_fault(
    value: Json,
    limit: int,
    forbidden: re.Pattern[str] = _NOT_IN_A_LINE,
    sentence: str = _LINE,
) -> str | None:
    """Why *value* is no text of at most *limit* allowed characters; None if it is one."""
    if not isinstance(value, str):
        return "A text is needed."
    if len(value) > limit:
        return f"At most {limit:,} characters are allowed."
    # Printable ASCII needs no search: that is nearly every text.
    if not (value.isascii() and value.isprintable()) and forbidden.search(value):
        return sentence
    return None


def plain_line(value: str) -> str:
    """*value* without the controls that reorder it."""
    return value if value.isascii() else _BIDI.sub("", value)


def email_address(value: Json) -> str | None:
    """The one address that *value* is, its domain in ASCII; None if it is anything else.

    Stricter than RFC 5322: no quoting, comments, groups, routes or literals (none is needed, and
    each has been used to smuggle a second recipient).
    """
    if not isinstance(value, str) or len(value) > 254:
        return None
    local, at, domain = value.partition("@")
    if not at or len(local) > 64 or "=?" in local or not _LOCAL_PART.fullmatch(local):
        return None
    if not domain.isascii():
        domain = _ascii_domain(domain)
    if len(local) + len(domain) > 253 or not _DOMAIN.fullmatch(domain):
        return None
    return f"{local}@{domain}"


@lru_cache(maxsize=1024)
def is_time_zone(name: str) -> bool:
    """Whether this machine knows the time zone *name*."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        # A directory of the time zone database ("Europe") is an OSError.
        return False
    return True


def _ascii_domain(domain: str) -> str:
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
