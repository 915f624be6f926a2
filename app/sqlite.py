"""One SQLite file, durable, written by many at once: group commit.

Rules this file keeps:

1. `write` returns only after its changes are fsynced (WAL, ``synchronous=FULL``).
2. Works run one after the other, on the event loop, inside one transaction for all that are
   waiting. One that raises takes back its own changes only. So a read-modify-write inside one work
   needs no lock and no version check. A work may be run twice (the first run taken back), so it
   changes nothing but the database.
3. Only COMMIT leaves the loop: it runs in a thread, and the next group gathers while the disk
   syncs. Statements stay on the loop because each one would cost a GIL hand-over in a thread;
   one hand-over per group is cheap.
4. What follows a commit (`then`) follows it on the loop at once, even if the caller was cancelled
   meanwhile: nobody else knows that there is something to do.
5. Readers see committed state only, through a connection of their own.
6. A failed COMMIT is never hidden: `StoreUnavailable` when nothing can have been written,
   `StoreUnconfirmed` when nobody can know. After a failed fsync nothing is written any more,
   because a second fsync may lie (the process should restart).

The WAL is copied back in the background; only the short rest is copied between two commits, so
that the longest commits (p99) stay near the disk's own sync time.
"""

import asyncio
import logging
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, TypeVar

from app.errors import StartRefused, StoreError, StoreUnavailable, StoreUnconfirmed
from app.wal_check import is_damaged

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Row = tuple[Any, ...]

#: a group is committed when its works took this long, so that the first ones need not wait for all
GROUP_BUDGET_S = 0.005
GATHER_S = 0.002  #: how long a group may gather while each turn of the loop brings more
#: how long another process may hold the write lock before a write is refused
LOCK_PATIENCE_S = 10.0
CHECKPOINT_CHANGES = 5_000  #: rows changed between two background checkpoints
#: above this the WAL is emptied between two commits (16 MB of 4 KiB pages)
WAL_RESTART_PAGES = 4_000
QUICK_CHECK_BYTES = 64 * 2**20  #: larger files are not read whole at start


@dataclass(slots=True)
class _Pending:
    """A write that waits for its group."""

    work: Work[Any]
    then: Callable[[Any], None] | None
    future: asyncio.Future[Any]
    since: float  #: monotonic seconds
    result: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        """Do what follows, and tell the caller, unless the caller is gone."""
        if self.error is None and self.then is not None:
            self._follow(self.then)
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)

    def _follow(self, then: Callable[[Any], None]) -> None:
        try:
            then(self.result)
        except Exception:
            # It is written, whatever its caller would make of this.
            log.exception("what follows a write failed")


