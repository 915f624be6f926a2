"""Structured logs: one JSON object a line, on standard error, without secrets.

What happened is a fixed phrase; which approval or execution it concerns is in ``extra``. An
exception is shown by its type and the places it passed, never by its message, because messages of
foreign code may hold what was sent to us.
"""

import logging
import sys
import traceback
from typing import Any

import orjson

from app.clock import from_ms, iso

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
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logs(level: str) -> None:
    """Send everything as JSON lines to standard error, from *level* up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet_level in _QUIET.items():
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(quiet_level, logging.getLevelNamesMapping()[level]))
