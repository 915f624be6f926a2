"""JSONata machines: every field that takes an expression, and the events when one fails."""

import json

import pytest

from app.engine.expressions.jsonata_library import QueryError, evaluate
from app.engine.expressions.jsonata_references import variables
from app.engine.language.definition import parse
from app.engine.language.fields import Rules
from app.engine.language.variables import references
from app.strict_json import Json
from tests.engine.driving import INVOKE, Driver, only

END: dict[str, Json] = {"Type": "Pass", "End": True}


def machine(state: dict[str, Json], **more: dict[str, Json]) -> dict[str, Json]:
    """A JSONata machine that starts with *state*."""
    return {"QueryLanguage": "JSONata", **only(state, **more)}


def task(function: str, **fields: Json) -> dict[str, Json]:
    """A Task that invokes a function with the state's input."""
    arguments: Json = {"FunctionName": function, "Payload": "{% $states.input %}"}
    return {"Type": "Task", "Resource": INVOKE, "Arguments": arguments, "End": True} | fields


@pytest.mark.parametrize(
    ("state", "output"),
    [
        ({"Type": "Pass", "End": True}, {"n": 2}),
        ({"Type": "Pass", "Output": {"x": ["{% $states.input.n %}"]}, "End": True}, {"x": [2]}),
        ({"Type": "Succeed", "Output": "{% $states.input.n %}"}, 2),
        ({"Type": "Wait", "Seconds": "{% 0 %}", "Output": 5, "End": True}, 5),
        ({"Type": "Wait", "Timestamp": "{% '2020-01-01T00:00:00Z' %}", "End": True}, {"n": 2}),
        (task("echo", Output="{% $states.result.Payload.n %}"), 2),
        (task("echo", TimeoutSeconds="{% $states.input.n %}", Output=1), 1),
        (
            {
                "Type": "Parallel",
                "Arguments": {"n": "{% $states.input.n + 1 %}"},
                "Branches": [{"StartAt": "B", "States": {"B": END}}],
                "Output": "{% $states.result[0].n %}",
                "End": True,
            },
            3,
        ),
        (
            {
                "Type": "Map",
                "Items": "{% [1..$states.input.n] %}",
                "ItemSelector": {"i": "{% $states.context.Map.Item.Value * 10 %}"},
                "MaxConcurrency": "{% 1 %}",
                "ItemProcessor": {"StartAt": "I", "States": {"I": END}},
                "End": True,
            },
            [{"i": 10}, {"i": 20}],
        ),
        (
            {
                "Type": "Map",
                "Items": ["{% $states.input.n %}", 4],
                "ItemProcessor": {"StartAt": "I", "States": {"I": END}},
                "End": True,
            },
            [2, 4],
        ),
        # Half a surrogate pair cannot be stored.
        (
            {"Type": "Pass", "Output": {"a": '{% {"\\ud83d": "\\udc00"} %}'}, "End": True},
            {"a": {"?": "?"}},
        ),
    ],
)
async def test_a_state_gives(driver: Driver, state: dict[str, Json], output: Json) -> None:
    """Arguments and Output as expressions; without Output the result, or the input."""
    arn = await driver.run(machine(state), {"n": 2})

    assert await driver.output(arn) == output


async def test_output_and_assign_both_see_the_values_at_entry(driver: Driver) -> None:
    """A variable that is assigned is not there yet for Output."""
    first: dict[str, Json] = {"Type": "Pass", "Assign": {"v": 1}, "Next": "Second"}
    second: dict[str, Json] = {
        "Type": "Pass",
        "Assign": {"v": "{% $v + 1 %}"},
        "Output": "{% $v %}",
        "Next": "Third",
    }
    third: dict[str, Json] = {"Type": "Pass", "Output": "{% [$states.input, $v] %}", "End": True}
    arn = await driver.run(machine(first, Second=second, Third=third))

    assert await driver.output(arn) == [1, 2]


@pytest.mark.parametrize(("n", "output"), [(1, "one"), (2, "other"), (3, {"n": 3})])
async def test_a_rule_has_its_own_output(driver: Driver, n: int, output: Json) -> None:
    """The rule that holds makes the output; the state's own Output goes with Default."""
    choice: dict[str, Json] = {
        "Type": "Choice",
        "Choices": [
            {"Condition": "{% $states.input.n = 1 %}", "Output": "one", "Next": "End"},
            {"Condition": False, "Next": "End"},
            {"Condition": "{% $states.input.n = 3 %}", "Next": "End"},
        ],
        "Output": "other",
        "Default": "End",
    }
    arn = await driver.run(machine(choice, End=END), {"n": n})

    assert await driver.output(arn) == output


