"""``sqs:sendMessage``: a message to a queue, the documented way to hand out a task token."""

import uuid

import orjson

from app.engine.execution import Dispatch
from app.engine.failures import StateFailure
from app.engine.payload import Payload
from app.engine.resources.connector import AwsService, ServiceNames, Surroundings, http_metadata

NAMES = ServiceNames("sqs", "SQS", "AmazonSQS")
#: the errors that have a class of their own in the SDK that Step Functions uses
_NAMED = {"NonExistentQueue": "QueueDoesNotExistException"}
_MEMBERS = ("MD5OfMessageAttributes", "MD5OfMessageBody", "MessageId", "SequenceNumber")


class SqsConnector:
    """Sends messages."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._aws = AwsService(NAMES, surroundings)

    async def call(self, dispatch: Dispatch) -> Payload:
        """What SQS answered.

        Raises:
            StateFailure: it refused, or cannot be reached.
        """
        parameters = self._parameters(dispatch.arguments)
        try:
            response = await self._aws.call("send_message", parameters)
        except StateFailure as exc:
            raise _renamed(exc) from exc
        answer = {name: response[name] for name in _MEMBERS if name in response}
        return Payload(answer | http_metadata(response))

    def _parameters(self, arguments: Payload) -> dict[str, object]:
        given = orjson.loads(arguments.text)
        if not isinstance(given, dict):
            raise self._missing("QueueUrl")
        parameters = {name: value for name, value in given.items() if value is not None}
        body = parameters.get("MessageBody")
        if body is None:
            raise self._missing("MessageBody")
        if not isinstance(body, str):
            parameters["MessageBody"] = orjson.dumps(body).decode()
        return parameters

    def _missing(self, name: str) -> StateFailure:
        text = f"The request must contain the parameter {name}."
        cause = self._aws.failure("MissingParameter", 400, text, str(uuid.uuid4())).cause
        return StateFailure(f"{NAMES.error_prefix}.AmazonSQSException", cause)


def _renamed(exc: StateFailure) -> StateFailure:
    """The error's name: most of SQS's errors have none of their own in Step Functions."""
    prefix, _, code = str(exc.error).partition(".")
    if prefix != NAMES.error_prefix or code == "SdkClientException":
        return exc
    return StateFailure(f"{prefix}.{_NAMED.get(code, 'AmazonSQSException')}", exc.cause)
