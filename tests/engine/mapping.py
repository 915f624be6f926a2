"""Distributed Maps to be tried, and what is seen of their runs."""

from typing import Any

from app.strict_json import Json
from tests.engine.driving import Driver

PASS: Json = {"Type": "Pass", "End": True}


def distributed(
    processor: Json = None, kind: str = "STANDARD", named: str = "Work", **fields: Json
) -> dict[str, Json]:
    """A distributed Map over *processor*, which is one state; by default a Pass."""
    config = {"Mode": "DISTRIBUTED", "ExecutionType": kind}
    states = {named: PASS if processor is None else processor}
    inner: Json = {"ProcessorConfig": config, "StartAt": named, "States": states}
    return {"Type": "Map", "ItemProcessor": inner, "End": True} | fields


async def runs_of(driver: Driver, arn: str) -> list[dict[str, Any]]:
    """The Map Runs of an execution, newest first."""
    answer: dict[str, Any] = await driver.call("ListMapRuns", executionArn=arn)
    runs: list[dict[str, Any]] = answer["mapRuns"]
    return runs


async def run_of(driver: Driver, arn: str) -> Any:
    """DescribeMapRun of an execution's newest Map Run."""
    newest = (await runs_of(driver, arn))[0]
    return await driver.call("DescribeMapRun", mapRunArn=newest["mapRunArn"])


async def children_of(driver: Driver, arn: str, **members: Json) -> list[dict[str, Any]]:
    """The children of an execution's newest Map Run, newest first."""
    newest = (await runs_of(driver, arn))[0]["mapRunArn"]
    answer = await driver.call("ListExecutions", mapRunArn=newest, **members)
    found: list[dict[str, Any]] = answer["executions"]
    return found


def counted(counts: Json) -> dict[str, int]:
    """Counts that are not zero."""
    return {name: count for name, count in counts.items() if count}
