"""State machines: the API verbs that create, change, show and delete them.

A definition is a revision; executions keep the one they started with. A deleted machine's row stays
as long as its executions do, so that they can still be shown by its name.
"""

import logging
import sqlite3
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson

from app.clock import Clock, to_ms
from app.engine.arns import STATE_MACHINE, Arns, is_role_arn, version_number
from app.engine.language.definition import parse
from app.engine.language.states import StateMachine
from app.engine.language.variables import references
from app.engine.logs.configuration import Logging, logging_of
from app.engine.rehearsal import AS_ON_AWS, Rehearsal, split_test_case
from app.engine.requests import check_name, page_size
from app.engine.state_machines.publishing import Publishing, Version, find_version, version_of
from app.engine.state_machines.routing import find_alias
from app.engine.state_machines.validation import (
    EXPRESS,
    STANDARD,
    faults_of,
    refuse_faults,
    stored_rules,
)
from app.engine.store import RUNNING, Query, within
from app.engine.tokens import PageTokens
from app.errors import (
    InvalidArn,
    MissingRequiredParameter,
    StateMachineAlreadyExists,
    StateMachineDeleting,
    StateMachineDoesNotExist,
    StateMachineLimitExceeded,
    StoreError,
    ValidationException,
)
from app.sqlite import Database, Row, Work
from app.strict_json import Json

log = logging.getLogger(__name__)

T = TypeVar("T")

ACTIVE, DELETING, DELETED = "ACTIVE", "DELETING", "DELETED"
MAX_MACHINES = 100_000  #: AWS's quota for an account and region
KEPT_MACHINES = 256  #: parsed definitions in memory

_DEFAULTS: Mapping[str, Json] = {
    "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
    "tracingConfiguration": {"enabled": False},
    "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
}


@dataclass(frozen=True, slots=True)
class MachineRow:
    """A machine and one of its revisions."""

    id: int
    name: str
    type: str
    status: str
    created_ms: int
    revision: int
    revision_id: str | None
    definition: str
    role_arn: str
    settings: str
    updated_ms: int


_COLUMNS = """m.id, m.name, m.type, m.status, m.created_ms, r.id, r.revision_id, r.definition,
    r.role_arn, r.settings, r.created_ms"""
# Only constants are put together here.
_BY_NAME = (
    f"SELECT {_COLUMNS} FROM machines m JOIN revisions r ON r.id = m.revision WHERE m.name = ?"  # noqa: S608
)
_BY_REVISION = (
    f"SELECT {_COLUMNS} FROM revisions r JOIN machines m ON m.id = r.machine WHERE r.id = ?"  # noqa: S608
)
_COUNT = "SELECT count(*) FROM machines WHERE status != 'DELETED'"
_LIST = """SELECT id, name, type, created_ms FROM machines WHERE status = 'ACTIVE' AND name > ?
    ORDER BY name LIMIT ?"""
_INSERT_MACHINE = """INSERT INTO machines (name, type, status, revision, created_ms, tags)
    VALUES (?, ?, 'ACTIVE', 0, ?, ?)"""
_REVIVE = """UPDATE machines SET type = ?, status = 'ACTIVE', created_ms = ?, tags = ?,
    versions = 0 WHERE id = ?"""
_FORGET = ("DELETE FROM aliases WHERE machine = ?", "DELETE FROM versions WHERE machine = ?")
_INSERT_REVISION = """INSERT INTO revisions (machine, revision_id, definition, role_arn, settings,
    created_ms) VALUES (?, ?, ?, ?, ?, ?)"""
_SET_REVISION = "UPDATE machines SET revision = ? WHERE id = ?"
_SET_STATUS = "UPDATE machines SET status = ? WHERE id = ?"
_FINISH_DELETING = """UPDATE machines SET status = 'DELETED' WHERE id = ?1 AND status = 'DELETING'
    AND NOT EXISTS (SELECT 1 FROM executions WHERE machine = ?1 AND status = ?2)"""
_DELETING = "SELECT id FROM machines WHERE status = 'DELETING'"
_ANY_RUNNING = "SELECT 1 FROM executions WHERE machine = ? AND status = ? LIMIT 1"


