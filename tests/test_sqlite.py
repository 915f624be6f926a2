"""The group-committing database: what a 2xx rests on."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import app.sqlite
from app.errors import StartRefused, StoreUnavailable, StoreUnconfirmed
from app.sqlite import Database
from tests.processes import PATIENCE_S

SCHEMA = ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);",)
APPLICATION_ID = 0x51607

INSERT = "INSERT INTO notes (text) VALUES (?)"
ALL = "SELECT text FROM notes ORDER BY id"


def open_at(path: Path, *migrations: str) -> Database:
    return Database.open(path, migrations=migrations or SCHEMA, application_id=APPLICATION_ID)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_at(tmp_path / "notes.sqlite3")
    yield database
    await database.close()


def add(text: str) -> Callable[[sqlite3.Connection], int | None]:
    def work(connection: sqlite3.Connection) -> int | None:
        return connection.execute(INSERT, (text,)).lastrowid

    return work


async def test_a_write_answers_with_what_the_work_returned(database: Database) -> None:
    """The caller gets its own work's result, not the group's."""
    results = await asyncio.gather(*(database.write(add(f"note {n}")) for n in range(3)))

    assert results == [1, 2, 3]
    assert database.read(ALL) == [("note 0",), ("note 1",), ("note 2",)]


async def test_a_work_that_raises_takes_back_only_its_own_changes(database: Database) -> None:
    """One bad write in a group does not cost the others theirs."""

    def bad(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT, ("half done",))
        raise KeyError("stop")

    results = await asyncio.gather(
        database.write(add("before")),
        database.write(bad),
        database.write(add("after")),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [int, KeyError, int]
    assert database.read(ALL) == [("before",), ("after",)]


async def test_a_broken_constraint_reaches_its_own_caller_only(database: Database) -> None:
    """A constraint error is the work's own business."""
    results = await asyncio.gather(
        database.write(add("same")), database.write(add("same")), return_exceptions=True
    )

    assert [type(result) for result in results] == [int, sqlite3.IntegrityError]
    assert database.read(ALL) == [("same",)]


async def test_a_work_sees_the_works_before_it_in_its_group(database: Database) -> None:
    """Read-modify-write needs no lock: works of one group run one after the other."""

    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM notes").fetchone()[0])

    seen = await asyncio.gather(
        database.write(add("a")), database.write(count), database.write(add("b"))
    )

    assert list(seen) == [1, 1, 2]


async def test_readers_do_not_see_what_is_not_committed(database: Database) -> None:
    """Committed state only: a reader inside a running work still sees the old rows."""
    seen = []

    def work(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT, ("new",))
        seen.append(database.read(ALL))

    await database.write(work)

    assert seen == [[]]
    assert database.read(ALL) == [("new",)]


async def test_a_cancelled_caller_leaves_the_others_alone(database: Database) -> None:
    """A client that hangs up before its turn writes nothing and holds up nobody."""
    gone = asyncio.ensure_future(database.write(add("gone")))
    await asyncio.sleep(0)  # queued, not yet run
    gone.cancel()

    await database.write(add("here"))

    assert database.read(ALL) == [("here",)]


async def test_what_follows_a_commit_follows_it_for_a_cancelled_caller_too(
    database: Database,
) -> None:
    """Who goes away while the disk syncs has written, and nobody else knows what comes next."""
    seen: list[int | None] = []
    gone = asyncio.ensure_future(database.write(add("gone"), seen.append))
    while database._queue or not database._busy:
        await asyncio.sleep(0)
    gone.cancel()

    await database.write(add("here"))

    assert database.read(ALL) == [("gone",), ("here",)]
    assert seen == [1]


