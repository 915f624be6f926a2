"""Where decisions are delivered: a workflow service that takes the answer for a task token.

To add one: a class with the four methods of `Target` that raises nothing but the errors below,
a factory in `tests/approvals/targets/test_contract.py`, and a name in the settings.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from app.errors import SignoffError

#: an event as GetExecutionHistory gives it (times aside)
Event = Mapping[str, Any]

#: codes that say: nobody waits for this token any more (which may be our own doing)
_GONE = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
#: codes that say: try again later
_BUSY = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
        "KmsThrottlingException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "InternalFailure",
        "InternalServerError",
        "InternalError",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)


class TargetError(SignoffError):
    """The workflow service did not take the answer."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code  #: the service's own code, or a word of ours; never a token


class TaskGone(TargetError):
    """Nobody waits for this token any more: it was used, timed out, or is not known."""


class TargetBusy(TargetError):
    """It cannot be said whether the answer was taken; try again."""


class TargetDown(TargetBusy):
    """The service cannot be reached, or hung up; asking again soon costs it nothing."""


class TargetRefused(TargetError):
    """The service refuses for a reason that an operator must mend."""


class Target(Protocol):
    """A service that waits for answers to task tokens."""

    async def succeed(self, token: str, output: str) -> None:
        """Complete the task with *output* (JSON text). Returning is the proof that it was taken.

        Raises:
            TaskGone, TargetBusy (or TargetDown), TargetRefused
        """

    async def fail(self, token: str, error: str | None, cause: str | None) -> None:
        """Fail the task. Returning is the proof that it was taken. Raises as `succeed`.

        None is not sent at all.
        """

    async def heartbeat(self, token: str) -> None:
        """Tell that the task is still worked on. Raises as `succeed`."""

    def history(self, execution_arn: str) -> AsyncIterator[Event]:
        """The execution's events with their data, oldest first.

        Raises:
            TargetBusy: read it later.
            TargetRefused: it cannot be read (denied, deleted, not an execution).
        """


def translate(code: str, status: int) -> TargetError:
    """What an error answer of the Step Functions API means for a delivery."""
    if code in _GONE:
        return TaskGone(code)
    if code in _BUSY or status >= 500 or status == 429:
        return TargetBusy(code)
    return TargetRefused(code)


def unreadable(code: str, status: int) -> TargetError:
    """What an error answer to GetExecutionHistory means: later, or never."""
    error = translate(code, status)
    return error if isinstance(error, TargetBusy) else TargetRefused(code)
