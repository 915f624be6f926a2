"""TestState: one state by itself, its work done or told."""

import json
from typing import Any

import pytest

from app.errors import InvalidDefinition, StepFunctionsError, ValidationException
from app.strict_json import Json
from tests.engine.driving import INVOKE, PARK, ROLE, Driver, invoked, only

PUT_EVENTS: Json = {
    "Type": "Task",
    "Resource": "arn:aws:states:::events:putEvents",
    "End": True,
}
PARALLEL: Json = {
    "Type": "Parallel",
    "Branches": [
        {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}},
        {"StartAt": "B", "States": {"B": {"Type": "Succeed"}}},
    ],
    "InputPath": "$.in",
    "ResultPath": "$.out",
    "End": True,
}


EXPORTING_MAP: Json = {
    "Type": "Map",
    "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "A",
        "States": {"A": {"Type": "Succeed"}},
    },
    "ToleratedFailureCount": 1,
    "ResultWriter": {
        "Resource": "arn:aws:states:::s3:putObject",
        "Parameters": {"Bucket": "results"},
    },
    "End": True,
}


async def answer_to(driver: Driver, definition: Json, given: Json = None, **members: Json) -> Any:
    """What TestState answers."""
    text = json.dumps({} if given is None else given)
    return await driver.call("TestState", definition=json.dumps(definition), input=text, **members)


def mocked(result: Json, **more: Json) -> Json:
    """A mock that gives a result."""
    return {"result": json.dumps(result), **more}


async def test_a_state_goes_where_it_goes(driver: Driver) -> None:
    """Its targets need not exist."""
    choice: Json = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.a", "NumericEquals": 1, "Next": "One"}],
        "Default": "Other",
    }

    answers = [await answer_to(driver, choice, {"a": number}) for number in (1, 2)]

    assert answers == [
        {"status": "SUCCEEDED", "nextState": "One", "output": '{"a": 1}'},
        {"status": "SUCCEEDED", "nextState": "Other", "output": '{"a": 2}'},
    ]


async def test_what_cannot_be_written_fails_the_state(driver: Driver) -> None:
    """Output that is nested too deeply is the state's failure, not ours."""
    deep: Json = [1]
    template: Json = {"x.$": "$"}
    for _ in range(150):
        deep, template = [deep], {"a": template}

    answer = await answer_to(driver, {"Type": "Pass", "Parameters": template, "End": True}, deep)

    assert answer == {
        "status": "FAILED",
        "error": "States.Runtime",
        "cause": "The data is nested too deeply or holds a number that is too large.",
    }


async def test_the_stages_of_the_data_are_inspected(driver: Driver) -> None:
    """One by one."""
    state: Json = {
        "Type": "Pass",
        "InputPath": "$.a",
        "Parameters": {"c.$": "$.b"},
        "Result": 2,
        "ResultPath": "$.r",
        "OutputPath": "$.r",
        "Next": "N",
    }

    answer = await answer_to(driver, state, {"a": {"b": 1}}, inspectionLevel="DEBUG")

    assert answer == {
        "status": "SUCCEEDED",
        "nextState": "N",
        "output": "2",
        "inspectionData": {
            "input": '{"a": {"b": 1}}',
            "afterInputPath": '{"b":1}',
            "afterParameters": '{"c":1}',
            "result": "2",
            "afterResultSelector": "2",
            "afterResultPath": '{"a":{"b":1},"r":2}',
        },
    }


async def test_a_task_is_really_done(driver: Driver) -> None:
    """With a role; without one only a mock will do."""
    state = invoked("echo", OutputPath="$.Payload")

    assert (await answer_to(driver, state, [1], roleArn=ROLE))["output"] == "[1]"
    with pytest.raises(ValidationException) as caught:
        await answer_to(driver, state)
    assert caught.value.message == "RoleArn must be specified when testing a Task state"


