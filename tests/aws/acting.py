"""What workflows, people and time do to the deployed application."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from zipfile import ZIP_DEFLATED, ZipFile

from app.strict_json import Json, dumps, loads
from tests.aws.functions import Function
from tests.aws.intrinsics import ACCOUNT, REGION
from tests.aws.stack import BASE_URL, Response, Stack
from tests.aws.tools import REPOSITORY
from tests.processes import ROLE, wait_for

INPUT = loads((REPOSITORY / "examples" / "approval" / "input.json").read_text())
FORM = {"content-type": "application/x-www-form-urlencoded"}

#: as the output of the template has it
FUNCTION_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:SignoffFunction"

_names = (f"run-{number}" for number in count())


def states(stack: Stack) -> Any:
    """Step Functions, as anybody reaches it."""
    return stack.client("stepfunctions")


def state_machine(stack: Stack, definition: Json) -> str:
    """A new state machine; its ARN."""
    made = states(stack).create_state_machine(
        name=next(_names), definition=dumps(definition).decode(), roleArn=ROLE
    )
    return str(made["stateMachineArn"])


def started(stack: Stack, machine: str) -> tuple[str, str]:
    """A new execution that waits for its approval, and the path of its approve link."""
    before = len(stack.cloud.mails())
    run = states(stack).start_execution(
        stateMachineArn=machine, name=next(_names), input=dumps(INPUT).decode()
    )
    wait_for(lambda: len(stack.cloud.mails()) > before)
    return str(run["executionArn"]), links(mail(stack))["approve"]


def waiting_task(stack: Stack) -> tuple[str, str]:
    """A new execution whose only task waits, without Signoff; its ARN and the task token."""
    activity = states(stack).create_activity(name=next(_names))["activityArn"]
    task = {"Type": "Task", "Resource": activity, "End": True}
    machine = state_machine(stack, {"StartAt": "Wait", "States": {"Wait": task}})
    run = states(stack).start_execution(stateMachineArn=machine)["executionArn"]
    return str(run), str(states(stack).get_activity_task(activityArn=activity)["taskToken"])


def mail(stack: Stack) -> Message:
    """The newest mail."""
    return message_from_bytes(stack.cloud.mails()[-1].raw_data.encode())


def links(message: Message) -> dict[str, str]:
    """The paths of the links in a mail: approve first, as it stands there."""
    text = next(part for part in message.walk() if part.get_content_type() == "text/plain")
    content = text.get_payload(decode=True)
    assert isinstance(content, bytes)
    found = re.findall(re.escape(BASE_URL) + r"(/d/[\w.-]+)", content.decode())
    return dict(zip(("approve", "reject"), map(str, found), strict=True))


def decide(stack: Stack, path: str, comment: str = "") -> Response:
    """What the page says to its own form, filled in."""
    page = stack.request("GET", path)
    fields = dict(re.findall(r'name="(nonce|decision)"[^>]* value="([^"]+)"', page.text))
    return stack.request("POST", path, body=urlencode({**fields, "comment": comment}), headers=FORM)


def status(stack: Stack, execution: str) -> str:
    """How the execution is doing."""
    return str(states(stack).describe_execution(executionArn=execution)["status"])


def minted(stack: Stack, token: str) -> Json:
    """The answer to a mint by direct invocation."""
    event = {"task_token": token, "title": "Deploy", "recipients": ["marc@example.com"]}
    return stack.functions["SignoffFunction"].invoke(event)


def path_of(answer: Json, action: int = 0) -> str:
    """The path of a link in the answer to a mint."""
    return str(urlsplit(answer["links"][action]["url"]).path)


def time_passes(stack: Stack) -> None:
    """Whatever waits for a date is due: leases, pauses and looks have ended."""
    table = stack.client("dynamodb")
    for item in table.scan(TableName=stack.names["Table"])["Items"]:
        if item["sk"]["S"] == "a" and "due_at" in item:
            table.update_item(
                TableName=stack.names["Table"],
                Key={"pk": item["pk"], "sk": item["sk"]},
                UpdateExpression="SET due_at = :now",
                ExpressionAttributeValues={":now": {"N": str(int(time.time() * 1000))}},
            )


@contextmanager
def changed(stack: Stack, name: str, **variables: str) -> Iterator[Function]:
    """A function with other variables, in an environment of its own."""
    function = stack.functions[name]
    before = function.variables
    function.stop()
    function.variables = {**before, **variables}
    try:
        yield function
    finally:
        function.stop()
        function.variables = before


def zipped_bytes(directory: Path) -> int:
    """The size of *directory* as `sam package` uploads it."""
    with ZipFile(directory.parent / f"{directory.name}.zip", "w", ZIP_DEFLATED) as archive:
        for path in directory.rglob("*"):
            archive.write(path, path.relative_to(directory))
    return Path(archive.filename or "").stat().st_size