async def test_a_catcher_sees_the_error(driver: Driver) -> None:
    """``$states.errorOutput`` in the catcher's Output and Assign."""
    catcher: Json = {
        "ErrorEquals": ["Flaky"],
        "Output": "{% $states.errorOutput.Error & $states.input.n %}",
        "Assign": {"e": "{% $states.errorOutput.Error %}"},
        "Next": "See",
    }
    see: dict[str, Json] = {"Type": "Pass", "Output": "{% $states.input & $e %}", "End": True}
    arn = await driver.run(machine(task("fail", Catch=[catcher]), See=see), {"n": 2})

    assert await driver.output(arn) == "Flaky2Flaky"


async def test_a_fail_state_says_what_expressions_yield(driver: Driver) -> None:
    """Error and Cause."""
    state: dict[str, Json] = {
        "Type": "Fail",
        "Error": "{% $states.input.e %}",
        "Cause": "{% 'so ' & $states.input.e %}",
    }
    arn = await driver.run(machine(state), {"e": "E"})

    described = await driver.describe(arn)
    assert (described["error"], described["cause"]) == ("E", "so E")


async def test_a_failed_evaluation_is_an_event(driver: Driver) -> None:
    """It follows what came before the state, and names field and state."""
    state: dict[str, Json] = {"Type": "Pass", "Output": {"x": "{% $nothing %}"}, "End": True}
    arn = await driver.run(machine({"Type": "Pass", "Next": "Bad"}, Bad=state))

    cause = (
        "An error occurred while executing the state 'Bad' (entered at the event id #4). "
        "The JSONata expression '$nothing' specified for the field 'Output/x' "
        "returned nothing (undefined)."
    )
    events = await driver.events(arn)
    assert (await driver.story(arn))[3:] == [
        "4<3 PassStateEntered",
        "5<3 EvaluationFailed",
        "6<5 ExecutionFailed",
    ]
    assert events[4]["evaluationFailedEventDetails"] == {
        "error": "States.QueryEvaluationError",
        "cause": cause,
        "location": "Output/x",
        "state": "Bad",
    }
    assert (await driver.describe(arn))["cause"] == cause


@pytest.mark.parametrize(
    ("state", "story"),
    [
        (
            {"Type": "Wait", "Seconds": "{% 'x' %}", "End": True},
            ["3<2 EvaluationFailed", "4<3 ExecutionFailed"],
        ),
        (
            {
                "Type": "Map",
                "Items": "{% 1 %}",
                "ItemProcessor": {"StartAt": "I", "States": {"I": END}},
                "End": True,
            },
            ["3<0 EvaluationFailed", "4<3 MapStateFailed", "5<4 ExecutionFailed"],
        ),
        (
            task("echo", Output="{% $nothing %}"),
            [
                "3<2 TaskScheduled",
                "4<3 TaskStarted",
                "5<4 TaskSucceeded",
                "6<5 EvaluationFailed",
                "7<6 ExecutionFailed",
            ],
        ),
    ],
)
async def test_what_a_failed_evaluation_follows(
    driver: Driver, state: dict[str, Json], story: list[str]
) -> None:
    """A Wait's own event, a Map's failure after it, a Task's result."""
    arn = await driver.run(machine(state), {})

    assert (await driver.story(arn))[2:] == story


async def test_a_failed_evaluation_is_caught(driver: Driver) -> None:
    """By its name, or by States.ALL."""
    catcher: Json = {"ErrorEquals": ["States.QueryEvaluationError"], "Next": "End"}
    state = task("echo", Arguments="{% $nothing %}", Catch=[catcher])
    arn = await driver.run(machine(state, End=END))

    output = await driver.output(arn)
    assert isinstance(output, dict)
    assert output["Error"] == "States.QueryEvaluationError"


async def test_one_state_may_be_jsonata(driver: Driver) -> None:
    """A JSONPath machine's variables are the JSONata state's too."""
    first: dict[str, Json] = {"Type": "Pass", "Assign": {"v.$": "$.n"}, "Next": "Second"}
    second: dict[str, Json] = {
        "Type": "Pass",
        "QueryLanguage": "JSONata",
        "Output": "{% $v + $states.input.n %}",
        "End": True,
    }
    arn = await driver.run(only(first, Second=second), {"n": 2})

    assert await driver.output(arn) == 4


@pytest.mark.parametrize(
    ("state", "location"),
    [
        ({"Type": "Pass", "InputPath": "$", "End": True}, "/States/First/InputPath"),
        ({"Type": "Pass", "Output": "{% 1 + %}", "End": True}, "/States/First/Output"),
        ({"Type": "Pass", "Assign": {"a.$": "$"}, "End": True}, "/States/First/Assign"),
        (
            {
                "Type": "Map",
                "Items": 5,
                "End": True,
                "ItemProcessor": {"StartAt": "I", "States": {"I": END}},
            },
            "/States/First/Items",
        ),
        ({"Type": "Wait", "SecondsPath": "$", "End": True}, "/States/First/SecondsPath"),
    ],
)
def test_jsonpath_fields_and_broken_expressions_are_refused(
    state: dict[str, Json], location: str
) -> None:
    """A JSONata state has fields of its own."""
    found = parse(json.dumps(machine(state)), Rules(lambda _: True)).diagnostics

    assert location in [fault.location for fault in found]


