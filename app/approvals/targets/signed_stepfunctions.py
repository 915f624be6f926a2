"""AWS Step Functions as a target, without boto3, which is most of a cold start on Lambda."""

from collections.abc import AsyncIterator
from functools import partial

from app.approvals.targets import Event, TargetBusy, TargetDown, translate, unreadable
from app.aws_json import AwsJsonClient, AwsRefused, AwsSilent
from app.strict_json import Json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from app.approvals.store.dynamodb.running import Run

_PAGE = 1000  #: events


class SignedStepFunctionsTarget:
    """Delivers to the Step Functions API."""

    def __init__(self, client: AwsJsonClient, run: "Run") -> None:
        """A target that lets *run* do what blocks."""
        self._client = client
        self._run = run

    def close(self) -> None:
        """Hang up."""
        self._run.close()
        self._client.close()

    async def succeed(self, token: str, output: str) -> None:
        """Complete the task with *output* (JSON text)."""
        await self._send("SendTaskSuccess", {"taskToken": token, "output": output})

    async def fail(self, token: str, error: str | None, cause: str | None) -> None:
        """Fail the task."""
        said = {"taskToken": token, "error": error, "cause": cause}
        await self._send(
            "SendTaskFailure", {name: text for name, text in said.items() if text is not None}
        )

    async def heartbeat(self, token: str) -> None:
        """Tell that the task is still worked on."""
        await self._send("SendTaskHeartbeat", {"taskToken": token})

    async def history(self, execution_arn: str) -> AsyncIterator[Event]:
        """The execution's events with their data, oldest first."""
        asked: Json = {
            "executionArn": execution_arn,
            "maxResults": _PAGE,
            "includeExecutionData": True,
        }
        while True:
            try:
                page = await self._call("GetExecutionHistory", asked)
            except AwsRefused as refusal:
                raise unreadable(refusal.code, refusal.status) from refusal
            for event in page.get("events", ()):
                yield event
            if "nextToken" not in page:
                return
            asked["nextToken"] = page["nextToken"]

    async def _send(self, operation: str, members: Json) -> None:
        try:
            await self._call(operation, members)
        except AwsRefused as refusal:
            raise translate(refusal.code, refusal.status) from refusal

    async def _call(self, operation: str, members: Json) -> Json:
        try:
            return await self._run(partial(self._client.call, operation, members))
        except AwsSilent as silence:
            error = TargetBusy if silence.sent else TargetDown
            raise error(silence.reason) from silence