class Database:
    """One SQLite file with group commit. Belongs to the event loop that first writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = False  #: an fsync failed: writes are refused until the process restarts
        self.on_failed: Callable[[], None] = _nothing  #: told when that happens
        self._writer = _connect(path, busy_s=0)
        self._reader = _connect(path, busy_s=1)
        self._queue: deque[_Pending] = deque()
        self._careful = False  # the next group needs a savepoint for each work
        self._busy = False  # a flush is scheduled, running or committing
        self._idle = asyncio.Event()
        self._idle.set()
        self._commits = ThreadPoolExecutor(1, thread_name_prefix=f"commit-{path.stem}")
        self._checkpoints = ThreadPoolExecutor(1, thread_name_prefix=f"checkpoint-{path.stem}")
        self._checkpointing = False
        self._checkpointed_at = 0  # the writer's total_changes at the last checkpoint
        self._empty_wal = False  # the next commit also empties the WAL
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, migrations: Sequence[str], application_id: int) -> "Database":
        """The database at *path*, created or migrated to the newest schema.

        Raises:
            StartRefused: the file is damaged, is not ours, or was written by a newer version.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_damaged(path):
            raise StartRefused(
                f"The write-ahead log {path}-wal is damaged: it holds commits that cannot be read. "
                "Restore the database and its log from a backup."
            )
        database = None
        try:
            database = cls(path)
            _check(database._writer, path, application_id)
            _migrate(database._writer, path, migrations, application_id)
        except (sqlite3.Error, StartRefused) as exc:
            if database is not None:
                database._disconnect()
            if isinstance(exc, StartRefused):
                raise
            raise StartRefused(
                f"The database {path} cannot be opened ({_reason(exc)}). "
                "Restore it from a backup, or name another data directory."
            ) from exc
        return database

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """All rows of a query over committed state. Short queries only: it runs on the loop.

        Raises:
            StoreUnavailable: the file cannot be read.
        """
        try:
            return self._reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as exc:
            raise StoreUnavailable() from exc

    def read_one(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
        """The first row of a query over committed state, or None."""
        rows = self.read(sql, parameters)
        return rows[0] if rows else None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads within see the same committed state. Nothing is awaited meanwhile.

        Raises:
            StoreUnavailable: the file cannot be read.
        """
        self.read("BEGIN")
        try:
            yield
        finally:
            self.read("COMMIT")

    async def write(self, work: Work[T], then: Callable[[T], None] | None = None) -> T:
        """What *work* returns, once all it changed is on disk; *then* is called with that first.

        *work* is short and synchronous. It sees the changes of works before it in the same group,
        which are not yet committed; its answer is therefore held back until they are. What it
        raises is raised here, its changes undone. Cancelled while the commit is under way, it is
        written nonetheless, and *then* is called.

        Raises:
            StoreUnavailable: nothing was written.
            StoreUnconfirmed: the commit failed in a way that leaves it open whether it was written.
        """
        if self._closed or self.failed:
            raise StoreUnavailable()
        loop = asyncio.get_running_loop()
        pending = _Pending(work, then, loop.create_future(), monotonic())
        self._queue.append(pending)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._gather_from(loop)
        result: T = await pending.future
        return result

    async def probe(self) -> None:
        """The smallest write there is: it changes nothing, and needs the disk all the same.

        Raises:
            StoreUnavailable, StoreUnconfirmed
        """
        await self.write(_touch)

    async def close(self) -> None:
        """Finish what was accepted, empty the WAL and close."""
        if self._closed:
            return
        self._closed = True
        await self._idle.wait()
        self._checkpoints.shutdown(wait=True)
        self._commits.shutdown(wait=True)
        if not self.failed:
            try:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error:
                log.warning("the write-ahead log was left for the next start")
        self._disconnect()

    def _disconnect(self) -> None:
        self._commits.shutdown(wait=False)
        self._checkpoints.shutdown(wait=False)
        self._reader.close()
        self._writer.close()

    # One flush = one group: BEGIN, the works, COMMIT in the thread, answers, and again while there
    # is more. A group is closed when a turn of the loop brought no more works: whoever could join
    # has joined. A lone writer waits for one turn, which is microseconds; under load the groups
    # grow, and what a commit costs is shared by more.

    def _gather_from(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(self._gather, loop, len(self._queue), perf_counter() + GATHER_S)

    def _gather(self, loop: asyncio.AbstractEventLoop, seen: int, deadline: float) -> None:
        found = len(self._queue)
        if found == seen or perf_counter() > deadline:
            self._flush()
        else:
            loop.call_soon(self._gather, loop, found, deadline)

    def _flush(self) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as exc:
            self._wait_for_lock(exc)
            return
        before = self._writer.total_changes
        group: list[_Pending] = []
        try:
            if not self._run_works(group):
                self._start_over(group)
                return
            # What a probe changes is no row.
            probed = any(pending.work is _touch for pending in group)
            changed = probed or self._writer.total_changes != before
        except sqlite3.Error as exc:
            self._abandon(group, exc)
            return
        if changed:
            self._commit(group)
        else:
            self._commit_here(group)

    def _wait_for_lock(self, exc: sqlite3.Error) -> None:
        # Another process writes. Waiting inside SQLite would hold up the whole loop.
        if _code(exc) == sqlite3.SQLITE_BUSY:
            late = monotonic() - LOCK_PATIENCE_S
            expired = [pending for pending in self._queue if pending.since < late]
            self._queue = deque(pending for pending in self._queue if pending.since >= late)
        else:
            expired = list(self._queue)
            self._queue.clear()
        for pending in expired:
            pending.error = StoreUnavailable()
            pending.settle()
        if self._queue:
            pause_s = random.uniform(0.0005, 0.003)  # noqa: S311  # spreads the attempts, no secret
            asyncio.get_running_loop().call_later(pause_s, self._flush)
        else:
            self._rest()

    def _run_works(self, group: list[_Pending]) -> bool:
        """Run works from the queue into *group*; False if one of them left changes and raised.

        Works that raise nearly always do so before they change anything. So there are no savepoints
        until one is needed: SQLite would copy every page that is changed after one to a file.
        """
        connection, queue = self._writer, self._queue
        deadline = perf_counter() + GROUP_BUDGET_S
        while queue:
            pending = queue.popleft()
            if pending.future.cancelled():
                continue
            group.append(pending)
            before = connection.total_changes
            if self._careful:
                self._run_carefully(pending)
            else:
                self._run(pending)
                if pending.error is not None and connection.total_changes != before:
                    return False
            if perf_counter() > deadline:
                break
        self._careful = False
        return True

    def _start_over(self, group: list[_Pending]) -> None:
        """Take everything back, and run the group again with a savepoint for each work."""
        self._rollback()
        for pending in group:
            pending.error = None
        self._queue.extendleft(reversed(group))
        self._careful = True
        self._flush()

    def _run_carefully(self, pending: _Pending) -> None:
        execute = self._writer.execute
        execute("SAVEPOINT work")
        self._run(pending)
        if pending.error is not None:
            execute("ROLLBACK TO work")
        execute("RELEASE work")

    def _run(self, pending: _Pending) -> None:
        try:
            pending.result = pending.work(self._writer)
        except sqlite3.Error as exc:
            if _breaks_transaction(exc):
                raise
            pending.error = exc
        except Exception as exc:
            pending.error = exc

    def _abandon(self, group: list[_Pending], exc: sqlite3.Error) -> None:
        # The error came before COMMIT: nothing of this group can be on disk.
        log.error("a write failed; nothing of it was recorded", extra={"reason": _reason(exc)})
        self._rollback()
        for pending in group:
            pending.error = StoreUnavailable()
        self._settle(group)

    def _commit_here(self, group: list[_Pending]) -> None:
        # No rows to sync, so no thread: a group of reads and refusals ends here.
        try:
            self._writer.execute("COMMIT")
        except sqlite3.Error as exc:
            self._committed(group, exc)
        else:
            self._settle(group)

    def _commit(self, group: list[_Pending]) -> None:
        loop = asyncio.get_running_loop()
        empty_wal, self._empty_wal = self._empty_wal, False

        def commit() -> None:
            error = None
            try:
                self._writer.execute("COMMIT")
            except sqlite3.Error as exc:
                error = exc
            if empty_wal and error is None:
                self._checkpoint(self._writer)
            loop.call_soon_threadsafe(self._committed, group, error)

        self._commits.submit(commit)

    def _committed(self, group: list[_Pending], exc: sqlite3.Error | None) -> None:
        if exc is None:
            self._settle(group)
            self._checkpoint_if_due()
            return
        self._rollback()
        failure: StoreError = StoreUnavailable()
        if _code(exc) != sqlite3.SQLITE_FULL:
            failure = StoreUnconfirmed()
            # A failed fsync may have dropped the pages, and will not fail a second time.
            if exc.sqlite_errorcode in _FSYNC_FAILURES:
                self._fail()
        log.error("a commit failed", extra={"reason": _reason(exc), "writes_stopped": self.failed})
        for pending in group:
            pending.error = failure
        self._settle(group)

    def _settle(self, group: list[_Pending]) -> None:
        for pending in group:
            pending.settle()
        if self._queue and not self.failed:
            self._gather_from(asyncio.get_running_loop())
            return
        for pending in self._queue:
            pending.error = StoreUnavailable()
            pending.settle()
        self._queue.clear()
        self._rest()

    def _rest(self) -> None:
        self._busy = False
        self._idle.set()

    def _rollback(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._fail()

    def _fail(self) -> None:
        self.failed = True
        self.on_failed()

    def _checkpoint_if_due(self) -> None:
        changes = self._writer.total_changes
        due = changes - self._checkpointed_at >= CHECKPOINT_CHANGES
        if not due or self._checkpointing or self._closed:
            return
        self._checkpointing = True
        self._checkpointed_at = changes
        loop = asyncio.get_running_loop()

        def checkpoint() -> None:
            pages = self._checkpoint_apart()
            loop.call_soon_threadsafe(self._checkpointed, pages)

        self._checkpoints.submit(checkpoint)

    def _checkpointed(self, pages: int) -> None:
        self._checkpointing = False
        # What is left is only what came in meanwhile, so the commit that empties is hardly longer.
        self._empty_wal = pages > WAL_RESTART_PAGES

    def _checkpoint_apart(self) -> int:
        """`_checkpoint` over a connection of its own, which may not be had either."""
        try:
            connection = _connect(self.path, busy_s=0)
        except sqlite3.Error as exc:
            _put_off_checkpoint(exc)
            return 0
        with closing(connection):
            return self._checkpoint(connection)

    def _checkpoint(self, connection: sqlite3.Connection) -> int:
        """Copy the WAL back; how many pages it held (0 if it could not be done now)."""
        try:
            row = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as exc:
            _put_off_checkpoint(exc)
            return 0
        return int(row[1])


_FSYNC_FAILURES = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
_BREAKING = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_BUSY,
    }
)


def _touch(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute(f"PRAGMA user_version={version:d}")


def _put_off_checkpoint(exc: sqlite3.Error) -> None:
    log.warning("a checkpoint will be tried again", extra={"reason": _reason(exc)})


def _nothing() -> None:
    """Nobody wants to know."""


def _connect(path: Path, *, busy_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    # Set once for the file; asking again is free and needs no lock.
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA cache_size=-8192")
    # Checkpoints are ours (see the top); this is the net below them.
    connection.execute("PRAGMA wal_autocheckpoint=50000").fetchall()
    return connection


def _check(connection: sqlite3.Connection, path: Path, application_id: int) -> None:
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    if found not in (0, application_id):
        raise StartRefused(
            f"The file {path} is a database of another program. Name another data directory."
        )
    if path.stat().st_size <= QUICK_CHECK_BYTES:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StartRefused(f"The database {path} is damaged. Restore it from a backup.")


def _migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[str], application_id: int
) -> None:
    connection.execute("PRAGMA busy_timeout=10000").fetchall()
    connection.execute("BEGIN IMMEDIATE")  # another process may be migrating too
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        connection.execute("ROLLBACK")
        raise StartRefused(
            f"The database {path} was written by a newer version (schema {version}; this version "
            f"knows {len(migrations)}). Start the newer version, or restore a backup."
        )
    for script in migrations[version:]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id={application_id:d}")
    connection.execute(f"PRAGMA user_version={len(migrations):d}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA busy_timeout=0").fetchall()


def _statements(script: str) -> Iterator[str]:
    # executescript would commit first; a migration is all or nothing.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _code(exc: sqlite3.Error) -> int:
    """The primary result code (the extended one names the system call)."""
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _breaks_transaction(exc: sqlite3.Error) -> bool:
    return _code(exc) in _BREAKING


def _reason(exc: sqlite3.Error) -> str:
    # SQLite's own words and code name; never a statement's parameters.
    return f"{exc} [{getattr(exc, 'sqlite_errorname', 'SQLITE_ERROR')}]"
