"""What a Task calls: its ``Resource`` ARN, taken apart.

Three families: a service integration (``arn:aws:states:::sqs:sendMessage.waitForTaskToken``), a
Lambda function (``arn:aws:lambda:...:function:f``), an activity
(``arn:aws:states:...:activity:a``).
"""

import re
from dataclasses import dataclass
from enum import Enum


class Pattern(Enum):
    """How the task and the service work together."""

    REQUEST_RESPONSE = ""  #: the service's answer is the result
    SYNC = ".sync"
    SYNC_2 = ".sync:2"
    WAIT_FOR_TASK_TOKEN = ".waitForTaskToken"  # noqa: S105  # no secret


class Family(Enum):
    """Which history events a task writes."""

    SERVICE = "Task"
    FUNCTION = "LambdaFunction"
    ACTIVITY = "Activity"


@dataclass(frozen=True, slots=True)
class Resource:
    """A parsed Resource."""

    arn: str
    family: Family
    service: str  #: ``sqs``, ``aws-sdk:dynamodb``; ``lambda`` for a function's own ARN
    action: str  #: ``sendMessage``; ``invoke`` for a function's own ARN
    pattern: Pattern = Pattern.REQUEST_RESPONSE

    @property
    def waits_for_token(self) -> bool:
        """Whether someone else completes the task, by its token."""
        return self.pattern is Pattern.WAIT_FOR_TASK_TOKEN

    @property
    def has_token(self) -> bool:
        """Whether the task has a token: a job's may be handed out too, to complete it early."""
        return self.pattern is not Pattern.REQUEST_RESPONSE

    @property
    def shown(self) -> str:
        """As history events name it: ``sendMessage.waitForTaskToken``, or the function's ARN."""
        if self.family is Family.SERVICE:
            return self.action + self.pattern.value
        return self.arn

    @property
    def producer(self) -> str:
        """As AWS names it when its result is too large."""
        return self.service if self.family is Family.SERVICE else self.arn


def parse_resource(arn: str) -> Resource | None:
    """The resource that *arn* names; None if it is not of a known form."""
    if _ACTIVITY.fullmatch(arn):
        return Resource(arn, Family.ACTIVITY, "activity", "poll")
    if match := _SERVICE.fullmatch(arn):
        return Resource(arn, Family.SERVICE, match[1], match[2], Pattern(match[3] or ""))
    if _FUNCTION.fullmatch(arn):
        return Resource(arn, Family.FUNCTION, "lambda", "invoke")
    return None


_PARTITION = r"arn:aws(?:-[a-z-]+)?"
_SERVICE = re.compile(
    _PARTITION + r":states:[a-z0-9-]*:\d*:((?:aws-sdk:)?[a-z0-9-]+):([A-Za-z0-9]+)"
    r"(\.sync:2|\.sync|\.waitForTaskToken)?"
)
# AWS takes the documentation's ``your-region`` and ``your-account-id``; calling it fails then.
_FUNCTION = re.compile(
    _PARTITION
    + r":lambda:[a-z0-9-]+:[a-z0-9-]+:function:[A-Za-z0-9_-]+(?::(?:\$LATEST|[A-Za-z0-9_-]+))?"
)
_ACTIVITY = re.compile(_PARTITION + r":states:[a-z0-9-]+:\d{12}:activity:[^\s:]+")