async def test_a_mock_stands_for_the_call(driver: Driver) -> None:
    """Of any service; its result is shaped as a real one is."""
    state = PUT_EVENTS | {"ResultSelector": {"id.$": "$.Entries[0].EventId"}}

    answer = await answer_to(driver, state, mock=mocked({"Entries": [{"EventId": "1"}]}))

    assert answer == {"status": "SUCCEEDED", "output": '{"id":"1"}'}
    waiting = {"Type": "Task", "Resource": PARK, "Next": "N"}
    answer = await answer_to(driver, waiting, mock=mocked(3))
    assert (answer["output"], answer["nextState"]) == ("3", "N")
    assert driver.calls == []


async def test_branches_can_be_mocked(driver: Driver) -> None:
    """Their array is the state's result."""
    answer = await answer_to(
        driver, PARALLEL, {"in": 1}, mock=mocked([1, 2]), inspectionLevel="TRACE"
    )

    assert answer["output"] == '{"in":1,"out":[1,2]}'
    assert answer["inspectionData"] == {
        "input": '{"in": 1}',
        "afterResultSelector": "[1, 2]",
        "afterResultPath": '{"in":1,"out":[1,2]}',
    }


async def test_a_wait_does_not_wait(driver: Driver) -> None:
    """A year passes at once."""
    answer = await answer_to(driver, {"Type": "Wait", "Seconds": 31_536_000, "Next": "N"}, 1)

    assert answer == {"status": "SUCCEEDED", "nextState": "N", "output": "1"}


async def test_retry_and_catch_are_tried(driver: Driver) -> None:
    """The retries made so far are told; Catch comes when they are used up."""
    state: Json = {
        "Type": "Task",
        "Resource": INVOKE,
        "Retry": [
            {"ErrorEquals": ["Other"]},
            {"ErrorEquals": ["E"], "IntervalSeconds": 2, "MaxAttempts": 2},
        ],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.e", "Next": "Caught"}],
        "End": True,
    }
    more: Json = {"mock": {"errorOutput": {"error": "E", "cause": "why"}}}
    more["inspectionLevel"] = "DEBUG"

    async def after(retries: int) -> Any:
        return await answer_to(
            driver, state, {}, stateConfiguration={"retrierRetryCount": retries}, **more
        )

    second, last = await after(1), await after(2)

    assert (second["status"], second["error"], second["cause"]) == ("RETRIABLE", "E", "why")
    assert second["inspectionData"]["errorDetails"] == {
        "retryIndex": 1,
        "retryBackoffIntervalSeconds": 4,
    }
    assert (last["status"], last["nextState"]) == ("CAUGHT_ERROR", "Caught")
    assert json.loads(last["output"]) == {"e": {"Error": "E", "Cause": "why"}}
    assert last["inspectionData"]["errorDetails"] == {"catchIndex": 0}


async def test_a_failure_that_nothing_handles_is_told(driver: Driver) -> None:
    """Of a Fail state, or of data that does not fit."""
    failed = await answer_to(driver, {"Type": "Fail", "Error": "E", "Cause": "why"})
    missing = await answer_to(driver, {"Type": "Pass", "InputPath": "$.a", "End": True})

    assert failed == {"status": "FAILED", "error": "E", "cause": "why"}
    assert (missing["status"], missing["error"]) == ("FAILED", "States.Runtime")


async def test_variables_and_context_can_be_given(driver: Driver) -> None:
    """The context replaces the made up one."""
    state: Json = {
        "Type": "Pass",
        "Parameters": {"v.$": "$v", "c.$": "$$.Execution.Name"},
        "End": True,
    }
    context = json.dumps({"Execution": {"Name": "mine"}})

    answer = await answer_to(
        driver, state, variables='{"v": 1}', context=context, inspectionLevel="DEBUG"
    )

    assert json.loads(answer["output"]) == {"v": 1, "c": "mine"}
    assert answer["inspectionData"]["variables"] == '{"v":1}'


async def test_the_made_up_context_names_an_express_execution(driver: Driver) -> None:
    """And a state called StateName."""
    state: Json = {"Type": "Pass", "Parameters": {"c.$": "$$"}, "End": True}

    context = json.loads((await answer_to(driver, state, 1))["output"])["c"]

    assert context["Execution"]["Id"].startswith("arn:aws:states:us-east-1:123456789012:express:")
    assert (context["Execution"]["Input"], context["State"]["Name"]) == (1, "StateName")


