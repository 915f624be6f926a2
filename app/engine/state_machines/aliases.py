"""Aliases of state machines: the API verbs that create, change, show, list and delete them."""

import sqlite3
from collections.abc import Sequence

import orjson

from app.clock import to_ms
from app.engine.arns import Arns, version_number
from app.engine.state_machines.machines import MachineRow
from app.engine.state_machines.publishing import find_version
from app.engine.state_machines.qualified import Qualified
from app.engine.state_machines.routing import Alias, aliases_of, find_alias
from app.engine.store import Query, within
from app.errors import (
    ConflictException,
    ResourceNotFound,
    ServiceQuotaExceededException,
    StateMachineDoesNotExist,
    ValidationException,
)
from app.strict_json import Json

Routes = tuple[tuple[int, int], ...]

_INSERT = """INSERT INTO aliases (machine, name, description, routes, created_ms, updated_ms)
    VALUES (?, ?, ?, ?, ?, ?)"""
_UPDATE = "UPDATE aliases SET description = ?, routes = ?, updated_ms = ? WHERE id = ?"
_DELETE = "DELETE FROM aliases WHERE machine = ? AND name = ?"


MAX_ALIASES = 100  #: of one state machine
INVALID_ROUTING = "INVALID_ROUTING_CONFIGURATION"