@pytest.mark.parametrize(
    ("expression", "output"),
    [
        ("$count + 1", 2),
        ("$count([5, 6])", 2),
        ("$count := $count + 1", 2),
        ("($double := function($count) { $count * 2 }; $double($count))", 2),
        ("$été & '$count'", "hot$count"),
    ],
)
async def test_a_variable_may_have_a_functions_name(
    driver: Driver, expression: str, output: Json
) -> None:
    """What is called is the function; what is read the variable, unless it is bound anew."""
    see: Json = {"Type": "Pass", "Output": f"{{% {expression} %}}", "End": True}
    first: Json = {"Type": "Pass", "Assign": {"count": 1, "été": "hot"}, "Next": "See"}

    arn = await driver.run(machine(first, See=see))

    assert await driver.output(arn) == output


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("$a & '$b' & $contains($c, /$d/)", ("a", "c")),
        ("($a := $b; function($c) { $a + $c + $d }($e))", ("b", "d", "e")),
        ("($a := 1; 2) & $a", ("a",)),
        ("$a@$b.x[n = $b.n]#$c.{$d: $b, 'c': $c}", ("a", "d")),
        ("$a{$b: $c} ~> |$|{'x': $d}|", ("a", "b", "c", "d")),
        ("$map($states.input, $states)", ()),
    ],
)
def test_variables_are_what_an_expression_does_not_bind(
    expression: str, names: tuple[str, ...]
) -> None:
    """Names in texts, bound names and called functions are none of them."""
    assert variables(expression) == names


def test_a_call_of_no_function_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """What is called by mistake may be a task token."""
    with pytest.raises(QueryError, match="T1006"):
        evaluate("$token()", {"token": "secret"}, seed=1, seconds=1)

    assert capsys.readouterr().out == ""


def test_references_of_expressions_are_listed() -> None:
    """``variableReferences`` names what expressions read."""
    state: dict[str, Json] = {
        "Type": "Pass",
        "Assign": {"max": 1},
        "Output": ["{% $a & $sum($b) %}", "{% $map($max, $min) %}"],
        "End": True,
    }
    parsed = parse(json.dumps(machine(state)), Rules(lambda _: True)).machine

    assert parsed is not None
    assert references(parsed) == {"First": ["a", "b", "max"]}


CATCHER: dict[str, Json] = {"ErrorEquals": ["States.ALL"], "Next": "After"}


def choice(**fields: Json) -> dict[str, Json]:
    """A Choice whose only rule holds."""
    rule: dict[str, Json] = {"Condition": True, "Next": "After"}
    return {"Type": "Choice", "Choices": [rule | fields], "Default": "After"}


@pytest.mark.parametrize(
    ("state", "location"),
    [
        (task("fail", Catch=[CATCHER | {"Output": {"e": "{% $no %}"}}]), "Catch[0]/Output/e"),
        (task("fail", Catch=[CATCHER | {"Assign": {"v": ["{% $no %}"]}}]), "Catch[0]/Assign/v[0]"),
        (choice(Output="{% $no %}"), "Choices[0]/Output"),
        (choice(Condition="{% $no %}"), "Choices[0]/Condition"),
    ],
)
async def test_a_failed_expression_is_found_in_its_state(
    driver: Driver, state: dict[str, Json], location: str
) -> None:
    """The event and the cause name the field as it lies in the state."""
    arn = await driver.run(machine(state, After=END))

    failed = [e for e in await driver.events(arn) if e["type"] == "EvaluationFailed"]
    assert failed[0]["evaluationFailedEventDetails"]["location"] == location
    assert f"for the field '{location}'" in failed[0]["evaluationFailedEventDetails"]["cause"]


async def test_a_branch_may_be_in_jsonata_as_a_whole(driver: Driver) -> None:
    """Its QueryLanguage is that of all its states, and of no others."""
    branch: Json = {
        "QueryLanguage": "JSONata",
        "StartAt": "In",
        "States": {"In": {"Type": "Pass", "Output": "{% $states.input.a + 1 %}", "End": True}},
    }
    fork: Json = {"Type": "Parallel", "Branches": [branch], "Next": "After"}
    after: Json = {"Type": "Pass", "Parameters": {"out.$": "$[0]"}, "End": True}

    arn = await driver.run(only(fork, After=after), {"a": 1})

    assert await driver.output(arn) == {"out": 2}
