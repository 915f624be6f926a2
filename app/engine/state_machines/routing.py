"""Aliases in the database: names that lead to one version or, by weight, to one of two."""

import secrets
from dataclasses import dataclass

import orjson

from app.engine.store import Query
from app.sqlite import Row


@dataclass(frozen=True, slots=True)
class Alias:
    """Where a name leads."""

    id: int
    name: str
    description: str | None
    routes: tuple[tuple[int, int], ...]  #: (version, weight); weights sum to 100
    created_ms: int
    updated_ms: int

    def choose(self) -> int:
        """A version, by weight."""
        chance = secrets.randbelow(100)
        for version, weight in self.routes:
            if chance < weight:
                return version
            chance -= weight
        return self.routes[-1][0]

    def leads_to(self, version: int) -> bool:
        """Whether the version is one of its routes, be it with weight zero."""
        return any(number == version for number, _ in self.routes)


_COLUMNS = "id, name, description, routes, created_ms, updated_ms"
# Only constants are put together here.
_BY_NAME = f"SELECT {_COLUMNS} FROM aliases WHERE machine = ? AND name = ?"  # noqa: S608
_ALL = f"SELECT {_COLUMNS} FROM aliases WHERE machine = ? ORDER BY id DESC"  # noqa: S608


def find_alias(query: Query, machine: int, name: str) -> Alias | None:
    """An alias of a machine."""
    rows = query(_BY_NAME, (machine, name))
    return _alias(rows[0]) if rows else None


def aliases_of(query: Query, machine: int) -> list[Alias]:
    """All aliases of a machine, newest first; there are at most a hundred."""
    return [_alias(row) for row in query(_ALL, (machine,))]


def _alias(row: Row) -> Alias:
    number, name, description, routes, created_ms, updated_ms = row
    pairs = tuple((version, weight) for version, weight in orjson.loads(routes))
    return Alias(number, name, description, pairs, created_ms, updated_ms)
