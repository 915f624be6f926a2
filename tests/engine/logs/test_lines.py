"""What a log line says."""

import json

from app.engine.logs.lines import MAX_LINE_BYTES, line, lines
from app.engine.steps.execution import Event
from app.strict_json import Json

ARN = "arn:aws:states:us-east-1:123456789012:execution:machine:run"
SCHEDULED: Event = (3, 2, 1_762_948_800_125, "TaskScheduled", {"parameters": "{}", "resource": "r"})
ENTERED: Event = (2, 1, 1_762_948_800_000, "PassStateEntered", {"name": "First", "input": "{}"})


def test_a_line_has_the_documented_members() -> None:
    """Numbers are texts; the data says that it is whole."""
    text = line(ENTERED, ARN, 1, include_data=True).text

    assert text == json.dumps(
        {
            "id": "2",
            "type": "PassStateEntered",
            "details": {"name": "First", "input": "{}", "inputDetails": {"truncated": False}},
            "previous_event_id": "1",
            "event_timestamp": "1762948800000",
            "execution_arn": ARN,
            "redrive_count": "1",
        },
        separators=(",", ":"),
    )


def test_data_is_left_out_unless_wanted() -> None:
    """Names and resources stay."""
    shown = [json.loads(line(e, ARN, 0, include_data=False).text) for e in (ENTERED, SCHEDULED)]

    assert [body["details"] for body in shown] == [{"name": "First"}, {"resource": "r"}]


def test_long_data_is_cut_short() -> None:
    """A line is never larger than CloudWatch Logs takes; what was cut says so."""
    event: Event = (2, 1, 0, "PassStateEntered", {"name": "First", "input": '"' * 200_000})

    written = line(event, ARN, 0, include_data=True)

    details = json.loads(written.text)["details"]
    assert written.size <= MAX_LINE_BYTES + 26
    assert details["name"] == "First"
    assert len(details["input"]) > 60_000
    assert details["inputDetails"] == {"truncated": True}


def test_variables_that_are_too_long_are_left_out() -> None:
    """Each is shown whole or not at all; that some are missing is said."""
    texts: dict[str, Json] = {
        "short": "1",
        "long": '"' + "x" * 150_000 + '"',
        "last": "2" * 150_000,
    }
    event: Event = (3, 2, 0, "PassStateExited", {"name": "First", "assignedVariables": texts})

    written = line(event, ARN, 0, include_data=True)

    details = json.loads(written.text)["details"]
    assert written.size <= MAX_LINE_BYTES + 26
    assert details == {
        "name": "First",
        "assignedVariables": {"short": "1"},
        "assignedVariablesDetails": {"truncated": True},
    }


def test_each_line_has_the_redrives_of_its_time() -> None:
    """The count grows with the event that tells of a redrive."""
    failed: Event = (4, 3, 0, "ExecutionFailed", None)
    redriven: Event = (5, 4, 1, "ExecutionRedriven", {"redriveCount": 2})

    counts = [
        json.loads(found.text)["redrive_count"]
        for found in lines([failed, redriven, ENTERED], ARN, 2, include_data=True)
    ]

    assert counts == ["1", "2", "2"]
