"""Variables: what Assign sets, who sees it, and what events and descriptions say of it."""

import json

from app.engine.language.definition import parse
from app.engine.language.fields import Rules
from app.engine.language.variables import references
from app.engine.payload import MAX_BYTES
from app.strict_json import Json
from tests.engine.driving import Driver, invoked, only, parked


def shown(name: str, **fields: Json) -> dict[str, Json]:
    """A last state whose output is a variable."""
    return {"Type": "Pass", "InputPath": f"${name}", "End": True} | fields


def assigns(values: dict[str, Json], following: str = "See") -> dict[str, Json]:
    """A Pass that sets variables."""
    return {"Type": "Pass", "Assign": values, "Next": following}


async def test_all_values_see_the_old_variables(driver: Driver) -> None:
    """Two variables can be swapped in one Assign; the exited event shows them as texts."""
    states = {
        "Swap": assigns({"a.$": "$b", "b.$": "$a"}),
        "See": {"Type": "Pass", "Parameters": {"a.$": "$a", "b.$": "$b"}, "End": True},
    }
    arn = await driver.run(only(assigns({"a": 1, "b": [2]}, "Swap"), **states))

    assert await driver.output(arn) == {"a": [2], "b": 1}
    exited = [e.get("stateExitedEventDetails", {}) for e in await driver.events(arn)]
    assert exited[2]["assignedVariables"] == {"a": "1", "b": "[2]"}
    assert exited[2]["assignedVariablesDetails"] == {"truncated": False}
    assert exited[4]["assignedVariables"] == {"a": "[2]", "b": "1"}


async def test_a_name_may_have_any_letters(driver: Driver) -> None:
    """Names are Unicode identifiers, in paths too."""
    arn = await driver.run(only(assigns({"größe": {"cm": 3}}), See=shown("größe.cm")))

    assert await driver.output(arn) == 3


async def test_variables_outlive_waiting_and_restarts(driver: Driver) -> None:
    """What was assigned is there when the task is answered after a restart."""
    ask = parked(Next="See")
    del ask["End"]
    arn = await driver.run(only(assigns({"v": {"x": 1}}, "Ask"), Ask=ask, See=SEE_V))
    await driver.restart()
    await driver.succeed({})

    assert await driver.output(arn) == {"x": 1}


SEE_V = shown("v")


async def test_inner_variables_vanish_and_outer_ones_are_seen(driver: Driver) -> None:
    """Branches and iterations read what is around them; what they set ends with them."""
    inner: Json = {"Type": "Pass", "Assign": {"inner.$": "$outer"}, "Next": "Look"}
    look: Json = {"Type": "Pass", "Parameters": {"is.$": "$inner"}, "End": True}
    processor: Json = {"StartAt": "Inner", "States": {"Inner": inner, "Look": look}}
    over: dict[str, Json] = {
        "Type": "Map",
        "ItemProcessor": processor,
        "Assign": {"result.$": "$"},
        "Next": "See",
    }
    machine = only(assigns({"outer": 7}, "Over"), Over=over, See=shown("result"))
    arn = await driver.run(machine, [1, 2])
    assert await driver.output(arn) == [{"is": 7}, {"is": 7}]

    machine = only(assigns({"outer": 7}, "Over"), Over=over, See=shown("inner"))
    arn = await driver.run(machine, [1], "other")
    assert (await driver.describe(arn))["error"] == "States.Runtime"


async def test_the_catcher_assigns_instead_of_the_state(driver: Driver) -> None:
    """When a catcher matches, only its Assign runs."""
    catcher: Json = {"ErrorEquals": ["States.ALL"], "Assign": {"v.$": "$.Error"}, "Next": "See"}
    task = invoked("fail", Assign={"v": "fine"}, Catch=[catcher])
    arn = await driver.run(only(task, See=SEE_V))

    assert await driver.output(arn) == "Flaky"


async def test_a_rule_assigns_or_else_the_choice(driver: Driver) -> None:
    """The rule that holds has its own Assign; the state's goes with Default."""
    choice: Json = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Assign": {"v": "one"}, "Next": "See"}],
        "Assign": {"v.$": "$.n"},
        "Default": "See",
    }
    first = await driver.run(only(choice, See=SEE_V), {"n": 1})
    second = await driver.run(only(choice, See=SEE_V), {"n": 2}, "other")

    assert (await driver.output(first), await driver.output(second)) == ("one", 2)


async def test_variables_have_limits(driver: Driver) -> None:
    """Too much in one Assign fails the state; a catcher's own Assign is not caught again."""
    large: Json = {"a": "x" * (MAX_BYTES // 2), "b": "x" * (MAX_BYTES // 2)}
    arn = await driver.run(only(assigns(large), See=SEE_V))
    assert (await driver.describe(arn))["error"] == "States.DataLimitExceeded"

    catcher: Json = {"ErrorEquals": ["States.ALL"], "Assign": large, "Next": "See"}
    arn = await driver.run(only(invoked("fail", Catch=[catcher]), See=SEE_V), name="other")
    assert (await driver.describe(arn))["error"] == "States.DataLimitExceeded"


def test_names_are_checked() -> None:
    """A variable's name is an identifier, is not too long, and is not ``states``."""
    for name in ("1a", "a.b", "states", "x" * 81):
        definition = only({"Type": "Pass", "Assign": {name: 1}, "End": True})
        found = parse(json.dumps(definition), Rules(lambda _: True)).diagnostics
        assert [fault.location for fault in found] == ["/States/First/Assign"]


def test_references_are_listed_by_state() -> None:
    """Paths, templates, rules and intrinsic functions refer to variables; literals do not."""
    choice: Json = {
        "Type": "Choice",
        "Choices": [{"Not": {"Variable": "$b", "NumericEqualsPath": "$a"}, "Next": "See"}],
    }
    see: Json = {"x.$": "States.Format('{} {}', $d, $$.State.Name)", "y": "$e"}
    machine = parse(
        json.dumps(only(choice, See={"Type": "Pass", "Parameters": see, "End": True})),
        Rules(lambda _: True),
    ).machine

    assert machine is not None
    assert references(machine) == {"First": ["a", "b"], "See": ["d"]}
