"""Versions in the database: numbers that stand for revisions, given once and never again."""

import sqlite3
from dataclasses import dataclass

from app.engine.store import Query, within
from app.errors import ServiceQuotaExceededException, ValidationException

MAX_VERSIONS = 1_000  #: of one state machine


@dataclass(frozen=True, slots=True)
class Version:
    """A published revision."""

    number: int
    revision: int
    description: str | None
    created_ms: int


_COLUMNS = "number, revision, description, created_ms"
# Only constants are put together here.
_OF_REVISION = f"SELECT {_COLUMNS} FROM versions WHERE machine = ? AND revision = ?"  # noqa: S608
_BY_NUMBER = f"SELECT {_COLUMNS} FROM versions WHERE machine = ? AND number = ?"  # noqa: S608
_PAGE = f"""SELECT {_COLUMNS} FROM versions WHERE machine = ? AND number < ?
    ORDER BY number DESC LIMIT ?"""  # noqa: S608
_COUNT = "UPDATE machines SET versions = versions + 1 WHERE id = ? RETURNING versions"
_PRESENT = "SELECT count(*) FROM versions WHERE machine = ?"
_INSERT = """INSERT INTO versions (machine, number, revision, description, created_ms)
    VALUES (?, ?, ?, ?, ?)"""


def publish(
    connection: sqlite3.Connection,
    machine: int,
    revision: int,
    description: str | None,
    now_ms: int,
) -> Version:
    """The version of a revision: a new one, or the one that it has.

    Raises:
        ServiceQuotaExceededException
    """
    query = within(connection)
    found = version_of(query, machine, revision)
    if found is not None:
        return found
    if query(_PRESENT, (machine,))[0][0] >= MAX_VERSIONS:
        raise ServiceQuotaExceededException(
            f"A state machine can have at most {MAX_VERSIONS} versions."
        )
    number = connection.execute(_COUNT, (machine,)).fetchone()[0]
    connection.execute(_INSERT, (machine, number, revision, description, now_ms))
    return Version(number, revision, description, now_ms)


def version_of(query: Query, machine: int, revision: int) -> Version | None:
    """The version that a revision was published as."""
    rows = query(_OF_REVISION, (machine, revision))
    return Version(*rows[0]) if rows else None


def find_version(query: Query, machine: int, number: int) -> Version | None:
    """A version by its number."""
    rows = query(_BY_NUMBER, (machine, number))
    return Version(*rows[0]) if rows else None


def list_versions(query: Query, machine: int, before: int, count: int) -> list[Version]:
    """Up to *count* versions below a number, newest first."""
    return [Version(*row) for row in query(_PAGE, (machine, before, count))]


@dataclass(frozen=True, slots=True)
class Publishing:
    """Whether a revision is published as it is made, and with which description."""

    wanted: bool = False
    description: str | None = None

    def __post_init__(self) -> None:
        """Refuse to describe a version that is not published.

        Raises:
            ValidationException
        """
        if self.description is not None and not self.wanted:
            raise ValidationException("Version description can only be set when publish is true")

    def of(
        self, connection: sqlite3.Connection, machine: int, revision: int, now_ms: int
    ) -> Version | None:
        """The version, if one is wanted."""
        if not self.wanted:
            return None
        return publish(connection, machine, revision, self.description, now_ms)

    def gave(self, version: Version | None, created_ms: int) -> bool:
        """Whether a machine that was created then was created with this."""
        if version is None or version.created_ms != created_ms:
            return not self.wanted
        return self.wanted and version.description == self.description