async def test_what_fails_after_a_commit_takes_nothing_back(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller is told what was written; the fault is logged."""

    def fail(_result: int | None) -> None:
        raise RuntimeError("a fault of ours")

    assert await database.write(add("kept"), fail) == 1

    assert database.read(ALL) == [("kept",)]
    assert [record.message for record in caplog.records] == ["what follows a write failed"]


async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    """Closing loses nothing and leaves no write-ahead log behind."""
    path = tmp_path / "notes.sqlite3"
    first = open_at(path)
    await first.write(add("kept"))
    await first.close()
    assert [file.name for file in tmp_path.iterdir()] == ["notes.sqlite3"]

    second = open_at(path)

    assert second.read(ALL) == [("kept",)]
    await second.close()


async def test_writes_after_close_are_refused(tmp_path: Path) -> None:
    """A late caller is told that nothing was written."""
    database = open_at(tmp_path / "notes.sqlite3")
    await database.close()

    with pytest.raises(StoreUnavailable):
        await database.write(add("late"))


async def test_a_lock_held_by_another_process_delays_but_does_not_fail(database: Database) -> None:
    """While another process writes, ours waits without blocking the loop, then goes on."""
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(database.write(add("patient")))
    for _ in range(10):
        await asyncio.sleep(0.001)
    assert not waiting.done()

    other.execute("ROLLBACK")
    other.close()

    assert await waiting == 1


async def test_a_lock_that_never_ends_is_a_clean_refusal(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the patience the caller hears that nothing was written."""
    monkeypatch.setattr("app.sqlite.LOCK_PATIENCE_S", 0.0)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable):
        await database.write(add("impatient"))

    other.close()
    assert await database.write(add("next")) == 1


async def test_a_full_disk_refuses_and_recovers_without_restart(database: Database) -> None:
    """SQLITE_FULL means nothing was written; once there is room, writing goes on."""
    await database.write(add("first"))
    pages = database._writer.execute("PRAGMA page_count").fetchone()[0]
    database._writer.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StoreUnavailable):
        await database.write(add("x" * 100_000))
    database._writer.execute("PRAGMA max_page_count=1000000")

    await database.write(add("second"))
    assert database.read(ALL) == [("first",), ("second",)]


async def test_a_commit_without_changed_rows_may_fail_too(tmp_path: Path) -> None:
    """A setting in the file's header is no row; when it cannot be written, its caller hears so."""
    database = open_at(tmp_path / "notes.sqlite3")
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    error.sqlite_errorname = "SQLITE_FULL"
    writer = database._writer
    database._writer = _FailsToCommit(writer, error)  # type: ignore[assignment]

    with pytest.raises(StoreUnavailable):
        await database.write(lambda connection: None)

    database._writer = writer
    assert await database.write(add("after")) == 1
    await database.close()


class _FailsToCommit:
    """A connection whose COMMITs fail."""

    def __init__(self, connection: sqlite3.Connection, error: sqlite3.Error) -> None:
        self._connection = connection
        self._error = error

    def execute(self, sql: str) -> sqlite3.Cursor:
        """Run *sql*, unless it commits."""
        if sql == "COMMIT":
            raise self._error
        return self._connection.execute(sql)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_a_probe_waits_for_the_disk_beside_the_loop(database: Database) -> None:
    """Whoever asks whether the disk takes writes holds up nobody while it syncs."""
    commits: list[threading.Thread] = []

    def note(sql: str) -> None:
        if sql == "COMMIT":
            commits.append(threading.current_thread())

    database._writer.set_trace_callback(note)
    await database.probe()

    assert len(commits) == 1
    assert commits[0] is not threading.current_thread()


async def test_after_a_failed_fsync_nothing_is_written_any_more(database: Database) -> None:
    """A second fsync may lie, so the database fails closed and says that it cannot know."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    pending = asyncio.ensure_future(database.write(add("lost?")))
    await asyncio.sleep(0)
    database._commit = lambda group: database._committed(group, error)  # type: ignore[method-assign]

    with pytest.raises(StoreUnconfirmed):
        await pending
    with pytest.raises(StoreUnavailable):
        await database.write(add("no more"))
    assert database.failed
    assert database.read(ALL) == []


async def test_checkpoints_keep_the_log_small(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write-ahead log is copied back while writing goes on, so it does not grow for ever."""
    monkeypatch.setattr("app.sqlite.CHECKPOINT_CHANGES", 10)
    monkeypatch.setattr("app.sqlite.WAL_RESTART_PAGES", 10)

    for n in range(400):
        await database.write(add(f"{n} " + "x" * 4000))

    assert database.path.with_name("notes.sqlite3-wal").stat().st_size < 400 * 4096


