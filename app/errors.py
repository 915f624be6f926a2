"""Every error this project raises on purpose.

```
SignoffError
├── RequestError                 the request is wrong: 4xx, a sentence and a stable code
│   ├── BadRequest               400  the body or a field
│   │   ├── InvalidApprovalRequest  400  a mint or a notice; `fields` says what to mend
│   │   ├── BadForm              400  the decision form
│   │   └── StaleForm            422  the decision form was opened too long ago
│   ├── Unauthorized             401
│   ├── UnknownLink              404  one answer for every link that does not hold
│   ├── UnknownApproval          404
│   ├── CallbackRefused          what the sfn-callback-urls API answers: its code and a sentence
│   ├── Conflict                 409  same task token, other content; a move that is too late
│   ├── TooLarge                 413
│   └── TooManyMails             429  a recipient got as many mails as an hour allows
├── StepFunctionsError           what the Step Functions API answers: an AWS code and text
│   └── InvalidToken, TaskTimedOut, ExecutionDoesNotExist, ... (one class per code)
├── StoreError                   we are broken: 503
│   ├── StoreUnavailable         nothing was written
│   └── StoreUnconfirmed         it may or may not have been written; read it back
└── StartRefused                 settings or data forbid the start; it says what to set
```

The default message of an error is the first paragraph of its docstring. HTTP statuses live in
`web/`, in one table. Task tokens, links and keys never appear in a message.
"""

from collections.abc import Mapping
from types import MappingProxyType


class SignoffError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or _first_paragraph(type(self)))

    @property
    def message(self) -> str:
        """One sentence for people."""
        return str(self.args[0])


def _first_paragraph(cls: type) -> str:
    return " ".join((cls.__doc__ or cls.__name__).split("\n\n", 1)[0].split())


