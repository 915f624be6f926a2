"""A JSON value that knows its text: what states take and give.

Most states hand their input on unchanged, and history, storage and answers want text while paths
want values. A `Payload` is parsed and written at most once each, so a chain of states that do not
touch the data costs neither.

Values are shared, never copied: nobody changes a value that came out of a Payload.
"""

import orjson

from app.engine.failures import RuntimeFailure
from app.strict_json import Json

MAX_BYTES = 262_144  #: the service limit of inputs, outputs and results
MAX_DEPTH = 200

_NOTHING = object()


class Payload:
    """A JSON value, its text, or both."""

    __slots__ = ("_size", "_text", "_value")

    def __init__(self, value: Json = _NOTHING, text: str | None = None) -> None:
        self._value = value
        self._text = text
        self._size = -1

    @classmethod
    def of_text(cls, text: str) -> "Payload":
        """The payload whose text is *text*, which is known to be JSON; kept as it is written."""
        return cls(text=text)

    @property
    def value(self) -> Json:
        """The value. It may be shared: do not change it."""
        if self._value is _NOTHING:
            assert self._text is not None  # noqa: S101  # one of the two is always there
            self._value = orjson.loads(self._text)
        return self._value

    @property
    def text(self) -> str:
        """The JSON text: as it came in, or compact."""
        if self._text is None:
            written = _write(self._value)
            self._size = len(written)
            self._text = written.decode()
        return self._text

    def written(self) -> "Payload":
        """The payload itself, its text made.

        Raises:
            RuntimeFailure: the value is computed, and no JSON that can be stored.
        """
        _ = self.text
        return self

    @property
    def size_bytes(self) -> int:
        """The length of the text in UTF-8."""
        if self._size < 0:
            text = self.text
            self._size = len(text) if text.isascii() else len(text.encode())
        return self._size

    @property
    def too_large(self) -> bool:
        """Whether the service limit is exceeded."""
        return self.size_bytes > MAX_BYTES

    def __repr__(self) -> str:
        return f"Payload({self.text[:80]})"


def _write(value: Json) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as exc:
        # Values are checked where they come in; only a computed one can be too deep or too large.
        raise RuntimeFailure(
            "The data is nested too deeply or holds a number that is too large."
        ) from exc


EMPTY = Payload({}, "{}")
