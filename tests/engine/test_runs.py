"""Whole executions on a real engine, told as data: add a file to tests/asl/runs.

A file has the definition, the input, what is done while it runs (time that passes, answers to the
parked task), and what must come of it: the history in short (``3<2 PassStateExited`` is event 3,
caused by 2) and how the execution ends.
"""

import json
from pathlib import Path

import pytest

from app.strict_json import Json
from tests.engine.driving import Driver

RUNS = sorted((Path(__file__).parents[1] / "asl" / "runs").glob("*.json"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
async def test_execution_runs(path: Path, driver: Driver) -> None:
    """The execution has exactly this history and this end."""
    case = json.loads(path.read_text("utf-8"))

    arn = await driver.run(case["definition"], case["input"])
    for action, *values in case["do"]:
        await act(driver, action, *values)

    described = await driver.describe(arn)
    assert await driver.story(arn) == case["story"]
    assert described["status"] == case["status"]
    assert described.get("error") == case.get("error")
    assert described.get("cause") == case.get("cause")
    if "output" in case:
        assert json.loads(described["output"]) == case["output"]


async def act(driver: Driver, action: str, *values: Json) -> None:
    """Do what a case says."""
    if action == "advance":
        await driver.pass_time(*values)
    elif action == "succeed":
        await driver.succeed(*values)
    elif action == "fail":
        await driver.fail(*values)
    elif action == "heartbeat":
        await driver.engine.send_task_heartbeat(driver.tokens[-1])
    else:
        raise AssertionError(action)