@dataclass(frozen=True, slots=True)
class Revision:
    """A parsed revision: what an execution runs."""

    id: int
    machine_id: int
    machine_name: str
    role_arn: str
    machine: StateMachine
    express: bool = False
    logging: Logging | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a new execution runs, and what led there."""

    revision: Revision
    version: int | None = None
    alias: str | None = None
    test_case: str | None = None


class Machines:
    """The state machines of an engine."""

    def __init__(
        self,
        database: Database,
        arns: Arns,
        clock: Clock,
        pages: PageTokens,
        rehearsal: Rehearsal = AS_ON_AWS,
    ) -> None:
        self.arns = arns
        self._rehearsal = rehearsal
        self._database = database
        self._clock = clock
        self._pages = pages
        self._parsed: OrderedDict[int, Revision] = OrderedDict()
        #: machines that wait for their executions to end
        self.deleting: set[int] = set()
        self._note_deleting()

    async def create(
        self,
        name: str,
        definition: str,
        role_arn: str,
        kind: str,
        settings: Mapping[str, Json],
        tags: Json,
        publishing: Publishing,
    ) -> Json:
        """CreateStateMachine."""
        check_name(name)
        _check_role(role_arn)
        refuse_faults(faults_of(definition, kind))
        stored = _stored(settings)
        tagged = orjson.dumps(tags or []).decode()
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> tuple[int, Version | None]:
            row = _by_name(connection, name)
            if row is None or row.status == DELETED:
                _check_quota(connection)
            if row is None:
                cursor = connection.execute(_INSERT_MACHINE, (name, kind, now_ms, tagged))
                machine_id = cursor.lastrowid or 0
            elif row.status == DELETED:
                machine_id = row.id
                self.deleting.discard(machine_id)
                connection.execute(_REVIVE, (kind, now_ms, tagged, machine_id))
            else:
                version = version_of(within(connection), row.id, row.revision)
                return self._existing(row, kind, definition, stored, publishing, version), version
            values = (machine_id, None, definition, role_arn, stored, now_ms)
            revision = _add_revision(connection, machine_id, values)
            return now_ms, publishing.of(connection, machine_id, revision, now_ms)

        created_ms, version = await self._write(work)
        shown = {
            "stateMachineArn": self.arns.state_machine(name),
            "creationDate": created_ms / 1000,
        }
        return shown | self._published(name, version if publishing.wanted else None)

    def _published(self, name: str, version: Version | None) -> dict[str, Json]:
        return dict(self.arns.started_as(name, version.number if version else None, None))

    async def _write(self, work: Work[T]) -> T:
        """Write revisions. If they were not written, nothing parsed from them may be kept."""
        try:
            return await self._database.write(work)
        except StoreError:
            # Others in the same transaction may have parsed them, under ids that come again.
            self._parsed.clear()
            raise

    def _existing(
        self,
        row: MachineRow,
        kind: str,
        definition: str,
        settings: str,
        publishing: Publishing,
        version: Version | None,
    ) -> int:
        """When the machine was created, if it was created like this.

        AWS compares neither role nor tags.
        """
        arn = self.arns.state_machine(row.name)
        if row.status == DELETING:
            raise StateMachineDeleting(f"State Machine is being deleted: '{arn}'")
        same = (row.type, row.definition, row.settings) == (kind, definition, settings)
        if not same or not publishing.gave(version, row.created_ms):
            raise StateMachineAlreadyExists(f"State Machine Already Exists: '{arn}'")
        return row.created_ms

    async def update(
        self,
        arn: str,
        definition: str | None,
        role_arn: str | None,
        settings: Mapping[str, Json],
        publishing: Publishing,
    ) -> Json:
        """UpdateStateMachine. Running executions keep what they started with."""
        if definition is None and role_arn is None and not settings:
            raise MissingRequiredParameter(
                "Either the definition, the role ARN, the LoggingConfiguration, "
                "or the TracingConfiguration must be specified"
            )
        if role_arn is not None:
            _check_role(role_arn)
        name = self._name(arn)
        if definition is not None:
            row = _one(self._database.read(_BY_NAME, (name,)))
            refuse_faults(faults_of(definition, row.type if row else STANDARD))
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> tuple[str | None, Version | None]:
            row = self._active(_by_name(connection, name), arn)
            merged = orjson.loads(row.settings) | dict(settings)
            stored = _stored(merged)
            wanted = (definition or row.definition, role_arn or row.role_arn, stored)
            if wanted == (row.definition, row.role_arn, row.settings):
                return row.revision_id, publishing.of(connection, row.id, row.revision, now_ms)
            revision_id = str(uuid.uuid4())
            values = (row.id, revision_id, *wanted, now_ms)
            revision = _add_revision(connection, row.id, values)
            return revision_id, publishing.of(connection, row.id, revision, now_ms)

        revision_id, version = await self._write(work)
        shown = {"updateDate": now_ms / 1000} | self._published(name, version)
        return shown if revision_id is None else shown | {"revisionId": revision_id}

    def describe(self, arn: str, *, whole: bool) -> Json:
        """DescribeStateMachine."""
        _refuse_label(arn)
        name, number = self.arns.qualified(arn)
        row = self._present(_one(self._database.read(_BY_NAME, (name,))), arn)
        shown: dict[str, Json] = {
            "status": row.status,
            "type": row.type,
            "creationDate": row.created_ms / 1000,
        }
        if number is not None:
            version = self.version(self._database.read, row, number, arn)
            row = self._revision(self._database.read, version.revision)
            shown |= {"stateMachineArn": arn, "creationDate": version.created_ms / 1000}
            if version.description is not None:
                shown["description"] = version.description
        return self._described(row, whole=whole) | shown

    def describe_revision(self, revision: int, *, whole: bool) -> Json:
        """What DescribeStateMachineForExecution answers for an execution of this revision."""
        row = self._revision(self._database.read, revision)
        return self._described(row, whole=whole) | {"updateDate": row.updated_ms / 1000}

    def _described(self, row: MachineRow, *, whole: bool) -> dict[str, Json]:
        shown: dict[str, Json] = {
            "stateMachineArn": self.arns.state_machine(row.name),
            "name": row.name,
            "roleArn": row.role_arn,
            # The member is required; AWS leaves an empty object of what is not wanted.
            "definition": row.definition if whole else "{}",
            **_DEFAULTS,
            **orjson.loads(row.settings),
        }
        if whole:
            variables = references(self.to_run(self._database.read, row.revision).machine)
            if variables:
                shown["variableReferences"] = variables
        if row.revision_id is not None:
            shown["revisionId"] = row.revision_id
        return shown

    async def delete(self, arn: str) -> Json:
        """DeleteStateMachine: gone once its executions ended. An unknown one is no error."""
        _refuse_label(arn)
        name = self.arns.machine_name(arn)
        if name is None:
            return {}

        def work(connection: sqlite3.Connection) -> None:
            row = _by_name(connection, name)
            if row is None or row.status == DELETED:
                return
            status = DELETING if _running(connection, row.id) else DELETED
            connection.execute(_SET_STATUS, (status, row.id))
            for sql in _FORGET:
                connection.execute(sql, (row.id,))

        await self._database.write(work, lambda _: self._note_deleting())
        return {}

    def _note_deleting(self) -> None:
        self.deleting = {row[0] for row in self._database.read(_DELETING)}

    @staticmethod
    def finish_deleting(connection: sqlite3.Connection, machine_id: int) -> None:
        """Let go of a machine whose last execution ended, inside the write that ended it."""
        # `deleting` cannot tell: the machine may have been deleted in this very transaction.
        connection.execute(_FINISH_DELETING, (machine_id, RUNNING))

    def list_page(self, max_results: int | None, next_token: str | None) -> Json:
        """ListStateMachines, by name."""
        after = self._pages.open("machines", next_token) if next_token else ""
        size = page_size(max_results)
        rows = self._database.read(_LIST, (after, size + 1))
        shown: dict[str, Json] = {
            "stateMachines": [
                {
                    "stateMachineArn": self.arns.state_machine(name),
                    "name": name,
                    "type": kind,
                    "creationDate": created_ms / 1000,
                }
                for _, name, kind, created_ms in rows[:size]
            ]
        }
        if len(rows) > size:
            shown["nextToken"] = self._pages.make("machines", rows[size - 1][1])
        return shown

    # For those that start and step executions

    def to_start(self, query: Query, arn: str) -> Chosen:
        """What a new execution runs; *arn* may name a test case behind a ``#``.

        Raises:
            StateMachineDoesNotExist, StateMachineDeleting, InvalidArn, ValidationException,
            InvalidName: there is no such test case.
        """
        plain, test_case = split_test_case(arn)
        chosen = self._chosen(query, plain)
        if test_case is None:
            return chosen
        revision = chosen.revision
        self._rehearsal.check(revision.machine_name, revision.machine, test_case)
        return replace(chosen, revision=self._mocked(revision, test_case), test_case=test_case)

    def _mocked(self, revision: Revision, test_case: str) -> Revision:
        name, machine = revision.machine_name, revision.machine
        return replace(revision, machine=self._rehearsal.mocked(name, machine, test_case))

    def _chosen(self, query: Query, arn: str) -> Chosen:
        _refuse_label(arn)
        name, qualifier = self.arns.qualified(arn)
        row = self._active(_one(query(_BY_NAME, (name,))), arn)
        if qualifier is None:
            return Chosen(self._parsed.get(row.revision) or self._keep(row))
        alias = find_alias(query, row.id, qualifier)
        number = qualifier if alias is None else str(alias.choose())
        version = self.version(query, row, number, arn)
        revision = self.to_run(query, version.revision)
        return Chosen(revision, version.number, alias.name if alias else None)

    def version(self, query: Query, row: MachineRow, number: str, arn: str) -> Version:
        """A version of a machine.

        Raises:
            StateMachineDoesNotExist
        """
        plain = version_number(number)
        version = None if plain is None else find_version(query, row.id, plain)
        if version is None:
            raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{arn}'")
        return version

    def to_run(self, query: Query, revision: int, test_case: str | None = None) -> Revision:
        """A stored revision, as an execution runs it that was started with this test case."""
        kept = self._parsed.get(revision)
        if kept is None:
            kept = self._keep(self._revision(query, revision))
        else:
            self._parsed.move_to_end(revision)
        return kept if test_case is None else self._mocked(kept, test_case)

    def find(self, arn: str, query: Query | None = None) -> MachineRow:
        """The machine of a qualified ARN or a plain one, which is there, or going.

        Raises:
            StateMachineDoesNotExist, InvalidArn
        """
        name, _ = self.arns.qualified(arn)
        return self._present(_one((query or self._database.read)(_BY_NAME, (name,))), arn)

    def find_active(self, arn: str, query: Query) -> MachineRow:
        """A machine that is not being deleted.

        Raises:
            StateMachineDoesNotExist, StateMachineDeleting, InvalidArn
        """
        return self._active(self.find(arn, query), arn)

    @staticmethod
    def _revision(query: Query, revision: int) -> MachineRow:
        row = _one(query(_BY_REVISION, (revision,)))
        assert row is not None  # noqa: S101  # revisions outlive executions and versions
        return row

    def _keep(self, row: MachineRow) -> Revision:
        machine = parse(row.definition, stored_rules(row.type)).machine
        if machine is None:
            # Stored by a version that refused less. Its executions fail; others must go on.
            log.error("a stored definition cannot be run", extra={"machine": row.name})
            machine = StateMachine("", {})
        revision = Revision(
            row.revision,
            row.id,
            row.name,
            row.role_arn,
            self._rehearsal.scaled(machine),
            row.type == EXPRESS,
            logging_of(orjson.loads(row.settings)),
        )
        self._parsed[row.revision] = revision
        if len(self._parsed) > KEPT_MACHINES:
            self._parsed.popitem(last=False)
        return revision

    def _name(self, arn: str) -> str:
        _refuse_label(arn)
        name = self.arns.machine_name(arn)
        if name is None:
            raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{arn}'")
        return name

    def _present(self, row: MachineRow | None, arn: str) -> MachineRow:
        if row is None or row.status == DELETED:
            raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{arn}'")
        return row

    def _active(self, row: MachineRow | None, arn: str) -> MachineRow:
        present = self._present(row, arn)
        if present.status == DELETING:
            raise StateMachineDeleting(f"State Machine is being deleted: '{arn}'")
        return present


def _stored(settings: Mapping[str, Json]) -> str:
    """Settings as text; what is AWS's default is left out, so that equal ones are equal."""
    kept = {name: value for name, value in settings.items() if value != _DEFAULTS.get(name)}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()


