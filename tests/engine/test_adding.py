"""What docs/engine.md says about adding to the language works, as it stands there."""

import re
from pathlib import Path

import pytest

from app.engine.expressions import intrinsics
from app.engine.language import parsing, states
from tests.engine.driving import NOON, Driver, only

GUIDE = Path(__file__).parents[2] / "docs" / "engine.md"


def blocks(title: str) -> list[str]:
    """The Python blocks of a section."""
    section = GUIDE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


async def test_a_state_type_is_a_class_and_a_line(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented state runs, with events and data flow like any other."""
    written, line = blocks("Adding a state type")
    names = dict(vars(states))
    exec(written, names)
    added = eval("{" + line + "}", {**vars(parsing), "Stamp": names["Stamp"]})
    for name, kind in added.items():
        monkeypatch.setitem(parsing._TYPES, name, kind)

    arn = await driver.run(only({"Type": "Stamp", "ResultPath": "$.stamp", "End": True}), {"a": 1})

    moment = int(NOON.timestamp() * 1000)
    assert await driver.output(arn) == {"a": 1, "stamp": {"At": moment}}
    assert (await driver.story(arn))[1:3] == ["2<0 StampStateEntered", "3<2 StampStateExited"]


async def test_an_intrinsic_is_a_function_and_a_line(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented function is called, and misused as the others are."""
    written, line = blocks("Adding an intrinsic function")
    names = dict(vars(intrinsics))
    exec(written, names)
    for name, function in eval("{" + line + "}", names).items():
        monkeypatch.setitem(intrinsics._FUNCTIONS, name, function)
    given = {"Type": "Pass", "Parameters": {"r.$": "States.ArrayReverse($.a)"}, "End": True}

    good = await driver.run(only(given), {"a": [1, 2, 3]}, name="good")
    bad = await driver.run(only(given), {"a": 1}, name="bad")

    assert await driver.output(good) == {"r": [3, 2, 1]}
    assert (await driver.describe(bad))["error"] == "States.IntrinsicFailure"
