"""Executions as the API shows them. Reads committed state only."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.clock import Clock, to_ms
from app.engine.arns import Arns, version_number
from app.engine.map_runs.rows import MapRun, child_place, find_run, item_count, load_run, run_with
from app.engine.payload import Payload
from app.engine.requests import page_size
from app.engine.state_machines.machines import Machines, Revision
from app.engine.state_machines.validation import EXPRESS
from app.engine.steps.execution import Execution, Status
from app.engine.steps.history import MAX_EVENTS, wire
from app.engine.store import (
    EXECUTION_COLUMNS,
    STATUSES,
    ExecutionRow,
    Query,
    load_counters,
    load_execution,
    load_halted,
    read_events,
)
from app.engine.tokens import PageTokens
from app.errors import (
    ExecutionDoesNotExist,
    InvalidToken,
    ResourceNotFound,
    StateMachineTypeNotSupported,
    ValidationException,
)
from app.sqlite import Database, Row
from app.strict_json import Json

# Only constants are put together here.
_FIND = f"""SELECT {EXECUTION_COLUMNS} FROM executions
    WHERE machine = (SELECT id FROM machines WHERE name = ?) AND name = ?"""  # noqa: S608
# As the index has it: when an execution ended; while it runs, when it was redriven or began.
_MOMENT = "coalesce(stopped_ms, redriven_ms, started_ms)"
PAGE = f"""SELECT {_MOMENT}, id, name, status, started_ms, stopped_ms, version, alias, redrives,
    redriven_ms FROM executions
    WHERE machine = ?1 AND status = ?2 AND {_MOMENT} <= ?3 AND ({_MOMENT} < ?3 OR id < ?4)
    AND (?5 IS NULL OR ?5 IN (version, alias)) AND (?6 IS NULL OR (redrives > 0) = ?6)
    ORDER BY {_MOMENT} DESC, id DESC LIMIT ?7"""  # noqa: S608
_CHILD = f"SELECT {EXECUTION_COLUMNS} FROM executions WHERE machine = ? AND name = ?"  # noqa: S608
_NEWEST = (2**62, 2**62)  #: a moment and an id above all
KEPT_KINDS = 1_000  #: of Map Runs, in memory
REDRIVABLE_MS = 14 * 86_400_000  #: after an execution first ended
MAX_DURATION_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose executions are listed: a machine's, or a Map Run's."""

    id: int
    machine: str  #: its name, with a Map Run's label behind a slash
    started_as: str | int | None = None  #: the version or the alias that is asked for
    map_run: str | None = None  #: the ARN
    express: bool = False


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
        self._kinds: dict[int, tuple[str, bool]] = {}

    def find(self, arn: str, query: Query | None = None) -> ExecutionRow:
        """The execution that *arn* names, committed, or as *query* sees it.

        Raises:
            ExecutionDoesNotExist, InvalidArn
        """
        names, query = self._arns.execution_names(arn), query or self._database.read
        if names and "/" in names[0]:
            rows = self._find_child(query, *names)
        else:
            rows = query(_FIND, names) if names else []
        if not rows:
            raise ExecutionDoesNotExist(f"Execution Does Not Exist: '{arn}'")
        return ExecutionRow.of(rows[0])

    def _find_child(self, query: Query, machine: str, name: str) -> list[Row]:
        """A child of a Map Run: its name tells which."""
        place = child_place(name)
        run = run_with(query, place[0]) if place else None
        if run is None or machine != self._child_machine(query, run):
            return []
        return query(_CHILD, (-run.id, name))

    def _express_child(self, arn: str, machine: str, name: str) -> ExecutionRow:
        rows = self._find_child(self._database.read, machine, name)
        if not rows or arn != self._arns.child(machine, name, express=True):
            raise ExecutionDoesNotExist(f"Execution Does Not Exist: '{arn}'")
        return ExecutionRow.of(rows[0])

    def _child_machine(self, query: Query, run: MapRun) -> str:
        return f"{self._machines.to_run(query, run.revision).machine_name}/{run.label}"

    def running(self, query: Query, row: ExecutionRow, revision: Revision) -> Execution:
        """The value that a step takes."""
        events, frames = load_counters(query, row.id)
        machine, express = revision.machine_name, False
        if row.map_run is not None:
            label, express = self._kind_of(query, row.map_run)
            machine = f"{machine}/{label}"
        return Execution(
            id=row.id,
            arn=self._arns.child(machine, row.name, express=express),
            name=row.name,
            machine_arn=self._arns.state_machine(machine),
            machine_name=machine,
            map_run=row.map_run,
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

    def _kind_of(self, query: Query, run_id: int) -> tuple[str, bool]:
        """The label of a Map Run, and whether its children are Express. Neither ever changes."""
        found = self._kinds.get(run_id)
        if found is None:
            run = load_run(query, run_id)
            if len(self._kinds) >= KEPT_KINDS:
                self._kinds.clear()
            found = self._kinds[run_id] = run.label, run.plan.express
        return found

    def describe(self, arn: str, *, whole: bool) -> Json:
        """DescribeExecution. Of Express executions AWS knows those that a Map Run began."""
        express = self._arns.express_child_names(arn)
        row = self.find(arn) if express is None else self._express_child(arn, *express)
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
            "mapRunArn": self._map_run_arn(row),
        }
        return shown | {name: value for name, value in optional.items() if value is not None}

    def _map_run_arn(self, row: ExecutionRow) -> str | None:
        """The ARN of the Map Run whose child the execution is."""
        if row.map_run is None:
            return None
        query = self._database.read
        return self.arn_of_map_run(query, load_run(query, row.map_run))

    def _redriven(self, row: ExecutionRow) -> Mapping[str, Json]:
        reason = self.why_not_redrivable(row, to_ms(self._clock()), self._database.read)
        shown = _redrives(row.redrives, row.redriven_ms)
        if reason is None and row.map_run is not None:
            return shown | {"redriveStatus": "REDRIVABLE_BY_MAP_RUN"}
        if reason is None:
            return shown | {"redriveStatus": "REDRIVABLE"}
        return shown | {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason}

    def why_not_redrivable(self, row: ExecutionRow, now_ms: int, query: Query) -> str | None:
        """Why an execution cannot be redriven, in AWS's words; None if it can."""
        if row.status in (Status.RUNNING, Status.SUCCEEDED):
            return f"Execution is {row.status.value} and cannot be redriven"
        if row.status is Status.PENDING_REDRIVE:
            return "Execution is PENDING_REDRIVE and cannot be redriven"
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
        row = self.find(arn)
        shown: dict[str, Json] = self._machines.describe_revision(row.revision, whole=whole)
        if row.map_run is None:
            return shown
        run = load_run(self._database.read, row.map_run)
        machine = self._arns.state_machine(self._child_machine(self._database.read, run))
        names = {"stateMachineArn": machine, "label": run.label}
        return shown | names | {"mapRunArn": self._map_run_arn(row)}

    def list_page(
        self,
        machine_arn: str | None,
        map_run_arn: str | None,
        status: str | None,
        redrive: str | None,
        max_results: int | None,
        next_token: str | None,
    ) -> Json:
        """ListExecutions: by when they ended or, while they run, began; the latest first."""
        if map_run_arn is not None and machine_arn is None:
            owner = self._of_map_run(map_run_arn)
        elif machine_arn is not None and map_run_arn is None:
            owner = self._of_machine(machine_arn)
        else:
            raise ValidationException("stateMachineArn or mapRunArn must be specified")
        purpose = f"executions {owner.id} {status} {owner.started_as} {redrive}"
        redriven = None if redrive is None else redrive == "REDRIVEN"
        before = self._pages.open(purpose, next_token) if next_token else _NEWEST
        if not isinstance(before, list | tuple):
            raise InvalidToken()
        size = page_size(max_results)
        wanted = STATUSES if status is None else (Status(status),)
        rows: list[Row] = []
        # One short index scan for each status, rather than one long scan for all.
        for number in map(STATUSES.index, wanted):
            given = (owner.id, number, *before, owner.started_as, redriven, size + 1)
            rows += self._database.read(PAGE, given)
        rows.sort(reverse=True)
        shown: dict[str, Json] = {"executions": [self._listed(owner, row) for row in rows[:size]]}
        if len(rows) > size:
            shown["nextToken"] = self._pages.make(purpose, *rows[size - 1][:2])
        return shown

    def _of_machine(self, arn: str) -> "_Owner":
        machine = self._machines.find(arn)
        if machine.type == EXPRESS:
            raise StateMachineTypeNotSupported()
        qualifier = self._arns.qualified(arn)[1]
        number = version_number(qualifier)
        return _Owner(machine.id, machine.name, qualifier if number is None else number)

    def _of_map_run(self, arn: str) -> "_Owner":
        run = self.map_run(arn)
        machine = self._child_machine(self._database.read, run)
        return _Owner(-run.id, machine, map_run=arn, express=run.plan.express)

    def map_run(self, arn: str, query: Query | None = None) -> MapRun:
        """The Map Run that *arn* names.

        Raises:
            ResourceNotFound, InvalidArn
        """
        query, name = query or self._database.read, self._arns.map_run_name(arn)
        run = find_run(query, name) if name is not None else None
        if run is None or arn != self.arn_of_map_run(query, run):
            raise ResourceNotFound()
        return run

    def arn_of_map_run(self, query: Query, run: MapRun) -> str:
        """A Map Run's ARN."""
        revision = self._machines.to_run(query, run.revision)
        return self._arns.map_run(revision.machine_name, run.name)

    def arn_of(self, query: Query, execution_id: int) -> str:
        """The ARN of an execution that is there."""
        row = load_execution(query, execution_id)
        assert row is not None  # noqa: S101  # whoever asks knows it
        return self.running(query, row, self._machines.to_run(query, row.revision)).arn

    def _listed(self, owner: "_Owner", row: Row) -> Json:
        _, _, name, status, started_ms, stopped_ms, version, alias, redrives, redriven_ms = row
        shown = {
            "executionArn": self._arns.child(owner.machine, name, express=owner.express),
            "stateMachineArn": self._arns.state_machine(owner.machine),
            "name": name,
            "status": STATUSES[status].value,
            "startDate": started_ms / 1000,
            **_redrives(redrives, redriven_ms),
            **self._arns.started_as(owner.machine, version, alias),
        }
        if owner.map_run is not None:
            items = item_count(self._database.read, name)
            shown |= {"mapRunArn": owner.map_run, "itemCount": items}
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
