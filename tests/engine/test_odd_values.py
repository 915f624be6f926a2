"""Whatever data a state's fields refer to, it is the state that fails: never the engine."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import StepFunctionsError
from app.strict_json import Json
from tests.engine.driving import ROLE, Driver, only

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:echo"
INNER: Json = {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}
DISTRIBUTED: Json = INNER | {
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
}
A, B = "{% $states.input.a %}", "{% $states.input.b %}"
CALLS = (
    "States.ArrayRange($.a, $.b, 1)",
    "States.ArrayPartition($.a, $.b)",
    "States.ArrayGetItem($.a, $.b)",
    "States.MathRandom($.a, $.b)",
    "States.MathAdd($.a, $.b)",
    "States.StringToJson($.a)",
    "States.Format('{}{}', $.a, $.b)",
    "States.Base64Decode($.a)",
    "States.Hash($.a, $.b)",
)
EXPRESSIONS = (
    "{% $string($states.input.a) & $states.input.b %}",
    "{% $number($states.input.a) %}",
    "{% $power($states.input.a, $states.input.b) %}",
    "{% $substring($states.input.a, $states.input.b) & '\\ud83d' %}",
    "{% $pad($states.input.a, $states.input.b) %}",
    "{% $error($string($states.input.a) & '\\ud83d') %}",
    "{% $range($states.input.a, $states.input.b, 1) %}",
)
STATES: tuple[dict[str, Json], ...] = (
    *({"Type": "Pass", "Parameters": {"x.$": call}, "End": True} for call in CALLS),
    *({"Type": "Pass", "QueryLanguage": "JSONata", "Output": e, "End": True} for e in EXPRESSIONS),
    *({"Type": "Fail", "QueryLanguage": "JSONata", "Error": e, "Cause": B} for e in EXPRESSIONS),
    {"Type": "Fail", "ErrorPath": "$.a", "CausePath": "$.b"},
    {"Type": "Wait", "SecondsPath": "$.a", "End": True},
    {"Type": "Wait", "TimestampPath": "$.a", "End": True},
    {"Type": "Wait", "QueryLanguage": "JSONata", "Timestamp": A, "End": True},
    {"Type": "Task", "Resource": FUNCTION, "TimeoutSecondsPath": "$.a", "End": True},
    {"Type": "Task", "Resource": FUNCTION, "Credentials": {"RoleArn.$": "$.a"}, "End": True},
    {"Type": "Pass", "Assign": {"v.$": "$.a"}, "ResultPath": "$.b[0]", "End": True},
    {
        "Type": "Map",
        "ItemsPath": "$.a",
        "MaxConcurrencyPath": "$.b",
        "ItemProcessor": INNER,
        "End": True,
    },
    {
        "Type": "Map",
        "ItemsPath": "$.items",
        "MaxConcurrencyPath": "$.a",
        "ToleratedFailureCountPath": "$.b",
        "ItemProcessor": DISTRIBUTED,
        "End": True,
    },
    {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ToleratedFailurePercentagePath": "$.a",
        "ItemBatcher": {"MaxItemsPerBatchPath": "$.b", "BatchInput": {"x.$": "$.a"}},
        "ItemProcessor": DISTRIBUTED,
        "End": True,
    },
)
EDGES = (
    2**31,
    2**63,
    2**64 - 1,
    -(2**63),
    1e308,
    -1e308,
    5e-324,
    "1" * 400,
    "9999-12-31T23:59:59Z",
)
ODD = (
    st.sampled_from(EDGES)
    | st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.lists(st.integers(-9, 9), max_size=3)
    | st.just({"k": 1})
)


async def fate(state: dict[str, Json], given: Json) -> Json:
    """How an execution stands that comes to *state* after a wait, and its cause."""
    with TemporaryDirectory() as directory:
        driver = Driver(Path(directory))
        await driver.start()
        wait = {"Type": "Wait", "Seconds": 1, "Next": "Odd"}
        arn = await driver.run(only(wait, Odd=state), given)
        await driver.pass_time(1)
        text = json.dumps(state)
        with suppress(StepFunctionsError):  # it is refused for a Map
            await driver.call("TestState", definition=text, roleArn=ROLE, input=json.dumps(given))
        described = await driver.describe(arn)
        await driver.stop()
    return described["status"], described.get("cause") or ""


@settings(max_examples=60, deadline=None)
@given(state=st.sampled_from(STATES), a=ODD, b=ODD)
def test_whatever_a_field_refers_to(state: dict[str, Json], a: Json, b: Json) -> None:
    """It is stored, or the state fails and says why."""
    status, cause = asyncio.run(fate(state, {"a": a, "b": b, "items": [1]}))

    assert status in ("SUCCEEDED", "FAILED", "RUNNING")
    assert "internal error" not in cause
