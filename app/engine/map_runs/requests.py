"""DescribeMapRun, ListMapRuns and UpdateMapRun."""

import sqlite3
from dataclasses import replace

from app.engine.arns import Arns
from app.engine.executions import Executions
from app.engine.map_runs.rows import (
    NAMES,
    NOT_REDRIVABLE,
    RESULTS_WRITTEN,
    MapRun,
    runs_of,
    save_run,
)
from app.engine.map_runs.work import MapRuns
from app.engine.requests import page_size
from app.engine.store import within
from app.engine.tokens import PageTokens
from app.errors import InvalidToken, ValidationException
from app.sqlite import Database
from app.strict_json import Json

_NEWEST = 2**62


class MapRunRequests:
    """What the API says about Map Runs."""

    def __init__(
        self,
        database: Database,
        arns: Arns,
        executions: Executions,
        runs: MapRuns,
        pages: PageTokens,
    ) -> None:
        self._database = database
        self._arns = arns
        self._executions = executions
        self._runs = runs
        self._pages = pages

    async def describe_map_run(self, *, map_run_arn: str) -> Json:
        """How a Map Run stands."""
        run = self._executions.map_run(map_run_arn)
        shown = self._dated(run) | {
            "mapRunArn": map_run_arn,
            "executionArn": self._executions.arn_of(self._database.read, run.execution),
            "status": run.status.value,
            "maxConcurrency": run.max_concurrency,
            "toleratedFailurePercentage": run.tolerance.percentage or 0.0,
            "toleratedFailureCount": run.tolerance.count or 0,
            "itemCounts": _counts(run, items=True),
            "executionCounts": _counts(run, items=False),
            "redriveCount": run.redrives,
        }
        return shown if run.redriven_ms is None else shown | {"redriveDate": run.redriven_ms / 1000}

    async def list_map_runs(
        self, *, execution_arn: str, max_results: int | None = None, next_token: str | None = None
    ) -> Json:
        """The Map Runs that an execution began, newest first, page by page."""
        execution = self._executions.find(execution_arn).id
        purpose = f"map runs {execution}"
        before = self._pages.open(purpose, next_token) if next_token else _NEWEST
        if not isinstance(before, int):
            raise InvalidToken()
        size = page_size(max_results)
        runs = runs_of(self._database.read, execution, before, size + 1)
        machine = self._arns.state_machine(execution_arn.split(":")[6])
        shown: dict[str, Json] = {
            "mapRuns": [
                self._dated(run)
                | {
                    "executionArn": execution_arn,
                    "mapRunArn": self._executions.arn_of_map_run(self._database.read, run),
                    "stateMachineArn": machine,
                }
                for run in runs[:size]
            ]
        }
        if len(runs) > size:
            shown["nextToken"] = self._pages.make(purpose, runs[size - 1].id)
        return shown

    @staticmethod
    def _dated(run: MapRun) -> dict[str, Json]:
        shown: dict[str, Json] = {"startDate": run.started_ms / 1000}
        return shown if run.stopped_ms is None else shown | {"stopDate": run.stopped_ms / 1000}

    async def update_map_run(
        self,
        *,
        map_run_arn: str,
        max_concurrency: int | None = None,
        tolerated_failure_percentage: float | None = None,
        tolerated_failure_count: int | None = None,
    ) -> Json:
        """Change the limits of a Map Run while it runs."""

        def work(connection: sqlite3.Connection) -> int:
            run = self._executions.map_run(map_run_arn, within(connection))
            if run.stopped_ms is not None:
                raise ValidationException(
                    "Map Run is completed and cannot be updated", "CANNOT_UPDATE_COMPLETED_MAP_RUN"
                )
            if max_concurrency is not None:
                run.max_concurrency = max_concurrency
            if tolerated_failure_percentage is not None:
                percentage = float(tolerated_failure_percentage)
                run.tolerance = replace(run.tolerance, percentage=percentage)
            if tolerated_failure_count is not None:
                run.tolerance = replace(run.tolerance, count=tolerated_failure_count)
            run.judge()
            save_run(connection, run)
            return run.id

        await self._database.write(work, self._runs.kick)
        return {}


def _counts(run: MapRun, *, items: bool) -> dict[str, Json]:
    names = (*NAMES.values(), RESULTS_WRITTEN, NOT_REDRIVABLE)
    shown: dict[str, Json] = {name: run.count(name, items=items) for name in names}
    shown["pending"] = run.pending(items=items)
    return shown | {"total": run.items if items else run.children}
