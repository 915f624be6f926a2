"""Resting until something is due: for loops that serve moments of the wall clock."""

import asyncio
from contextlib import suppress
from datetime import datetime

from app.clock import to_ms

#: A rest is measured by a clock that stands still while the machine sleeps, and does not know when
#: the wall clock is set. So nobody rests longer: looking in vain costs one query over an index.
LONGEST_REST_S = 10.0


def rest_s(due_ms: int | None, now: datetime) -> float:
    """Seconds to rest when the next thing is due at *due_ms*; None: nothing is."""
    if due_ms is None:
        return LONGEST_REST_S
    return min(LONGEST_REST_S, max(0.0, (due_ms - to_ms(now)) / 1000))


async def rest(seconds: float, woken: asyncio.Event) -> None:
    """Return after so many seconds, or as soon as *woken* is set."""
    # Not wait_for: in Python 3.11 it may swallow the cancellation that stops the loop.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
