"""The function `signoff`: what state machines call, without any glue of their own.

On AWS it is a direct invoke of the Lambda function; in the embedded engine it stands behind
``lambda:invoke`` and ``lambda:invoke.waitForTaskToken`` on the function name ``signoff``. It takes
a mint request, ``{"notify": {...}}`` for a plain mail, or a call of the sfn-callback-urls API. What
it refuses of the first two, it raises: the error's class name is the error name that a state
machine can catch. A refused call is answered with ``error`` and ``message``, as by the original.
"""

from app.approvals.compat.callbacks import CallbackUrls, is_callback_call
from app.approvals.service import ApprovalService
from app.errors import InvalidApprovalRequest
from app.strict_json import Json


class SignoffFunction:
    """Answers one event at a time."""

    def __init__(self, service: ApprovalService, urls: CallbackUrls) -> None:
        self._service = service
        self._urls = urls

    async def __call__(
        self, event: Json, request_id: str, heartbeat_seconds: int | None = None
    ) -> Json:
        """The answer to *event*; a plain mail is sent once for each *request_id*.

        *heartbeat_seconds* are those of the calling state, where the caller knows them.

        Raises:
            InvalidApprovalRequest: with what to mend, by field.
            Conflict: the task token has an approval with other content.
            TooManyMails: a recipient got enough of them.
            StoreUnavailable, StoreUnconfirmed: nothing can be promised; call again.
        """
        if isinstance(event, dict) and "notify" in event:
            return await self._notify(event, request_id)
        if is_callback_call(event):
            return await self._urls.invoke(event)
        if heartbeat_seconds is not None and isinstance(event, dict):
            event = {"heartbeat_seconds": heartbeat_seconds} | event
        return (await self._service.mint(event)).document()

    async def _notify(self, event: Json, request_id: str) -> Json:
        if len(event) > 1:
            raise InvalidApprovalRequest("A notify request has no other fields.")
        notified = await self._service.notify(event["notify"], request_id=request_id)
        return {"id": notified.notice_id, "recipients": notified.recipients}
