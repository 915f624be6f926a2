"""`Engine`: the verbs of the Step Functions API."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping

from app.clock import Clock, to_ms, utc_now
from app.engine.activities import Activities
from app.engine.arns import Arns
from app.engine.conductor import Conductor
from app.engine.events import NO_DESTINATIONS, EventRouting
from app.engine.events.delivery import EventDelivery
from app.engine.events.log import NOTHING_OWED, EventBacklog, StatusChanges
from app.engine.executions import Executions
from app.engine.express import ExpressExecutions
from app.engine.functions import LocalFunction
from app.engine.lock import DirectoryLock
from app.engine.logs.cloudwatch import CloudWatchLogs
from app.engine.logs.configuration import logging_of
from app.engine.logs.cursors import LogCursors
from app.engine.logs.delivery import LogDelivery
from app.engine.map_runs.requests import MapRunRequests
from app.engine.map_runs.s3 import Objects
from app.engine.map_runs.work import MapRuns
from app.engine.parents import add_parent, is_parent
from app.engine.payload import Payload
from app.engine.redrives import Redrives
from app.engine.rehearsal import AS_ON_AWS, Rehearsal
from app.engine.requests import (
    OPERATIONS,
    check_name,
    checked,
    default_name,
    execution_input,
    settings_of,
    snake,
    task_output,
)
from app.engine.resources import Resources
from app.engine.resources.clients import AwsClients
from app.engine.resources.connector import Surroundings
from app.engine.retention import DEFAULT_S, Retention
from app.engine.starting import new_execution
from app.engine.state_machines.aliases import Aliases
from app.engine.state_machines.machines import Chosen, Machines, Revision
from app.engine.state_machines.publishing import Publishing
from app.engine.state_machines.validation import STANDARD, Validation
from app.engine.state_machines.versions import Versions
from app.engine.state_tests.verb import StateTests
from app.engine.steps.execution import (
    Dispatch,
    Execution,
    StaleSignal,
    Start,
    Status,
    Stop,
    TaskFailed,
    TaskHeartbeat,
    TaskSignal,
    TaskSucceeded,
    Transition,
)
from app.engine.store import RUNNING, insert_execution, token_key, within
from app.engine.tags import Tags, checked_tags
from app.engine.tokens import PageTokens, TokenMint
from app.errors import ExecutionAlreadyExists, StateMachineTypeNotSupported, TaskTimedOut
from app.metrics import NO_METER, Meter
from app.sqlite import Database
from app.strict_json import Json, canonical

Verb = Callable[..., Awaitable[Json]]

_NAMESAKE = """SELECT id, status, input, test_case, started_ms FROM executions
    WHERE machine = ? AND name = ?"""


class Engine:
    """An Amazon States Language engine on one database."""

    def __init__(
        self,
        database: Database,
        *,
        account: str = "123456789012",
        region: str = "us-east-1",
        functions: Mapping[str, LocalFunction] | None = None,
        endpoints: Mapping[str, str] | None = None,
        http_hosts: frozenset[str] = frozenset(),
        rehearsal: Rehearsal = AS_ON_AWS,
        events: EventRouting = NO_DESTINATIONS,
        retention_s: int = DEFAULT_S,
        clock: Clock = utc_now,
        meter: Meter = NO_METER,
    ) -> None:
        key = token_key(database)
        pages = PageTokens(key, clock)
        self.arns = Arns(region, account)
        self._database = database
        self._clock = clock
        self._meter = meter
        self._tokens = TokenMint(key)
        self._machines = Machines(database, self.arns, clock, pages, rehearsal)
        self._executions = Executions(database, self.arns, self._machines, pages, clock)
        clients = AwsClients(region, endpoints)
        self.functions = dict(functions or {})
        resources = Resources(Surroundings(self.arns, self.functions, clients, self, http_hosts))
        numbers = [destination.number for destination in events.destinations]
        self.changes = StatusChanges(database, clock, source=events.source, destinations=numbers)
        self._deliveries = [
            EventDelivery(self.changes, destination, clock, meter, retry_for_s=events.retry_for_s)
            for destination in events.destinations
        ]
        logged = LogCursors(database, clock)
        self._log_groups = CloudWatchLogs(clients, region, clock)
        self._conductor = Conductor(
            database,
            self._machines,
            self._executions,
            resources,
            self._tokens,
            self.changes,
            logged,
            clock,
            meter,
        )
        self._map_runs = MapRuns(
            database,
            self._machines,
            self._executions,
            self._conductor,
            self._tokens,
            Objects(clients),
            clock,
        )
        self._tags = Tags(database, self.arns)
        self.retention = Retention(database, clock, retention_s)
        self._lock: DirectoryLock | None = None
        self._activities = Activities(
            database, self.arns, pages, self._conductor, self._tokens, clock
        )
        #: writes histories to CloudWatch Logs
        self.logs = LogDelivery(
            database, logged, self._machines, self._executions, self._log_groups, clock, meter
        )
        self._conductor.on_logged = self.logs.wake
        self._express = ExpressExecutions(
            database, self._machines, resources, self.logs, clock, meter
        )
        redrives = Redrives(database, self._machines, self._executions, self._conductor, clock)
        tests = StateTests(self.arns, resources, clock)
        parts = (
            self,
            self._tags,
            self._activities,
            Validation(),
            Versions(database, self.arns, self._machines, pages, clock),
            Aliases(database, self.arns, self._machines, pages, clock),
            self._express,
            tests,
            redrives,
            MapRunRequests(database, self.arns, self._executions, self._map_runs, pages),
        )
        #: what answers each operation; called with the members that `checked` gives
        self.verbs: Mapping[str, Verb] = {
            operation: next(
                getattr(part, snake(operation)) for part in parts if hasattr(part, snake(operation))
            )
            for operation in OPERATIONS
        }

    async def start(self) -> None:
        """Take the data directory, take up what is owed, and serve what becomes due.

        Raises:
            StartRefused: another engine has the directory.
        """
        self._lock = DirectoryLock.take(self._database.path.parent)
        await self.changes.start()
        for delivery in self._deliveries:
            delivery.start()
        self.logs.start()
        await self._conductor.start()
        self.retention.start()
        self._map_runs.start()

    async def stop(self) -> None:
        """Stop serving and calling. What waits, waits in the database."""
        await self.retention.stop()
        await self._express.stop()
        await self._map_runs.stop()
        await self._conductor.stop()
        for delivery in self._deliveries:
            await delivery.stop()
        await self.logs.stop()
        if self._lock is not None:
            self._lock.release()

    async def idle(self) -> None:
        """Return when all executions wait for someone, or for a later moment."""
        await self._conductor.idle()

    async def probe(self) -> None:
        """Write to the store what changes nothing.

        Raises:
            StoreError: it takes no writes.
        """
        await self._database.probe()

    def event_backlogs(self) -> Mapping[str, EventBacklog]:
        """What is owed to each destination of events, by its name."""
        found = self.changes.backlog()
        destinations = (delivery.destination for delivery in self._deliveries)
        return {d.name: found.get(d.number, NOTHING_OWED) for d in destinations}

    # State machines

    async def create_state_machine(
        self,
        *,
        name: str,
        definition: str,
        role_arn: str,
        type: str = STANDARD,
        logging_configuration: Json = None,
        tracing_configuration: Json = None,
        encryption_configuration: Json = None,
        tags: Json = None,
        publish: bool = False,
        version_description: str | None = None,
    ) -> Json:
        """Create a state machine; again with the same content gives the same answer."""
        publishing = Publishing(publish, version_description)
        settings = await self._settings(
            logging_configuration, tracing_configuration, encryption_configuration
        )
        tags = checked_tags(tags or [], self.arns.state_machine(name))
        return await self._machines.create(
            name, definition, role_arn, type, settings, tags, publishing
        )

    async def _settings(self, logs: Json, tracing: Json, encryption: Json) -> dict[str, Json]:
        settings = settings_of(logs, tracing, encryption)
        wanted = logging_of(settings)
        if wanted is not None:
            await self._log_groups.check(wanted.group)
        return settings

    async def update_state_machine(
        self,
        *,
        state_machine_arn: str,
        definition: str | None = None,
        role_arn: str | None = None,
        logging_configuration: Json = None,
        tracing_configuration: Json = None,
        encryption_configuration: Json = None,
        publish: bool = False,
        version_description: str | None = None,
    ) -> Json:
        """Change a state machine for the executions to come."""
        publishing = Publishing(publish, version_description)
        settings = await self._settings(
            logging_configuration, tracing_configuration, encryption_configuration
        )
        return await self._machines.update(
            state_machine_arn, definition, role_arn, settings, publishing
        )

    async def describe_state_machine(
        self, *, state_machine_arn: str, included_data: str = "ALL_DATA"
    ) -> Json:
        """What a state machine is."""
        return self._machines.describe(state_machine_arn, whole=included_data == "ALL_DATA")

    async def describe_state_machine_for_execution(
        self, *, execution_arn: str, included_data: str = "ALL_DATA"
    ) -> Json:
        """The state machine as it was when the execution started."""
        whole = included_data == "ALL_DATA"
        return self._executions.describe_machine(execution_arn, whole=whole)

    async def delete_state_machine(self, *, state_machine_arn: str) -> Json:
        """Delete a state machine; running executions end at their next transition."""
        return await self._machines.delete(state_machine_arn)

    async def list_state_machines(
        self, *, max_results: int | None = None, next_token: str | None = None
    ) -> Json:
        """All state machines, page by page."""
        return self._machines.list_page(max_results, next_token)

    # Executions

    async def start_execution(
        self,
        *,
        state_machine_arn: str,
        name: str | None = None,
        input: str | None = None,
        trace_header: str | None = None,
    ) -> Json:
        """Start an execution; again with the same name and input, while it runs, is the same."""
        if name is not None:
            check_name(name)
        return await self._start(state_machine_arn, name, input, trace_header)

    async def start_child(self, members: Mapping[str, Json], parent: Dispatch) -> Json:
        """StartExecution for a task that waits for its end.

        Raises:
            StepFunctionsError: as StartExecution; or the execution would be an Express one.
        """
        given = checked("StartExecution", members)
        check_name(given["name"])
        return await self._start(
            given["state_machine_arn"],
            given["name"],
            given.get("input"),
            given.get("trace_header"),
            parent,
        )

    async def operate(self, operation: str, members: Mapping[str, Json]) -> Json:
        """The answer of any operation.

        Raises:
            StepFunctionsError
        """
        return await self.verbs[operation](**checked(operation, members))

    async def _start(
        self,
        state_machine_arn: str,
        name: str | None,
        input: str | None,
        trace_header: str | None,
        parent: Dispatch | None = None,
    ) -> Json:
        payload = execution_input("{}" if input is None else input)
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> tuple[Revision, Execution, Transition | None]:
            chosen = self._machines.to_start(within(connection), state_machine_arn)
            revision = chosen.revision
            execution = new_execution(
                self.arns, chosen, name or default_name(now_ms), payload, now_ms
            )
            if revision.express:
                if parent is not None:
                    raise StateMachineTypeNotSupported()
                return revision, execution, None
            started_ms = self._already_started(connection, chosen, execution, parent)
            if started_ms is not None:
                execution.started_ms = started_ms
                return revision, execution, None
            insert_execution(
                connection,
                execution,
                revision.machine_id,
                revision.id,
                trace_header,
                chosen.version,
                chosen.alias,
                chosen.test_case,
            )
            if parent is not None:
                add_parent(connection, execution.id, parent)
            made = self._conductor.step(connection, revision, execution, Start(), now_ms)
            return revision, execution, made

        revision, execution, _ = await self._database.write(work, self._after_start)
        if revision.express:
            self._express.start(revision, execution)
        return {"executionArn": execution.arn, "startDate": execution.started_ms / 1000}

    def _after_start(self, started: tuple[Revision, Execution, Transition | None]) -> None:
        _, _, made = started
        if made is not None:
            self._meter.count("executions_started")
            self._conductor.after(made)

    @staticmethod
    def _already_started(
        connection: sqlite3.Connection,
        chosen: Chosen,
        execution: Execution,
        parent: Dispatch | None,
    ) -> int | None:
        """When the same execution was started before; None if it is a new one."""
        values = (chosen.revision.machine_id, execution.name)
        row = connection.execute(_NAMESAKE, values).fetchone()
        if row is None:
            return None
        known, status, given, test_case, started_ms = row
        if parent is not None:
            # The same attempt, made again after a crash; nobody else's execution is waited for.
            if is_parent(connection, known, parent):
                return int(started_ms)
            raise ExecutionAlreadyExists(f"Execution Already Exists: '{execution.arn}'")
        same = test_case == chosen.test_case
        # As JSON: to Python, true and 1 are equal.
        same = same and canonical(Payload.of_text(given).value) == canonical(execution.input.value)
        if status != RUNNING or not same:
            raise ExecutionAlreadyExists(f"Execution Already Exists: '{execution.arn}'")
        return int(started_ms)

    async def describe_execution(
        self, *, execution_arn: str, included_data: str = "ALL_DATA"
    ) -> Json:
        """How an execution stands."""
        return self._executions.describe(execution_arn, whole=included_data == "ALL_DATA")

    async def list_executions(
        self,
        *,
        state_machine_arn: str | None = None,
        map_run_arn: str | None = None,
        status_filter: str | None = None,
        redrive_filter: str | None = None,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> Json:
        """The executions of a state machine or a Map Run, the latest first, page by page."""
        return self._executions.list_page(
            state_machine_arn,
            map_run_arn,
            status_filter,
            redrive_filter,
            max_results,
            next_token,
        )

    async def get_execution_history(
        self,
        execution_arn: str,
        max_results: int | None = None,
        next_token: str | None = None,
        reverse_order: bool = False,
        include_execution_data: bool = True,
    ) -> Json:
        """What happened, page by page."""
        return self._executions.history(
            execution_arn,
            max_results,
            next_token,
            reverse=reverse_order,
            include_data=include_execution_data,
        )

    async def stop_execution(
        self, *, execution_arn: str, error: str | None = None, cause: str | None = None
    ) -> Json:
        """Abort an execution; one that ended before answers when it did."""
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> tuple[int, list[Transition]]:
            row = self._executions.find(execution_arn, within(connection))
            if row.status is not Status.RUNNING:
                return row.stopped_ms or now_ms, []
            stop = Stop(error, cause)
            return now_ms, [self._conductor.advance(connection, row, stop, now_ms)]

        stopped_ms, _ = await self._database.write(
            work, lambda stopped: self._conductor.after_all(stopped[1])
        )
        return {"stopDate": stopped_ms / 1000}

    # Tasks

    async def send_task_success(self, task_token: str, output: str) -> Json:
        """Complete a task with its result."""
        reference = self._tokens.open(task_token)
        payload = task_output(output)
        signal = TaskSucceeded(reference.frame, reference.attempt, payload)
        return await self._answer(reference.execution_id, signal)

    async def send_task_failure(
        self, task_token: str, error: str | None = None, cause: str | None = None
    ) -> Json:
        """Fail a task."""
        reference = self._tokens.open(task_token)
        signal = TaskFailed(reference.frame, reference.attempt, error, cause)
        return await self._answer(reference.execution_id, signal)

    async def send_task_heartbeat(self, task_token: str) -> Json:
        """Say that a task is being worked on."""
        reference = self._tokens.open(task_token)
        signal = TaskHeartbeat(reference.frame, reference.attempt)
        return await self._answer(reference.execution_id, signal)

    async def _answer(self, execution_id: int, signal: TaskSignal) -> Json:
        try:
            await self._conductor.signal(execution_id, signal)
        except StaleSignal as exc:
            raise TaskTimedOut() from exc
        return {}
