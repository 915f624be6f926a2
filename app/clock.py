"""Time as this project writes it: aware UTC datetimes in Python, milliseconds in databases.

The cores never ask what time it is: they are told. A shell is given a `Clock`.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time_ns

Clock = Callable[[], datetime]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def utc_now() -> datetime:
    """The present, aware, in UTC, to the millisecond: the precision that is stored."""
    return from_ms(time_ns() // 1_000_000)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, rounded down."""
    return (moment - EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The aware UTC moment *ms* milliseconds after the epoch."""
    # Exact for every date there is: the float is off by less than half a microsecond.
    return datetime.fromtimestamp(ms / 1000, UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and ``Z``, as the JSON API and AWS's context show it."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"
