"""Structured logs: one JSON object a line, without secrets.

What happened is a fixed phrase; which approval or execution it concerns is in ``extra``. An
exception is shown by its type and the places it passed, never by its message, because messages of
foreign code may hold what was sent to us.
"""

import contextlib
import logging
import traceback
from typing import Any, TextIO

from app.clock import from_ms, iso

WRITE_EVERY_S = 0.25
WRITE_AT_LINES = 512

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: loggers that would print full request lines, links included, or chatter
_QUIET = {
    "uvicorn.access": logging.CRITICAL,
    "uvicorn.error": logging.WARNING,
    "botocore": logging.WARNING,
    "boto3": logging.WARNING,
    "urllib3": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "mail": logging.CRITICAL,  # aiosmtpd's, which prints what clients say
    "asyncio": logging.WARNING,
}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": iso(from_ms(int(record.created * 1000))),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        extra = record.__dict__
        if len(extra) > len(_STANDARD) - 3:
            line.update((name, extra[name]) for name in extra if name not in _STANDARD)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["places"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])[-12:]
            ]
        # Not at the top: a cold look at a page writes no line, and need not wait for the library.
        import orjson  # noqa: PLC0415

        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class LogLines:
    """Where lines go: gathered, and written a few times a second, because a write each costs more
    than most of what is logged. A crash may lose the last ones; the audit is where nothing may be
    lost. Without a running event loop every line is written at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def add(self, line: str, *, at_once: bool = False) -> None:
        """Write *line* (without its line end) soon, or *at_once*."""
        self._lines.append(line)
        if at_once or len(self._lines) >= WRITE_AT_LINES:
            self.flush()
        elif len(self._lines) == 1:
            # Not at the top: a look at a page on Lambda has no event loop, nor time to import it.
            from asyncio import get_running_loop  # noqa: PLC0415

            try:
                get_running_loop().call_later(WRITE_EVERY_S, self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        # A log that cannot be written (a full disk) must not stop what it tells about.
        with contextlib.suppress(OSError):
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()


class _LinesHandler(logging.Handler):
    """Gives records to `LogLines`; warnings and worse at once."""

    def __init__(self, lines: LogLines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.add(self.format(record), at_once=record.levelno >= logging.WARNING)
        except Exception:
            self.handleError(record)


def configure_logs(level: str, stream: TextIO) -> LogLines:
    """Send everything from *level* up as JSON lines to *stream*."""
    # What the formatter does not show need not be found out: half the cost of a record.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    lines = LogLines(stream)
    handler = _LinesHandler(lines)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet_level in _QUIET.items():
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(quiet_level, logging.getLevelNamesMapping()[level]))
    return lines
