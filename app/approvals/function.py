"""The function `signoff`: what state machines call, without any glue of their own.

On AWS it is a direct invoke of the Lambda function; in the embedded engine it stands behind
``lambda:invoke`` and ``lambda:invoke.waitForTaskToken`` on the function name ``signoff``. It takes
a mint request, or ``{"notify": {...}}`` for a plain mail. What it refuses, it raises: the error's
class name is the error name that a state machine can catch.
"""

from app.approvals.service import ApprovalService
from app.errors import InvalidApprovalRequest
from app.strict_json import Json


class SignoffFunction:
    """Answers one event at a time."""

    def __init__(self, service: ApprovalService) -> None:
        self._service = service

    async def __call__(self, event: Json, request_id: str) -> Json:
        """The answer to *event*; a plain mail is sent once for each *request_id*.

        Raises:
            InvalidApprovalRequest: with what to mend, by field.
            Conflict: the task token has an approval with other content.
        """
        if isinstance(event, dict) and "notify" in event:
            return await self._notify(event, request_id)
        return (await self._service.mint(event)).document()

    async def _notify(self, event: Json, request_id: str) -> Json:
        if len(event) > 1:
            raise InvalidApprovalRequest("A notify request has no other fields.")
        notified = await self._service.notify(event["notify"], request_id=request_id)
        return {"id": notified.notice_id, "recipients": notified.recipients}
