"""Executions as the API shows them. Reads committed state only."""

from collections.abc import Mapping

from app.engine.arns import Arns
from app.engine.execution import Execution, Status
from app.engine.history import wire
from app.engine.machines import EXPRESS, Machines, Revision
from app.engine.payload import Payload
from app.engine.requests import page_size
from app.engine.store import (
    EXECUTION_COLUMNS,
    STATUSES,
    ExecutionRow,
    Query,
    load_counters,
    read_events,
)
from app.engine.tokens import PageTokens
from app.errors import (
    ExecutionDoesNotExist,
    InvalidToken,
    StateMachineTypeNotSupported,
    ValidationException,
)
from app.sqlite import Database, Row
from app.strict_json import Json

# Only constants are put together here.
_FIND = f"""SELECT {EXECUTION_COLUMNS} FROM executions
    WHERE machine = (SELECT id FROM machines WHERE name = ?) AND name = ?"""  # noqa: S608
_PAGE = """SELECT id, name, status, started_ms, stopped_ms, version, alias FROM executions
    WHERE machine = ? AND status = ? AND id < ? AND (? IS NULL OR ? IN (version, alias))
    ORDER BY id DESC LIMIT ?"""
_NEWEST = 2**62


class Executions:
    """The executions of an engine, for reading."""

    def __init__(
        self, database: Database, arns: Arns, machines: Machines, pages: PageTokens
    ) -> None:
        self._database = database
        self._arns = arns
        self._machines = machines
        self._pages = pages

    def find(self, arn: str, query: Query | None = None) -> ExecutionRow:
        """The execution that *arn* names, committed, or as *query* sees it.

        Raises:
            ExecutionDoesNotExist, InvalidArn
        """
        names = self._arns.execution_names(arn)
        rows = (query or self._database.read)(_FIND, names) if names else []
        if not rows:
            raise ExecutionDoesNotExist(f"Execution Does Not Exist: '{arn}'")
        return ExecutionRow.of(rows[0])

    def running(self, query: Query, row: ExecutionRow, revision: Revision) -> Execution:
        """The value that a step takes."""
        events, frames = load_counters(query, row.id)
        return Execution(
            id=row.id,
            arn=self._arns.execution(revision.machine_name, row.name),
            name=row.name,
            machine_arn=self._arns.state_machine(revision.machine_name),
            machine_name=revision.machine_name,
            role_arn=revision.role_arn,
            input=Payload.of_text(row.input),
            started_ms=row.started_ms,
            seed=row.seed,
            timeout_ms=row.timeout_ms,
            region=self._arns.region,
            started_as=self._arns.started_as(revision.machine_name, row.version, row.alias),
            status=row.status,
            events=events,
            frames=frames,
        )

    def describe(self, arn: str, *, whole: bool) -> Json:
        """DescribeExecution."""
        row = self.find(arn)
        shown: dict[str, Json] = {
            "executionArn": arn,
            "stateMachineArn": self._arns.state_machine(arn.split(":")[6]),
            "name": row.name,
            "status": row.status.value,
            "startDate": row.started_ms / 1000,
            "inputDetails": {"included": whole},
            "redriveCount": 0,
            **_redrive(row.status),
            **self._arns.started_as(arn.split(":")[6], row.version, row.alias),
        }
        if whole:
            shown["input"] = row.input
        if row.output is not None:
            shown["outputDetails"] = {"included": whole}
        optional = {
            "output": row.output if whole else None,
            "stopDate": None if row.stopped_ms is None else row.stopped_ms / 1000,
            "error": row.error,
            "cause": row.cause,
            "traceHeader": row.trace_header,
        }
        return shown | {name: value for name, value in optional.items() if value is not None}

    def describe_machine(self, arn: str, *, whole: bool) -> Json:
        """DescribeStateMachineForExecution."""
        return self._machines.describe_revision(self.find(arn).revision, whole=whole)

    def list_page(
        self,
        machine_arn: str | None,
        status: str | None,
        max_results: int | None,
        next_token: str | None,
    ) -> Json:
        """ListExecutions, newest first."""
        if machine_arn is None:
            raise ValidationException("stateMachineArn or mapRunArn must be specified")
        machine = self._machines.find(machine_arn)
        if machine.type == EXPRESS:
            raise StateMachineTypeNotSupported()
        qualifier = self._arns.qualified(machine_arn)[1]
        wanted_as = int(qualifier) if qualifier and qualifier.isdigit() else qualifier
        purpose = f"executions {machine.id} {status} {qualifier}"
        before = self._pages.open(purpose, next_token) if next_token else _NEWEST
        size = page_size(max_results)
        wanted = STATUSES if status is None else (Status(status),)
        rows: list[Row] = []
        # One short index scan for each status, rather than one long scan for all.
        for number in map(STATUSES.index, wanted):
            values = (machine.id, number, before, wanted_as, wanted_as, size + 1)
            rows += self._database.read(_PAGE, values)
        rows.sort(reverse=True)
        shown: dict[str, Json] = {
            "executions": [self._listed(machine.name, row) for row in rows[:size]]
        }
        if len(rows) > size:
            shown["nextToken"] = self._pages.make(purpose, rows[size - 1][0])
        return shown

    def _listed(self, machine: str, row: Row) -> Json:
        _, name, status, started_ms, stopped_ms, version, alias = row
        shown = {
            "executionArn": self._arns.execution(machine, name),
            "stateMachineArn": self._arns.state_machine(machine),
            "name": name,
            "status": STATUSES[status].value,
            "startDate": started_ms / 1000,
            "redriveCount": 0,
            **self._arns.started_as(machine, version, alias),
        }
        return shown if stopped_ms is None else shown | {"stopDate": stopped_ms / 1000}

    def history(
        self,
        arn: str,
        max_results: int | None,
        next_token: str | None,
        *,
        reverse: bool,
        include_data: bool,
    ) -> Json:
        """GetExecutionHistory."""
        execution_id = self.find(arn).id
        purpose = f"history {execution_id} {reverse}"
        start = self._pages.open(purpose, next_token) if next_token else (_LAST if reverse else 1)
        if not isinstance(start, int):
            raise InvalidToken()
        size = page_size(max_results)
        events = read_events(self._database, execution_id, start, size + 1, reverse=reverse)
        shown: dict[str, Json] = {
            "events": [wire(event, include_data=include_data) for event in events[:size]]
        }
        if len(events) > size:
            shown["nextToken"] = self._pages.make(purpose, events[size][0])
        return shown


_LAST = 2**17 - 1


def _redrive(status: Status) -> Mapping[str, Json]:
    if status in (Status.RUNNING, Status.SUCCEEDED):
        reason = f"Execution is {status.value} and cannot be redriven"
        return {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}
    return {"redriveStatus": "REDRIVABLE"}