def _refuse_label(arn: str) -> None:
    """Refuse the ARN of a distributed Map within a machine."""
    if "/" in arn and arn.split(":")[5:6] == [STATE_MACHINE]:
        raise ValidationException(
            "Labeled State Machine ARNs are not supported by this API",
            "API_DOES_NOT_SUPPORT_LABELED_ARNS",
        )


def _check_quota(connection: sqlite3.Connection) -> None:
    if connection.execute(_COUNT).fetchone()[0] >= MAX_MACHINES:
        raise StateMachineLimitExceeded()


def _check_role(role_arn: str) -> None:
    if not is_role_arn(role_arn):
        raise InvalidArn(f"Invalid Role Arn: '{role_arn}'")


def _add_revision(
    connection: sqlite3.Connection, machine_id: int, values: tuple[object, ...]
) -> int:
    revision = connection.execute(_INSERT_REVISION, values).lastrowid or 0
    connection.execute(_SET_REVISION, (revision, machine_id))
    return revision


def _running(connection: sqlite3.Connection, machine_id: int) -> bool:
    return connection.execute(_ANY_RUNNING, (machine_id, RUNNING)).fetchone() is not None


def _by_name(connection: sqlite3.Connection, name: str) -> MachineRow | None:
    return _one(within(connection)(_BY_NAME, (name,)))


def _one(rows: list[Row]) -> MachineRow | None:
    return MachineRow(*rows[0]) if rows else None