async def test_a_checkpoint_that_cannot_begin_is_not_the_last(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file descriptor to spare there is none; later ones keep the log small again."""
    monkeypatch.setattr("app.sqlite.CHECKPOINT_CHANGES", 1)
    connect = app.sqlite._connect

    def refuse(path: Path, *, busy_s: float) -> sqlite3.Connection:
        monkeypatch.setattr("app.sqlite._connect", connect)
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr("app.sqlite._connect", refuse)
    await database.write(add("first"))
    async with asyncio.timeout(PATIENCE_S):
        while app.sqlite._connect is refuse or database._checkpointing:
            await asyncio.sleep(0)
    await database.write(add("second"))

    assert database._checkpointed_at == database._writer.total_changes


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    """We do not write into a stranger's database."""
    path = tmp_path / "other.sqlite3"
    other = sqlite3.connect(path)
    other.execute("PRAGMA application_id=99")
    other.execute("CREATE TABLE theirs (x)")
    other.close()

    with pytest.raises(StartRefused, match="another program"):
        open_at(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Garbage is refused with a sentence that says what to do."""
    path = tmp_path / "garbage.sqlite3"
    path.write_bytes(b"not a database at all" * 1000)

    with pytest.raises(StartRefused, match="Restore it from a backup"):
        open_at(path)


async def test_a_damaged_page_is_refused(tmp_path: Path) -> None:
    """Flipped bytes are found at start, not at the first unlucky query."""
    path = tmp_path / "notes.sqlite3"
    database = open_at(path)
    for n in range(200):
        await database.write(add(f"{n} " + "x" * 500))
    await database.close()
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 3 + 64] = b"\xff" * 64
    path.write_bytes(data)

    with pytest.raises(StartRefused, match=r"damaged|cannot be opened"):
        open_at(path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An old program does not touch what a newer one wrote."""
    path = tmp_path / "notes.sqlite3"
    open_at(path, *SCHEMA, "ALTER TABLE notes ADD COLUMN more TEXT;")._disconnect()

    with pytest.raises(StartRefused, match="newer version"):
        open_at(path)


async def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    """An older file gets what it lacks and keeps what it has."""
    path = tmp_path / "notes.sqlite3"
    first = open_at(path)
    await first.write(add("old"))
    await first.close()

    second = open_at(path, *SCHEMA, "ALTER TABLE notes ADD COLUMN more TEXT DEFAULT 'm';")

    assert second.read("SELECT text, more FROM notes") == [("old", "m")]
    await second.close()


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path) -> None:
    """All or nothing: half a migration would be worse than none."""
    path = tmp_path / "notes.sqlite3"
    open_at(path)._disconnect()

    with pytest.raises(StartRefused):
        open_at(path, *SCHEMA, "CREATE TABLE more (x);\nCREATE TABLE more (x);")

    reopened = open_at(path)
    assert reopened.read("SELECT name FROM sqlite_master WHERE name = 'more'") == []
    reopened._disconnect()


ACKNOWLEDGING_WRITER = """
import asyncio, sys
from pathlib import Path
from app.sqlite import Database

async def main(path):
    database = Database.open(Path(path), migrations=({schema!r},), application_id={application_id})
    async def write(worker):
        for n in range(100000):
            text = f"{{worker}}-{{n}}"
            await database.write(lambda c: c.execute({insert!r}, (text,)))
            print(text, flush=True)
    await asyncio.gather(*(write(worker) for worker in range(8)))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("round_", range(3))
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path, round_: int) -> None:
    """Whatever was answered before the kill is there after it."""
    path = tmp_path / "notes.sqlite3"
    program = ACKNOWLEDGING_WRITER.format(
        schema=SCHEMA[0], insert=INSERT, application_id=APPLICATION_ID
    )
    process = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(100 * (round_ + 1))]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.readlines()
    process.stdout.close()
    process.wait()

    reopened = open_at(path)
    present = {text for (text,) in reopened.read(ALL)}
    reopened._disconnect()

    # The last line may be cut by the kill.
    answered = {line.decode().strip() for line in acknowledged if line.endswith(b"\n")}
    assert answered - present == set()
    assert len(answered) >= 100
