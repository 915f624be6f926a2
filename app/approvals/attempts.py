"""What an attempt to tell the workflow came to: it is proven, or it is tried again, and when.

Pure: values in, values out. `delivery.py` makes the attempts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.approvals.model import State

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 60.0
#: while the service cannot be reached at all: it is told within seconds of its return
DOWN_CAP_S = 3.0
#: between two attempts while an operator has to mend something
OPERATOR_DELAY_S = (30.0, 60.0)
#: so many attempts in vain are no hiccup any more (about ten minutes, either way)
PUZZLING_ATTEMPTS = 20
PUZZLING_DOWN_ATTEMPTS = 400

#: a float in [low, high), like `random.uniform`
Uniform = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Settled:
    """It is proven what became of an answer."""

    state: State  #: DELIVERED, TOO_LATE, SUPERSEDED or UNRESOLVED
    evidence: str  #: what proves it, such as "TaskSucceeded 6"


@dataclass(frozen=True, slots=True)
class Retry:
    """It is not known, or not done: try again."""

    delay_s: float
    needs_operator: bool
    reason: str  #: a code, for operators


def after_busy(attempts: int, reason: str, uniform: Uniform) -> Retry:
    """When to try again after attempt number *attempts* (1 is the first) got no clear answer.

    Full jitter: between now and a limit that doubles up to a minute, so that a thousand rows that
    failed together do not come back together.
    """
    limit = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempts, 16))
    return Retry(uniform(0.0, limit), attempts >= PUZZLING_ATTEMPTS, reason)


def after_silence(attempts: int, reason: str, uniform: Uniform) -> Retry:
    """When to try again after attempt number *attempts* found nobody to talk to."""
    limit = min(DOWN_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempts, 16))
    return Retry(uniform(0.0, limit), attempts >= PUZZLING_DOWN_ATTEMPTS, reason)


def after_refusal(reason: str, uniform: Uniform) -> Retry:
    """When to try again after a refusal that only an operator can mend."""
    return Retry(uniform(*OPERATOR_DELAY_S), True, reason)
