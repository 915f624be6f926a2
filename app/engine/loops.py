"""Loops that go on as long as the engine does: how they rest, and that nothing ends them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import NoReturn

from app.clock import to_ms
from app.errors import StoreError

log = logging.getLogger(__name__)

PAUSE_S = 1.0  #: after the store refused, or a fault of ours
#: A rest is measured by a clock that stands still while the machine sleeps, and does not know when
#: the wall clock is set. So nobody rests longer: looking in vain costs one query over an index.
LONGEST_REST_S = 10.0


async def keep_on(turn: Callable[[], Awaitable[None]], name: str) -> NoReturn:
    """Take one turn after the other, whatever goes wrong in one of them; *name* is for the log."""
    while True:
        try:
            await turn()
        except StoreError:
            log.warning("the store refused; a loop pauses", extra={"loop": name})
            await asyncio.sleep(PAUSE_S)
        except Exception:
            # Whatever one turn meets must not end what all later ones are for.
            log.exception("a loop stumbled", extra={"loop": name})
            await asyncio.sleep(PAUSE_S)


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
