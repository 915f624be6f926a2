"""The store of one machine: a SQLite file that several processes may share."""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Self

from app.approvals.model import Request
from app.approvals.store.approval_rows import ApprovalRows
from app.approvals.store.audit_rows import AuditRows
from app.approvals.store.interface import Wraps
from app.approvals.store.mail_rows import MailRows
from app.approvals.store.parsed_requests import ParsedRequests
from app.sqlite import Database

APPLICATION_ID = 0x53474E41  #: "SGNA"
#: one script per version of the schema; a script that was released never changes
MIGRATIONS = ("schema.sql", "looks.sql", "mail_counts.sql")

_WRAPS = "SELECT key_id, wrap FROM wraps"
_ADD_WRAP = "INSERT INTO wraps VALUES (?, ?)"


class SqliteStore(ApprovalRows, MailRows, AuditRows):
    """An `ApprovalStore` in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._requests: ParsedRequests[int, Request] = ParsedRequests()

    @classmethod
    def open(cls, path: Path) -> Self:
        """The store in the file *path*, made or migrated where needed.

        Raises:
            StartRefused: the file is damaged, is not ours, or was written by a newer version.
        """
        folder = Path(__file__).parent
        scripts = [(folder / name).read_text(encoding="utf-8") for name in MIGRATIONS]
        return cls(Database.open(path, migrations=scripts, application_id=APPLICATION_ID))

    @property
    def database(self) -> Database:
        """The file: for health checks, and for whoever must know that it failed."""
        return self._db

    async def close(self) -> None:
        """Finish what was accepted and close the file."""
        await self._db.close()

    async def probe(self) -> None:
        """The smallest write there is: it changes nothing, and needs the disk all the same."""
        await self._db.probe()

    async def keep_wraps(self, wraps: Wraps) -> Wraps:
        """The wraps that are stored: *wraps* if there were none before."""
        return await self._db.write(partial(_keep_wraps, wraps))

    async def replace_wraps(self, old: Wraps, new: Wraps) -> bool:
        """Store *new* if *old* is what is stored; whether that was so."""
        return await self._db.write(partial(_replace_wraps, old, new))


def _keep_wraps(wraps: Wraps, connection: sqlite3.Connection) -> Wraps:
    stored = dict(connection.execute(_WRAPS).fetchall())
    if stored:
        return stored
    connection.executemany(_ADD_WRAP, list(wraps.items()))
    return wraps


def _replace_wraps(old: Wraps, new: Wraps, connection: sqlite3.Connection) -> bool:
    if dict(connection.execute(_WRAPS).fetchall()) != dict(old):
        return False
    connection.execute("DELETE FROM wraps")
    connection.executemany(_ADD_WRAP, list(new.items()))
    return True
