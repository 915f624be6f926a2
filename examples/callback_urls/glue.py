"""The glue function of a workflow that was built on sfn-callback-urls.

It asks for two addresses by invoking the function that makes them, mails both by SNS, and mails a
confirmation afterwards. Nothing in it knows Signoff, but for the name in ``CREATE_URLS_FUNCTION``.
"""

import json
import os
from typing import Any

import boto3


def handler(event: dict[str, Any], _context: object) -> None:
    """One step of the workflow; the answer of the first comes with the click."""
    steps = {"SendApprovalRequest": send_approval_request, "SendConfirmation": send_confirmation}
    steps[event["step"]](event)


def send_approval_request(event: dict[str, Any]) -> None:
    """Mail an address to approve with, and one to reject."""
    name = event["name_in_input"]
    urls = create_urls(
        {
            "token": event["token"],
            "actions": [
                {"name": "approve", "type": "success", "output": {"name_in_output": name}},
                {
                    "name": "reject",
                    "type": "failure",
                    "error": "rejected",
                    "cause": f"{name} rejected it",
                },
            ],
        }
    )
    publish(
        "Step Functions example approval request",
        f"Approve: {urls['approve']}\n\nReject: {urls['reject']}\n",
    )


def send_confirmation(event: dict[str, Any]) -> None:
    """Mail what was decided."""
    output = event["output"]
    said = output["Cause"] if "Error" in output else f"{output['name_in_output']} approved it"
    publish("Step Functions example complete", said)


def create_urls(call: dict[str, Any]) -> dict[str, str]:
    """The addresses of a call, by the name of the action."""
    response = boto3.client("lambda").invoke(
        FunctionName=os.environ["CREATE_URLS_FUNCTION"], Payload=json.dumps(call)
    )
    answer = json.load(response["Payload"])
    if "urls" not in answer:
        raise RuntimeError(f"no addresses: {answer.get('error')}")
    urls: dict[str, str] = answer["urls"]
    return urls


def publish(subject: str, message: str) -> None:
    """Mail to whoever subscribed to the topic."""
    boto3.client("sns").publish(TopicArn=os.environ["TOPIC_ARN"], Subject=subject, Message=message)
