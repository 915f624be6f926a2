"""The function that state machines call: a mint request with a task token, or a plain mail.

What is refused is a function error: its type is the class's name, which `Catch` and `Retry` name
(InvalidApprovalRequest, Conflict, TooManyMails, StoreUnavailable, StoreUnconfirmed, StartRefused),
and its message says what to mend. The same mint again, by a retry of the workflow or of Lambda,
finds the same approval and gives the same answer; nobody gets a second mail.
"""

from typing import Any

from app.approvals.function import SignoffFunction
from app.aws_lambda.parts import Invocations, Parts
from app.strict_json import Json

_invocations = Invocations()


def handler(event: Json, context: Any) -> Json:
    """The answer to *event*, as `POST /approvals` has it."""

    async def answer(parts: Parts) -> Json:
        function = SignoffFunction(parts.service, parts.callbacks.urls)
        return await function(event, context.aws_request_id)

    return _invocations.run(answer, context)
