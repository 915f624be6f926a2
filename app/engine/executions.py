"""Executions as the API shows them. Reads committed state only."""

from collections.abc import Mapping

from app.clock import Clock, to_ms
from app.engine.arns import Arns, version_number
from app.engine.execution import Execution, Status
from app.engine.history import MAX_EVENTS, wire
from app.engine.machines import EXPRESS, Machines, Revision
from app.engine.payload import Payload
from app.engine.requests import page_size
from app.engine.store import (
    EXECUTION_COLUMNS,
    STATUSES,
    ExecutionRow,
    Query,
    load_counters,
    load_halted,
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
_PAGE = """SELECT id, name, status, started_ms, stopped_ms, version, alias, redrives,
    redriven_ms FROM executions
    WHERE machine = ? AND status = ? AND id < ? AND (? IS NULL OR ? IN (version, alias))
    AND (? IS NULL OR (redrives > 0) = ?) ORDER BY id DESC LIMIT ?"""
_NEWEST = 2**62
REDRIVABLE_MS = 14 * 86_400_000  #: after an execution first ended
MAX_DURATION_MS = 365 * 86_400_000


class Executions:
    """The executions of an engine, for reading."""

    def __init__(
        self, database: Database, arns: Arns, machines: Machines, pages: PageTokens, clock: Clock
    ) -> None:
        self._clock = clock
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
            redrives=row.redrives,
            redriven_ms=row.redriven_ms,
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
            **self._redriven(row),
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

    def _redriven(self, row: ExecutionRow) -> Mapping[str, Json]:
        reason = self.why_not_redrivable(row, to_ms(self._clock()), self._database.read)
        shown = _redrives(row.redrives, row.redriven_ms)
        if reason is None:
            return shown | {"redriveStatus": "REDRIVABLE"}
        return shown | {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}

    def why_not_redrivable(self, row: ExecutionRow, now_ms: int, query: Query) -> str | None:
        """Why an execution cannot be redriven, in AWS's words; None if it can."""
        if row.status in (Status.RUNNING, Status.SUCCEEDED):
            return f"Execution is {row.status.value} and cannot be redriven"
        if row.machine in self._machines.deleting:
            return "State machine is in DELETING status"
        halted = load_halted(query, row.id)
        if halted is None or now_ms - halted[0] > REDRIVABLE_MS:
            return "Execution redrivable period exceeded"
        if now_ms - row.started_ms > MAX_DURATION_MS:
            return "Execution has exceeded the max execution time"
        if halted[1] >= MAX_EVENTS - 1:
            return "Execution history event limit exceeded"
        return None

    def describe_machine(self, arn: str, *, whole: bool) -> Json:
        """DescribeStateMachineForExecution."""
        return self._machines.describe_revision(self.find(arn).revision, whole=whole)

    def list_page(
        self,
        machine_arn: str | None,
        status: str | None,
        redrive: str | None,
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
        number = version_number(qualifier)
        wanted_as = qualifier if number is None else number
        purpose = f"executions {machine.id} {status} {qualifier} {redrive}"
        redriven = None if redrive is None else redrive == "REDRIVEN"
        before = self._pages.open(purpose, next_token) if next_token else _NEWEST
        size = page_size(max_results)
        wanted = STATUSES if status is None else (Status(status),)
        rows: list[Row] = []
        # One short index scan for each status, rather than one long scan for all.
        for number in map(STATUSES.index, wanted):
            values = (
                machine.id,
                number,
                before,
                wanted_as,
                wanted_as,
                redriven,
                redriven,
                size + 1,
            )
            rows += self._database.read(_PAGE, values)
        rows.sort(reverse=True)
        shown: dict[str, Json] = {
            "executions": [self._listed(machine.name, row) for row in rows[:size]]
        }
        if len(rows) > size:
            shown["nextToken"] = self._pages.make(purpose, rows[size - 1][0])
        return shown

    def _listed(self, machine: str, row: Row) -> Json:
        _, name, status, started_ms, stopped_ms, version, alias, redrives, redriven_ms = row
        shown = {
            "executionArn": self._arns.execution(machine, name),
            "stateMachineArn": self._arns.state_machine(machine),
            "name": name,
            "status": STATUSES[status].value,
            "startDate": started_ms / 1000,
            **_redrives(redrives, redriven_ms),
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


def _redrives(count: int, last_ms: int | None) -> dict[str, Json]:
    shown: dict[str, Json] = {"redriveCount": count}
    return shown if last_ms is None else shown | {"redriveDate": last_ms / 1000}