async def test_a_state_of_a_whole_machine_is_named(driver: Driver) -> None:
    """One inside a branch as well."""
    branch = only({"Type": "Pass", "Result": 1, "End": True})
    machine: Json = {
        "StartAt": "P",
        "States": {"P": {"Type": "Parallel", "Branches": [branch], "End": True}},
    }

    assert (await answer_to(driver, machine, stateName="First"))["output"] == "1"
    with pytest.raises(ValidationException) as caught:
        await answer_to(driver, machine, stateName="Other")
    assert caught.value.message == "State not found in definition"


@pytest.mark.parametrize(
    ("state", "members", "message"),
    [
        ({"Type": "Pass", "End": True}, {"mock": mocked(1)}, "State type 'Pass' is not supported "),
        (
            PUT_EVENTS,
            {"mock": {"result": "{}", "errorOutput": {}}},
            "A test mock should have only one of the following fields: [result, errorOutput].",
        ),
        (PUT_EVENTS, {"mock": {"result": "{"}}, "Mocked result must be valid JSON"),
        (PUT_EVENTS, {"mock": {}}, "Mocked result must be valid JSON"),
        ({"Type": "Pass", "End": True}, {"mock": {}}, "State type 'Pass' is not supported "),
        (PUT_EVENTS, {"mock": mocked([])}, "Mocked result must be a JSON object."),
        (PARALLEL, {"mock": mocked({})}, "Mocked result must be an array."),
        (EXPORTING_MAP, {"mock": mocked([1])}, "Mocked result must be a JSON object."),
        (
            PARALLEL,
            {"mock": mocked([1])},
            "Mocked result must contain the same number of items as number of Parallel branches.",
        ),
        (
            PUT_EVENTS,
            {"mock": mocked({"Entries": 1})},
            "Mock result schema validation error: Field 'Entries' must be an array",
        ),
        (
            PUT_EVENTS,
            {"mock": mocked({"Entries": [{"EventId": "1"}, {"EventId": []}]})},
            "Mock result schema validation error: Field 'EventId' must be a string",
        ),
        (
            PUT_EVENTS | {"Resource": "arn:aws:states:::states:startExecution"},
            {"mock": mocked({})},
            "Mock result schema validation error: Required field 'ExecutionArn' is missing",
        ),
        (
            PUT_EVENTS,
            {"mock": mocked({}), "revealSecrets": True},
            "TestState does not support RevealSecrets when a mock is specified.",
        ),
        (
            {"Type": "Map", "ItemProcessor": PARALLEL["Branches"][0], "End": True},
            {"mock": mocked([1]), "stateConfiguration": {"mapIterationFailureCount": 2}},
            "Map iteration failure count must be less than or equal to the number of "
            "Map iterations",
        ),
        ({"Type": "Succeed"}, {"context": "1"}, "Invalid Context object provided: "),
    ],
)
async def test_what_cannot_be_is_refused(
    driver: Driver, state: Json, members: dict[str, Json], message: str
) -> None:
    """In AWS's words."""
    with pytest.raises(ValidationException) as caught:
        await answer_to(driver, state, **members)

    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(("mode", "ok"), [("STRICT", False), ("PRESENT", True), ("NONE", True)])
async def test_a_mock_is_checked_as_strictly_as_asked(driver: Driver, mode: str, ok: bool) -> None:
    """PRESENT lets members be missing, NONE lets all be."""
    state = PUT_EVENTS | {"Resource": "arn:aws:states:::states:startExecution"}
    statuses = []
    for result in ({}, {"ExecutionArn": 1, "StartDate": ""}):
        mock = mocked(result, fieldValidationMode=mode)
        try:
            statuses.append((await answer_to(driver, state, mock=mock))["status"])
        except StepFunctionsError as exc:
            statuses.append(exc.code)

    refused = "ValidationException"
    second = "SUCCEEDED" if mode == "NONE" else refused
    assert statuses == ["SUCCEEDED" if ok else refused, second]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            PARALLEL,
            "TestState API does not support Map or Parallel states. Supported state types "
            "include: [Task, Wait, Pass, Succeed, Fail, Choice]",
        ),
        (
            PARALLEL | {"Branches": []},
            "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: Value cannot be empty "
            "at /States/StateName/Branches'",
        ),
        (
            {"Type": "Task", "Resource": PARK, "End": True},
            "TestState API does not support '.waitForTaskToken' service integration without a mock",
        ),
        (
            {
                "Type": "Task",
                "Resource": "arn:aws:states:us-east-1:123456789012:activity:a",
                "End": True,
            },
            "TestState API does not support Activity ARN without a mock",
        ),
    ],
)
async def test_some_states_need_a_mock(driver: Driver, state: Json, message: str) -> None:
    """And all must be well defined."""
    with pytest.raises(InvalidDefinition) as caught:
        await answer_to(driver, state, roleArn=ROLE)

    assert caught.value.message == message


