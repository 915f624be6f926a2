"""Tags of state machines and activities: the API verbs that set, take and list them."""

import sqlite3
from collections.abc import Callable, Sequence

import orjson

from app.engine.arns import ACTIVITY, STATE_MACHINE, Arns
from app.engine.store import within
from app.errors import InvalidArn, ResourceNotFound, TooManyTags
from app.sqlite import Database
from app.strict_json import Json

MAX_TAGS = 50  #: of one resource

_READ = {
    STATE_MACHINE: "SELECT tags FROM machines WHERE name = ? AND status != 'DELETED'",
    ACTIVITY: "SELECT tags FROM activities WHERE name = ?",
}
_WRITE = {
    STATE_MACHINE: "UPDATE machines SET tags = ? WHERE name = ?",
    ACTIVITY: "UPDATE activities SET tags = ? WHERE name = ?",
}


def checked_tags(tags: Sequence[Json], arn: str) -> list[Json]:
    """The tags of *arn*: each key once, the last one's value; in the order in which keys came.

    Raises:
        TooManyTags
    """
    values = {tag["key"]: tag.get("value") or "" for tag in tags}
    if len(values) > MAX_TAGS:
        raise TooManyTags(resource=arn)
    return [{"key": key, "value": value} for key, value in values.items()]


class Tags:
    """The tags of an engine's resources."""

    def __init__(self, database: Database, arns: Arns) -> None:
        self._database = database
        self._arns = arns

    async def tag_resource(self, *, resource_arn: str, tags: list[Json]) -> Json:
        """Add tags to a resource; those it has get the new value."""
        return await self._change(
            resource_arn, lambda present: checked_tags([*present, *tags], resource_arn)
        )

    async def untag_resource(self, *, resource_arn: str, tag_keys: list[str]) -> Json:
        """Take tags from a resource; those it does not have are no error."""
        return await self._change(
            resource_arn, lambda present: [tag for tag in present if tag["key"] not in tag_keys]
        )

    async def list_tags_for_resource(self, *, resource_arn: str) -> Json:
        """The tags of a resource."""
        kind, name = self._named(resource_arn)
        row = self._database.read_one(_READ[kind], (name,))
        return {"tags": _stored(row, resource_arn)}

    async def _change(self, arn: str, change: Callable[[list[Json]], list[Json]]) -> Json:
        kind, name = self._named(arn)

        def work(connection: sqlite3.Connection) -> None:
            rows = within(connection)(_READ[kind], (name,))
            tags = change(_stored(rows[0] if rows else None, arn))
            connection.execute(_WRITE[kind], (orjson.dumps(tags).decode(), name))

        await self._database.write(work)
        return {}

    def _named(self, arn: str) -> tuple[str, str]:
        kind = self._arns.resource_type(arn)
        if kind not in (ACTIVITY, STATE_MACHINE):
            raise InvalidArn(
                f"Invalid Arn: 'Resource type not valid in this context: {kind[:80]}'"
                if kind
                else f"Invalid Arn: 'Invalid ARN prefix: {arn[:300]}'"
            )
        named = self._arns.activity_name if kind == ACTIVITY else self._arns.machine_name
        name = named(arn)
        if name is None:
            raise ResourceNotFound(f"Resource not found: '{arn}'", arn)
        return kind, name


def _stored(row: tuple[str] | None, arn: str) -> list[Json]:
    if row is None:
        raise ResourceNotFound(f"Resource not found: '{arn}'", arn)
    tags: list[Json] = orjson.loads(row[0])
    return tags