class RequestError(SignoffError):
    """The request is wrong."""

    code = "bad_request"  #: stable; clients branch on it

    def __init__(
        self, message: str | None = None, *, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        #: what is wrong with which field, by its path ("recipients.0.email"); never its value
        self.fields: Mapping[str, str] = MappingProxyType(dict(fields or {}))


class BadRequest(RequestError):
    """The request cannot be understood."""

    code = "bad_request"


class InvalidApprovalRequest(BadRequest):
    """The approval request cannot be used.

    State machines that call the function `signoff` can catch it by this class's name.
    """


class BadForm(BadRequest):
    """This form cannot be used. Open the link from the mail again."""

    code = "bad_form"


class StaleForm(BadRequest):
    """This page was open for a long time. Please confirm once more."""

    code = "stale_form"


class Unauthorized(RequestError):
    """An API key is needed: send it as Authorization: Bearer <key>."""

    code = "unauthorized"


class UnknownLink(RequestError):
    """This link is incomplete. Copy the whole line from the mail."""

    code = "unknown_link"


class UnknownApproval(RequestError):
    """There is no approval with this id."""

    code = "unknown_approval"


class Conflict(RequestError):
    """The request contradicts what is recorded."""

    code = "conflict"


class CallbackRefused(RequestError):
    """A refusal in the words of the sfn-callback-urls API."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code  #: such as ``InvalidJSON``
        self.status = status


class TooLarge(RequestError):
    """The body is too large."""

    code = "too_large"


class TooManyMails(RequestError):
    """A recipient got as many mails as one address may get in an hour. Try again later.

    State machines that call the function `signoff` can catch and retry it by this class's name.
    """

    code = "too_many_mails"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class StepFunctionsError(SignoffError):
    """A refusal in the words of the Step Functions API. The class name is AWS's code."""

    @property
    def code(self) -> str:
        """AWS's error code, such as ``TaskTimedOut``."""
        return type(self).__name__

    @property
    def members(self) -> Mapping[str, str]:
        """What AWS's answer has beside code and message."""
        return {}


class _OfResource(StepFunctionsError):
    """A refusal that names a resource."""

    def __init__(self, message: str | None = None, resource: str | None = None) -> None:
        super().__init__(message)
        self.resource = resource  #: its ARN, where there is one

    @property
    def members(self) -> Mapping[str, str]:
        return {} if self.resource is None else {"resourceName": self.resource}


class InvalidToken(StepFunctionsError):
    """Invalid Token: 'Invalid token'"""


class TaskTimedOut(StepFunctionsError):
    """Task Timed Out: 'Provided task does not exist anymore'"""


class TaskDoesNotExist(StepFunctionsError):
    """Task Does Not Exist"""


class InvalidOutput(StepFunctionsError):
    """Invalid Output: 'The output is not valid JSON.'"""


class InvalidArn(StepFunctionsError):
    """Invalid Arn"""


class InvalidName(StepFunctionsError):
    """Invalid Name"""


class InvalidDefinition(StepFunctionsError):
    """Invalid State Machine Definition"""


class InvalidExecutionInput(StepFunctionsError):
    """Invalid State Machine Execution Input"""


class InvalidLoggingConfiguration(StepFunctionsError):
    """Invalid Logging Configuration"""


class InvalidTracingConfiguration(StepFunctionsError):
    """Invalid Tracing Configuration"""


class InvalidEncryptionConfiguration(StepFunctionsError):
    """Invalid Encryption Configuration"""


class ExecutionDoesNotExist(StepFunctionsError):
    """Execution Does Not Exist"""


class ExecutionAlreadyExists(StepFunctionsError):
    """Execution Already Exists"""


class ExecutionLimitExceeded(StepFunctionsError):
    """The maximum number of running executions has been reached."""


class StateMachineDoesNotExist(StepFunctionsError):
    """State Machine Does Not Exist"""


class StateMachineLimitExceeded(StepFunctionsError):
    """The maximum number of state machines has been reached. Existing state machines must be
    deleted before a new state machine can be created."""


class StateMachineAlreadyExists(StepFunctionsError):
    """State Machine Already Exists"""


class StateMachineDeleting(StepFunctionsError):
    """State Machine is being deleted"""


class StateMachineTypeNotSupported(StepFunctionsError):
    """This operation is not supported by this type of state machine"""


class MissingRequiredParameter(StepFunctionsError):
    """Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration
    must be specified"""


class ConflictException(StepFunctionsError):
    """The request conflicts with the resource's present state."""


class ServiceQuotaExceededException(StepFunctionsError):
    """A quota would be exceeded. The only refusal that AWS answers with 402."""


class ResourceNotFound(_OfResource):
    """Request references a resource that does not exist."""


class TooManyTags(_OfResource):
    """A resource can have at most 50 tags."""


class ActivityDoesNotExist(StepFunctionsError):
    """Activity Does Not Exist"""


class ActivityLimitExceeded(StepFunctionsError):
    """The maximum number of activities has been reached. Existing activities must be deleted
    before a new activity can be created."""


class ActivityAlreadyExists(StepFunctionsError):
    """Activity Already Exists"""


class ActivityWorkerLimitExceeded(StepFunctionsError):
    """The maximum number of workers concurrently polling for activity tasks has been reached."""


class ExecutionNotRedrivable(StepFunctionsError):
    """The execution cannot be redriven."""


class ValidationException(StepFunctionsError):
    """The request does not satisfy a constraint."""

    def __init__(self, message: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason  #: AWS's name of the rule, where it has one

    @property
    def members(self) -> Mapping[str, str]:
        return {} if self.reason is None else {"reason": self.reason}


class SerializationException(StepFunctionsError):
    """The request body is not a JSON object."""


class UnknownOperationException(StepFunctionsError):
    """The operation is not known."""


class StoreError(SignoffError):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store cannot be written at the moment; nothing was recorded."""


class StoreUnconfirmed(StoreError):
    """The store did not confirm; it may or may not have been recorded."""


class StartRefused(SignoffError):
    """The service cannot start like this."""
