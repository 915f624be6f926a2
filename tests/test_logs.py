"""Logs: one JSON object a line, and no secret by accident."""

import io
import logging

import pytest

from app.logs import JsonFormatter, LogLines
from app.strict_json import Json, loads


def line(record: logging.LogRecord) -> Json:
    """What is written for *record*."""
    return loads(JsonFormatter().format(record))


def record(message: str, **extra: object) -> logging.LogRecord:
    """A record as `log.info(message, extra=...)` makes it."""
    return logging.getLogger("signoff.test").makeRecord(
        "signoff.test", logging.INFO, __file__, 1, message, (), None, extra=extra
    )


def test_a_line_says_when_what_and_about_which() -> None:
    """The phrase is the event; the extra values stand beside it."""
    written = line(record("decision recorded", approval="abc"))

    assert written.pop("at").endswith("Z")
    assert written == {
        "level": "info",
        "logger": "signoff.test",
        "event": "decision recorded",
        "approval": "abc",
    }


def test_an_exception_is_shown_without_its_message() -> None:
    """Messages of foreign code may hold what was sent; types and places do not."""
    try:
        raise ValueError("the token is AQB8")
    except ValueError as exc:
        broken = record("unexpected error")
        broken.exc_info = (type(exc), exc, exc.__traceback__)

    written = line(broken)

    assert written["exception"] == "ValueError"
    assert "test_logs.py" in written["places"][-1]
    assert "AQB8" not in JsonFormatter().format(broken)


@pytest.mark.parametrize("value", ["a\nb", '{"level": "error"}', "\u2028", "\x1b[31m"])
def test_what_is_logged_cannot_forge_another_line(value: str) -> None:
    """Line breaks and quotes in a value stay in that value."""
    text = JsonFormatter().format(record("title seen", title=value))

    assert len(text.splitlines()) <= 1 + value.count("\u2028")
    assert loads(text)["title"] == value


async def test_lines_are_gathered_and_written_in_order() -> None:
    """Ordinary lines wait a moment; an urgent one brings those before it along."""
    stream = io.StringIO()
    lines = LogLines(stream)

    lines.add("first")
    assert stream.getvalue() == ""
    lines.add("urgent", at_once=True)

    assert stream.getvalue() == "first\nurgent\n"


class FullDisk(io.StringIO):
    """A stream on a disk without room."""

    def write(self, text: str) -> int:
        """There is no room."""
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    """The line is lost; whoever logged goes on."""
    LogLines(FullDisk()).add("lost", at_once=True)


def test_without_an_event_loop_every_line_is_written_at_once() -> None:
    """Nobody would come back to write it."""
    stream = io.StringIO()

    LogLines(stream).add("alone")

    assert stream.getvalue() == "alone\n"