class Aliases(Qualified):
    """The aliases of an engine's state machines."""

    async def create_state_machine_alias(
        self, *, name: str, routing_configuration: list[Json], description: str | None = None
    ) -> Json:
        """Create an alias; again with the same routing gives the same answer."""
        _check_shape(self._arns, routing_configuration)
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> tuple[str, int]:
            query = within(connection)
            machine, routes = self._routes(query, routing_configuration)
            found = find_alias(query, machine.id, name)
            if found is None:
                _check_quota(query, machine)
                values = (machine.id, name, description, _stored(routes), now_ms, now_ms)
                connection.execute(_INSERT, values)
                return machine.name, now_ms
            if (found.routes, found.description) != (routes, description):
                raise ConflictException(
                    "Failed to create alias because an alias with the same name and a different "
                    "routing configuration already exists."
                )
            return machine.name, found.created_ms

        machine, created_ms = await self._database.write(work)
        return self._arns.started_as(machine, None, name) | {"creationDate": created_ms / 1000}

    async def update_state_machine_alias(
        self,
        *,
        state_machine_alias_arn: str,
        routing_configuration: list[Json] | None = None,
        description: str | None = None,
    ) -> Json:
        """Change where an alias leads, or its description."""
        if routing_configuration is None and description is None:
            raise ValidationException(
                "Either the description or the routing configuration must be specified"
            )
        if routing_configuration is not None:
            _check_shape(self._arns, routing_configuration)
        now_ms = to_ms(self._clock())

        def work(connection: sqlite3.Connection) -> None:
            query = within(connection)
            machine, alias = self._find(query, state_machine_alias_arn)
            routes = alias.routes
            if routing_configuration is not None:
                target, routes = self._routes(query, routing_configuration)
                if target.id != machine.id:
                    raise _not_versions(routing_configuration)
            text = alias.description if description is None else description
            connection.execute(_UPDATE, (text, _stored(routes), now_ms, alias.id))

        await self._database.write(work)
        return {"updateDate": now_ms / 1000}

    async def describe_state_machine_alias(self, *, state_machine_alias_arn: str) -> Json:
        """What an alias is."""
        machine, alias = self._find(self._database.read, state_machine_alias_arn)
        arn = self._arns.state_machine(machine.name)
        shown: dict[str, Json] = {
            "stateMachineAliasArn": state_machine_alias_arn,
            "name": alias.name,
            "routingConfiguration": [
                {"stateMachineVersionArn": f"{arn}:{version}", "weight": weight}
                for version, weight in alias.routes
            ],
            "creationDate": alias.created_ms / 1000,
            "updateDate": alias.updated_ms / 1000,
        }
        return shown if alias.description is None else shown | {"description": alias.description}

    async def delete_state_machine_alias(self, *, state_machine_alias_arn: str) -> Json:
        """Delete an alias; an unknown one is no error."""
        _, name = self._arns.qualified(state_machine_alias_arn)

        def work(connection: sqlite3.Connection) -> None:
            try:
                machine = self._machines.find(state_machine_alias_arn, within(connection))
            except StateMachineDoesNotExist:
                return
            connection.execute(_DELETE, (machine.id, name))

        await self._database.write(work)
        return {}

    async def list_state_machine_aliases(
        self,
        *,
        state_machine_arn: str,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> Json:
        """The aliases of a state machine, or of one of its versions; newest first."""
        machine = self._machines.find(state_machine_arn)
        number = version_number(self._arns.qualified(state_machine_arn)[1])

        def newest(before: int, _count: int) -> list[tuple[int, Json]]:
            return [
                (alias.id, self._listed(machine.name, alias))
                for alias in aliases_of(self._database.read, machine.id)
                if alias.id < before and (number is None or alias.leads_to(number))
            ]

        purpose = f"aliases {machine.id} {number}"
        return self._page("stateMachineAliases", purpose, max_results, next_token, newest)

    def _listed(self, machine: str, alias: Alias) -> Json:
        arn = self._arns.started_as(machine, None, alias.name)
        return arn | {"creationDate": alias.created_ms / 1000}

    def _find(self, query: Query, arn: str) -> tuple[MachineRow, Alias]:
        try:
            machine = self._machines.find(arn, query)
        except StateMachineDoesNotExist as exc:
            raise ResourceNotFound() from exc
        alias = find_alias(query, machine.id, self._arns.qualified(arn)[1] or "")
        if alias is None:
            raise ResourceNotFound()
        return machine, alias

    def _routes(self, query: Query, routing: Sequence[Json]) -> tuple[MachineRow, Routes]:
        """The machine and the versions of a routing configuration, all of which exist."""
        try:
            machine = self._machines.find_active(routing[0]["stateMachineVersionArn"], query)
        except StateMachineDoesNotExist as exc:
            raise ResourceNotFound() from exc
        routes = []
        for route in routing:
            name, qualifier = self._arns.qualified(route["stateMachineVersionArn"])
            number = version_number(qualifier)
            if name != machine.name or number is None:
                raise _not_versions(routing)
            if find_version(query, machine.id, number) is None:
                raise ResourceNotFound()
            routes.append((number, route["weight"]))
        return machine, tuple(routes)


def _check_quota(query: Query, machine: MachineRow) -> None:
    if len(aliases_of(query, machine.id)) >= MAX_ALIASES:
        raise ServiceQuotaExceededException(
            f"A state machine can have at most {MAX_ALIASES} aliases."
        )


def _check_shape(arns: Arns, routing: Sequence[Json]) -> None:
    """Refuse what can be told to be wrong without looking up versions."""
    named = [route["stateMachineVersionArn"] for route in routing]
    if len(set(named)) < len(named):
        raise ValidationException(
            "Routing configuration must contain distinct state machine version ARNs. "
            f"Received: [{', '.join(named)}]",
            INVALID_ROUTING,
        )
    for arn in named:
        if version_number(arns.qualified(arn)[1]) is None:
            raise _not_versions(routing)
    weights = [route["weight"] for route in routing]
    if sum(weights) != 100:
        raise ValidationException(
            f"Sum of routing configuration weights must equal 100. Received: {weights}",
            INVALID_ROUTING,
        )


def _not_versions(routing: Sequence[Json]) -> ValidationException:
    named = ", ".join(route["stateMachineVersionArn"] for route in routing)
    return ValidationException(
        f"Routing configuration must contain state machine version ARNs. Received: [{named}]",
        INVALID_ROUTING,
    )


def _stored(routes: Routes) -> str:
    return orjson.dumps(routes).decode()
