"""A write-ahead log that was damaged is never taken for a short one."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import StartRefused
from app.sqlite import Database
from app.wal_check import is_damaged

SCHEMA = "CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;"
HEADER, PAGE = 32, 4096
FRAME = 24 + PAGE
COMMITS = 10

Damage = Callable[[bytearray], None]


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A database whose process was killed after ten commits: what it left is a copy."""
    living = tmp_path / "living.sqlite3"
    connection = sqlite3.connect(living, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("PRAGMA application_id=7")
    connection.execute("PRAGMA user_version=1")
    connection.execute(SCHEMA)
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    for number in range(COMMITS):
        connection.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 3_000))
    dead = tmp_path / "dead" / "approvals.sqlite3"
    dead.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{living}{suffix}", f"{dead}{suffix}")
    connection.close()
    return dead


def damaged(path: Path, damage: Damage) -> Path:
    """The database, its log changed."""
    wal = Path(f"{path}-wal")
    content = bytearray(wal.read_bytes())
    damage(content)
    wal.write_bytes(content)
    return path


def flipped(place: int) -> Damage:
    """One bit is wrong."""

    def flip(content: bytearray) -> None:
        content[place] ^= 1

    return flip


def rows(path: Path) -> int:
    """How many commits SQLite reads."""
    connection = sqlite3.connect(path)
    count: int = connection.execute("SELECT count(*) FROM t").fetchone()[0]
    connection.close()
    return count


def test_a_whole_log_is_not_damaged(crashed: Path) -> None:
    """It is read whole, and looking at it takes nothing away."""
    assert [is_damaged(crashed), is_damaged(crashed)] == [False, False]
    assert rows(crashed) == COMMITS


@pytest.mark.parametrize(
    "place",
    [
        0,  # the log's magic number
        16,  # its salt
        28,  # its checksum
        HEADER + 4,  # the first frame's commit mark
        HEADER + 8,  # its salt
        HEADER + 24 + 100,  # its page
        HEADER + 5 * FRAME + 24 + 100,  # a page in the middle
        HEADER + 5 * FRAME + 20,  # a checksum in the middle
    ],
)
async def test_damage_before_the_last_commit_stops_the_start(crashed: Path, place: int) -> None:
    """With a sentence that names the file; again at the next start, for nothing was thrown away."""
    damaged(crashed, flipped(place))

    for _ in range(2):
        with pytest.raises(StartRefused, match=r"approvals\.sqlite3-wal is damaged"):
            Database.open(crashed, migrations=(SCHEMA,), application_id=7)


def test_a_commit_that_was_cut_short_is_no_damage(crashed: Path) -> None:
    """Nobody was told that it was stored."""
    for cut in (1, FRAME // 2, FRAME - 1):
        wal = Path(f"{crashed}-wal")
        wal.write_bytes(wal.read_bytes()[:-cut])
        assert not is_damaged(crashed)


def test_what_an_earlier_round_left_is_no_damage(tmp_path: Path) -> None:
    """A log begins anew over its old content, which has other salts."""
    path = tmp_path / "again.sqlite3"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute(SCHEMA)
    for number in range(COMMITS):
        connection.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 3_000))
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    connection.execute("INSERT INTO t VALUES (100, 'x')")

    assert not is_damaged(path)
    connection.close()


@pytest.mark.parametrize("content", [b"", b"x" * 10])
def test_a_log_without_a_commit_is_no_damage(tmp_path: Path, content: bytes) -> None:
    """As a crash at the very start leaves it."""
    path = tmp_path / "new.sqlite3"
    assert not is_damaged(path)
    Path(f"{path}-wal").write_bytes(content)

    assert not is_damaged(path)


def test_a_log_in_use_is_not_damaged(crashed: Path) -> None:
    """Another process may be writing."""
    connection = sqlite3.connect(crashed, isolation_level=None)
    for number in range(100, 110):
        connection.execute("INSERT INTO t VALUES (?, 'x')", (number,))
        assert not is_damaged(crashed)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    assert not is_damaged(crashed)
    connection.close()
