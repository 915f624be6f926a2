"""Retry and Catch: what happens to a failure before it ends the execution."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from app.engine.failures import (
    ALL,
    HEARTBEAT_TIMEOUT,
    RUNTIME,
    TASK_FAILED,
    TIMEOUT,
    StateFailure,
)
from app.engine.language.flow import Flow, Outcome, Scope
from app.engine.payload import Payload


@dataclass(frozen=True, slots=True)
class Retrier:
    """One entry of Retry."""

    errors: tuple[str, ...]
    interval_s: int = 1
    max_attempts: int = 3
    backoff_rate: float = 2.0
    max_delay_s: int | None = None
    full_jitter: bool = False

    def delay_s(self, attempt: int, random: Random) -> float:
        """Seconds to wait before retry number *attempt* (1 is the first retry).

        ``interval_s * backoff_rate ** (attempt - 1)``, at most ``max_delay_s``; anything up to that
        with full jitter. Source: Amazon States Language, "Retrying after error".
        """
        longest = self.max_delay_s if self.max_delay_s is not None else MAX_DELAY_S
        delay = longest if _overflows(self, attempt) else self._backoff(attempt)
        delay = min(delay, longest)
        return random.uniform(0, delay) if self.full_jitter else delay

    def _backoff(self, attempt: int) -> float:
        return float(self.interval_s * self.backoff_rate ** (attempt - 1))


MAX_DELAY_S = 31_622_400  #: what AWS allows MaxDelaySeconds to be: 366 days


def _overflows(retrier: Retrier, attempt: int) -> bool:
    # A float cannot hold a backoff of more than some hundred doublings.
    try:
        return retrier.backoff_rate ** (attempt - 1) > MAX_DELAY_S
    except OverflowError:
        return True


@dataclass(frozen=True, slots=True)
class Catcher:
    """One entry of Catch."""

    errors: tuple[str, ...]
    next: str
    flow: Flow  #: takes the error as the state's takes its result

    def outcome(self, raw: Payload, failure: StateFailure, scope: Scope) -> Outcome:
        """What is left behind: the next state gets the error, placed in the state's raw input."""
        return self.flow.outcome(raw, error_output(failure), scope)


def error_output(failure: StateFailure) -> Payload:
    """The error as data: what a catcher hands on."""
    error, cause = failure.shown_error, failure.cause
    if error == TIMEOUT and cause is None:
        cause = ""  # AWS writes an empty cause for timeouts, and null for the rest
    return Payload({"Error": error, "Cause": cause})


def first_match(entries: Sequence["Retrier | Catcher"], failure: StateFailure) -> int | None:
    """The position of the first entry that names the failure."""
    for position, entry in enumerate(entries):
        if any(_names(wanted, failure.error) for wanted in entry.errors):
            return position
    return None


def _names(wanted: str, error: str | None) -> bool:
    if error == RUNTIME:
        return False  # nothing catches it, not even its own name
    if wanted in (ALL, error):
        return True
    timed_out = error in (TIMEOUT, HEARTBEAT_TIMEOUT)
    return (wanted == TASK_FAILED and not timed_out) or (wanted == TIMEOUT and timed_out)
