"""How a state fails: an Amazon States Language error name and a cause.

```
StateFailure             any error name: what Retry and Catch look at
├── EvaluationFailure    the state itself cannot be evaluated: AWS's cause names it
│   ├── RuntimeFailure   States.Runtime: the execution fails, nothing catches it
│   └── QueryFailure     States.QueryEvaluationError
├── SizeFailure          States.DataLimitExceeded
└── TooManyFailed        States.ExceedToleratedFailureThreshold
```
"""

from app.errors import SignoffError

ALL = "States.ALL"
DATA_LIMIT_EXCEEDED = "States.DataLimitExceeded"
EXCEED_TOLERATED_FAILURE_THRESHOLD = "States.ExceedToleratedFailureThreshold"
HEARTBEAT_TIMEOUT = "States.HeartbeatTimeout"
INTRINSIC_FAILURE = "States.IntrinsicFailure"
ITEM_READER_FAILED = "States.ItemReaderFailed"
NO_CHOICE_MATCHED = "States.NoChoiceMatched"
QUERY_EVALUATION_ERROR = "States.QueryEvaluationError"
RESULT_PATH_MATCH_FAILURE = "States.ResultPathMatchFailure"
RESULT_WRITER_FAILED = "States.ResultWriterFailed"
RUNTIME = "States.Runtime"
TASK_FAILED = "States.TaskFailed"
TIMEOUT = "States.Timeout"


class StateFailure(SignoffError):
    """The state failed."""

    def __init__(self, error: str | None, cause: str | None = None) -> None:
        super().__init__(cause or error)
        self.error = error  #: the error name; None when SendTaskFailure or a Fail state gave none
        self.cause = cause

    @property
    def shown_error(self) -> str | None:
        """The error name as history and data show it: a missed heartbeat is a timeout there."""
        return TIMEOUT if self.error == HEARTBEAT_TIMEOUT else self.error


class EvaluationFailure(StateFailure):
    """The state cannot be evaluated."""

    def within(self, state: str, entered_event: int) -> "StateFailure":
        """The same failure with AWS's full cause."""
        return StateFailure(
            self.error,
            f"An error occurred while executing the state '{state}' "
            f"(entered at the event id #{entered_event}). {self.cause}",
        )


class RuntimeFailure(EvaluationFailure):
    """Something the definition asks for cannot be done with this data."""

    def __init__(self, cause: str) -> None:
        super().__init__(RUNTIME, cause)


class SizeFailure(StateFailure):
    """A result is larger than the service limit."""

    def __init__(self, producer: str) -> None:
        super().__init__(
            DATA_LIMIT_EXCEEDED,
            f"The state/task '{producer}' returned a result with a size exceeding "
            "the maximum number of bytes service limit.",
        )


class TooManyFailed(StateFailure):
    """More of a Map's items failed than it tolerates."""

    def __init__(self) -> None:
        cause = "The specified tolerated failure threshold was exceeded"
        super().__init__(EXCEED_TOLERATED_FAILURE_THRESHOLD, cause)


class QueryFailure(EvaluationFailure):
    """A JSONata expression cannot be evaluated."""

    def __init__(self, cause: str, location: str) -> None:
        super().__init__(QUERY_EVALUATION_ERROR, cause)
        self.location = location  #: the field: ``Output/result``
