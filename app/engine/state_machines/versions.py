"""Versions of state machines: the API verbs that publish, list and delete them."""

import sqlite3

from app.clock import to_ms
from app.engine.arns import version_number
from app.engine.state_machines.machines import MachineRow
from app.engine.state_machines.publishing import Version, find_version, list_versions, publish
from app.engine.state_machines.qualified import Qualified
from app.engine.state_machines.routing import aliases_of
from app.engine.store import within
from app.errors import ConflictException, StateMachineDoesNotExist, ValidationException
from app.strict_json import Json

INITIAL = "INITIAL"  #: names the first revision, which has no id
_DELETE = "DELETE FROM versions WHERE machine = ? AND number = ?"


class Versions(Qualified):
    """The versions of an engine's state machines."""

    async def publish_state_machine_version(
        self,
        *,
        state_machine_arn: str,
        revision_id: str | None = None,
        description: str | None = None,
    ) -> Json:
        """Publish the newest revision; one that was published gives the same version."""
        if self._arns.qualified(state_machine_arn)[1] is not None:
            raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{state_machine_arn}'")
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> tuple[str, Version]:
            machine = self._machines.find_active(state_machine_arn, within(connection))
            _check_revision(machine, revision_id)
            version = publish(connection, machine.id, machine.revision, description, now_ms)
            return machine.name, version

        name, version = await self._database.write(work)
        return self._shown(name, version)

    async def list_state_machine_versions(
        self,
        *,
        state_machine_arn: str,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> Json:
        """The versions of a state machine, newest first, page by page."""
        try:
            machine = self._machines.find(state_machine_arn)
        except StateMachineDoesNotExist:
            return {"stateMachineVersions": []}

        def newest(before: int, count: int) -> list[tuple[int, Json]]:
            found = list_versions(self._database.read, machine.id, before, count)
            return [(version.number, self._shown(machine.name, version)) for version in found]

        purpose = f"versions {machine.id}"
        return self._page("stateMachineVersions", purpose, max_results, next_token, newest)

    async def delete_state_machine_version(self, *, state_machine_version_arn: str) -> Json:
        """Delete a version that no alias leads to; an unknown one is no error."""
        arn = state_machine_version_arn
        number = version_number(self._arns.qualified(arn)[1])
        if number is None:
            raise ValidationException(f"The ARN does not name a state machine version: '{arn}'")

        def work(connection: sqlite3.Connection) -> None:
            query = within(connection)
            try:
                machine = self._machines.find(arn, query)
            except StateMachineDoesNotExist:
                return
            version = find_version(query, machine.id, number)
            if version is None:
                return
            aliases = aliases_of(query, machine.id)
            names = sorted(alias.name for alias in aliases if alias.leads_to(version.number))
            if names:
                raise ConflictException(
                    "Version to be deleted must not be referenced by an alias. Current list of "
                    f"aliases referencing this version: [{', '.join(names)}]"
                )
            connection.execute(_DELETE, (machine.id, version.number))

        await self._database.write(work)
        return {}

    def _shown(self, machine: str, version: Version) -> Json:
        arn = self._arns.started_as(machine, version.number, None)
        return arn | {"creationDate": version.created_ms / 1000}


def _check_revision(machine: MachineRow, wanted: str | None) -> None:
    present = machine.revision_id or INITIAL
    if wanted is not None and wanted != present:
        raise ConflictException(
            f"Failed to publish the State Machine version for revision {wanted}. "
            f"The current State Machine revision is {present}."
        )