MAP: dict[str, Json] = {
    "Type": "Map",
    "ItemsPath": "$.items",
    "ItemSelector": {"n.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value", "k.$": "$kept"},
    "MaxConcurrency": 2,
    "ToleratedFailureCount": 1,
    "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "A",
        "States": {"A": {"Type": "Pass", "End": True}},
    },
    "Assign": {"seen.$": "$[0]"},
    "End": True,
}


async def test_a_map_is_inspected(driver: Driver) -> None:
    """Its items, what each iteration gets, its limits, and the variables it leaves."""
    answer = await answer_to(
        driver,
        MAP,
        {"items": ["a", "b"]},
        mock=mocked([1, 2]),
        variables='{"kept": 5}',
        inspectionLevel="DEBUG",
        stateConfiguration={"mapIterationFailureCount": 1},
    )

    assert answer == {
        "status": "SUCCEEDED",
        "output": "[1, 2]",
        "inspectionData": {
            "input": '{"items": ["a", "b"]}',
            "afterInputPath": '{"items": ["a", "b"]}',
            "afterItemsPath": '["a", "b"]',
            "afterItemSelector": '[{"n": 0, "v": "a", "k": 5}, {"n": 1, "v": "b", "k": 5}]',
            "afterResultSelector": "[1, 2]",
            "afterResultPath": "[1, 2]",
            "maxConcurrency": 2,
            "toleratedFailureCount": 1,
            "variables": '{"kept":5,"seen":1}',
        },
    }


async def test_a_map_that_exports_its_results_is_mocked_by_an_object(driver: Driver) -> None:
    """What AWS's Map Run answers with then; how many items there are is known from the input."""
    told = {"MapRunArn": "arn", "ResultWriterDetails": {"Bucket": "results", "Key": "manifest"}}

    answer = await answer_to(driver, EXPORTING_MAP, [1, 2], mock=mocked(told))
    failed = await answer_to(
        driver,
        EXPORTING_MAP,
        [1, 2],
        mock=mocked(told),
        stateConfiguration={"mapIterationFailureCount": 2},
    )

    assert answer == {"status": "SUCCEEDED", "output": json.dumps(told)}
    assert failed["error"] == "States.ExceedToleratedFailureThreshold"


async def test_a_map_fails_when_told_that_too_many_iterations_did(driver: Driver) -> None:
    """Only what it tolerates is compared; a mocked error stays what it is."""
    many = {"mapIterationFailureCount": 2}
    given = {"items": [1, 2]}
    variables = '{"kept": 5}'

    failed = await answer_to(
        driver, MAP, given, mock=mocked([1, 2]), variables=variables, stateConfiguration=many
    )
    error = {"errorOutput": {"error": "E", "cause": "c"}}
    mock = await answer_to(
        driver, MAP, given, mock=error, variables=variables, stateConfiguration=many
    )

    assert failed == {
        "status": "FAILED",
        "error": "States.ExceedToleratedFailureThreshold",
        "cause": "The specified tolerated failure threshold was exceeded",
    }
    assert mock == {"status": "FAILED", "error": "E", "cause": "c"}


