"""One round of pulling the plug: approvals, clickers on both links, a kill, and the check after it.

The check is the click protocol's list of invariants (C.5), seen from outside: what the API says of
the approval, what the engine says of the execution, and what each clicker was told.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.strict_json import dumps, loads
from tests.processes import HTTP, ROLE, SignoffProcess, wait_for

DEFINITION = dumps(
    {
        "StartAt": "Ask",
        "States": {
            "Ask": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
                "Parameters": {
                    "FunctionName": "park",
                    "Payload": {"token.$": "$$.Task.Token"},
                },
                "End": True,
            }
        },
    }
).decode()
OUTCOMES = {"approve": "SUCCEEDED", "reject": "FAILED"}
AS_JSON = {"Accept": "application/json"}


@dataclass
class Asked:
    """An approval in play, and what its clickers were told."""

    id: str
    execution_arn: str
    links: dict[str, str]
    nonces: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)  #: actions whose clicker was told "recorded"


def create_machine(engine: SignoffProcess) -> str:
    """The state machine that waits for one decision; its ARN."""
    answer = engine.states("CreateStateMachine", name="wait", definition=DEFINITION, roleArn=ROLE)
    return str(answer["stateMachineArn"])


def ask(service: SignoffProcess, engine: SignoffProcess, machine_arn: str, **changes: Any) -> Asked:
    """Start an execution and mint an approval for its task token."""
    execution_arn = engine.states("StartExecution", stateMachineArn=machine_arn)["executionArn"]
    token = wait_for(lambda: scheduled_token(engine, execution_arn))
    body = {
        "task_token": token,
        "execution_arn": execution_arn,
        "title": "May it go on?",
        "recipients": ["marc@example.com"],
        **changes,
    }
    minted = service.api("POST", "/approvals", json=body)
    assert minted.status_code == 201, minted.text
    answer = minted.json()
    links = {link["action"]: link["url"] for link in answer["links"]}
    asked = Asked(answer["id"], execution_arn, links)
    for action, url in links.items():
        page = HTTP.get(url, headers=AS_JSON)
        asked.nonces[action] = page.json()["form"]["nonce"]
    return asked


def scheduled_token(engine: SignoffProcess, execution_arn: str) -> str | None:
    """The task token of the execution's task, once it was submitted."""
    events = history(engine, execution_arn)
    if not any(event["type"] == "TaskSubmitted" for event in events):
        return None
    scheduled = next(event for event in events if event["type"] == "TaskScheduled")
    parameters = loads(scheduled["taskScheduledEventDetails"]["parameters"])
    return str(parameters["Payload"]["token"])


def history(engine: SignoffProcess, execution_arn: str) -> list[Any]:
    """All events of the execution."""
    answer = engine.states("GetExecutionHistory", executionArn=execution_arn, maxResults=1000)
    return list(answer["events"])


def click(asked: Asked, action: str) -> None:
    """Submit the form behind one link; remember it if the answer was "recorded"."""
    form = {"decision": action, "nonce": asked.nonces[action], "comment": "so be it"}
    try:
        answer = HTTP.post(asked.links[action], data=form, headers=AS_JSON)
    except httpx.HTTPError:
        return  # the plug was pulled: this clicker was told nothing
    assert answer.status_code in (200, 409, 410, 503), answer.text
    if answer.status_code == 200:
        asked.told.add(action)


def click_all(approvals: list[Asked], pull: Callable[[], None], chance: random.Random) -> None:
    """Everybody clicks both links at once, and somewhere in between *pull* is called."""
    with ThreadPoolExecutor(2 * len(approvals)) as clickers:
        clicks = [(asked, action) for asked in approvals for action in OUTCOMES]
        chance.shuffle(clicks)
        at = chance.randrange(len(clicks))
        running = []
        for number, (asked, action) in enumerate(clicks):
            running.append(clickers.submit(click, asked, action))
            if number == at:
                # Wait for some of the answers, so that kills fall early, between and late.
                for earlier in running[: chance.randrange(len(running) + 1)]:
                    earlier.result()
                pull()
        for click_ in running:
            click_.result()


def check(service: SignoffProcess, engine: SignoffProcess, asked: Asked) -> str:
    """Hold the approval against the invariants; the state it is in."""
    record = service.api("GET", f"/approvals/{asked.id}").json()
    execution = engine.states("DescribeExecution", executionArn=asked.execution_arn)
    closings = [
        event
        for event in history(engine, asked.execution_arn)
        if event["type"] in ("TaskSucceeded", "TaskFailed", "TaskTimedOut")
    ]
    assert len(asked.told) <= 1, "two clickers were told that theirs was recorded"
    decision = record["decision"]
    if decision is None:
        assert not asked.told, "a recorded decision was lost"
        assert (record["state"], execution["status"]) == ("PENDING", "RUNNING")
        assert closings == []
    else:
        action = decision["action"]
        assert asked.told <= {action}, "a clicker was told another decision than the record's"
        assert (record["state"], execution["status"]) == ("DELIVERED", OUTCOMES[action])
        assert len(closings) == 1
    audit = service.api("GET", f"/approvals/{asked.id}/audit").json()
    assert audit["verified"] is True
    decided = [entry for entry in audit["entries"] if entry["event"] == "DECIDED"]
    assert len(decided) == (decision is not None)
    return str(record["state"])


def settled(service: SignoffProcess) -> bool:
    """Whether no decision is owed any more."""
    answer = service.api("GET", "/approvals?state=DECIDED&limit=1")
    return answer.status_code == 200 and answer.json()["approvals"] == []
