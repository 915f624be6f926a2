"""Definitions: every fault is named, with its place, and what is right is read.

The faulty ones are data: add a file to tests/asl/refused.
"""

import json
from pathlib import Path

import pytest

from app.engine.language.definition import MAX_CHARS, parse
from app.engine.language.diagnostics import MAX_DIAGNOSTICS
from app.engine.language.fields import Rules
from app.engine.language.flow import PathFlow
from app.engine.language.states import Choice, Task, Wait
from app.engine.resources import supports
from app.engine.state_machines.validation import EXPRESS, STANDARD, rules_of
from app.strict_json import Json

REFUSED = sorted((Path(__file__).parents[2] / "asl" / "refused").glob("*.json"))
RULES = Rules(supports)
PASS: Json = {"Type": "Pass", "End": True}


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_definition_is_refused(path: Path) -> None:
    """The definition is refused with exactly these diagnostics."""
    case = json.loads(path.read_text("utf-8"))
    text = case.get("text") or json.dumps(case["definition"])

    parsed = parse(text, rules_of(EXPRESS if case.get("express", False) else STANDARD))

    assert [str(diagnostic) for diagnostic in parsed.diagnostics] == case["diagnostics"]
    assert parsed.machine is None


def test_states_of_branches_are_in_one_table() -> None:
    """A state is found by its name, however deep it is nested."""
    inner = {"StartAt": "B", "States": {"B": PASS}}
    outer = {"Type": "Parallel", "Branches": [inner], "End": True}
    definition = {"StartAt": "A", "States": {"A": outer}, "TimeoutSeconds": 9, "Version": "1.0"}

    machine = parse(json.dumps(definition), RULES).machine

    assert machine is not None
    assert sorted(machine.states) == ["A", "B"]
    assert machine.timeout_s == 9


def test_all_fields_are_read() -> None:
    """What the definition says is in the states."""
    definition = {
        "StartAt": "T",
        "States": {
            "T": {
                "Type": "Task",
                "Comment": "calls",
                "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f:live",
                "TimeoutSecondsPath": "$.t",
                "HeartbeatSeconds": 5,
                "Credentials": {"RoleArn.$": "$.role"},
                "Retry": [
                    {
                        "ErrorEquals": ["X"],
                        "IntervalSeconds": 2,
                        "MaxAttempts": 0,
                        "BackoffRate": 1,
                        "MaxDelaySeconds": 9,
                        "JitterStrategy": "FULL",
                    }
                ],
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "C", "ResultPath": None}],
                "Next": "W",
            },
            "W": {"Type": "Wait", "Timestamp": "2030-01-01T00:00:00Z", "Next": "C"},
            "C": {
                "Type": "Choice",
                "Choices": [
                    {"Or": [{"Variable": "$.a", "IsPresent": True}], "Next": "W", "Comment": "x"}
                ],
                "Default": "S",
            },
            "S": {"Type": "Succeed"},
        },
    }

    machine = parse(json.dumps(definition), RULES).machine

    assert machine is not None
    task, wait, choice = machine.states["T"], machine.states["W"], machine.states["C"]
    assert isinstance(task, Task)
    assert (task.retry[0].max_attempts, task.retry[0].full_jitter) == (0, True)
    assert (task.heartbeat, task.catch[0].flow, task.next) == (5, PathFlow(drop_result=True), "W")
    assert isinstance(wait, Wait)
    assert wait.timestamp is not None
    assert isinstance(choice, Choice)
    assert choice.default == "S"


def test_an_enormous_definition_is_refused_before_it_is_read() -> None:
    """More than a MiB is no definition."""
    text = json.dumps({"StartAt": "A", "States": {"A": PASS}, "Comment": "x" * MAX_CHARS})

    parsed = parse(text, RULES)

    assert [d.message for d in parsed.diagnostics] == ["Definition is too large"]


def test_ten_thousand_faults_are_not_all_collected() -> None:
    """A definition full of faults is answered in bounded space."""
    states = {f"S{n}": {"Type": "Pass", "Next": f"S{n}", "Nope": 1} for n in range(10_000)}

    parsed = parse(json.dumps({"StartAt": "S0", "States": states}), RULES)

    assert len(parsed.diagnostics) == MAX_DIAGNOSTICS + 1


def test_a_long_text_that_is_no_json_is_shown_in_part() -> None:
    """As AWS's parser shows it: 500 characters, and how many more there are."""
    (fault,) = parse("nope" + " " * 600, RULES).diagnostics

    shown = "nope" + " " * 496
    assert fault.location == f'[Source: (String)"{shown}"[truncated 104 chars]; line: 1, column: 5]'


def test_deeply_nested_text_is_refused() -> None:
    """Brackets within brackets are no way to exhaust the stack."""
    parsed = parse('{"a":' * 5_000 + "1" + "}" * 5_000, RULES)

    assert [d.code for d in parsed.diagnostics] == ["INVALID_JSON_DESCRIPTION"]
