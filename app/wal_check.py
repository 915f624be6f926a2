"""Whether SQLite reads all that was committed to a write-ahead log.

SQLite takes a log as far as its checksums hold and forgets the rest, which is right for a commit
that a crash cut short, and silent loss when a disk damaged the middle. The two can be told apart:
commits are synced one after the other, so whatever lies before the last commit was whole once.

Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log for the log, and
https://www.sqlite.org/walformat.html for its index, which says how many frames SQLite took.
"""

import mmap
import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, database size after a commit (else 0), two salts, checksums
_MAGIC = 0x377F0682  #: the last bit says that checksums are made of big-endian words
_MX_FRAME = struct.Struct("=16xI")  #: in the index, in the machine's own order


@dataclass(frozen=True, slots=True)
class _Log:
    """What the headers of a log say."""

    salts: tuple[int, int]
    commits: tuple[int, ...]  #: numbers of the frames that end a commit, from 1


def is_damaged(path: Path) -> bool:
    """Whether the log of the database at *path* holds commits that SQLite will not read.

    A process that is writing to it is not in the way; nothing is changed.
    """
    log = _read(path)
    if log is None:
        return False
    if isinstance(log, bytes):
        return True
    taken = _frames_taken(path)
    again = _read(path)
    if taken is None or not isinstance(again, _Log) or again.salts != log.salts:
        return False  # it was begun anew meanwhile, so it could be read
    # The last commit may be one that a crash cut short; those before it were synced.
    return len(log.commits) > 1 and taken < log.commits[-2]


def _read(path: Path) -> _Log | bytes | None:
    """The headers; the bytes of a first header that is none; None if nothing was logged."""
    try:
        with Path(f"{path}-wal").open("rb") as file:
            if file.seek(0, 2) <= _HEADER.size:
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return _log(view)
    except (FileNotFoundError, ValueError):
        return None  # taken back, or emptied, by another process


def _log(view: mmap.mmap) -> _Log | bytes:
    first = view[: _HEADER.size]
    magic, _, page_size, _, *salts, _, _ = _HEADER.unpack(first)
    if magic & ~1 != _MAGIC or _checksums(first) != _HEADER.unpack(first)[6:]:
        return first
    step = _FRAME.size + page_size
    places = range(_HEADER.size, len(view) - step + 1, step)
    frames = (_FRAME.unpack_from(view, place) for place in places)
    commits = [
        number
        for number, (_, size, *salted, _, _) in enumerate(frames, 1)
        if size and salted == salts
    ]
    return _Log((salts[0], salts[1]), tuple(commits))


def _checksums(header: bytes) -> tuple[int, int]:
    order = ">" if header[3] & 1 else "<"
    words = struct.unpack(f"{order}6I", header[:24])
    one = two = 0
    for left, right in zip(words[::2], words[1::2], strict=True):
        one = (one + left + two) & 0xFFFFFFFF
        two = (two + right + one) & 0xFFFFFFFF
    return one, two


def _frames_taken(path: Path) -> int | None:
    """How many frames SQLite reads; None if it cannot say."""
    try:
        # Read-only, so that closing it does not empty the log.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            index = Path(f"{path}-shm").read_bytes()[: _MX_FRAME.size]
            taken: int = _MX_FRAME.unpack(index)[0]
            return taken
    except (sqlite3.Error, OSError, struct.error):
        return None