async def test_the_arguments_of_a_jsonata_task_are_inspected(driver: Driver) -> None:
    """They are its one stage."""
    state: Json = {
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Resource": INVOKE,
        "Arguments": {"FunctionName": "echo", "Payload": "{% $states.input.a %}"},
        "End": True,
    }

    answer = await answer_to(
        driver, state, {"a": 1}, mock=mocked({"Payload": 2}), inspectionLevel="DEBUG"
    )

    assert answer["inspectionData"] == {
        "input": '{"a": 1}',
        "afterArguments": '{"FunctionName":"echo","Payload":1}',
        "result": '{"Payload": 2}',
    }


async def test_a_costly_state_is_tested_too(driver: Driver) -> None:
    """It is evaluated beside the loop, and fails in its time."""
    slow = "{% ($f := function($n) { $f($n + 1) }; $f(0)) %}"
    state: Json = {"Type": "Pass", "QueryLanguage": "JSONata", "Output": slow, "End": True}

    answer = await answer_to(driver, state)

    assert (answer["status"], answer["error"]) == ("FAILED", "States.QueryEvaluationError")


async def test_a_callback_has_a_token(driver: Driver) -> None:
    """It is passed on, and is no token of an execution."""
    state: Json = {
        "Type": "Task",
        "Resource": PARK,
        "Parameters": {"FunctionName": "park", "Payload": {"token.$": "$$.Task.Token"}},
        "End": True,
    }

    answer = await answer_to(driver, state, mock=mocked("done"), inspectionLevel="DEBUG")

    token = json.loads(answer["inspectionData"]["afterParameters"])["Payload"]["token"]
    assert answer["output"] == '"done"'
    with pytest.raises(StepFunctionsError, match="Invalid token"):
        await driver.engine.send_task_success(token, "1")


async def test_a_nested_execution_is_mocked_by_what_describes_it(driver: Driver) -> None:
    """Its input and output are JSON; what DescribeExecution always gives has to be there."""
    state: Json = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "ResultSelector": {"o.$": "$.Output"},
        "End": True,
    }
    whole = {"ExecutionArn": "e", "StateMachineArn": "m", "Status": "SUCCEEDED", "StartDate": "d"}

    answer = await answer_to(driver, state, mock=mocked({"Output": {"x": 1}} | whole))
    with pytest.raises(ValidationException) as caught:
        await answer_to(driver, state, mock=mocked({"Output": {"x": 1}}))

    assert answer["output"] == '{"o":{"x":1}}'
    assert caught.value.message == (
        "Mock result schema validation error: Required field 'ExecutionArn' is missing"
    )


async def test_a_map_is_told_what_its_reader_reads(driver: Driver) -> None:
    """Nothing is read; the data are taken as the reader would take them."""
    config = {"InputType": "JSON", "ItemsPointer": "/rows"}
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": config,
        "Parameters": {"Bucket": "b", "Key": "k"},
    }
    state = {name: MAP[name] for name in ("Type", "ItemProcessor", "End")} | {
        "ItemReader": reader,
        "ItemSelector": {"v.$": "$$.Map.Item.Value.a"},
    }

    answer = await answer_to(
        driver,
        state,
        mock=mocked([1, 2]),
        stateConfiguration={"mapItemReaderData": '{"rows": [{"a": 1}, {"a": 2}]}'},
        inspectionLevel="DEBUG",
    )

    seen = answer["inspectionData"]
    assert seen["afterItemsPointer"] == '[{"a": 1}, {"a": 2}]'
    assert seen["afterItemSelector"] == '[{"v": 1}, {"v": 2}]'
    assert "afterItemBatcher" not in seen


async def test_a_map_shows_its_batches(driver: Driver) -> None:
    """As the children would get them."""
    state = {name: MAP[name] for name in ("Type", "ItemProcessor", "End")} | {
        "ItemsPath": "$.items",
        "ItemBatcher": {"MaxItemsPerBatch": 2, "BatchInput": {"x.$": "$.x"}},
    }
    given = {"items": [1, 2, 3], "x": 0}

    answer = await answer_to(
        driver,
        state,
        given,
        mock=mocked([1, 2]),
        inspectionLevel="DEBUG",
    )

    assert answer["inspectionData"]["afterItemBatcher"] == (
        '[{"BatchInput": {"x": 0}, "Items": [1, 2]}, {"BatchInput": {"x": 0}, "Items": [3]}]'
    )
